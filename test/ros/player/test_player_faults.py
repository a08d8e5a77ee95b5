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
Exceptions of a kind that nobody foresaw, wherever a player may meet them.

The player lives in this process and plays; something that it calls raises. It answers with a
refusal, or goes on; the log has the traceback once and the diagnostics tell it; and the scenario
plays on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
import json
from pathlib import Path
from test.support.archives import build_archive, CAMERAS, example_tracks, START_US
from test.support.player_bench import state_of
from test.support.waiting import until
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nurec_ros.errors import UnforeseenError
from nurec_ros.playback.playback import Playback
from nurec_ros.rendering.pipeline import RenderPipeline
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.ros import loading, parameters, topics
from nurec_ros.ros import player_node as player_module
from nurec_ros.ros.loading import Loaded
from nurec_ros.ros.outlet import Graph
from nurec_ros.ros.parameters import Parameters
from nurec_ros.ros.player_node import NurecPlayer
from nurec_ros.ros.reporter import Reporter
from nurec_ros.ros.sensor_topics import CameraTopics
from nurec_ros.ros.topics import ScenarioTopics, StateTopic
from nurec_ros.scenario import Scenario
import pytest
from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosbag2_interfaces import srv as rosbag2
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger

pytestmark = pytest.mark.ros

FRONT = CAMERAS[0]
DURATION_S = 600.0
ERROR = DiagnosticStatus.ERROR


class Host:
    """A player and a client of it, spun by the test: what a callback raises fails the test."""

    def __init__(self, usdz: Path, server: str) -> None:
        self.usdz = usdz
        self.context = rclpy.Context()
        rclpy.init(args=['test'], context=self.context)
        values = {
            'usdz_path': str(usdz),
            'server': server,
            'autoplay': True,
            'always_render': True,
            'resolution_scale': 0.05,
        }
        self.player = NurecPlayer(
            context=self.context,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.node = Node('client', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.player)
        self.executor.add_node(self.node)
        self.clocks: list[int] = []
        self.states: list[dict[str, Any]] = []
        self.playback_statuses: list[Any] = []
        self.infos: list[Any] = []
        self._clients: dict[str, Any] = {}
        # Whether the last test saw it live on.
        self.well = False
        listen = partial(self.node.create_subscription, qos_profile=100)
        listen(Clock, '/clock', self._on_clock)
        listen(DiagnosticStatus, '/nurec/state', lambda m: self.states.append(state_of(m)))
        listen(
            DiagnosticArray, '/diagnostics', lambda m: self.playback_statuses.append(m.status[0])
        )
        listen(CameraInfo, f'/nurec/{FRONT}/camera_info', self.infos.append)
        self.until(lambda: self.clocks and self.states and self.infos, 'the first moment')

    def _on_clock(self, message: Clock) -> None:
        self.clocks.append(message.clock.sec * 1_000_000_000 + message.clock.nanosec)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Spin both until a condition is true, and return it."""
        return until(condition, what, meanwhile=lambda: self.executor.spin_once(timeout_sec=0.05))

    def call(self, service_type: Any, name: str, request: Any = None) -> Any:
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, f'/nurec/{name}')
            self.until(self._clients[name].service_is_ready, name)
        future = self._clients[name].call_async(request or service_type.Request())
        return self.until(lambda: future.done() and future, f'the answer of {name}').result()

    def configure(self, **values: Any) -> Any:
        """Set parameters at once; give the result of the first."""
        request = SetParameters.Request(
            parameters=[Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        )
        return self.call(SetParameters, 'set_parameters', request).results[0]

    def lives(self) -> None:
        """Timers, services and parameters go on, and the first scenario plays on."""
        before = self.clocks[-1]
        # More than one of each, so that one was sent after this was called.
        counts = {'diagnostics': self.playback_statuses, 'images': self.infos}
        wanted = {name: len(messages) + 2 for name, messages in counts.items()}
        self.until(lambda: self.clocks[-1] > before, 'the clock going on')
        for name, count in wanted.items():
            self.until(lambda name=name, count=count: len(counts[name]) >= count, name)
        assert self.configure(tick_us=100_000).successful
        answer = self.call(Trigger, 'play')
        assert answer.success, answer.message
        state = json.loads(answer.message)
        assert (state['is_playing'], state['duration_s']) == (True, DURATION_S)
        assert self.player.is_playing

    def close(self) -> None:
        self.executor.shutdown()
        self.player.destroy_node()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture(scope='module')
def usdz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a scenario that does not end before the tests do."""
    # Few poses: each load shows the whole path, twice.
    return build_archive(
        tmp_path_factory.mktemp('usdz'),
        duration_s=DURATION_S,
        ego_hz=1.0,
        tracks=example_tracks(duration_s=3.0),
    )


@pytest.fixture(scope='module')
def host(usdz: Path, server: Any) -> Iterator[Host]:
    """Return a player that plays; its reports come ten times as often as they do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(player_module, 'REPORT_PERIOD_S', 0.1)
        host = Host(usdz, server.address)
    yield host
    host.close()


class Fault:
    """Raises, where it is put in the place of something, an exception of a class of its own."""

    number = 0

    def __init__(self) -> None:
        Fault.number += 1
        self.name = f'Fault{Fault.number}'
        self.error = type(self.name, (Exception,), {})
        self.raised = 0

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.raised += 1
        raise self.error('out of\nnowhere')

    @property
    def text(self) -> str:
        """Return what is said of it, in one line."""
        return f'{self.name}: out of nowhere'


@pytest.fixture
def fault(
    host: Host, usdz: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Any]]:
    """
    Give a context in which a public name raises.

    After it, the player must live, the log must have the traceback once, and the diagnostics must
    tell what was being done: `doing` stands in both.
    """
    if not host.well:
        host.lives()
    host.well = False
    capfd.readouterr()

    @contextmanager
    def planted(owner: Any, name: str, doing: str) -> Iterator[Fault]:
        fault = Fault()
        with pytest.MonkeyPatch.context() as patch:
            replacement = property(fault) if isinstance(vars(owner).get(name), property) else fault
            patch.setattr(owner, name, replacement)
            yield fault
            host.until(lambda: fault.raised, 'the fault')
        host.until(
            lambda: any(
                fault.text in status.message and doing in status.message and status.level == ERROR
                for status in host.playback_statuses
            ),
            'the diagnostics',
        )
        host.configure(usdz_path=str(usdz))
        host.lives()
        host.well = True
        log = capfd.readouterr().err
        assert log.count('Traceback') == 1, log
        told = [line for line in log.splitlines() if '[ERROR]' in line]
        assert len(told) == 1, log
        assert doing in told[0]
        assert f'{fault.text} (an error of nurec_ros)' in told[0]

    yield planted
    host.playback_statuses.clear()


@pytest.fixture(scope='module')
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return another scenario, with one camera in common and one of its own."""
    folder = tmp_path_factory.mktemp('other')
    return build_archive(folder, 'other.usdz', duration_s=3.0, cameras=(FRONT, 'camera_roof'))


# Loading.

STAGES = [
    (Scenario, 'load', 'reading {}'),
    (loading, 'moved_inward', 'reading {}'),
    (loading, 'choose_cameras', 'preparing the cameras of {}'),
    (parameters, 'topic_names', 'loading {}'),
    (RenderOptions, 'of', 'loading {}'),
    (loading, 'RenderPipeline', 'making the render pipeline of {}'),
    (loading, 'frame_names', 'making the topics of the cameras of {}'),
    (loading, 'CameraTopics', 'making the topics of the cameras of {}'),
    (RenderPipeline, 'output_model', 'making the topics of the cameras of {}'),
    (loading, 'Playback', 'making the playback of {}'),
    (RenderPipeline, 'start', 'starting the render pipeline of {}'),
    (Playback, 'play', 'loading {}'),
    (ScenarioTopics, 'change', 'making the topics of {}'),
    (topics, 'frame_names', 'making the topics of {}'),
]


@pytest.mark.parametrize(('owner', 'name', 'doing'), STAGES, ids=lambda one: str(one)[-24:])
def test_in_a_load(host: Host, other: Path, fault: Any, owner: Any, name: str, doing: str):
    host.configure(usdz_path=str(other), **{f'{CAMERAS[1]}.rate': 7.0})
    before = host.clocks[-1]
    with fault(owner, name, doing.format(other)) as planted:
        answer = host.call(Trigger, 'load')
        assert not answer.success
        assert doing.format(other) in answer.message
        assert planted.text in answer.message
    assert host.clocks[-1] > before
    # Nothing of the other scenario is left, and the cameras' own parameters are as they were.
    names = {topic for topic, _ in host.player.get_publisher_names_and_types_by_node('nurec', '/')}
    assert not [one for one in names if 'camera_roof' in one]
    assert {f'/nurec/{one}/camera_info' for one in CAMERAS} <= names
    assert not host.player.has_parameter('camera_roof.rate')
    assert host.player.get_parameter(f'{CAMERAS[1]}.rate').value == 7.0


@pytest.mark.parametrize(
    ('owner', 'name', 'doing'),
    [
        (Playback, 'leave', 'leaving the scenario before'),
        (Loaded, 'destroy_topics', 'leaving the scenario before'),
        (Reporter, 'loaded', 'taking note of the load'),
        (Parameters, 'unused_overrides', 'taking note of the load'),
    ],
    ids=lambda one: str(one)[-24:],
)
def test_once_a_load_cannot_go_back_it_goes_on(
    host: Host, fault: Any, owner: Any, name: str, doing: str
):
    with fault(owner, name, doing):
        answer = host.call(Trigger, 'load')
        assert answer.success, answer.message
        assert json.loads(answer.message)['current_time_us'] == START_US


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (Scenario, 'load'),
        (loading, 'RenderPipeline'),
        (ScenarioTopics, 'change'),
        (Graph, 'advertise'),
    ],
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


# Services and parameters.

SERVICES = [
    ('play', Trigger, Playback, 'play'),
    ('stop', Trigger, Playback, 'stop'),
    ('reset', Trigger, Playback, 'reset'),
    ('tick', Trigger, Playback, 'step'),
    ('pause', rosbag2.Pause, Playback, 'stop'),
    ('resume', rosbag2.Resume, Playback, 'play'),
    ('toggle_paused', rosbag2.TogglePaused, Playback, 'stop'),
    ('is_paused', rosbag2.IsPaused, NurecPlayer, 'is_playing'),
    ('get_rate', rosbag2.GetRate, NurecPlayer, 'rate'),
    ('seek', rosbag2.Seek, Playback, 'seek'),
    ('play_next', rosbag2.PlayNext, Playback, 'step'),
]


@pytest.mark.parametrize(
    ('service', 'kind', 'owner', 'name'), SERVICES, ids=lambda one: str(one)[-12:]
)
def test_in_a_service(host: Host, fault: Any, service: str, kind: Any, owner: Any, name: str):
    with fault(owner, name, f'answering ~/{service}') as planted:
        answer = host.call(kind, service)
        # Some of rosbag2's have no room for it.
        assert not getattr(answer, 'success', False)
        if kind is Trigger:
            reason = f'unforeseen error while answering ~/{service}: {planted.text}'
            assert answer.message == reason


@pytest.mark.parametrize(
    ('values', 'owner', 'name', 'how'),
    [
        ({'rate': 3.0}, Playback, 'set_rate', 'applied'),
        ({'resolution_scale': 0.1}, RenderPipeline, 'update', 'applied'),
        ({'camera_rate': 5.0}, Loaded, 'schedule', 'applied'),
        ({'rate': 3.0}, parameters, 'convert', 'checked'),
    ],
    ids=['rate', 'resolution_scale', 'camera_rate', 'convert'],
)
def test_in_a_change_of_a_parameter(
    host: Host, fault: Any, values: dict[str, Any], owner: Any, name: str, how: str
):
    (parameter,) = values
    before = host.player.get_parameter(parameter).value
    with fault(owner, name, f'setting {parameter}'):
        result = host.configure(**values)
        assert not result.successful
        assert result.reason.startswith(f'{parameter} could not be {how}: ')
    assert host.player.get_parameter(parameter).value == before
    # What was refused can be set once it is possible.
    assert host.configure(**values).successful
    assert host.configure(**{parameter: before}).successful


def test_in_set_rate(host: Host, fault: Any):
    with fault(Playback, 'set_rate', 'setting rate'):
        answer = host.call(rosbag2.SetRate, 'set_rate', rosbag2.SetRate.Request(rate=3.0))
        assert not answer.success
    assert host.player.rate == 1.0


# Timers and effects.

TIMERS = [
    ('advance', 'advancing the clock', False),
    ('show_tracks', 'showing the road users', False),
    ('look', 'looking for subscribers', False),
    ('repeat', 'repeating the halted moment', True),
    ('again', 'showing a jump again', True),
]


@pytest.mark.parametrize(('name', 'doing', 'halted'), TIMERS, ids=lambda one: str(one)[:12])
def test_in_a_timer(host: Host, fault: Any, name: str, doing: str, halted: bool):
    with fault(Playback, name, doing) as planted:
        if halted:
            assert host.call(Trigger, 'reset').success
        host.until(lambda: planted.raised, 'the timer')
        if halted:
            assert host.call(Trigger, 'play').success


def test_in_the_report(host: Host, fault: Any):
    with fault(Graph, 'watch', 'reporting'):
        pass


def seek(host: Host, back_s: float) -> None:
    request = rosbag2.Seek.Request()
    t_ns = host.clocks[-1] - round(back_s * 1e9)
    request.time.sec, request.time.nanosec = divmod(t_ns, 1_000_000_000)
    assert host.call(rosbag2.Seek, 'seek', request).success


EFFECTS = [
    (ScenarioTopics, 'show', 'Show', 'tick'),
    (ScenarioTopics, 'show_jump', 'ShowJump', 'seek'),
    (ScenarioTopics, 'show_jump', 'ShowJump', 'load'),
    (StateTopic, 'publish', 'Announce', 'tick'),
    (RenderPipeline, 'submit', 'Render', 'tick'),
    (Loaded, 'discard', 'Discard', 'seek'),
]


@pytest.mark.parametrize(
    ('owner', 'name', 'effect', 'service'), EFFECTS, ids=lambda one: str(one)[-12:]
)
def test_in_an_effect(host: Host, fault: Any, owner: Any, name: str, effect: str, service: str):
    """Whatever becomes of its effects, a service does what was asked for."""
    with fault(owner, name, f'carrying out {effect}') as planted:
        if service == 'seek':
            seek(host, 0.2)
        else:
            answer = host.call(Trigger, service)
            assert answer.success, answer.message
        host.until(lambda: planted.raised, 'the effect')


def test_in_publishing_an_image_a_step_has_lost_it(host: Host, fault: Any):
    # Each camera has a frame in each tick, whatever tests before this one have set.
    assert host.configure(**{f'{name}.rate': -1.0 for name in CAMERAS}).successful
    with fault(CameraTopics, 'publish', 'publishing an image') as planted:
        assert host.call(Trigger, 'stop').success
        state = json.loads(host.call(Trigger, 'tick').message)
        assert sorted(state['failed_images']) == sorted(CAMERAS)
        assert state['failed_images'][FRONT] == (
            f'1 of 1 lost: unforeseen error while publishing an image: {planted.text}'
        )
        assert host.call(Trigger, 'play').success
