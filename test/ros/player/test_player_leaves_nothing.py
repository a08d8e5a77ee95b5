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
"""Nothing is left behind: of a scenario after a load, of a time after a jump."""

from collections import Counter
from collections.abc import Callable
import gc
import json
import os
from pathlib import Path
import re
from test.support.archives import build_archive, CAMERAS, START_US
from test.support.player_bench import stamp_ns
from test.support.waiting import until
import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from nurec_ros.playback.clock import Schedule
from nurec_ros.playback.playback import Playback
from nurec_ros.rendering.pipeline import RenderPipeline
from nurec_ros.ros import player_node
from nurec_ros.ros.loading import Loaded
from nurec_ros.ros.player_node import NurecPlayer
from nurec_ros.ros.sensor_topics import CameraTopics
from nurec_ros.scenario import Scenario
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

pytestmark = pytest.mark.ros
KINDS = (Loaded, Playback, Schedule, RenderPipeline, Scenario, CameraTopics)
ONE_OF_EACH = {kind.__name__: 1 for kind in KINDS} | {'CameraTopics': len(CAMERAS)}


class Census:
    """Counts what there is in this process of each kind, and was not when it began."""

    def __init__(self) -> None:
        gc.collect()
        # Held, so that their addresses are nobody else's.
        self._before = [one for one in gc.get_objects() if type(one) in KINDS]

    def __call__(self) -> dict[str, int]:
        gc.collect()
        known = {id(one) for one in self._before}
        new = [one for one in gc.get_objects() if type(one) in KINDS and id(one) not in known]
        return dict(Counter(type(one).__name__ for one in new))


@pytest.fixture
def alive() -> Census:
    """Return a census that begins with the test."""
    return Census()


def threads() -> Counter[str]:
    """Count the threads by name, but for numbers and for the test's own render server's pool."""
    names = [re.sub(r'Thread-\d+', 'Thread', one.name) for one in threading.enumerate()]
    return Counter(name for name in names if 'ThreadPoolExecutor' not in name)


def open_files() -> int:
    return len(os.listdir('/proc/self/fd'))


class Host:
    """A player that reports often, and a client that hears images, spun by the test."""

    def __init__(self, context: Any, usdz: Path, server: str) -> None:
        values = {'usdz_path': str(usdz), 'server': server, 'resolution_scale': 0.05}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(player_node, 'REPORT_PERIOD_S', 0.1)
            self.player = NurecPlayer(
                context=context,
                parameter_overrides=[Parameter(name, value=one) for name, one in values.items()],
            )
        self.node = Node('client', context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.player)
        self.executor.add_node(self.node)
        self.images: list[Any] = []
        self.reports: list[Any] = []
        for name in CAMERAS:
            topic = f'/nurec/{name}/image_raw'
            self.node.create_subscription(Image, topic, self.images.append, 10)
        self.node.create_subscription(MarkerArray, '/nurec/tracks', lambda _: None, 10)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self.reports.append, 10)
        self._clients = {
            name: self.node.create_client(Trigger, f'/nurec/{name}')
            for name in ('load', 'play', 'tick')
        }
        for name, client in self._clients.items():
            self.until(client.service_is_ready, name)

    def until(self, condition: Callable[[], Any], what: str) -> None:
        until(condition, what, meanwhile=lambda: self.executor.spin_once(timeout_sec=0.05))

    def trigger(self, name: str) -> Any:
        future = self._clients[name].call_async(Trigger.Request())
        self.until(future.done, name)
        return future.result()

    def more(self, messages: list[Any]) -> None:
        count = len(messages)
        self.until(lambda: len(messages) > count, 'more messages')
        messages.clear()

    def go_through(self, path: Path) -> None:
        """Load a file and use it: images while halted, stepped and playing, and a report."""
        self.player.set_parameters([Parameter('usdz_path', value=str(path))])
        answer = self.trigger('load')
        assert answer.success, answer.message
        self.more(self.images)
        assert 'failed_images' not in json.loads(self.trigger('tick').message)
        assert self.trigger('play').success
        self.more(self.images)
        self.more(self.reports)

    def close(self) -> None:
        self.executor.shutdown()
        self.player.destroy_node()
        self.node.destroy_node()


@pytest.fixture
def host(alive: Census, make_context: Any, usdz: Path, server: Any) -> Any:
    host = Host(make_context(), usdz, server.address)
    yield host
    host.close()


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return build_archive(tmp_path, 'other.usdz', duration_s=3.0)


def test_only_the_last_of_many_loads_is_alive(host: Host, alive: Census, usdz: Path, other: Path):
    host.go_through(usdz)
    host.until(lambda: alive() == ONE_OF_EACH, 'the end of the first one')
    running, files = threads(), open_files()
    for path in (other, usdz, other, other):
        host.go_through(path)
    host.until(lambda: alive() == ONE_OF_EACH, 'the end of the others')
    host.until(lambda: threads() <= running, 'the end of their threads')
    host.until(lambda: open_files() <= files, 'the closing of their files')


def test_nothing_is_left_of_loads_that_fail(
    host: Host, alive: Census, usdz: Path, other: Path, monkeypatch: pytest.MonkeyPatch
):
    host.go_through(usdz)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    host.player.set_parameters([Parameter('usdz_path', value=str(other))])
    with monkeypatch.context() as patch:
        patch.setattr(RenderPipeline, 'start', fail)
        for _ in range(3):
            assert not host.trigger('load').success
    # What was raised, and all that its traceback holds, is kept by nobody.
    host.until(lambda: alive() == ONE_OF_EACH, 'the end of the others')


def test_nothing_is_left_of_a_player(alive: Census, make_context: Any, usdz: Path, server: Any):
    host = Host(make_context(), usdz, server.address)
    host.go_through(usdz)
    host.close()
    del host
    until(lambda: not alive(), lambda: f'the end of {alive()}')


BEGIN_NS = START_US * 1000
LATER_NS = BEGIN_NS + 1_000_000_000


class Gate:
    """Holds a picture of LATER right before it is published, until it is opened."""

    def __init__(self):
        self.holds = threading.Event()
        self.opened = threading.Event()
        self._publish = CameraTopics.publish

    def publish(self, topics, frame):
        if frame.t_ns == LATER_NS:
            self.holds.set()
            assert self.opened.wait(60.0)
        self._publish(topics, frame)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate()
    monkeypatch.setattr(CameraTopics, 'publish', lambda topics, frame: gate.publish(topics, frame))
    yield gate
    gate.opened.set()


@pytest.fixture
def player(make_context, usdz, server):
    values = {'usdz_path': str(usdz), 'server': server.address}
    player = NurecPlayer(
        context=make_context(),
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    yield player
    player.destroy_node()


@pytest.fixture
def executor(player):
    executor = SingleThreadedExecutor(context=player.context)
    executor.add_node(player)
    yield executor
    executor.shutdown()


def test_the_jump_is_shown_after_it(player, executor, listener, gate):
    clocks = listener.listen(Clock, '/clock')
    infos = listener.listen(CameraInfo, f'/nurec/{CAMERAS[0]}/camera_info')

    def until(condition, what):
        def spun():
            executor.spin_once(timeout_sec=0.0)
            return condition()

        listener.until(spun, what)

    until(lambda: clocks and infos, 'the first moment')
    player.seek(LATER_NS)
    until(lambda: gate.holds.is_set() and stamp_ns(clocks[-1]) == LATER_NS, 'the picture')
    player.seek(BEGIN_NS)
    count = len(clocks)
    until(lambda: len(clocks) >= count + 30, 'more of the clock')
    assert {stamp_ns(clock) for clock in clocks[count:]} == {LATER_NS}
    gate.opened.set()
    until(lambda: stamp_ns(clocks[-1]) == BEGIN_NS, 'the clock at begin')
    until(lambda: LATER_NS in map(stamp_ns, infos), 'the picture of the time before')
