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
"""Inputs that cannot be used, floods of them, and what collides."""

import math
from test.driving.drives import SECOND, straight, T0
from test.support.archives import build_archive

import numpy as np
from nurec_ros.driving import (
    AckermannCommand,
    DrivenEgo,
    InputError,
    TimedPose,
    TwistCommand,
)
from nurec_ros.driving.watch import Encounters
from nurec_ros.poses import Pose
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.rig import Box
from nurec_ros.scenario.schema.sequence_tracks import parse_tracks
import pytest
from scipy.optimize import linprog
from scipy.spatial.transform import Rotation

NAN, INF = math.nan, math.inf
UNIT = (0.0, 0.0, 0.0, 1.0)


def pose(**changed):
    values = {'stamp_ns': T0, 'position': (1.0, 2.0, 3.0), 'quaternion': UNIT, **changed}
    return TimedPose.checked(
        values.pop('stamp_ns'), values.pop('position'), values.pop('quaternion'), **values
    )


@pytest.mark.parametrize(
    ('make', 'sentence'),
    [
        (lambda: pose(position=(0, NAN, 0)), 'position.y is nan, expected a finite number'),
        (lambda: pose(position=(INF, 0, 0)), 'position.x is inf, expected a finite number'),
        (lambda: pose(position=(0, 0, -2e9)), 'position.z is -2e+09, expected at most 1e+09'),
        (lambda: pose(quaternion=(0, 0, NAN, 1)), 'orientation.z is nan, expected a finite'),
        (lambda: pose(quaternion=(0, 0, 0, 0)), 'a quaternion of length 0, expected 1'),
        (
            lambda: pose(frame='odom', frames=('map', '')),
            "frame_id is 'odom', expected 'map' or none",
        ),
        (
            lambda: pose(child='camera', children=('base_link',)),
            "child_frame_id is 'camera', expected 'base_link' or none",
        ),
        (lambda: pose(twist=(0, 0, 0, 0, INF, 0)), 'angular.y is inf, expected a finite'),
        (lambda: TwistCommand.checked(0, NAN, 0.0), 'linear.x is nan, expected a finite'),
        (lambda: TwistCommand.checked(0, 0.0, -INF), 'angular.z is -inf, expected a finite'),
        (lambda: TwistCommand.checked(0, 1e300, 0.0), 'linear.x is 1e+300, expected at most 1000'),
        (
            lambda: TwistCommand.checked(0, 0.0, 0.0, frame='map', frames=('base_link',)),
            "frame_id is 'map', expected 'base_link' or none",
        ),
        (lambda: AckermannCommand.checked(0, NAN, 0.0), 'speed is nan'),
        (lambda: AckermannCommand.checked(0, 0.0, INF), 'steering_angle is inf'),
        (
            lambda: AckermannCommand.checked(0, 0.0, 0.0, acceleration=NAN),
            'acceleration is nan',
        ),
        (
            lambda: AckermannCommand.checked(0, 0.0, 0.0, steering_rate=NAN),
            'steering_angle_velocity is nan',
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(make, sentence):
    with pytest.raises(InputError) as caught:
        make()
    assert sentence in str(caught.value)
    assert caught.value.reason
    assert '\n' not in str(caught.value)


def test_equal_faults_have_equal_reasons():
    reasons = set()
    for value in (NAN, INF, -INF):
        with pytest.raises(InputError) as caught:
            TwistCommand.checked(0, value, 0.0)
        reasons.add(caught.value.reason)
    assert len(reasons) == 1


def test_a_frame_that_breaks_lines_is_shown_on_one():
    with pytest.raises(InputError) as caught:
        pose(frame='a\nb' * 100, frames=('map',))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_good_inputs_pass():
    assert pose(quaternion=(0, 0, 3, 4)).quaternion == (0, 0, 0.6, 0.8)
    assert pose(frame='', frames=('map',), child='', children=('base_link',)).twist is None
    assert pose(stamp_ns=-5).stamp_ns == 0
    command = AckermannCommand.checked(T0, 2, -0.1, acceleration=-3.0, steering_rate=-0.2)
    assert command == AckermannCommand(T0, 2.0, -0.1, 3.0, 0.2)


@pytest.mark.parametrize('source', ['recorded', 'pose', 'twist', 'ackermann'])
def test_inputs_of_another_source_are_refused(source):
    items = {
        'pose': pose(),
        'twist': TwistCommand(0, 1.0, 0.0),
        'ackermann': AckermannCommand(0, 1.0, 0.0),
    }
    for kind, item in items.items():
        ego = DrivenEgo(straight(), T0, source=source)
        if kind == source:
            ego.put(item)
        else:
            with pytest.raises(InputError, match=f"ego_source is '{source}'"):
                ego.put(item)


def test_a_source_that_does_not_exist():
    with pytest.raises(ValueError, match="'fly', expected one of recorded, pose"):
        DrivenEgo(straight(), T0, source='fly')


def test_a_stamp_of_the_wall_clock_counts_from_its_arrival():
    ego = DrivenEgo(straight(speed=0.0), T0, source='twist')
    assert ego.put(TwistCommand(T0 + SECOND, 1.0, 0.0)).notice is None
    taken = ego.put(TwistCommand(T0 + SECOND + 1, 3.0, 0.0), halted=True)
    assert 'use_sim_time' in str(taken.notice)
    assert ego.newest_ns == T0 + SECOND
    ego.advance_to(T0 + SECOND // 4)
    assert ego.pose(ego.passed_ns).position[0] == pytest.approx(0.75)


def test_a_stamp_of_long_ago_does_not_count():
    ego = DrivenEgo(straight(speed=0.0), T0 + SECOND, source='ackermann')
    ego.put(AckermannCommand(0, 2.0, 0.0), halted=True)
    for stamp in (1, T0, T0 + SECOND // 2):
        with pytest.raises(InputError, match='command_timeout_s'):
            ego.put(AckermannCommand(stamp, 900.0, 0.5), halted=True)
    ego.advance_to(T0 + SECOND + SECOND // 2)
    np.testing.assert_allclose(ego.pose(ego.passed_ns).position, (0.375, 0, 0), atol=1e-9)


def test_a_flood_of_commands_is_taken():
    ego = DrivenEgo(straight(speed=0.0), T0, source='twist')
    for k in range(2000):
        t_ns = T0 + k * 1_000_000
        ego.put(TwistCommand(t_ns + 5_000_000, 1.0 + (k % 2), 0.001 * (k % 3 - 1)))
        if k % 10 == 0:
            ego.advance_to(t_ns)
    ego.advance_to(T0 + 2 * SECOND)
    assert ego.pose(ego.passed_ns).position[0] == pytest.approx(1.5 * 1.995, abs=0.05)
    assert not ego.starved


def test_no_input_leads_to_a_place_that_is_not_finite():
    random = np.random.default_rng(9)
    recorded = straight(speed=5.0, seconds=60.0)
    for source in ('twist', 'ackermann', 'pose'):
        ego = DrivenEgo(recorded, T0, source=source, command_timeout_ns=0)
        for _ in range(80):
            numbers = random.choice(
                [0.0, 1e-300, -1e-12, 0.3, -5.0, 999.0, -1000.0, 1e300, NAN, INF], size=8
            ).tolist()
            stamp = int(random.choice([0, 1, ego.passed_ns - 10**8, ego.passed_ns + 10**8]))
            item: TwistCommand | AckermannCommand | TimedPose
            try:
                if source == 'twist':
                    item = TwistCommand.checked(stamp, *numbers[:2])
                elif source == 'ackermann':
                    item = AckermannCommand.checked(
                        stamp, *numbers[:2], acceleration=numbers[2], steering_rate=numbers[3]
                    )
                else:
                    item = TimedPose.checked(stamp, numbers[:3], numbers[3:7])
                ego.put(item, halted=bool(random.integers(2)))
            except InputError:
                pass
            ego.advance_to(ego.passed_ns + int(random.choice([1000, 33_333_000, 10**8])))
            found, velocity = ego.pose(ego.passed_ns), ego.velocity(ego.passed_ns)
            assert np.isfinite([*found.position, *found.quaternion, *velocity.linear]).all()
            assert np.linalg.norm(found.quaternion) == pytest.approx(1.0)
            assert math.isfinite(ego.deviation(ego.passed_ns).lateral_m)


# Collisions.


def met(ego, *boxes):
    """Return which of standing boxes (x, y, z, yaw, length, width, height) the ego meets."""
    rows = [
        [float(x), float(y), z, 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)]
        for x, y, z, yaw, *_ in boxes
    ]
    document = {
        'dummy_chunk_id': {
            'tracks_data': {
                'tracks_id': [f'track {k}' for k in range(len(boxes))],
                'tracks_label_class': ['automobile'] * len(boxes),
                'tracks_flags': ['DYNAMIC'] * len(boxes),
                'tracks_timestamps_us': [[0, 2_000_000]] * len(boxes),
                'tracks_poses': [[row, row] for row in rows],
            },
            'cuboidtracks_data': {
                'cuboids_dims': [[float(side) for side in box[4:]] for box in boxes]
            },
        }
    }
    return Encounters(parse_tracks(document, print), BOX).at(SECOND, ego)


BOX = Box(np.array((1.4, 0.0, 0.8)), np.array((4.6, 1.9, 1.6)))


def ego_at(x=0.0, y=0.0, z=0.0, yaw=0.0):
    return Pose(np.array((x, y, z)), Rotation.from_euler('Z', yaw).as_quat())


def test_touching_by_a_centimetre_is_no_collision():
    # The ego reaches from -0.9 to 3.7 m; a box of 2 m beyond its nose.
    for overlap, expected in ((-0.1, ()), (0.0, ()), (0.009, ()), (0.011, ('track 0',))):
        found = met(ego_at(), (4.7 - overlap, 0, 0.8, 0, 2, 2, 2))
        assert found == expected, overlap


def test_corners_that_pass_one_another_do_not_meet():
    # At 45 degrees a square of 2 m reaches 1.414 m, but its corner lies beside the ego's.
    beside = math.sqrt(2) * 0.5
    for shift, expected in ((beside + 0.02, ()), (beside - 0.02, ('track 0',))):
        found = met(ego_at(), (3.7 + shift, 0.95 + shift, 0.8, math.pi / 4, 2, 2, 2))
        assert found == expected


def test_heights_must_meet_too():
    for z, expected in ((2.59, ('track 0',)), (2.61, ()), (-0.99, ('track 0',)), (-1.01, ())):
        assert met(ego_at(), (1, 0, z, 0, 2, 2, 2)) == expected, z


def test_on_a_hill_the_ego_is_higher():
    assert met(ego_at(z=5.0), (1, 0, 0.8, 0, 2, 2, 2)) == ()
    assert met(ego_at(z=5.0), (1, 0, 5.8, 0, 2, 2, 2)) == ('track 0',)


def _half_planes(x, y, yaw, length, width):
    """Return normals (4, 2) and offsets (4,) of a rectangle's sides."""
    angles = yaw + np.array((0.0, 0.5, 1.0, 1.5)) * math.pi
    normals = np.column_stack((np.cos(angles), np.sin(angles)))
    return normals, normals @ (x, y) + np.array((length, width, length, width)) / 2


def _room(*rectangles):
    """Return the radius of the largest disc in all rectangles, by linear programming."""
    sides = [_half_planes(*rectangle) for rectangle in rectangles]
    normals = np.vstack([one for one, _ in sides])
    found = linprog(
        (0.0, 0.0, -1.0),
        A_ub=np.column_stack((normals, np.ones(len(normals)))),
        b_ub=np.concatenate([offsets for _, offsets in sides]),
        bounds=(None, None),
    )
    return found.x[2]


def test_who_is_met_is_whose_rectangle_has_room_in_common(tmp_path):
    """Known beforehand is only where tracks are not: nobody near is lost by it."""
    found = Scenario.load(build_archive(tmp_path)).tracks
    encounters = Encounters(found, BOX)
    random = np.random.default_rng(5)
    begin_ns, end_ns = int(found.start_ns.min()), int(found.end_ns.max())
    hits = misses = 0
    for t_ns in random.integers(begin_ns - 10**9, end_ns + 10**9, 100).tolist():
        there = found.at(t_ns)
        place = random.choice(there.positions) if len(there) else np.zeros(3)
        yaw = random.uniform(-4, 4)
        ego = ego_at(*(place + random.uniform((-4, -4, -2), (4, 4, 1))), yaw=yaw)
        x, y, z = ego.position
        mine = (x + 1.4 * math.cos(yaw), y + 1.4 * math.sin(yaw), yaw, 4.6, 1.9)
        expected, seen = [], list(encounters.at(t_ns, ego))
        for row, name in enumerate(there.ids):
            (at_x, at_y, at_z), (length, width, height) = there.positions[row], there.dims[row]
            apart_m = math.hypot(at_x - x, at_y - y) - math.hypot(length, width)
            if apart_m > 5.0 or abs(at_z - z - 0.8) >= (height + 1.6) / 2:
                misses += 1
                continue
            turned = Rotation.from_quat(there.quaternions[row]).as_euler('ZYX')[0]
            room = _room(mine, (at_x, at_y, turned, length, width))
            if 0.0 <= room <= 0.01:
                # Either may be said of boxes that touch.
                seen = [one for one in seen if one != name]
            elif room > 0.0:
                expected.append(name)
        assert seen == expected
        hits += len(expected)
    assert hits > 15
    assert misses > 15


def test_nobody_is_met_where_nobody_is(tmp_path):
    nobody = Scenario.load(build_archive(tmp_path, tracks=[])).tracks
    assert Encounters(nobody, BOX).at(10**9, ego_at()) == ()
