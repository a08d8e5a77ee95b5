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

A process beside it serves: each server answers with one canned JPEG after 30 ms, `--at-once` of
them at a time, so that it can give at-once / 30 ms. In each round a client that does nothing else
takes that first, then the export runs as its command does, into a temporary folder, with all
topics of two cameras at 30 Hz; measured is what lies between its first and its last frame. Printed
are medians over the rounds: frames per second, their share of the limit and of what the bare
client got in this minute, and the CPU time per frame, of the export alone. Last comes how much
memory it had at most with a drive of 10 s and with one of 60 s.

    python bench/bench_export.py [--servers 1 4] [--in-flight 2] [--rounds 5] [--seconds 10]
"""

from __future__ import annotations

import argparse
from concurrent import futures
import importlib.util
import json
from pathlib import Path
from statistics import median
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
import json, resource, time
from nurec_ros.export import farm
came = []
real = farm.Farm._came
def note(self, server, item):
    came.append((time.monotonic(), time.process_time()))
    real(self, server, item)
farm.Farm._came = note
from nurec_ros.cli.export import main
code = main()
(begin_s, begin_cpu), (end_s, end_cpu) = came[0], came[-1]
print(json.dumps({
    'code': code,
    'rate': (len(came) - 1) / (end_s - begin_s),
    'cpu_ms': 1e3 * (end_cpu - begin_cpu) / (len(came) - 1),
    'megabytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
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


def serve(scene: str, count: int, at_once: int) -> None:
    """Answer with one picture, each 30 ms after its turn has come, until stdin is closed."""
    import cv2
    import grpc
    import numpy as np
    from nurec_ros.rendering.policy import SERVICE_PREFIXES
    from nurec_ros.rendering.protos import common_pb2, sensorsim_pb2

    noise = np.random.default_rng(1).integers(0, 256, (27, 48, 3), np.uint8)
    image = cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC)
    picture = sensorsim_pb2.RGBRenderReturn(image_bytes=cv2.imencode('.jpg', image)[1].tobytes())
    # The bytes of replies: what is not read costs nothing, and the processors are measured.
    canned: dict[str, bytes] = {
        'render_rgb': picture.SerializeToString(),
        'get_version': common_pb2.VersionId(version_id='bench').SerializeToString(),
        'get_available_scenes': common_pb2.AvailableScenesReturn(
            scene_ids=[scene]
        ).SerializeToString(),
    }

    def handler(name: str, turns: threading.Semaphore) -> Any:
        def answer(_request: bytes, _context: Any) -> bytes:
            if name == 'render_rgb':
                with turns:
                    time.sleep(ANSWER_S)
            return canned[name]

        return grpc.unary_unary_rpc_method_handler(answer)

    servers = []
    for _ in range(count):
        turns = threading.Semaphore(at_once)
        server = grpc.server(futures.ThreadPoolExecutor(4 + 2 * at_once))
        methods = {name: handler(name, turns) for name in canned}
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE_PREFIXES[0], methods)]
        )
        print(server.add_insecure_port('127.0.0.1:0'), flush=True)
        server.start()
        servers.append(server)
    sys.stdin.read()
    for server in servers:
        server.stop(0)


def bare(ports: list[int], in_flight: int, seconds: float) -> float:
    """Return the frames/s that a client gets which only asks for the next one."""
    import grpc
    from nurec_ros.rendering.policy import SERVICE_PREFIXES

    came: list[float] = []
    channels = [grpc.insecure_channel(f'localhost:{port}') for port in ports]
    calls = [channel.unary_unary(f'/{SERVICE_PREFIXES[0]}/render_rgb') for channel in channels]
    until = time.monotonic() + seconds
    left = threading.Semaphore(0)

    def next_one(call: Any) -> None:
        def done(future: Any) -> None:
            future.result()
            came.append(time.monotonic())
            if came[-1] < until:
                next_one(call)
            else:
                left.release()

        call.future(b'').add_done_callback(done)

    for call in calls * in_flight:
        next_one(call)
    for _ in calls * in_flight:
        left.acquire()
    for channel in channels:
        channel.close()
    return (len(came) - 1) / (came[-1] - came[0])


def measured(usdz: Path, ports: list[int], in_flight: int) -> dict[str, float]:
    """Export once; return what the child measured of itself."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, '-c', CHILD, str(usdz), '--output', f'{output}/bags']
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
    parser.add_argument('--in-flight', type=int, nargs='+', default=[2])
    parser.add_argument('--at-once', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=10.0, help='of the drive')
    parser.add_argument('--long', type=float, default=60.0, help='0: no measure of the memory')
    parser.add_argument('--serve', metavar='SCENE')
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, max(options.servers), options.at_once)
        return
    build = archives()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short = build.build_archive(folder, 'short.usdz', duration_s=options.seconds)
        command = [sys.executable, __file__, '--serve', build.SEQUENCE_ID]
        command += ['--at-once', str(options.at_once), '--servers', str(max(options.servers))]
        servers = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert servers.stdin is not None
        assert servers.stdout is not None
        try:
            ports = [int(servers.stdout.readline()) for _ in range(max(options.servers))]
            print('servers  in flight  frames/s  limit  share  bare client  share  CPU ms/frame')
            for count in options.servers:
                for in_flight in options.in_flight:
                    alone, found = [], []
                    for _ in range(options.rounds):
                        alone.append(bare(ports[:count], in_flight, 3.0))
                        found.append(measured(short, ports[:count], in_flight))
                    rate, most = median(one['rate'] for one in found), median(alone)
                    limit = count * min(options.at_once, in_flight) / ANSWER_S
                    cpu_ms = median(one['cpu_ms'] for one in found)
                    print(
                        f'{count:7}  {in_flight:9}  {rate:8.1f}  {limit:5.0f}  '
                        f'{rate / limit:5.2f}  {most:11.1f}  {rate / most:5.2f}  {cpu_ms:12.1f}',
                        flush=True,
                    )
            if options.long:
                long = build.build_archive(folder, 'long.usdz', duration_s=options.long)
                memory = [measured(usdz, ports, 2)['megabytes'] for usdz in (short, long)]
                print(
                    f'memory at most: {memory[0]:.0f} MB with {options.seconds:g} s of drive, '
                    f'{memory[1]:.0f} MB with {options.long:g} s'
                )
        finally:
            servers.stdin.close()
            servers.wait(30)


if __name__ == '__main__':
    main()
