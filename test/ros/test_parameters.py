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
"""The parameters on a real node: at start, at run time and over the parameter services."""

import array
from collections.abc import Callable
import json
from typing import Any

from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.ros.outlet import Graph, reliable
from nurec_ros.ros.parameters import ParameterGate, Parameters
from nurec_ros.settings import CAMERA_TABLE, Settings, TABLE
import pytest
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.exceptions import ParameterNotDeclaredException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from visualization_msgs.msg import MarkerArray
import yaml

pytestmark = pytest.mark.ros

NAMES = ('camera_front', 'camera_rear')


class GatedNode(ParameterGate, Node):
    """What NurecPlayer is to the parameters."""


class Started:
    """A node with parameters, and what was changed and what failed."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.changes: list[frozenset[str]] = []
        self.failures: list[tuple[str, Exception]] = []
        self.apply: Callable[[frozenset[str]], None] = self.changes.append
        self.parameters = Parameters(
            node,
            lambda changed: self.apply(changed),
            lambda *failure: self.failures.append(failure),
        )

    @property
    def settings(self) -> Any:
        return self.parameters.settings

    def put(self, **values: Any) -> Any:
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        return self.node.set_parameters_atomically(parameters)

    def stored(self, name: str) -> tuple[Parameter.Type, Any]:
        parameter = self.node.get_parameter(name)
        return parameter.type_, parameter.value


@pytest.fixture
def start(make_node: Callable[..., Any]) -> Callable[..., Started]:
    def started(*overrides: str) -> Started:
        arguments = [part for override in overrides for part in ('-p', override)]
        return Started(make_node(*arguments, node_class=GatedNode))

    return started


# At start.


@pytest.mark.parametrize(
    ('override', 'sentence'),
    [
        ('rate:=300', "parameter 'rate' is 300; expected a number, 0.01 to 100"),
        ('cameras:=front', "parameter 'cameras' is 'front'; expected a list of strings"),
        ('rig_offset:=[0.0, 0.0, .nan, 0.0, 0.0, 0.0]', 'expected a list of 6 finite numbers'),
        ('server:=nowhere', "server is 'nowhere', expected HOST:PORT"),
        ('base_frame:=map', "'map_frame' and 'base_frame' both name the frame 'map'"),
    ],
)
def test_a_wrong_override_is_refused_at_start(start, override, sentence):
    with pytest.raises(ConfigurationError) as caught:
        start(override)
    assert sentence in str(caught.value)
    assert '\n' not in str(caught.value)


def test_without_overrides_the_defaults_hold_and_use_sim_time_stays_rclpys(start):
    started = start('use_sim_time:=true')
    assert started.settings == Settings()
    assert started.parameters.unused_overrides() == []
    assert started.node.get_parameter('use_sim_time').value is True
    assert started.put(use_sim_time=False).successful
    assert started.changes == []


def test_a_node_that_declares_its_overrides_itself_is_served_too(make_context):
    node = GatedNode(
        'nurec',
        context=make_context('-p', 'rate:=2', '-p', 'camera_front.rate:=7'),
        automatically_declare_parameters_from_overrides=True,
    )
    started = Started(node)
    started.parameters.declare_cameras(NAMES)
    assert started.stored('rate') == (Parameter.Type.DOUBLE, 2.0)
    assert started.parameters.values.camera_rate('camera_front') == 7.0
    assert not started.put(rate=300).successful
    node.destroy_node()


def test_what_one_player_has_another_can_be_started_with(start, make_node, tmp_path):
    # As `ros2 param dump` writes it.
    started = start('rate:=2', 'rig_offset:=[0,0,1,0,0,0]', 'camera_front.rate:=7')
    started.parameters.declare_cameras(NAMES)
    names = started.node.list_parameters([], 0).names
    values = {}
    for name in names:
        *groups, last = name.split('.')
        group = values
        for part in groups:
            group = group.setdefault(part, {})
        value = started.node.get_parameter(name).value
        group[last] = list(value) if isinstance(value, array.array) else value
    path = tmp_path / 'dump.yaml'
    path.write_text(yaml.safe_dump({'/nurec': {'ros__parameters': values}}))
    again = Started(make_node('--params-file', str(path), node_class=GatedNode))
    again.parameters.declare_cameras(NAMES)
    assert again.parameters.unused_overrides() == []
    assert list(map(again.stored, names)) == list(map(started.stored, names))


def test_the_descriptors_carry_the_table(start):
    node = start().node
    for spec in TABLE:
        descriptor = node.describe_parameter(spec.name)
        assert descriptor.description == spec.description
        assert descriptor.read_only == (spec.applies == 'start')
        assert descriptor.dynamic_typing
        ranges = {'int': descriptor.integer_range, 'double': descriptor.floating_point_range}
        for kind, found in ranges.items():
            bounds = [(one.from_value, one.to_value) for one in found]
            assert bounds == ([spec.between] if spec.kind == kind else []), spec.name
        assert all(choice in descriptor.additional_constraints for choice in spec.choices)


# At run time.


def test_a_change_is_announced_once_and_stored_in_the_tables_type(start):
    started = start()
    for name, value, expected, kind, stored in (
        ('rate', 3, 3.0, Parameter.Type.DOUBLE, 3.0),
        ('scene_id', 99, '99', Parameter.Type.STRING, '99'),
        ('cameras', [], ('',), Parameter.Type.STRING_ARRAY, ['']),
        ('loop', True, True, Parameter.Type.BOOL, True),
        ('tick_us', 5, 5, Parameter.Type.INTEGER, 5),
    ):
        started.changes.clear()
        assert started.put(**{name: value}).successful
        assert started.changes == [{name}]
        assert getattr(started.settings, name) == expected
        assert started.stored(name) == (kind, stored)
    assert started.put(rig_offset=[1, 0, 0, 0, 0, 0]).successful
    assert started.settings.rig_offset == (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_a_refused_change_changes_nothing_and_says_what_is_allowed(start):
    started = start()
    for name, value, sentence in (
        ('rate', 300.0, "parameter 'rate' is 300.0; expected a number, 0.01 to 100"),
        ('rig_offset', [1.0], 'expected a list of 6 finite numbers'),
        ('cameras', 'front', 'expected a list of strings'),
    ):
        before, settings = started.stored(name), started.settings
        result = started.put(**{name: value})
        assert not result.successful
        assert name in result.reason
        assert sentence in result.reason
        assert started.stored(name) == before
        assert started.settings is settings
    assert started.changes == started.failures == []


def test_what_is_set_at_start_only_says_so_even_of_the_value_that_it_has(start):
    started = start('clock_rate:=50')
    sentence = "parameter 'clock_rate' can be set at start only"
    how = f'{sentence}, with -p clock_rate:=VALUE or in a parameter file'
    assert [started.put(clock_rate=value).reason for value in (60.0, 'fast')] == [how, how]
    assert started.put(clock_rate=50).reason == f'{sentence}; it has this value already'


def test_a_parameter_that_does_not_exist_or_is_taken_away_is_named(start):
    started = start()
    with pytest.raises(ParameterNotDeclaredException) as caught:
        started.put(raet=2.0)
    assert str(caught.value) == "there is no parameter 'raet'; did you mean 'rate'?"
    result = started.node.set_parameters_atomically([Parameter('rate', Parameter.Type.NOT_SET)])
    assert result.reason == "parameter 'rate' cannot be removed"
    assert started.stored('rate') == (Parameter.Type.DOUBLE, 1.0)
    assert started.settings.rate == 1.0


def test_changes_are_checked_together_and_announced_together(start):
    started = start()
    assert started.put(rate=2, loop=True).successful
    result = started.put(rate=4, tick_us=0)
    assert result.reason == "parameter 'tick_us' is 0; expected an integer, 1 to 3600000000"
    assert started.settings.rate == 2.0
    assert started.stored('rate') == (Parameter.Type.DOUBLE, 2.0)
    assert started.changes == [{'rate', 'loop'}]


def test_the_nodes_own_change_is_in_step_and_announced(start):
    started = start()
    started.parameters.change('rate', 5)
    with pytest.raises(ConfigurationError, match=r"'rate' is 0; expected a number, 0\.01 to 100"):
        started.parameters.change('rate', 0)
    assert started.settings.rate == 5.0
    assert started.stored('rate') == (Parameter.Type.DOUBLE, 5.0)
    assert started.changes == [{'rate'}]


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (ZeroDivisionError('by\nnothing'), 'ZeroDivisionError: by nothing'),
        (ConfigurationError('no'), 'no'),
    ],
)
def test_a_change_that_cannot_be_applied_is_taken_back_refused_and_told(start, error, text):
    started = start('rate:=2')

    def fail(changed: frozenset[str]) -> None:
        assert started.settings.rate == 3.0
        raise error

    started.apply = fail
    result = started.put(loop=True, rate=3)
    assert not result.successful
    assert result.reason == f'loop, rate could not be applied: {text}'
    assert started.failures == [('setting loop, rate', error)]
    assert (started.settings.rate, started.settings.loop) == (2.0, False)
    assert started.stored('rate') == (Parameter.Type.DOUBLE, 2.0)
    assert started.stored('loop') == (Parameter.Type.BOOL, False)
    with pytest.raises(ConfigurationError, match='rate could not be applied'):
        started.parameters.change('rate', 4)
    started.apply = started.changes.append
    assert started.put(rate=4).successful
    assert started.settings.rate == 4.0


# Cameras.


def test_a_cameras_own_parameters(start):
    started = start('camera_front.resolution_scale:=1', 'camera_rear.rate:=0', 'camera_rate:=8')
    parameters = started.parameters
    parameters.declare_cameras(NAMES)
    assert [parameters.values.camera_rate(name) for name in NAMES] == [8.0, 0.0]
    assert RenderOptions.of(parameters.values).camera_scales == {'camera_front': 1.0}
    assert started.stored('camera_front.resolution_scale') == (Parameter.Type.DOUBLE, 1.0)
    assert started.put(**{'camera_front.resolution_scale': 0}).successful
    assert RenderOptions.of(parameters.values).camera_scales == {}
    assert started.changes == [{'camera_front.resolution_scale'}]
    assert not started.put(**{'camera_front.resolution_scale': 5.0}).successful
    assert started.put(**{'camera_rear.rate': -1}).successful
    assert parameters.values.camera_rate('camera_rear') == 8.0


def test_a_name_that_is_not_legal_is_spelt_as_in_its_topics(start):
    started = start('camera_front_left.rate:=3')
    started.parameters.declare_cameras(['camera:front left'])
    assert started.parameters.values.camera_rate('camera:front left') == 3.0


def test_another_scenarios_cameras_replace_the_old_ones(start):
    started = start('camera_bad.rate:=-5')
    declare, has = started.parameters.declare_cameras, started.node.has_parameter
    declare(NAMES)
    assert started.put(**{'camera_front.rate': 5.0}).successful
    # With a wrong override of a new one all stays as it is.
    with pytest.raises(ConfigurationError, match=r"'camera_bad\.rate' is -5; expected"):
        declare(['camera_new', 'camera_bad'])
    assert not has('camera_new.rate')
    assert not has('camera_bad.rate')
    assert started.put(**{'camera_rear.rate': 2}).successful
    declare(['camera_front', 'camera_left'])
    assert started.parameters.values.camera_rate('camera_front') == 5.0
    assert has('camera_left.rate')
    assert not has('camera_rear.rate')
    declare([])
    assert not any(has(f'camera_front.{spec.name}') for spec in CAMERA_TABLE)
    assert started.parameters.values.camera_rate('camera_front') == 0.0


# What the renderer gets.


def test_the_render_options_are_the_parameters(start):
    options = {
        'server': 'gpu:1,gpu:2',
        'scene_id': '77',
        'scene_url': 'file:/data/a.usdz',
        'use_proxy': True,
        'image_format': 'png',
        'image_quality': 50,
        'projection': 'pinhole',
        'hfov_deg': 60.0,
        'shutter': 'recorded',
        'batch': 'never',
        'render_timeout_s': 5.0,
        'first_render_timeout_s': 60.0,
        'send_tracks': True,
        'rig_offset': (0.0, 1.0, 0.0, 0.0, 0.0, 90.0),
        'resolution_scale': 1.0,
    }
    given = [f'{name}:={json.dumps(value)}' for name, value in options.items()]
    started = start(*given, 'camera_rear.resolution_scale:=0.5')
    started.parameters.declare_cameras(NAMES)
    assert RenderOptions.of(started.parameters.values) == RenderOptions(
        **options, camera_scales={'camera_rear': 0.5}
    )
    assert RenderOptions.of(start().parameters.values) == RenderOptions()


# Overrides that nobody declared.


def test_an_override_that_nobody_declared_comes_with_the_nearest_name(start):
    started = start('raet:=2', 'resolutoin_scale:=1', 'zzz:=1', 'use_sim_time:=true')
    assert sorted(started.parameters.unused_overrides()) == [
        ('raet', "did you mean 'rate'?"),
        ('resolutoin_scale', "did you mean 'resolution_scale'?"),
        ('zzz', ''),
    ]


def test_overrides_of_what_is_still_to_come_are_not_reported(start):
    started = start(
        'camera_front.rate:=5', 'camera_fornt.rate:=5', 'qos_overrides./clock.publisher.depth:=1'
    )
    assert started.parameters.unused_overrides() == []
    started.parameters.declare_cameras(NAMES)
    Graph(started.node).advertise(Clock, '/clock', reliable(10))
    assert started.parameters.unused_overrides() == [
        ('camera_fornt.rate', "did you mean 'camera_front.rate'?")
    ]


QOS_HINTS = {
    '/clokc.publisher.depth': "did you mean 'qos_overrides./clock.publisher.depth'?",
    'clock.publisher.depth': "did you mean 'qos_overrides./clock.publisher.depth'?",
    '/clock.publisher.dept': "did you mean 'qos_overrides./clock.publisher.depth'?",
    '/clock.publsher.depth': "did you mean 'qos_overrides./clock.publisher.depth'?",
    '/clock.subscription.depth': "expected 'qos_overrides./clock.publisher.' with history, depth",
    '/clock.publisher.durability': 'durability cannot be overridden, history, depth and',
    '/nurec/tracks.publisher.depth': "did you mean 'qos_overrides./street.publisher.depth'?",
    '/wholly/different.publisher.depth': 'the player publishes no such topic',
    '/street': "did you mean 'qos_overrides./street.publisher.depth'?",
    '/rosout.publisher.depth': 'the publisher of /rosout takes no overrides',
}


def test_a_qos_override_that_was_not_taken_comes_with_what_may_be_meant(make_node):
    given = [word for name in QOS_HINTS for word in ('-p', f'qos_overrides.{name}:=1')]
    node = make_node(*given, '-r', '~/tracks:=/street', node_class=GatedNode)
    started = Started(node)
    graph = Graph(node)
    graph.advertise(Clock, '/clock', reliable(10))
    graph.advertise(MarkerArray, '~/tracks', reliable(10))
    node.create_publisher(Log, '/rosout', 1)
    assert started.parameters.unused_overrides() == []
    started.parameters.declare_cameras(NAMES)
    found = {
        name.removeprefix('qos_overrides.'): hint
        for name, hint in started.parameters.unused_overrides()
    }
    assert found.keys() == QOS_HINTS.keys()
    for name, hint in QOS_HINTS.items():
        assert found[name].startswith(hint), name


# From another process's point of view.


def test_the_services_refuse_and_accept_as_the_node_does(start, listener):
    started = start()
    executor = SingleThreadedExecutor(context=started.node.context)
    executor.add_node(started.node)

    def messages(**values: Any) -> list[Any]:
        return [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]

    request = SetParameters.Request(parameters=messages(rate=2, clock_rate=10.0, raet=10.0))
    taken, refused, unknown = listener.call(
        SetParameters, '/nurec/set_parameters', request, executor
    ).results
    assert (taken.successful, refused.successful, unknown.successful) == (True, False, False)
    assert 'can be set at start only' in refused.reason
    assert unknown.reason == "there is no parameter 'raet'; did you mean 'rate'?"
    request = SetParametersAtomically.Request(parameters=messages(loop=True, rate='fast'))
    name = '/nurec/set_parameters_atomically'
    result = listener.call(SetParametersAtomically, name, request, executor).result
    assert result.reason == "parameter 'rate' is 'fast'; expected a number, 0.01 to 100"
    assert (started.settings.rate, started.settings.loop) == (2.0, False)
    executor.shutdown()
