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
"""The contract's parameters: all there, with their defaults, and changeable when it says so."""

import math
from pathlib import Path
from test.rendering.fake_server import FakeServer
from test.support.archives import CAMERAS, SEQUENCE_ID

import pytest
from rcl_interfaces.srv import DescribeParameters
from sensor_msgs.msg import CameraInfo
import yaml

pytestmark = pytest.mark.contract

CONFIG = Path(__file__).parents[3] / 'config' / 'nurec.yaml'

# As the contract has them: name, default, and another value where it can change at run time.
START, LOAD = object(), object()
PARAMETERS = {
    'usdz_path': ('', LOAD),
    'server': ('localhost:46435', LOAD),
    'tls_root_certificate': ('', START),
    'service_prefix': ('', START),
    'scene_id': ('', LOAD),
    'cameras': ([''], LOAD),
    'resolution_scale': (0.25, 0.5),
    'camera_rate': (0.0, 5.0),
    'image_format': ('jpeg', START),
    'image_quality': (95, START),
    'projection': ('native', START),
    'hfov_deg': (90.0, START),
    'shutter': ('instant', START),
    'batch': ('auto', START),
    'render_timeout_s': (10.0, START),
    'first_render_timeout_s': (300.0, START),
    'send_tracks': (False, True),
    'rig_offset': ([0.0] * 6, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
    'mode': ('realtime', START),
    'rate': (1.0, 2.0),
    'tick_us': (100_000, 50_000),
    'loop': (False, True),
    'autoplay': (False, START),
    'start_offset_s': (0.0, START),
    'end_offset_s': (0.0, START),
    'clock_rate': (100.0, START),
    'marker_rate': (10.0, START),
    'publish_clock': (True, START),
    'publish_tf': (True, START),
    'publish_camera_frames': (True, START),
    'publish_earth_frame': (False, START),
    'velocity_arrows': (False, True),
    'trail_length_s': (0.0, 2.0),
    'min_track_lifetime_s': (0.1, START),
    'smooth_track_height': (False, START),
    'always_render': (False, True),
    'frame_prefix': ('', START),
    'map_frame': ('map', START),
    'base_frame': ('base_link', START),
    'odom_frame': ('', START),
    f'{CAMERAS[0]}.resolution_scale': (0.0, 0.5),
    f'{CAMERAS[0]}.rate': (-1.0, 5.0),
}
RANGES = {
    'rate': (0.01, 100.0),
    'resolution_scale': (0.01, 2.0),
    'image_quality': (1, 100),
}
GIVEN = ('usdz_path', 'server')
CHANGEABLE = [name for name, (_, other) in PARAMETERS.items() if other not in (START, LOAD)]
FIXED = [name for name, (_, other) in PARAMETERS.items() if other is START]


def set_one(bench, name, value):
    (result,) = bench.configure(**{name.replace('.', '__'): value})
    return result


@pytest.mark.parametrize('name', [name for name in PARAMETERS if name not in GIVEN])
def test_default(running, name):
    found = running.get(name)
    expected = PARAMETERS[name][0]
    found = list(found) if isinstance(expected, list) else found
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize('name', CHANGEABLE)
def test_changes_at_run_time(bench, name):
    default, other = PARAMETERS[name]
    assert set_one(bench, name, other).successful
    found = bench.get(name)
    assert (list(found) if isinstance(other, list) else found) == other
    assert set_one(bench, name, default).successful


@pytest.mark.parametrize('name', FIXED)
def test_is_set_at_start_only(bench, name):
    result = set_one(bench, name, PARAMETERS[name][0])
    assert not result.successful
    assert name in result.reason


def test_ranges_are_in_the_descriptors(running):
    request = DescribeParameters.Request(names=list(RANGES))
    answer = running.call(DescribeParameters, 'describe_parameters', request)
    for name, one in zip(RANGES, answer.descriptors, strict=True):
        assert one.description
        (span,) = [*one.floating_point_range, *one.integer_range] or [None]
        assert (span.from_value, span.to_value) == RANGES[name]


def test_the_shipped_file_holds_every_one_under_any_name(running):
    document = yaml.safe_load(CONFIG.read_text())
    values = document['/**']['ros__parameters']
    general = {name for name in PARAMETERS if not name.startswith(CAMERAS[0])}
    assert general <= set(values)
    for name in general:
        assert values[name] == PARAMETERS[name][0]


def test_stored_values_are_of_the_tables_type(start, usdz):
    given = {
        'rate:=2': 2.0,
        'rig_offset:=[0, 0, 2, 0, 0, 0]': [0.0, 0.0, 2.0, 0.0, 0.0, 0.0],
        'scene_id:=1234': '1234',
        'cameras:=[]': [''],
    }
    rules = [word for rule in given for word in ('-p', rule)]
    bench = start(*rules, usdz_path=usdz, server='localhost:1').ready()
    for rule, expected in given.items():
        found = bench.get(rule.partition(':')[0])
        if isinstance(expected, list):
            found = list(found)
            assert [type(one) for one in found] == [type(one) for one in expected]
        assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, 300, 'abc', [1.0], True])
def test_a_value_of_another_type_or_out_of_range_is_refused(bench, value):
    result = set_one(bench, 'rate', value)
    assert not result.successful
    assert all(word in result.reason for word in ('rate', '0.01', '100'))
    assert bench.get('rate') == 1.0


def test_server_and_scene_id_are_taken_at_a_load(start, usdz):
    with FakeServer(scenes=[SEQUENCE_ID]) as old, FakeServer(scenes=['b', 'c']) as new:
        bench = start(usdz_path=usdz, server=old.address).ready()
        infos = bench.listen(CameraInfo, f'~/{CAMERAS[0]}/camera_info')
        bench.until(lambda: infos, 'a picture')
        bench.configure(server=new.address, scene_id='c')
        bench.trigger('tick')
        assert not new.calls
        bench.trigger('load')
        bench.until(new.requests, 'a request')
        assert {request.scene_id for request in old.requests()} == {SEQUENCE_ID}
        assert {request.scene_id for request in new.requests()} == {'c'}


def test_autoplay_plays_after_a_load_too(start, usdz):
    bench = start(autoplay=True)
    bench.until(lambda: bench.states, 'the state')
    bench.configure(usdz_path=str(usdz))
    bench.trigger('load')
    bench.until(lambda: bench.state['done'], 'the end')
