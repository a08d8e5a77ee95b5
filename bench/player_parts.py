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
The processes of benchmarks: a bare node, a render server, clients, and the player itself.

    python bench/player_parts.py ROLE [ARGUMENT…]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import rclpy
from rclpy.clock import Clock as SteadyClock
from rclpy.clock import ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

ROOT = Path(__file__).resolve().parent.parent
PERIOD_MS = 10.0
WARM_UP_S = 3.0
START_S = 60.0
LOADS_TOLD = (0, 1, 2, 10, 50, 100, 200, 350, 500, 1000)


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


def play_trigger() -> None:
    """Answer a Trigger service, and nothing else."""
    from std_srvs.srv import Trigger

    rclpy.init()
    node = Node('bare_trigger')
    node.create_service(Trigger, '/bare_trigger', lambda _, answer: answer)
    _spin(node)


class Services:
    """Calls services one after another, and says how long each took to answer."""

    def __init__(self, *names: str) -> None:
        from rosbag2_interfaces.srv import PlayNext
        from std_srvs.srv import Trigger

        rclpy.init()
        self._node = Node('steps')
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._clients = {
            name: self._node.create_client(
                PlayNext if name.endswith('play_next') else Trigger, name
            )
            for name in names
        }
        for name, client in self._clients.items():
            if not client.wait_for_service(START_S):
                raise RuntimeError(f'there is no {name}')
        # A reply may be lost before the server knows its client.
        time.sleep(WARM_UP_S)

    def call(self, name: str) -> tuple[float, Any]:
        """Return how long a call took, in ms, and the answer."""
        client = self._clients[name]
        request = client.srv_type.Request()
        started = time.perf_counter()
        future = client.call_async(request)
        while not future.done():
            self._executor.spin_once(timeout_sec=START_S)
        return 1e3 * (time.perf_counter() - started), future.result()


def play_steps(calls: int) -> None:
    """Call each service in turn; print how long they took, in ms."""
    names = ('/bare_trigger', '/nurec/stop', '/nurec/tick', '/nurec/play_next')
    services = Services(*names, '/nurec/reset')
    took: dict[str, list[float]] = {name: [] for name in names}
    services.call('/nurec/reset')
    failed = 0
    for _ in range(calls):
        for name in names:
            spent, answer = services.call(name)
            took[name].append(spent)
            failed += not answer.success and name != '/bare_trigger'
    print(json.dumps({'took': took, 'failed': failed}), flush=True)


def play_loads(pid: int, count: int) -> None:
    """Have a player load its file so often; print what it holds now and then."""
    services = Services('/nurec/load')
    held = []
    for number in range(count + 1):
        if number:
            _, answer = services.call('/nurec/load')
            if not answer.success:
                raise RuntimeError(answer.message)
        if number in LOADS_TOLD or number == count:
            # What the load before left is closed in a thread of its own.
            time.sleep(1.0)
            held.append((number, *holds(pid)))
    print(json.dumps(held), flush=True)


def holds(pid: int) -> tuple[float, int, int]:
    """Return a process's memory in MB, its threads and its descriptors."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    values = dict(line.split(':', 1) for line in lines if ':' in line)
    descriptors = len(list(Path(f'/proc/{pid}/fd').iterdir()))
    return int(values['VmRSS'].split()[0]) / 1024, int(values['Threads']), descriptors


def play_listener() -> None:
    """Listen to all that is not an image, as rviz does."""
    from nurec_ros.export.bag import message_class

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
def process(
    *words: str, quiet: bool = True, folder: Path = ROOT
) -> Iterator[subprocess.Popen[str]]:
    """Run a process in a folder until the end of the block."""
    output = subprocess.DEVNULL if quiet else subprocess.PIPE
    child = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=folder,
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
    return process(sys.executable, __file__, *map(str, words), quiet=quiet)


def player(
    usdz: Path, server: str, code: Path = ROOT, **more: object
) -> contextlib.AbstractContextManager[Any]:
    """Run a player of a checkout, otherwise at its defaults; it plays in a loop."""
    parameters = {'usdz_path': usdz, 'server': server, 'autoplay': 'true', 'loop': 'true', **more}
    words = [word for key, value in parameters.items() for word in ('-p', f'{key}:={value}')]
    # Python takes the package in the folder that it is started in before an installed one.
    return process(sys.executable, '-m', 'nurec_ros.cli.player', '--ros-args', *words, folder=code)


def wait_until_it_plays(domain: int | None = None) -> None:
    """Wait for the player's state to say so; nobody subscribes to anything after that."""
    from diagnostic_msgs.msg import DiagnosticStatus

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node('waiting', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    states: list[DiagnosticStatus] = []
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(DiagnosticStatus, '/nurec/state', states.append, qos)
    deadline = time.monotonic() + START_S
    while not any(
        (one.key, one.value) == ('is_playing', 'true') for state in states for one in state.values
    ):
        if time.monotonic() > deadline:
            raise RuntimeError('the player does not play')
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown(context=context)
    # What was prepared for the start, and the watch for subscribers, has its time.
    time.sleep(3.0)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used: user and system."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def play(name: str, rest: list[str]) -> None:
    """Play one of the roles."""
    if name == 'client':
        play_client(int(rest[0]), int(rest[1]), float(rest[2]))
    elif name == 'steps':
        play_steps(int(rest[0]))
    elif name == 'loads':
        play_loads(int(rest[0]), int(rest[1]))
    elif name == 'server':
        play_server(rest[0])
    else:
        {'bare': play_bare, 'trigger': play_trigger, 'listener': play_listener}[name]()


if __name__ == '__main__':
    # Python has a package called test as well.
    sys.path.insert(0, str(ROOT))
    play(sys.argv[1], sys.argv[2:])
