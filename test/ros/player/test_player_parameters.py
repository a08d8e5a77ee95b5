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

import math
from pathlib import Path
from test.rendering.fake_server import FakeServer
from test.support.archives import CAMERAS, SEQUENCE_ID, START_US
from test.support.player_bench import stamp_ns

import cv2
import numpy as np
import pytest
from rcl_interfaces.srv import DescribeParameters
from sensor_msgs.msg import CameraInfo, CompressedImage
from visualization_msgs.msg import Marker, MarkerArray
import yaml

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
FRONT, REAR = CAMERAS


@pytest.fixture
def infos(bench):
    """Listen to the front camera."""
    messages = bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
    bench.until(lambda: messages, 'the first picture')
    yield messages
    bench.configure(camera_rate=0.0, resolution_scale=0.25, always_render=False)
    bench.configure(**{f'{FRONT}__rate': -1.0, f'{FRONT}__resolution_scale': 0.0})


def ticked(bench, infos, count):
    """Tick 1 s and give the stamps of its frames, in ms after begin."""
    infos.clear()
    bench.configure(tick_us=1_000_000)
    bench.trigger('tick')

    def stamps():
        # Without the picture of begin, which may still have been on its way.
        found = [(stamp_ns(info) - BEGIN_NS) // 1_000_000 for info in infos]
        return [stamp for stamp in found if stamp]

    bench.until(lambda: len(stamps()) >= count, f'{count} frames')
    return stamps()


def test_camera_rate(bench, infos):
    assert ticked(bench, infos, 10) == [47 + 100 * k for k in range(10)]
    bench.trigger('reset')
    bench.until(lambda: stamp_ns(infos[-1]) == BEGIN_NS, 'begin')
    assert bench.configure(camera_rate=4.0)[0].successful
    assert ticked(bench, infos, 4) == [250, 500, 750, 1000]


def test_a_camera_has_a_rate_of_its_own(bench, infos):
    bench.configure(camera_rate=4.0)
    assert bench.configure(**{f'{FRONT}__rate': 2.0})[0].successful
    assert ticked(bench, infos, 2) == [500, 1000]


def test_resolution_scale(bench, infos):
    assert (infos[-1].width, infos[-1].height) == (480, 270)
    assert bench.configure(resolution_scale=0.1)[0].successful
    bench.until(lambda: (infos[-1].width, infos[-1].height) == (192, 108), 'a smaller picture')
    assert bench.configure(**{f'{FRONT}__resolution_scale': 0.5})[0].successful
    bench.until(lambda: (infos[-1].width, infos[-1].height) == (960, 540), 'a larger picture')
    # They show the moment at which the player is halted, like the one before.
    assert {stamp_ns(info) for info in infos} == {BEGIN_NS}
    images = bench.listen(CompressedImage, f'~/{FRONT}/image_raw/compressed')
    bench.until(lambda: images, 'an image')
    assert cv2.imdecode(np.array(images[-1].data), cv2.IMREAD_COLOR).shape == (540, 960, 3)


def moved_on(bench, infos):
    """Go to another moment: what was on its way before comes before the picture of that."""
    bench.seek(BEGIN_NS + 500_000_000)
    bench.until(lambda: stamp_ns(infos[-1]) == BEGIN_NS + 500_000_000, 'that moment')
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
    def poses():
        requests = list(server.requests())
        for batch in server.requests('batch_render_rgb'):
            requests += [item.request for item in batch.items]
        return {camera_of(request) for request in requests}

    bench.configure(always_render=True)
    bench.until(lambda: len(poses()) == 2, 'both cameras')
    bench.configure(always_render=False)


def camera_of(request):
    return request.camera_intrinsics.logical_id


def test_rig_offset_moves_the_cameras(bench, infos, server):
    def last_pose():
        request = server.requests() or [server.requests('batch_render_rgb')[-1].items[0].request]
        return request[-1].sensor_pose.start_pose.vec

    before = last_pose()
    assert bench.configure(rig_offset=[0.0, 0.0, 2.0, 0.0, 0.0, 0.0])[0].successful
    bench.until(lambda: last_pose().z == pytest.approx(before.z + 2.0), 'the raised camera')
    bench.configure(rig_offset=[0.0] * 6)


def test_velocity_arrows_and_trails(bench):
    tracks = bench.listen(MarkerArray, '~/tracks')
    bench.seek(BEGIN_NS + 1_000_000_000)

    def kinds():
        shown = [m for m in tracks[-1].markers if m.action == Marker.ADD] if tracks else []
        return {marker.type for marker in shown}

    bench.until(lambda: kinds() == {Marker.CUBE, Marker.TEXT_VIEW_FACING}, 'boxes')
    bench.configure(velocity_arrows=True, trail_length_s=1.0)
    bench.until(lambda: {Marker.ARROW, Marker.LINE_STRIP} <= kinds(), 'arrows and trails')
    bench.configure(velocity_arrows=False, trail_length_s=0.0)
    bench.until(lambda: kinds() == {Marker.CUBE, Marker.TEXT_VIEW_FACING}, 'boxes alone')


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'rate': 0.0}, ['0.01', '100']),
        ({'rate': 'fast'}, ['0.01', '100']),
        ({'tick_us': 0}, ['tick_us']),
        ({'tick_us': 1.5}, ['integer']),
        ({'resolution_scale': 5.0}, ['0.01', '2']),
        ({'loop': 'yes'}, ['true or false']),
        ({'mode': 'lockstep'}, ['at start only']),
        ({'clock_rate': 50.0}, ['at start only']),
        ({f'{FRONT}__rate': -2.0}, ['-1', '0', '1000']),
    ],
)
def test_refusals_say_what_is_allowed(bench, values, words):
    result = bench.configure(**values)[0]
    assert not result.successful
    assert all(word in result.reason for word in words), result.reason


def test_integers_serve_for_doubles(bench):
    assert bench.configure(rate=2)[0].successful
    assert bench.trigger('stop')['speed'] == 2.0
    assert bench.get('rate') == 2.0


def test_rate_changes_on_the_way_without_a_jump(bench):
    bench.configure(rate=0.1)
    bench.trigger('play')
    before = len(bench.clocks)
    bench.spin(bench.clocks, 20)
    bench.configure(rate=10.0)
    bench.until(lambda: bench.state['done'], 'the end')
    stamps = [stamp_ns(clock) for clock in bench.clocks[before:]]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize(
    ('image_format', 'has_compressed'), [('jpeg', True), ('png', True), ('rgb', False)]
)
def test_image_format(start, usdz, server, image_format, has_compressed):
    bench = start(usdz_path=usdz, server=server.address, image_format=image_format).ready()
    # The last one that is made: once it is known, all are.
    bench.matched(f'~/{REAR}/camera_info')
    name = f'/nurec/{FRONT}/image_raw/compressed'
    assert bool(bench.listener.node.count_publishers(name)) is has_compressed
    if has_compressed:
        images = bench.listen(CompressedImage, name)
        bench.until(lambda: images, 'a picture')


@pytest.mark.parametrize(
    ('parameter', 'absent', 'present'),
    [
        ('publish_tf', {'/tf', '/nurec/odom'}, {'/clock', '/tf_static', '/nurec/path'}),
        ('publish_clock', {'/clock'}, {'/tf', '/nurec/odom'}),
    ],
)
def test_topics_that_are_switched_off(start, usdz, parameter, absent, present):
    bench = start(usdz_path=usdz, server='localhost:1', rate=10.0, **{parameter: False})
    bench.until(lambda: bench.states, 'the state')
    bench.until(lambda: present <= bench.topics(), 'the topics')
    assert not absent & bench.topics()
    bench.trigger('play')
    bench.until(lambda: bench.state['done'], 'the end')


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
