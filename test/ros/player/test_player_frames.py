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
"""The frames' names are parameters; earth and odom where they are asked for."""

import math
from test.support.archives import build_archive, CAMERAS, START_US
from test.support.player_bench import NOWHERE, stamp_ns

from nav_msgs.msg import Odometry
import numpy as np
import pytest
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
FRONT = CAMERAS[0]


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
