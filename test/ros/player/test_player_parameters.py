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
"""The parameters as others see them, and what their changes do while the player runs."""

from array import array
import math
from pathlib import Path
from test.rendering.fake_server import FakeServer
from test.support.archives import CAMERAS, SEQUENCE_ID
from test.support.player_bench import BEGIN_NS, frame_ends, FRONT, MS, REAR, stamp_ns

import cv2
import numpy as np
import pytest
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python
from sensor_msgs.msg import CameraInfo, CompressedImage
from visualization_msgs.msg import Marker, MarkerArray
import yaml

pytestmark = pytest.mark.contract


@pytest.fixture
def infos(bench):
    """Listen to the front camera."""
    yield bench.infos_of(FRONT)
    bench.configure(**{f'{FRONT}__rate': -1.0, f'{FRONT}__resolution_scale': 0.0})


def test_camera_rate_and_that_of_one_camera(bench, infos):
    def ticked(count):
        """Return the stamps of the frames of 1 s from begin on."""
        bench.trigger('reset')
        bench.stands(BEGIN_NS)
        infos.clear()
        return bench.ticked(infos, 1_000_000, count)

    recorded = [end - BEGIN_NS for end in frame_ends(FRONT, until_ns=BEGIN_NS + 1000 * MS)]
    assert ticked(10) == recorded
    assert bench.configure(camera_rate=4.0)[0].successful
    assert ticked(4) == [250 * MS, 500 * MS, 750 * MS, 1000 * MS]
    assert bench.configure(**{f'{FRONT}__rate': 2.0})[0].successful
    assert ticked(2) == [500 * MS, 1000 * MS]


def test_resolution_scale(bench, infos):
    assert (infos[-1].width, infos[-1].height) == (480, 270)
    assert bench.configure(resolution_scale=0.1)[0].successful
    bench.until(lambda: (infos[-1].width, infos[-1].height) == (192, 108), 'a smaller picture')
    assert bench.configure(**{f'{FRONT}__resolution_scale': 0.5})[0].successful
    bench.until(lambda: (infos[-1].width, infos[-1].height) == (960, 540), 'a larger picture')
    # They show the moment at which the player is halted, like the one before.
    assert {stamp_ns(info) for info in infos} == {BEGIN_NS}
    images = bench.hear(CompressedImage, f'~/{FRONT}/image_raw/compressed')
    assert cv2.imdecode(np.array(images[-1].data), cv2.IMREAD_COLOR).shape == (540, 960, 3)


def moved_on(bench, infos):
    """Go to another moment: what was on its way before comes before the picture of that."""
    bench.seek(BEGIN_NS + 500 * MS)
    bench.until(lambda: stamp_ns(infos[-1]) == BEGIN_NS + 500 * MS, 'that moment')
    return infos


def test_a_burst_of_changes_is_few_pictures_and_ends_with_the_last(bench, infos):
    """As from a slider: what changes while a picture is on its way is one picture more."""
    before = len(moved_on(bench, infos))
    scales = [0.01 * step for step in range(10, 50)]
    for scale in scales:
        bench.configure(resolution_scale=scale)
    bench.until(lambda: infos[-1].width == round(1920 * scales[-1]), 'the last size')
    bench.spin(bench.clocks, 50)
    assert infos[-1].width == round(1920 * scales[-1])
    assert len(infos) - before <= len(scales)


def test_what_changes_nothing_of_the_picture_renders_none(bench, infos):
    count = len(moved_on(bench, infos))
    bench.configure(resolution_scale=0.25, rate=2.0, camera_rate=7.0, loop=True)
    bench.spin(bench.clocks, 50)
    assert len(infos) == count


def test_always_render_asks_for_all_cameras(bench, server):
    before = [len(server.pictures(name)) for name in CAMERAS]
    bench.configure(always_render=True)
    bench.until(
        lambda: all(len(server.pictures(a)) > b for a, b in zip(CAMERAS, before, strict=True)),
        'both cameras',
    )


def test_rig_offset_moves_the_cameras(bench, infos, server):
    def last_pose():
        return server.pictures()[-1].sensor_pose.start_pose.vec

    before = last_pose()
    assert bench.configure(rig_offset=[0.0, 0.0, 2.0, 0.0, 0.0, 0.0])[0].successful
    bench.until(lambda: last_pose().z == pytest.approx(before.z + 2.0), 'the raised camera')
    bench.configure(rig_offset=[0.0] * 6)


def test_velocity_arrows_and_trails(bench):
    tracks = bench.listen(MarkerArray, '~/tracks')
    bench.seek(BEGIN_NS + 1000 * MS)

    def kinds():
        shown = [m for m in tracks[-1].markers if m.action == Marker.ADD] if tracks else []
        return {marker.type for marker in shown}

    bench.until(lambda: kinds() == {Marker.CUBE, Marker.TEXT_VIEW_FACING}, 'boxes')
    bench.configure(velocity_arrows=True, trail_length_s=1.0)
    bench.until(lambda: {Marker.ARROW, Marker.LINE_STRIP} <= kinds(), 'arrows and trails')
    bench.configure(velocity_arrows=False, trail_length_s=0.0)
    bench.until(lambda: kinds() == {Marker.CUBE, Marker.TEXT_VIEW_FACING}, 'boxes alone')


def set_all(bench, pairs):
    """Set parameters, one after the other; give the results."""
    messages = [Parameter(name, value=value).to_parameter_msg() for name, value in pairs]
    request = SetParameters.Request(parameters=messages)
    return bench.call(SetParameters, 'set_parameters', request).results


def values_of(bench, names):
    """Return the values of parameters, and what types they have."""
    request = GetParameters.Request(names=names)
    found = map(
        parameter_value_to_python, bench.call(GetParameters, 'get_parameters', request).values
    )
    values = [list(one) if isinstance(one, array) else one for one in found]
    return typed(dict(zip(names, values, strict=True)))


def typed(values):
    """Return values with their types, or those of their elements."""
    return {
        name: (value, [type(one) for one in value] if isinstance(value, list) else type(value))
        for name, value in values.items()
    }


def test_a_value_of_another_type_or_out_of_range_is_refused_with_what_is_allowed(running):
    rates = [0.0, 'fast', math.nan, math.inf, -math.inf, 300, [1.0], True]
    rows = [
        *(('rate', value, ['rate', '0.01', '100']) for value in rates),
        ('tick_us', 0, ['tick_us']),
        ('tick_us', 1.5, ['integer']),
        ('resolution_scale', 5.0, ['0.01', '2']),
        ('loop', 'yes', ['true or false']),
        ('mode', 'lockstep', ['at start only']),
        ('clock_rate', 50.0, ['at start only']),
        (f'{FRONT}.rate', -2.0, ['-1', '0', '1000']),
    ]
    results = set_all(running, [row[:2] for row in rows])
    for (name, value, words), result in zip(rows, results, strict=True):
        assert not result.successful, (name, value)
        assert all(word in result.reason for word in words), result.reason
    assert running.get('rate') == 1.0


# What is taken at start, in what type it is stored.
STORED = {
    'rate:=10': 10.0,
    'rig_offset:=[0, 0, 2, 0, 0, 0]': [0.0, 0.0, 2.0, 0.0, 0.0, 0.0],
    'scene_id:=1234': '1234',
    'cameras:=[]': [''],
}


@pytest.fixture(scope='module')
def without_tf(start, usdz, server):
    server.scenes.append('1234')
    rules = [word for rule in STORED for word in ('-p', rule)]
    return start(
        *rules, usdz_path=usdz, server=server.address, publish_tf=False, image_format='png'
    ).ready()


@pytest.fixture(scope='module')
def without_clock(start, usdz, server):
    """Return a player that has its scenario by a load, and that nobody calls to play."""
    bench = start(
        server=server.address, publish_clock=False, image_format='rgb', autoplay=True, rate=10.0
    )
    bench.until(lambda: bench.states, 'the state')
    bench.load(usdz_path=str(usdz))
    return bench


def test_autoplay_plays_after_a_load_too(without_clock):
    without_clock.until(lambda: without_clock.state['done'], 'the end')


@pytest.mark.parametrize(
    ('which', 'name', 'absent', 'present'),
    [
        ('without_tf', 'png', {'/tf', '/nurec/odom'}, {'/clock', '/tf_static', '/nurec/path'}),
        ('without_clock', '', {'/clock'}, {'/tf', '/nurec/odom'}),
        ('bench', 'jpeg', set(), {'/tf', '/nurec/odom', '/clock', '/tf_static', '/nurec/path'}),
    ],
)
def test_image_format_and_topics_that_are_switched_off(
    bench, without_tf, without_clock, which, name, absent, present
):
    bench = {'without_tf': without_tf, 'without_clock': without_clock}.get(which, bench)
    # The last one that is made: once it is known, all are.
    bench.matched(f'~/{REAR}/camera_info')
    bench.until(lambda: present <= bench.topics(), 'the topics')
    assert not absent & bench.topics()
    topic = f'/nurec/{FRONT}/image_raw/compressed'
    assert bool(bench.listener.node.count_publishers(topic)) is bool(name)
    if name:
        bench.hear(CompressedImage, topic)
    bench.play_out(rate=10.0)


def test_stored_values_are_of_the_tables_type(without_tf):
    stored = {rule.partition(':')[0]: value for rule, value in STORED.items()}
    assert values_of(without_tf, [*stored]) == typed(stored)


CONFIG = Path(__file__).parents[3] / 'config' / 'nurec.yaml'
# As the contract has them: each one's default; of those of run time, another value besides.
PARAMETERS = yaml.safe_load(f"""
at load: {{scene_id: '', cameras: ['']}}
at start:
  {{tls_root_certificate: '', service_prefix: '', image_format: jpeg, image_quality: 95,
  projection: native, hfov_deg: 90.0, shutter: instant, batch: auto, render_timeout_s: 10.0,
  first_render_timeout_s: 300.0, mode: realtime, autoplay: false, start_offset_s: 0.0,
  end_offset_s: 0.0, clock_rate: 100.0, marker_rate: 10.0, publish_clock: true, publish_tf: true,
  publish_camera_frames: true, publish_earth_frame: false, min_track_lifetime_s: 0.1,
  smooth_track_height: false, frame_prefix: '', map_frame: map, base_frame: base_link,
  odom_frame: ''}}
at run time:
  {{resolution_scale: [0.25, 0.5], camera_rate: [0.0, 5.0], send_tracks: [false, true],
  rig_offset: [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]],
  rate: [1.0, 2.0], tick_us: [100000, 50000], loop: [false, true],
  velocity_arrows: [false, true], trail_length_s: [0.0, 2.0], always_render: [false, true],
  {FRONT}.resolution_scale: [0.0, 0.5], {FRONT}.rate: [-1.0, 5.0]}}
""")
AT_START, AT_RUN_TIME = PARAMETERS['at start'], PARAMETERS['at run time']
DEFAULTS = {name: values[0] for name, values in AT_RUN_TIME.items()}
DEFAULTS |= AT_START | PARAMETERS['at load']
RANGES = {
    'rate': (0.01, 100.0),
    'resolution_scale': (0.01, 2.0),
    'image_quality': (1, 100),
}


def test_default(running):
    assert values_of(running, [*DEFAULTS]) == typed(DEFAULTS)


def test_changes_at_run_time(bench):
    changed = {name: other for name, (_, other) in AT_RUN_TIME.items()}
    assert all(one.successful for one in set_all(bench, changed.items()))
    assert values_of(bench, [*changed]) == typed(changed)
    back = [(name, DEFAULTS[name]) for name in changed]
    assert all(one.successful for one in set_all(bench, back))
    # Integers serve for doubles.
    assert bench.configure(rate=2)[0].successful
    assert bench.trigger('stop')['speed'] == 2.0
    assert values_of(bench, ['rate']) == typed({'rate': 2.0})


def test_is_set_at_start_only(running):
    for name, result in zip(AT_START, set_all(running, AT_START.items()), strict=True):
        assert not result.successful
        assert name in result.reason


def test_ranges_are_in_the_descriptors(running):
    request = DescribeParameters.Request(names=list(RANGES))
    answer = running.call(DescribeParameters, 'describe_parameters', request)
    for name, one in zip(RANGES, answer.descriptors, strict=True):
        assert one.description
        (span,) = [*one.floating_point_range, *one.integer_range] or [None]
        assert (span.from_value, span.to_value) == RANGES[name]


def test_the_shipped_file_holds_every_one_under_any_name():
    document = yaml.safe_load(CONFIG.read_text())
    values = document['/**']['ros__parameters']
    general = {name: value for name, value in DEFAULTS.items() if '.' not in name}
    assert {'usdz_path', 'server', *general} <= set(values)
    assert {name: values[name] for name in general} == general
    assert (values['usdz_path'], values['server']) == ('', 'localhost:46435')


def test_server_and_scene_id_are_taken_at_a_load(bench, load):
    with FakeServer(scenes=[SEQUENCE_ID]) as old, FakeServer(scenes=['b', 'c']) as new:
        load(server=old.address)
        bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
        bench.until(old.requests, 'a request')
        bench.configure(server=new.address, scene_id='c')
        bench.trigger('tick')
        assert not new.calls
        load()
        bench.until(new.requests, 'another one')
        assert {request.scene_id for request in old.requests()} == {SEQUENCE_ID}
        assert {request.scene_id for request in new.requests()} == {'c'}
