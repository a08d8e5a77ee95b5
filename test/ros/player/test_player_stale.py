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
"""A picture that is being published while the clock jumps back."""

from test.support.archives import CAMERAS, START_US
from test.support.player_bench import stamp_ns
import threading

from nurec_ros.ros.camera_topics import CameraTopics
from nurec_ros.ros.player_node import NurecPlayer
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo

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
