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
Frames per second of nurec_export, against what its servers can give.

Servers in processes of their own answer with one canned JPEG after 30 ms, `--at-once` of them at a
time: then each can give at-once / 30 ms. The export runs as its command does, into a temporary
folder; measured is the time between its first and its last frame. Beside it: the CPU time per
frame, and how much memory it had at most with a drive of 10 s and with one of 60 s.

    python bench/bench_export.py [--servers 1 4] [--in-flight 2 4] [--seconds 10] [--long 60]
"""

from __future__ import annotations

import argparse
from concurrent import futures
import importlib.util
from pathlib import Path
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ANSWER_S = 0.030
SIZE = (480, 270)
CHILD = """
import json, resource, sys, time
from nurec_ros.export import farm
times = []
real = farm.Farm._came
def came(self, server, item):
    times.append(time.monotonic())
    real(self, server, item)
farm.Farm._came = came
from nurec_ros.cli.export import main
begin = time.process_time()
code = main()
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    'code': code, 'frames': len(times), 'seconds': times[-1] - times[0],
    'cpu': time.process_time() - begin, 'megabytes': used.ru_maxrss / 1024,
}))
"""


def archives() -> Any:
    """Load the tests' builder of archives; `test` is a package of Python's as well."""
    path = ROOT / 'test' / 'support' / 'archives.py'
    spec = importlib.util.spec_from_file_location('archives', path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(scene: str, at_once: int) -> None:
    """Answer with one picture, each 30 ms after its turn has come, until stdin is closed."""
    import cv2
    import grpc
    import numpy as np
    from nurec_ros.rendering.policy import SERVICE_PREFIXES
    from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2

    noise = np.random.default_rng(1).integers(0, 256, (27, 48, 3), np.uint8)
    image = cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC)
    reply = sensorsim_pb2.RGBRenderReturn(image_bytes=cv2.imencode('.jpg', image)[1].tobytes())
    turns = threading.Semaphore(at_once)

    def render(request: Any, context: Any) -> Any:
        with turns:
            time.sleep(ANSWER_S)
        return reply

    def version(request: Any, context: Any) -> Any:
        return common_pb2.VersionId(version_id='bench')

    def scenes(request: Any, context: Any) -> Any:
        return common_pb2.AvailableScenesReturn(scene_ids=[scene])

    def method(answer: Any, kind: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=kind.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    server = grpc.server(futures.ThreadPoolExecutor(16))
    methods = {
        'render_rgb': method(render, sensorsim_pb2.RGBRenderRequest),
        'get_version': method(version, common_pb2.Empty),
        'get_available_scenes': method(scenes, common_pb2.Empty),
    }
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(SERVICE_PREFIXES[0], methods)]
    )
    print(server.add_insecure_port('127.0.0.1:0'), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(0)


def measured(usdz: Path, ports: list[int], in_flight: int, output: Path) -> dict[str, float]:
    """Export once; return what the child measured of itself."""
    import json

    command = [sys.executable, '-c', CHILD, str(usdz), '--output', str(output)]
    addresses = ','.join(f'localhost:{port}' for port in ports)
    command += ['--server', addresses, '--in-flight', str(in_flight)]
    # Pictures of the canned size.
    command += ['-p', 'resolution_scale:=0.25', '-p', 'camera_rate:=30']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if found['code']:
        raise SystemExit(done.stderr)
    return found


def main() -> None:
    """Print a line for each number of servers and of frames in flight, then the memory."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--servers', type=int, nargs='+', default=[1, 4])
    parser.add_argument('--in-flight', type=int, nargs='+', default=[2, 4])
    parser.add_argument('--at-once', type=int, default=1)
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--long', type=float, default=60.0)
    parser.add_argument('--serve', metavar='SCENE')
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.at_once)
        return
    build = archives()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = build.build_archive(folder, 'short.usdz', duration_s=options.seconds)
        command = [sys.executable, __file__, '--serve', build.SEQUENCE_ID]
        command += ['--at-once', str(options.at_once)]
        servers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(max(options.servers))
        ]
        try:
            ports = [int(server.stdout.readline()) for server in servers if server.stdout]
            print('servers  in flight  frames  frames/s  limit  share  CPU ms/frame  MB')
            number = 0
            for count in options.servers:
                for in_flight in options.in_flight:
                    number += 1
                    one = measured(short, ports[:count], in_flight, folder / f'{number}')
                    rate = (one['frames'] - 1) / one['seconds']
                    limit = count * min(options.at_once, in_flight) / ANSWER_S
                    print(
                        f'{count:7}  {in_flight:9}  {one["frames"]:6}  {rate:8.1f}  {limit:5.0f}  '
                        f'{rate / limit:5.2f}  {1e3 * one["cpu"] / one["frames"]:12.1f}  '
                        f'{one["megabytes"]:.0f}',
                        flush=True,
                    )
            if options.long:
                long = build.build_archive(folder, 'long.usdz', duration_s=options.long)
                one = measured(long, ports, options.in_flight[0], folder / 'long')
                print(f'{options.long:g} s of drive: {one["megabytes"]:.0f} MB at most')
        finally:
            for server in servers:
                if server.stdin is not None:
                    server.stdin.close()
                server.wait(30)


if __name__ == '__main__':
    main()
