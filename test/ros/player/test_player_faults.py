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
Exceptions of a kind that nobody foresaw, wherever a player may meet them, and what stays behind.

The player lives in this process and plays; something that it calls raises. It answers with a
refusal, or goes on; the log has the traceback once and the diagnostics tell it; and the scenario
plays on.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import gc
import os
from pathlib import Path
import re
from test.support.archives import build_archive, CAMERAS, example_tracks, START_US
from test.support.player_bench import BEGIN_NS, FRONT, PlayerClient, REAR, SECOND, stamp_ns
from test.support.waiting import until
import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TwistStamped
from nurec_ros.errors import UnforeseenError
from nurec_ros.playback.clock import Schedule
from nurec_ros.playback.course import Course
from nurec_ros.playback.playback import Playback
from nurec_ros.rendering.pipeline import RenderPipeline
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.ros import loading, parameters, player_node, topics
from nurec_ros.ros.loading import Loaded
from nurec_ros.ros.outlet import Graph
from nurec_ros.ros.player_node import NurecPlayer
from nurec_ros.ros.reporter import Reporter
from nurec_ros.ros.sensor_topics import CameraTopics
from nurec_ros.ros.topics import ScenarioTopics, StateTopic
from nurec_ros.scenario import Scenario
from nurec_ros.settings import Settings
import pytest
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosbag2_interfaces import srv as rosbag2
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

pytestmark = pytest.mark.ros

DURATION_S = 300.0
LATER_NS = BEGIN_NS + SECOND


class Host(PlayerClient):
    """A player and its client, spun by the test: what a callback raises fails the test."""

    def __init__(self, usdz: Path, server: str, name: str = 'nurec') -> None:
        values = {
            'usdz_path': str(usdz),
            'server': server,
            'autoplay': True,
            'resolution_scale': 0.05,
            'clock_rate': 50.0,
            f'{REAR}.rate': 10.0,
        }
        self.context = rclpy.Context()
        rclpy.init(args=['test'], context=self.context)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(player_node, 'REPORT_PERIOD_S', 0.05)
            self.player = NurecPlayer(
                name,
                context=self.context,
                parameter_overrides=[Parameter(key, value=one) for key, one in values.items()],
            )
        super().__init__(self.context, name=f'/{name}')
        self.listener.executor.add_node(self.player)
        self.images = [self.listen(Image, f'~/{camera}/image_raw') for camera in CAMERAS]
        self.listen(MarkerArray, '~/tracks')
        self.more(self.clocks, self.reports, *self.images)

    def more(self, *kinds: list[Any], count: int = 2) -> None:
        """Spin until so many more of each have come; of two, one was sent after this."""
        wanted = [len(messages) + count for messages in kinds]
        self.until(lambda: all(map(lambda a, b: len(a) >= b, kinds, wanted)), 'more messages')

    def lives(self) -> None:
        """Timers, services and parameters go on, and the first scenario plays on."""
        assert self.configure(tick_us=100_000)[0].successful
        state = self.trigger('play')
        assert (state['is_playing'], state['duration_s']) == (True, DURATION_S)
        self.more(self.clocks, self.reports, *self.images)
        # A jump back may be shown only now.
        self.until(
            lambda: stamp_ns(self.clocks[-2]) < stamp_ns(self.clocks[-1]), 'the clock going on'
        )

    def close(self) -> None:
        self.player.destroy_node()
        super().close()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture(scope='module')
def usdz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a scenario that does not end before the tests do."""
    # Few poses: each load shows the whole path, twice.
    return build_archive(
        tmp_path_factory.mktemp('usdz'),
        duration_s=DURATION_S,
        ego_hz=0.5,
        tracks=example_tracks(duration_s=3.0),
    )


@pytest.fixture(scope='module')
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return another scenario, with one camera in common and one of its own."""
    folder = tmp_path_factory.mktemp('other')
    return build_archive(folder, duration_s=3.0, cameras=(FRONT, 'camera_roof'))


@pytest.fixture(scope='module')
def host(usdz: Path, server: Any) -> Iterator[Host]:
    """Return a player that plays; its reports come twenty times as often as they do."""
    host = Host(usdz, server.address)
    yield host
    host.close()


class Fault:
    """Raises, where it is put in the place of something, an exception of a class of its own."""

    number = 0

    def __init__(self) -> None:
        Fault.number += 1
        self.error = type(f'Fault{Fault.number}', (Exception,), {})
        # What is said of it, in one line.
        self.text = f'Fault{Fault.number}: out of nowhere'
        self.raised = False

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.raised = True
        raise self.error('out of\nnowhere')


@pytest.fixture
def fault(
    host: Host, usdz: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Any]]:
    """
    Return a context in which a public name raises.

    After it, the player must live, the log must have the traceback once, and the diagnostics must
    tell what was being done: `doing` stands in both.
    """
    host.trigger('play')
    capfd.readouterr()

    @contextmanager
    def planted(owner: Any, name: str, doing: str) -> Iterator[Fault]:
        fault = Fault()
        with pytest.MonkeyPatch.context() as patch:
            replacement = property(fault) if isinstance(vars(owner).get(name), property) else fault
            patch.setattr(owner, name, replacement)
            yield fault
            host.until(lambda: fault.raised, 'the fault')

        def told(status: Any) -> bool:
            is_error = status.level == DiagnosticStatus.ERROR
            return is_error and fault.text in status.message and doing in status.message

        host.until(lambda: any(told(one.status[0]) for one in host.reports), 'the diagnostics')
        host.lives()
        log = capfd.readouterr().err
        assert log.count('Traceback') == 1, log
        (line,) = [line for line in log.splitlines() if '[ERROR]' in line]
        assert doing in line
        assert f'{fault.text} (an error of nurec_ros)' in line

    yield planted
    host.reports.clear()
    host.player.set_parameters([Parameter('usdz_path', value=str(usdz))])


@pytest.mark.parametrize(
    ('owner', 'name', 'doing'),
    [
        (Scenario, 'load', 'reading {}'),
        (Settings, 'range_ns', 'reading {}'),
        (loading, 'choose', 'preparing the cameras of {}'),
        (parameters, 'topic_names', 'loading {}'),
        (RenderOptions, 'of', 'loading {}'),
        (loading, 'RenderPipeline', 'making the render pipeline of {}'),
        (loading, 'CameraTopics', 'making the topics of the cameras of {}'),
        (loading, 'Playback', 'making the playback of {}'),
        (RenderPipeline, 'start', 'starting the render pipeline of {}'),
        (Playback, 'play', 'loading {}'),
        (topics, 'frame_names', 'making the topics of {}'),
    ],
)
def test_in_a_load(host: Host, other: Path, fault: Any, owner: Any, name: str, doing: str):
    host.configure(usdz_path=str(other))
    with fault(owner, name, doing.format(other)) as planted:
        answer = host.call(Trigger, 'load')
        assert not answer.success
        assert doing.format(other) in answer.message
        assert planted.text in answer.message
    # Nothing of the other scenario is left, and the cameras' own parameters are as they were.
    names = {topic for topic, _ in host.player.get_publisher_names_and_types_by_node('nurec', '/')}
    assert not [one for one in names if 'camera_roof' in one]
    assert {f'/nurec/{one}/camera_info' for one in CAMERAS} <= names
    assert not host.player.has_parameter('camera_roof.rate')
    assert host.player.get_parameter(f'{REAR}.rate').value == 10.0


@pytest.mark.parametrize(
    ('owner', 'name', 'doing'),
    [
        (Playback, 'leave', 'leaving the scenario before'),
        (Loaded, 'destroy_topics', 'leaving the scenario before'),
        (Reporter, 'loaded', 'taking note of the load'),
    ],
)
def test_once_a_load_cannot_go_back_it_goes_on(
    host: Host, fault: Any, owner: Any, name: str, doing: str
):
    with fault(owner, name, doing):
        assert host.trigger('load')['current_time_us'] == START_US


@pytest.mark.parametrize(
    ('owner', 'name'), [(ScenarioTopics, 'change'), (Graph, 'advertise')], ids=['last', 'first']
)
def test_at_start_it_is_one_error_and_no_node_is_left(
    make_context: Any, usdz: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
):
    fault = Fault()
    monkeypatch.setattr(owner, name, fault)
    context = make_context()
    values = [Parameter('usdz_path', value=str(usdz)), Parameter('server', value='localhost:1')]
    with pytest.raises(UnforeseenError) as caught:
        NurecPlayer('failed', context=context, parameter_overrides=values)
    assert fault.text in str(caught.value)
    assert '\n' not in str(caught.value)
    node = Node('observer', context=context)
    assert 'failed' not in node.get_node_names()
    node.destroy_node()


# Each way to answer: with a message, later, with nothing, with a value, with success alone.
SERVICES = [
    ('play', Trigger, Playback, 'play', ''),
    ('tick', Trigger, Playback, 'step', ''),
    ('toggle_paused', rosbag2.TogglePaused, Playback, 'stop', ''),
    ('is_paused', rosbag2.IsPaused, NurecPlayer, 'is_playing', ''),
    ('seek', rosbag2.Seek, Playback, 'seek', ''),
    ('play_next', rosbag2.PlayNext, Playback, 'step', ''),
    ('set_rate', rosbag2.SetRate, Playback, 'set_rate', 'setting rate'),
]


@pytest.mark.parametrize(('service', 'kind', 'owner', 'name', 'doing'), SERVICES)
def test_in_a_service(
    host: Host, fault: Any, service: str, kind: Any, owner: Any, name: str, doing: str
):
    request = kind.Request(**({'rate': 3.0} if service == 'set_rate' else {}))
    with fault(owner, name, doing or f'answering ~/{service}') as planted:
        answer = host.call(kind, service, request)
        # Some of rosbag2's have no room for it.
        assert not getattr(answer, 'success', False)
        if kind is Trigger:
            reason = f'unforeseen error while answering ~/{service}: {planted.text}'
            assert answer.message == reason
    assert host.player.rate == 1.0


def test_in_a_step_that_a_jump_back_holds_up(host: Host, fault: Any):
    """It begins with a timer then, and whoever waits for it is answered all the same."""
    host.player.stop()
    with fault(Course, 'step', 'answering ~/tick') as planted:
        host.player.reset()
        answer = host.call(Trigger, 'tick')
        assert answer.message == f'unforeseen error while answering ~/tick: {planted.text}'


def test_in_an_input_of_the_ego(host: Host, fault: Any):
    host.configure(ego_source='twist')
    publisher = host.listener.node.create_publisher(TwistStamped, '/nurec/cmd_vel', 10)
    with fault(Playback, 'put', 'taking an input of the ego') as planted:
        host.until(lambda: publisher.publish(TwistStamped()) or planted.raised, 'the fault')
    host.configure(ego_source='recorded')


@pytest.mark.parametrize(
    ('parameter', 'value', 'owner', 'name', 'how'),
    [
        ('rate', 3.0, Playback, 'set_rate', 'applied'),
        ('resolution_scale', 0.1, RenderPipeline, 'update', 'applied'),
        ('camera_rate', 5.0, Loaded, 'schedule', 'applied'),
        ('rate', 3.0, parameters, 'convert', 'checked'),
    ],
)
def test_in_a_change_of_a_parameter(
    host: Host, fault: Any, parameter: str, value: float, owner: Any, name: str, how: str
):
    before = host.player.get_parameter(parameter).value
    with fault(owner, name, f'setting {parameter}'):
        (result,) = host.configure(**{parameter: value})
        assert not result.successful
        assert result.reason.startswith(f'{parameter} could not be {how}: ')
    assert host.player.get_parameter(parameter).value == before
    # What was refused can be set once it is possible.
    assert host.configure(**{parameter: value})[0].successful
    assert host.configure(**{parameter: before})[0].successful


@pytest.mark.parametrize(
    ('owner', 'name', 'doing', 'service'),
    [
        (Playback, 'advance', 'advancing the clock', ''),
        (Playback, 'show_tracks', 'showing the road users', ''),
        (Playback, 'look', 'looking for subscribers', ''),
        (Playback, 'repeat', 'repeating the halted moment', 'stop'),
        (Playback, 'again', 'showing a jump again', 'reset'),
        (Graph, 'watch', 'reporting', ''),
        (ScenarioTopics, 'show', 'carrying out Show', 'tick'),
        (ScenarioTopics, 'show_jump', 'carrying out ShowJump', 'reset'),
        (ScenarioTopics, 'show_jump', 'carrying out ShowJump', 'load'),
        (StateTopic, 'publish', 'carrying out Announce', 'tick'),
        (RenderPipeline, 'submit', 'carrying out Render', 'tick'),
        (Loaded, 'discard', 'carrying out Discard', 'reset'),
    ],
)
def test_in_a_timer_or_an_effect(
    host: Host, fault: Any, owner: Any, name: str, doing: str, service: str
):
    """Whatever becomes of its effects, a service does what was asked for."""
    with fault(owner, name, doing):
        if service:
            host.trigger(service)


def test_in_publishing_an_image_a_step_has_lost_it(host: Host, fault: Any):
    with fault(CameraTopics, 'publish', 'publishing an image') as planted:
        host.trigger('stop')
        state = host.trigger('tick')
        reason = f'1 of 1 lost: unforeseen error while publishing an image: {planted.text}'
        assert state['failed_images'] == dict.fromkeys(CAMERAS, reason)


def test_a_jump_back_is_shown_after_a_picture_that_is_just_being_published(
    host: Host, monkeypatch: pytest.MonkeyPatch
):
    holds, opened, publish = threading.Event(), threading.Event(), CameraTopics.publish

    def gated(topics: CameraTopics, frame: Any) -> None:
        if frame.t_ns == LATER_NS:
            holds.set()
            assert opened.wait(60.0)
        publish(topics, frame)

    monkeypatch.setattr(CameraTopics, 'publish', gated)
    host.player.stop()
    host.player.seek(LATER_NS)
    host.until(lambda: holds.is_set() and stamp_ns(host.clocks[-1]) == LATER_NS, 'the picture')
    host.player.seek(BEGIN_NS)
    count = len(host.clocks)
    host.until(lambda: len(host.clocks) >= count + 10, 'more of the clock')
    assert {stamp_ns(clock) for clock in host.clocks[count:]} == {LATER_NS}
    opened.set()
    host.stands(BEGIN_NS)
    host.until(lambda: LATER_NS in map(stamp_ns, host.images[0]), 'the picture from before')


KINDS = (Loaded, Playback, Schedule, RenderPipeline, Scenario, CameraTopics)
ONE_OF_EACH = {kind.__name__: 1 for kind in KINDS} | {'CameraTopics': len(CAMERAS)}


def alive() -> dict[str, int]:
    """Count what there is of each kind that is not frozen."""
    gc.collect()
    return dict(Counter(type(one).__name__ for one in gc.get_objects() if type(one) in KINDS))


def threads() -> Counter[str]:
    """Count the threads by name, but for numbers and for the test's own render server's pool."""
    names = [re.sub(r'Thread-\d+', 'Thread', one.name) for one in threading.enumerate()]
    return Counter(name for name in names if 'ThreadPoolExecutor' not in name)


def go_through(host: Host, path: Path) -> None:
    """Load a file and use it: images while halted, stepped and playing, and a report."""
    host.configure(usdz_path=str(path), autoplay=False)
    host.trigger('load')
    host.more(host.images[0], count=1)
    assert 'failed_images' not in host.trigger('tick')
    host.trigger('play')
    host.more(host.images[0], host.reports)


def test_nothing_is_left_of_loads_nor_of_some_that_fail_nor_of_a_player(
    usdz: Path, other: Path, server: Any, monkeypatch: pytest.MonkeyPatch
):
    gc.collect()
    gc.freeze()
    host = Host(usdz, server.address, 'another')
    go_through(host, usdz)
    host.until(lambda: alive() == ONE_OF_EACH, 'the end of the first one')
    running, files = threads(), len(os.listdir('/proc/self/fd'))
    for path in (other, usdz, other, other):
        go_through(host, path)
    host.until(lambda: alive() == ONE_OF_EACH, 'the end of the others')
    host.until(lambda: threads() <= running, 'the end of their threads')
    host.until(lambda: len(os.listdir('/proc/self/fd')) <= files, 'the closing of their files')
    with monkeypatch.context() as patch:
        patch.setattr(RenderPipeline, 'start', Fault())
        for _ in range(3):
            assert not host.call(Trigger, 'load').success
    # What was raised, and all that its traceback holds, is kept by nobody.
    host.until(lambda: alive() == ONE_OF_EACH, 'the end of those that failed')
    host.close()
    del host
    until(lambda: not alive(), lambda: f'the end of {alive()}')
    gc.unfreeze()
