# Copyright 2026 nurec_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""
What the rendering client costs, beside a bare loop that does nothing but the unavoidable.

A server in a process of its own answers at once with one 1080p JPEG of about 130 kB. The bare loop
keeps as many gRPC futures in flight as the client does, decodes where raw pictures are wanted, and
publishes (where rclpy is installed; else it copies into an array.array, as publishing does). The
pipeline does the same work through RenderPipeline. Both take turns in one run; each line shows the
best of the rounds, since whatever else runs on the machine only ever slows them down.

    python bench/bench_rendering.py [--frames 600] [--rounds 9] [--cameras 1 2 4 8] [--batch]
"""

from __future__ import annotations

import argparse
import array
from collections import deque
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
import importlib.util
from pathlib import Path
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import cv2
import grpc
import numpy as np
from nurec_ros.cli.player import keep_freed_memory
from nurec_ros.rendering import decode_rgb, Frame, RenderOptions, RenderPipeline
from nurec_ros.rendering.address import Target
from nurec_ros.rendering.channel import open_channel
from nurec_ros.rendering.policy import MAX_IN_FLIGHT, SERVICE_PREFIXES
from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.scenario import Scenario

ROOT = Path(__file__).resolve().parent.parent
SIZE = (1920, 1080)
BYTES = 130_000
Publish = Callable[[bytes, Any], None]


def archives() -> Any:
    """Load the tests' builder of archives; `test` is a package of Python's as well."""
    path = ROOT / 'test' / 'support' / 'archives.py'
    spec = importlib.util.spec_from_file_location('archives', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture() -> bytes:
    """Make a 1080p JPEG of about the size that a NuRec server sends."""
    noise = np.random.default_rng(1).integers(0, 256, (135, 240, 3), np.uint8)
    image = cv2.GaussianBlur(cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC), (0, 0), 4.0)
    encoded = b''
    for quality in range(98, 20, -2):
        encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(encoded) <= BYTES:
            break
    return encoded


# --- the server, in a process of its own ---------------------------------------------------------


class _Answers(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers with bytes that were serialised before."""

    def __init__(self, scene_id: str) -> None:
        image = sensorsim_pb2.RGBRenderReturn(image_bytes=picture())
        self._single = image.SerializeToString()
        self._image = image
        self._fixed = {
            'get_version': common_pb2.VersionId(version_id='bench').SerializeToString(),
            'get_available_scenes': common_pb2.AvailableScenesReturn(
                scene_ids=[scene_id]
            ).SerializeToString(),
            'render_rgb': self._single,
        }

    def service(self, details: Any) -> Any:
        method = details.method.rpartition('/')[2]
        if method == 'batch_render_rgb':
            return grpc.unary_unary_rpc_method_handler(self._batch)
        reply = self._fixed.get(method)
        return reply and grpc.unary_unary_rpc_method_handler(lambda request, context: reply)

    def _batch(self, request: bytes, _context: Any) -> bytes:
        asked = sensorsim_pb2.BatchRGBRenderRequest.FromString(request)
        reply = sensorsim_pb2.BatchRGBRenderReturn()
        for item in asked.items:
            one = reply.items.add(camera_name=item.camera_name, success=True)
            one.result.CopyFrom(self._image)
        return bytes(reply.SerializeToString())


def serve(scene_id: str) -> None:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([_Answers(scene_id)])
    print(server.add_insecure_port('127.0.0.1:0'), flush=True)
    server.start()
    server.wait_for_termination()


# --- what both do with a picture -----------------------------------------------------------------


def publishers(raw: bool) -> tuple[Publish, str]:
    """Return what publishes a picture, and its name."""
    try:
        import rclpy
        from sensor_msgs.msg import CompressedImage, Image
    except ImportError:
        return _copy_raw if raw else _copy, 'array.array'
    if not rclpy.ok():
        rclpy.init()
    name = f'bench_{"raw" if raw else "compressed"}'
    kind = Image if raw else CompressedImage
    publisher = rclpy.create_node(name).create_publisher(kind, name, 10)
    message = kind()
    if raw:
        message.width, message.height, message.encoding = *SIZE, 'rgb8'
        message.step = 3 * SIZE[0]

        def publish(data: bytes, rgb: Any) -> None:
            pixels = array.array('B')
            pixels.frombytes(rgb.reshape(-1).data)
            message.data = pixels
            publisher.publish(message)
    else:
        message.format = 'rgb8; jpeg compressed bgr8'

        def publish(data: bytes, rgb: Any) -> None:
            message.data = array.array('B', data)
            publisher.publish(message)

    return publish, 'rclpy'


def _copy(data: bytes, _rgb: Any) -> None:
    array.array('B', data)


def _copy_raw(_data: bytes, rgb: Any) -> None:
    array.array('B').frombytes(rgb.reshape(-1).data)


# --- the two contestants -------------------------------------------------------------------------


class Bare:
    """GRPC futures, decode, publish, nothing else."""

    def __init__(self, scenario: Scenario, port: int) -> None:
        self.channel = open_channel(Target(f'127.0.0.1:{port}'), None)
        self.render = self.channel.unary_unary(
            f'/{SERVICE_PREFIXES[0]}/render_rgb',
            sensorsim_pb2.RGBRenderRequest.SerializeToString,
            sensorsim_pb2.RGBRenderReturn.FromString,
        )
        builder = RequestBuilder(scenario, RenderOptions(resolution_scale=1.0))
        self.requests = [
            builder.build(scenario.scene_id, name, scenario.start_ns) for name in scenario.cameras
        ]

    def run(self, frames: int, cameras: int, raw: bool, publish: Publish) -> None:
        pending: deque[Any] = deque()
        for number in range(frames + MAX_IN_FLIGHT):
            if number < frames:
                pending.append(self.render.future(self.requests[number % cameras]))
            if len(pending) > MAX_IN_FLIGHT - 1 or number >= frames:
                if not pending:
                    break
                data = pending.popleft().result().image_bytes
                rgb = decode_rgb(Frame('', 0, data, 'jpeg', *SIZE, 0.0)) if raw else None
                publish(data, rgb)

    def latency(self, rounds: int) -> list[float]:
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            self.render(self.requests[0])
            times.append(time.perf_counter() - began)
        return times


class Due:
    """A frame that is due."""

    def __init__(self, name: str, t_ns: int) -> None:
        self.name = name
        self.t_ns = t_ns


class Piped:
    """The same through RenderPipeline."""

    def __init__(self, scenario: Scenario, port: int, batch: str = 'never') -> None:
        self.scenario = scenario
        self.names = list(scenario.cameras)
        self.raw = False
        self.publish: Publish = _copy
        self.delivered = threading.Semaphore(0)
        options = RenderOptions(
            server=f'127.0.0.1:{port}', resolution_scale=1.0, batch=batch, image_quality=95
        )
        self.pipeline = RenderPipeline(scenario, options, self._deliver)
        self.pipeline.start()
        self.pipeline.submit([Due(self.names[0], scenario.start_ns)], keep=True).result(30)

    def _deliver(self, frame: Any) -> None:
        if not isinstance(frame, Frame):
            raise frame.error
        self.publish(frame.data, decode_rgb(frame) if self.raw else None)

    def run(self, frames: int, cameras: int, raw: bool, publish: Publish) -> None:
        self.raw, self.publish = raw, publish
        names = self.names[:cameras]
        times = {name: self.scenario.cameras[name].frame_times_ns[:, 1].tolist() for name in names}
        last: Future[None] | None = None
        future: Future[None] | None = None
        for step in range(frames // cameras):
            due = [Due(name, times[name][step % len(times[name])]) for name in names]
            future = self.pipeline.submit(due, keep=True)
            if step % 64 == 0:  # far enough ahead that the server is never idle
                if last is not None:
                    last.result(60)
                last = future
        if future is not None:
            future.result(60)

    def latency(self, rounds: int) -> list[float]:
        self.raw, self.publish = False, lambda data, rgb: None
        times = []
        for _ in range(rounds):
            due = [Due(self.names[0], self.scenario.start_ns)]
            began = time.perf_counter()
            self.pipeline.submit(due, keep=True).result(60)
            times.append(time.perf_counter() - began)
        return times


class _InstantCall:
    """A call that was answered before it was asked."""

    def __init__(self, reply: Any) -> None:
        self._reply = reply

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    def result(self) -> Any:
        return self._reply

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        callback(self)


class _InstantMethod:
    """A method without a wire: what is left is Python's cost of ours."""

    def __init__(self, reply: Any) -> None:
        self._reply = reply

    def future(self, _request: Any, **_options: Any) -> _InstantCall:
        return _InstantCall(self._reply)


def python_cost(piped: Piped, frames: int) -> float:
    """Return the CPU seconds per frame of the pipeline without gRPC, decode and copy."""
    server = piped.pipeline._connection.state.server
    assert server is not None
    real = server.renders['render_rgb']
    reply = sensorsim_pb2.RGBRenderReturn(image_bytes=picture())
    server.renders['render_rgb'] = _InstantMethod(reply)
    began = time.process_time()
    piped.run(frames, 1, False, lambda data, rgb: None)
    spent = time.process_time() - began
    server.renders['render_rgb'] = real
    return spent / frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--serve', metavar='SCENE')
    parser.add_argument('--frames', type=int, default=600)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--cameras', type=int, nargs='*', default=[1, 2, 4, 8])
    parser.add_argument('--batch', action='store_true', help='also with batch_render_rgb')
    arguments = parser.parse_args()
    # As the command does that this is about.
    keep_freed_memory()
    if arguments.serve:
        serve(arguments.serve)
        return
    names = [f'camera_{number}' for number in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario.load(archives().build_archive(Path(folder), cameras=names))
    command = [sys.executable, __file__, '--serve', scenario.scene_id]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        compare(scenario, int(server.stdout.readline()), arguments)
    finally:
        server.kill()


def compare(scenario: Scenario, port: int, arguments: argparse.Namespace) -> None:
    bare = Bare(scenario, port)
    contestants = {'pipeline': Piped(scenario, port)}
    if arguments.batch:
        contestants['pipeline, batch'] = Piped(scenario, port, 'auto')
    decoder = 'simplejpeg' if importlib.util.find_spec('simplejpeg') else 'OpenCV'
    print(f'JPEG of {len(picture())} bytes, decoder {decoder}, {arguments.rounds} rounds')
    print('| pictures | cameras | bare loop /s | way | /s | of the bare loop | CPU ms per frame |')
    print('|---|---|---|---|---|---|---|')
    for raw in (False, True):
        publish, how = publishers(raw)
        frames = arguments.frames // 8 if raw else arguments.frames
        for cameras in arguments.cameras:
            bare.run(max(frames // 4, 8), cameras, raw, publish)
            runners: dict[str, Bare | Piped] = {'bare': bare, **contestants}
            rates: dict[str, list[float]] = {'bare': [], **{name: [] for name in contestants}}
            cpu: dict[str, list[float]] = {name: [] for name in rates}
            for _ in range(arguments.rounds):
                for name, runner in runners.items():
                    cpu_before, before = time.process_time(), time.perf_counter()
                    runner.run(frames, cameras, raw, publish)
                    spent = time.perf_counter() - before
                    done = frames // cameras * cameras if name != 'bare' else frames
                    rates[name].append(done / spent)
                    cpu[name].append((time.process_time() - cpu_before) / done * 1e3)
            kind = f'{"raw" if raw else "compressed"} ({how})'
            bare_rate, bare_cpu = max(rates['bare']), min(cpu['bare'])
            for name in contestants:
                print(
                    f'| {kind} | {cameras} | {bare_rate:.0f} | {name} | {max(rates[name]):.0f} | '
                    f'{max(rates[name]) / bare_rate:.2f} | '
                    f'{min(cpu[name]):.2f} (bare {bare_cpu:.2f}) |'
                )
    piped = contestants['pipeline']
    print('| latency of a lone frame | p50 ms | p99 ms |\n|---|---|---|')
    rounds = arguments.frames
    for name, times in (('bare call', bare.latency(rounds)), ('pipeline', piped.latency(rounds))):
        ordered = sorted(times)
        p50, p99 = ordered[rounds // 2] * 1e3, ordered[int(rounds * 0.99)] * 1e3
        print(f'| {name} | {p50:.2f} | {p99:.2f} |')
    cost = python_cost(piped, 2000) * 1e3
    print(f"Python's cost per frame besides gRPC, decode and copy: {cost:.3f} ms")
    for piped in contestants.values():
        piped.pipeline.close()


if __name__ == '__main__':
    main()
