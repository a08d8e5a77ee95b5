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
"""The frames' names, and those of a second player beside the first."""

import math
from test.support.archives import build_archive, CAMERAS, START_US
from test.support.player_bench import NOWHERE, stamp_ns

from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000


def placed_on_earth(latitude, longitude):
    """Return the matrix from east, north, up there to ECEF, on a sphere of Earth's size."""
    sin_b, cos_b = math.sin(latitude), math.cos(latitude)
    sin_l, cos_l = math.sin(longitude), math.cos(longitude)
    radius = 6_371_000.0
    return [
        [-sin_l, -sin_b * cos_l, cos_b * cos_l, radius * cos_b * cos_l],
        [cos_l, -sin_b * sin_l, cos_b * sin_l, radius * cos_b * sin_l],
        [0.0, cos_b, sin_b, radius * sin_b],
        [0.0, 0.0, 0.0, 1.0],
    ]


def frames_of(messages):
    """Return the transforms by (parent, child), the last of each."""
    return {
        (one.header.frame_id, one.child_frame_id): one
        for message in messages
        for one in message.transforms
    }


def is_identity(one):
    move, turn = one.transform.translation, one.transform.rotation
    return (move.x, move.y, move.z, turn.x, turn.y, turn.z, abs(turn.w)) == (0, 0, 0, 0, 0, 0, 1)


def test_names_are_parameters_and_odom_is_an_identity(start, usdz):
    bench = start(
        usdz_path=usdz, server=NOWHERE, map_frame='world', base_frame='rig', odom_frame='odom'
    ).ready()
    moving = bench.listen(TFMessage, '/tf')
    fixed = bench.listen(TFMessage, '/tf_static', latched=True)
    odometry = bench.listen(Odometry, '~/odom')
    bench.until(lambda: moving and fixed and odometry, 'the frames')
    found = frames_of(moving + fixed)
    assert set(found) == {('world', 'odom'), ('odom', 'rig')} | {
        pair for name in CAMERAS for pair in (('rig', name), (name, f'{name}_optical_frame'))
    }
    assert is_identity(found['world', 'odom'])
    assert (odometry[0].header.frame_id, odometry[0].child_frame_id) == ('odom', 'rig')


def test_earth_is_the_parent_of_map_where_the_matrix_is_one_of_earth(start, tmp_path):
    matrix = placed_on_earth(0.83, 0.15)

    def edit(rig):
        rig['T_world_base'] = matrix

    usdz = build_archive(tmp_path, edit_rig=edit)
    bench = start(usdz_path=usdz, server=NOWHERE, publish_earth_frame=True).ready()
    fixed = bench.listen(TFMessage, '/tf_static', latched=True)
    bench.until(lambda: fixed, 'the frames')
    move = frames_of(fixed)['earth', 'map'].transform.translation
    np.testing.assert_allclose([move.x, move.y, move.z], np.array(matrix)[:3, 3], atol=0.01)
    # One message with all of them.
    assert len(fixed[0].transforms) == 1 + 2 * len(CAMERAS)


def test_without_being_asked_for_there_is_no_earth(bench):
    fixed = bench.listen(TFMessage, '/tf_static', latched=True)
    bench.until(lambda: fixed, 'the frames')
    assert 'earth' not in {parent for parent, _ in frames_of(fixed)}


def test_a_stack_with_a_description_of_its_own_gets_no_camera_frames(start, usdz):
    bench = start(usdz_path=usdz, server=NOWHERE, publish_camera_frames=False).ready()
    moving = bench.listen(TFMessage, '/tf')
    fixed = bench.listen(TFMessage, '/tf_static', latched=True)
    bench.until(lambda: moving, '/tf')
    bench.spin(bench.clocks, 50)
    assert not frames_of(fixed)
    assert set(frames_of(moving)) == {('map', 'base_link')}


@pytest.mark.parametrize('offset_ns', [0, 33_000, 700_000_000, 2_000_000_000])
def test_tf_has_exactly_the_position_while_halted(bench, offset_ns):
    moving = bench.listen(TFMessage, '/tf')
    bench.seek(BEGIN_NS + offset_ns)
    bench.until(
        lambda: moving and stamp_ns(moving[-1].transforms[-1]) == BEGIN_NS + offset_ns, 'the stamp'
    )


@pytest.fixture(scope='module')
def first(start, usdz, server):
    """Return the player that owns the clock."""
    return start(usdz_path=usdz, server=server.address).ready()


@pytest.fixture(scope='module')
def second(start, first, usdz, server):
    """Return one beside it, in a namespace, with a prefix."""
    bench = start(
        *('-r', '__node:=second', '-r', '__ns:=/fleet'),
        usdz_path=usdz,
        server=server.address,
        publish_clock=False,
        frame_prefix='b/',
        name='/fleet/second',
        beside=first,
    )
    bench.until(lambda: bench.states, 'the state of the second')
    return bench


def pairs_of(messages):
    return {
        (one.header.frame_id, one.child_frame_id)
        for message in messages
        for one in message.transforms
    }


def test_frames_do_not_mix(first, second):
    moving = first.listen(TFMessage, '/tf')
    fixed = first.listen(TFMessage, '/tf_static', latched=True)
    first.until(
        lambda: pairs_of(moving) == {('map', 'base_link'), ('map', 'b/base_link')}, 'both egos'
    )
    camera = CAMERAS[0]
    first.until(
        lambda: (
            {
                ('base_link', camera),
                (camera, f'{camera}_optical_frame'),
                ('b/base_link', f'b/{camera}'),
                (f'b/{camera}', f'b/{camera}_optical_frame'),
            }
            <= pairs_of(fixed)
        ),
        'the frames of both',
    )


def test_each_keeps_its_own_time_and_one_owns_the_clock(first, second):
    second.trigger('reset')
    first.trigger('reset')
    second.trigger('tick')
    first.spin(first.clocks, 30)
    assert first.clock_ns == BEGIN_NS
    assert first.listener.node.count_publishers('/clock') == 1
    assert second.trigger('stop')['current_time_us'] == START_US + 100_000


def test_images_come_under_the_names_and_frames_of_each(first, second):
    infos = {
        bench: bench.listen(CameraInfo, f'~/{CAMERAS[0]}/camera_info') for bench in (first, second)
    }
    for bench, messages in infos.items():
        bench.until(lambda messages=messages: messages, 'a picture')
    assert infos[first][0].header.frame_id == f'{CAMERAS[0]}_optical_frame'
    assert infos[second][0].header.frame_id == f'b/{CAMERAS[0]}_optical_frame'


def warnings_of_the_clock(bench):
    lines = bench.player.output.splitlines()
    return [line for line in lines if '[WARN]' in line and '/clock' in line]


def test_no_warning_about_the_clock(first, second):
    first.spin(first.clocks, 150)
    assert not warnings_of_the_clock(first) + warnings_of_the_clock(second)


def test_a_second_clock_is_warned_of_once(start, usdz):
    bench = start(usdz_path=usdz, server='localhost:1').ready()
    publisher = bench.listener.node.create_publisher(Clock, '/clock', 10)
    bench.until(lambda: warnings_of_the_clock(bench), 'the warning')
    bench.spin(bench.clocks, 250)
    (line,) = warnings_of_the_clock(bench)
    assert 'publish_clock' in line
    bench.listener.node.destroy_publisher(publisher)


def test_every_topic_can_be_remapped(start, usdz, server):
    rules = {
        '/clock': '/a/clock',
        '/tf': '/a/tf',
        '/tf_static': '/a/tf_static',
        '/diagnostics': '/a/diagnostics',
        '~/state': '/a/state',
        '~/odom': '/a/odom',
        '~/tracks': '/a/tracks',
        '~/path': '/a/path',
        '~/ego': '/a/ego',
        '~/objects': '/a/objects',
        f'~/{CAMERAS[0]}/image_raw/compressed': '/a/image/compressed',
        f'~/{CAMERAS[0]}/camera_info': '/a/camera_info',
    }
    words = [word for old, new in rules.items() for word in ('-r', f'{old}:={new}')]
    bench = start(*words, usdz_path=usdz, server=server.address)
    bench.until(lambda: set(rules.values()) <= bench.topics(), 'the new names')
    assert not {'/clock', '/tf', '/tf_static', '/nurec/state'} & bench.topics()
    infos = bench.listen(CameraInfo, '/a/camera_info')
    bench.until(lambda: infos, 'a picture')
    assert stamp_ns(infos[0]) == BEGIN_NS
