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
How evenly the player's clock ticks under fire, and what the player costs, beside bare rclpy.

Clock: the player plays, a client calls its services as fast as they are answered, and images
flow; in the same run a bare node publishes at 100 Hz from a timer and does nothing else. Compared
is by how much the gaps between messages, by the time at which they were sent, differ from 10 ms.
Goal: the player's 99th percentile at most twice the bare timer's, or 5 ms.

CPU: the player plays at its defaults with nobody listening, with a listener to all that is not an
image, and beside it the bare node. Goal: under 20 % of one core without image subscribers.

Every part is a process of its own.

    python bench/bench_player.py [--usdz FILE] [--seconds 30] [--cameras 2] [--only clock|cpu]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
import contextlib
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np
from nurec_ros.errors import NurecError
from nurec_ros.scenario import Scenario
import rclpy
from rclpy.clock import Clock as SteadyClock
from rclpy.clock import ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / 'shared' / 'data' / 'pittsburgh_adcf7d18.usdz'
PERIOD_MS = 10.0
GOAL_RATIO, GOAL_MS, GOAL_CPU = 2.0, 5.0, 0.20
WARM_UP_S = 3.0
START_S = 60.0


# --- the other processes -------------------------------------------------------------------------


def play_bare() -> None:
    """Publish at 100 Hz from a steady timer, and nothing else."""
    rclpy.init()
    node = Node('bare')
    publisher = node.create_publisher(Clock, '/bare_clock', 10)
    message = Clock()

    def tick() -> None:
        message.clock.nanosec = (message.clock.nanosec + 1) % 1_000_000_000
        publisher.publish(message)

    steady = SteadyClock(clock_type=ClockType.STEADY_TIME)
    node.create_timer(PERIOD_MS / 1e3, tick, clock=steady)
    _spin(node)


def play_server(scene: str) -> None:
    """Answer every request at once, with a JPEG of its size."""
    from test.rendering.fake_server import FakeServer

    import cv2

    pictures: dict[tuple[int, int], bytes] = {}

    def render(request: Any, _context: Any) -> bytes:
        size = (request.resolution_w, request.resolution_h)
        if size not in pictures:
            noise = np.random.default_rng(1).integers(0, 256, (27, 48, 3), np.uint8)
            image = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
            pictures[size] = cv2.imencode('.jpg', image)[1].tobytes()
        return pictures[size]

    with FakeServer(render, scenes=[scene]) as server:
        print(server.address, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def play_client(begin_ns: int, end_ns: int, seconds: float) -> None:
    """Call services for a time; print what came of it."""
    from test.ros.session.calling import Caller

    rclpy.init()
    node = Node('client')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    caller = Caller(
        node, lambda: executor.spin_once(timeout_sec=0.02), begin_ns=begin_ns, end_ns=end_ns
    )
    caller.ready()
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        caller.go_round()
    took = time.monotonic() - started
    result = {
        'calls': sum(caller.counts.values()),
        'wrong': caller.wrong,
        'per_s': sum(caller.counts.values()) / took,
        'slowest_s': caller.slowest_s,
    }
    print(json.dumps(result), flush=True)


def play_listener() -> None:
    """Listen to all that is not an image, as rviz does."""
    from nurec_ros.demo.definitions import message_class

    rclpy.init()
    node = Node('listener')
    for topic, kind in (
        ('/clock', 'rosgraph_msgs/msg/Clock'),
        ('/tf', 'tf2_msgs/msg/TFMessage'),
        ('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray'),
        ('/nurec/odom', 'nav_msgs/msg/Odometry'),
        ('/nurec/tracks', 'visualization_msgs/msg/MarkerArray'),
        ('/nurec/objects', 'vision_msgs/msg/Detection3DArray'),
        ('/nurec/state', 'diagnostic_msgs/msg/DiagnosticStatus'),
    ):
        node.create_subscription(message_class(kind), topic, lambda _: None, 100, raw=True)
    for topic, kind in (
        ('/tf_static', 'tf2_msgs/msg/TFMessage'),
        ('/nurec/path', 'nav_msgs/msg/Path'),
        ('/nurec/ego', 'visualization_msgs/msg/MarkerArray'),
    ):
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(message_class(kind), topic, lambda _: None, qos, raw=True)
    _spin(node)


def _spin(node: Node) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        executor.spin()


# --- the parent ----------------------------------------------------------------------------------


class Observer:
    """Hears both clocks and counts images, in a thread of its own."""

    def __init__(self, cameras: list[str]) -> None:
        from sensor_msgs.msg import CompressedImage

        self.sent: dict[str, list[int]] = {'/clock': [], '/bare_clock': []}
        self.images = 0
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = Node('observer', context=self._context)
        qos = QoSProfile(depth=5000, reliability=ReliabilityPolicy.RELIABLE)
        for topic in self.sent:
            self._node.create_subscription(Clock, topic, self._hear(topic), qos, raw=True)
        for camera in cameras:
            topic = f'/nurec/{camera}/image_raw/compressed'
            self._node.create_subscription(CompressedImage, topic, self._see, 10, raw=True)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _hear(self, topic: str) -> Callable[[bytes, Any], None]:
        sent = self.sent[topic]
        return lambda _, info: sent.append(info['source_timestamp'])

    def _see(self, _: bytes) -> None:
        self.images += 1

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something has come."""
        deadline = time.monotonic() + START_S
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError('nothing came: look at the player with ros2 topic list')
            time.sleep(0.05)

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)


@contextlib.contextmanager
def process(*words: str, quiet: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Run a process until the end of the block."""
    output = subprocess.DEVNULL if quiet else subprocess.PIPE
    child = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(10.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def role(*words: object, quiet: bool = True) -> contextlib.AbstractContextManager[Any]:
    """Run this file in another role."""
    return process(sys.executable, __file__, '--role', *map(str, words), quiet=quiet)


def player(usdz: Path, server: str) -> contextlib.AbstractContextManager[Any]:
    """Run a player that plays in a loop, otherwise at its defaults."""
    parameters = {'usdz_path': usdz, 'server': server, 'autoplay': 'true', 'loop': 'true'}
    words = [word for key, value in parameters.items() for word in ('-p', f'{key}:={value}')]
    return process(sys.executable, '-m', 'nurec_ros.cli.player', '--ros-args', *words)


def cpu_s(pid: int) -> float:
    """Give the processor time that a process has used: user and system."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def deviations(sent: list[int], from_ns: int, to_ns: int) -> np.ndarray[Any, Any]:
    """Give by how many ms the gaps in a span differ from the period."""
    times = np.array([one for one in sorted(sent) if from_ns <= one < to_ns])
    return np.abs(np.diff(times) / 1e6 - PERIOD_MS)


def measure_clock(usdz: Path, scenario: Scenario, seconds: float, cameras: int) -> bool:
    """Measure both clocks while a client calls; say whether all answers were right."""
    names = [name for name, camera in scenario.cameras.items() if camera.renderable][:cameras]
    span = (scenario.start_ns, scenario.end_ns)
    observer = Observer(names)
    try:
        with (
            role('server', scenario.scene_id, quiet=False) as server,
            player(usdz, server.stdout.readline().strip()) as playing,
            role('bare'),
        ):
            observer.until(lambda: all(observer.sent.values()) and observer.images)
            time.sleep(WARM_UP_S)
            from_ns, images, used = time.time_ns(), observer.images, cpu_s(playing.pid)
            with role('client', *span, seconds, quiet=False) as client:
                result = json.loads(client.stdout.readline())
            to_ns = time.time_ns()
            images, used = observer.images - images, cpu_s(playing.pid) - used
    finally:
        observer.close()
    took = (to_ns - from_ns) / 1e9
    wrong = result['wrong']
    print(f'{result["calls"]} calls in {took:.0f} s ({result["per_s"]:.0f}/s), none lost,')
    print(f'{len(wrong)} answers wrong, the slowest took {result["slowest_s"] * 1e3:.0f} ms;')
    print(f'{images / took:.0f} images/s of {len(names)} cameras;')
    print(f'the player used {used / took:.0%} of a core')
    for line in wrong[:5]:
        print(f'  {line}')
    print(f'\n{"off 10 ms by, ms":20}{"messages":>10}{"p50":>8}{"p95":>8}{"p99":>8}{"max":>8}')
    p99 = {}
    for topic, sent in observer.sent.items():
        off = deviations(sent, from_ns, to_ns)
        figures = [*np.percentile(off, (50, 95, 99)), off.max()]
        p99[topic] = figures[2]
        print(f'{topic:20}{len(off) + 1:10}' + ''.join(f'{figure:8.2f}' for figure in figures))
    ratio = p99['/clock'] / p99['/bare_clock']
    good = ratio <= GOAL_RATIO or p99['/clock'] <= GOAL_MS
    print(f'p99 ratio {ratio:.2f} (goal {GOAL_RATIO:g}, or {GOAL_MS:g} ms):', _verdict(good))
    return not wrong


def measure_cpu(usdz: Path, scenario: Scenario, seconds: float) -> None:
    """Measure what playing costs without image subscribers."""
    print(f'{len(scenario.tracks.ids)} road users, {len(scenario.cameras)} cameras, playing\n')
    good = True
    with contextlib.ExitStack() as stack:
        bare = stack.enter_context(role('bare'))
        playing = stack.enter_context(player(usdz, 'localhost:1'))
        for name in ('nobody listens', 'all but images is listened to'):
            if name != 'nobody listens':
                stack.enter_context(role('listener'))
            time.sleep(2 * WARM_UP_S)
            before, from_s = (cpu_s(playing.pid), cpu_s(bare.pid)), time.monotonic()
            time.sleep(seconds)
            took = time.monotonic() - from_s
            shares = [
                (cpu_s(child.pid) - used) / took
                for child, used in zip((playing, bare), before, strict=True)
            ]
            good = good and shares[0] < GOAL_CPU
            ratio = shares[0] / shares[1] if shares[1] else float('inf')
            print(f'{name:32}{shares[0]:8.1%} of a core', end='')
            print(f'   bare 100 Hz timer {shares[1]:.1%}   ratio {ratio:.1f}')
    print(f'goal {GOAL_CPU:.0%}:', _verdict(good))


def _verdict(good: bool) -> str:
    return 'met' if good else 'MISSED'


def main() -> int:
    """Run the measurements, or one of the roles; 1 where answers were wrong."""
    # Python has a package called test as well.
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ['--role']:
        name, *rest = sys.argv[2:]
        if name == 'client':
            play_client(int(rest[0]), int(rest[1]), float(rest[2]))
        else:
            {'bare': play_bare, 'server': play_server, 'listener': play_listener}[name](*rest)
        return 0
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--usdz', type=Path, default=REAL if REAL.exists() else None)
    parser.add_argument('--seconds', type=float, default=30.0)
    parser.add_argument('--cameras', type=int, default=2)
    parser.add_argument('--only', choices=('clock', 'cpu'))
    arguments = parser.parse_args()
    from test.support.domain import claim_domain

    os.environ['ROS_DOMAIN_ID'] = str(claim_domain())
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
    with tempfile.TemporaryDirectory() as folder:
        usdz = arguments.usdz
        if usdz is None:
            from nurec_ros.example import write_example

            usdz = write_example(Path(folder) / 'example.usdz')
        try:
            scenario = Scenario.load(usdz)
        except NurecError as error:
            print(error, file=sys.stderr)
            return 1
        print(f'{usdz.name}; load of this machine {os.getloadavg()[0]:.1f}')
        right = True
        if arguments.only != 'cpu':
            print('\n# The clock while a client calls as fast as it can\n')
            right = measure_clock(usdz, scenario, arguments.seconds, arguments.cameras)
        if arguments.only != 'clock':
            print('\n# Processor\n')
            measure_cpu(usdz, scenario, arguments.seconds)
    return 0 if right else 1


if __name__ == '__main__':
    sys.exit(main())
