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

from contextlib import suppress
from functools import partial
import math
from test.driving.drives import SECOND, straight, T0
from test.support.archives import build_archive, track, tracks_document, yawed

import cv2
import numpy as np
from nurec_ros.driving import (
    AckermannCommand,
    DrivenEgo,
    InputError,
    TimedPose,
    TwistCommand,
)
from nurec_ros.driving.inputs import check_frame
from nurec_ros.driving.watch import Encounters
from nurec_ros.poses import Pose
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.rig import Box
from nurec_ros.scenario.schema.sequence_tracks import parse_tracks
import pytest
from scipy.spatial.transform import Rotation

NAN, INF = math.nan, math.inf
UNIT = (0.0, 0.0, 0.0, 1.0)


def pose(position=(1.0, 2.0, 3.0), quaternion=UNIT, stamp_ns=T0, **more):
    return TimedPose.checked(stamp_ns, position, quaternion, **more)


def twist(speed, yaw_rate):
    return TwistCommand.checked(0, speed, yaw_rate)


def ackermann(speed, steering, **more):
    return AckermannCommand.checked(0, speed, steering, **more)


@pytest.mark.parametrize(
    ('make', 'sentence'),
    [
        (partial(pose, (0, NAN, 0)), 'position.y is nan, expected a finite number'),
        (partial(pose, (INF, 0, 0)), 'position.x is inf, expected a finite number'),
        (partial(pose, (0, 0, -2e9)), 'position.z is -2e+09, expected at most 1e+09'),
        (partial(pose, quaternion=(0, 0, NAN, 1)), 'orientation.z is nan, expected a finite'),
        (partial(pose, quaternion=(0, 0, 0, 0)), 'a quaternion of length 0, expected 1'),
        (
            partial(check_frame, 'child_frame_id', 'a', ('map', '', 'b')),
            "child_frame_id is 'a', expected 'map' or 'b' or none",
        ),
        (partial(check_frame, 'frame_id', 'a\nb' * 100, ('map',)), "frame_id is 'a"),
        (partial(pose, twist=(0, 0, 0, 0, INF, 0)), 'angular.y is inf, expected a finite'),
        (partial(twist, NAN, 0.0), 'linear.x is nan, expected a finite'),
        (partial(twist, 0.0, -INF), 'angular.z is -inf, expected a finite'),
        (partial(twist, 1e300, 0.0), 'linear.x is 1e+300, expected at most 1000'),
        (partial(ackermann, NAN, 0.0), 'speed is nan'),
        (partial(ackermann, 0.0, INF), 'steering_angle is inf'),
        (partial(ackermann, 0.0, 0.0, acceleration=NAN), 'acceleration is nan'),
        (partial(ackermann, 0.0, 0.0, steering_rate=NAN), 'steering_angle_velocity is nan'),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(make, sentence):
    with pytest.raises(InputError) as caught:
        make()
    assert sentence in str(caught.value)
    assert caught.value.reason
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_equal_faults_have_equal_reasons():
    reasons = set()
    for value in (NAN, INF, -INF):
        with pytest.raises(InputError) as caught:
            twist(value, 0.0)
        reasons.add(caught.value.reason)
    assert len(reasons) == 1


def test_good_inputs_pass():
    assert pose(quaternion=(0, 0, 3, 4)).quaternion == (0, 0, 0.6, 0.8)
    assert pose().twist is None
    check_frame('frame_id', '', ('map',))
    check_frame('frame_id', 'odom', ('map', 'odom'))
    assert pose(stamp_ns=-5).stamp_ns == 0
    command = AckermannCommand.checked(T0, 2, -0.1, acceleration=-3.0, steering_rate=-0.2)
    assert command == AckermannCommand(T0, 2.0, -0.1, 3.0, 0.2)


def test_inputs_of_another_source_are_refused():
    items = {'pose': pose(), 'twist': twist(1.0, 0.0), 'ackermann': ackermann(1.0, 0.0)}
    for source in ('recorded', *items):
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
    """Each counts from its stamp on; of those that wait the newest ten thousand are kept."""
    ego = DrivenEgo(straight(speed=0.0), T0, source='twist')
    for k in range(12_000):
        speed = 500.0 if k < 2_000 else 1.0 + k % 2
        ego.put(TwistCommand(T0 + (k + 1) * 50_000, speed, 0.0))
    ego.advance_to(T0 + 12_001 * 50_000)
    # Half a second of 1 m/s and 2 m/s in turn.
    assert ego.pose(ego.passed_ns).position[0] == pytest.approx(0.75, abs=1e-6)
    assert not ego.starved


def test_no_input_leads_to_a_place_that_is_not_finite():
    random = np.random.default_rng(9)
    recorded = straight(speed=5.0, seconds=60.0)
    numbers = [0.0, 1e-300, -1e-12, 0.3, -5.0, 999.0, -1000.0, 1e300, NAN, INF]
    for source in ('twist', 'ackermann', 'pose'):
        ego = DrivenEgo(recorded, T0, source=source, command_timeout_ns=0)
        for _ in range(80):
            a, b, c, d, *rest = random.choice(numbers, size=8).tolist()
            stamp = int(random.choice([0, 1, ego.passed_ns - 10**8, ego.passed_ns + 10**8]))
            item: TwistCommand | AckermannCommand | TimedPose
            with suppress(InputError):
                if source == 'twist':
                    item = TwistCommand.checked(stamp, a, b)
                elif source == 'ackermann':
                    item = AckermannCommand.checked(stamp, a, b, acceleration=c, steering_rate=d)
                else:
                    item = TimedPose.checked(stamp, (a, b, c), (d, *rest[:3]))
                ego.put(item, halted=bool(random.integers(2)))
            ego.advance_to(ego.passed_ns + int(random.choice([1000, 33_333_000, 10**8])))
            found, velocity = ego.pose(ego.passed_ns), ego.velocity(ego.passed_ns)
            assert np.isfinite([*found.position, *found.quaternion, *velocity.linear]).all()
            assert np.linalg.norm(found.quaternion) == pytest.approx(1.0)
            assert math.isfinite(ego.deviation(ego.passed_ns).lateral_m)


# Collisions.


BOX = Box(np.array((1.4, 0.0, 0.8)), np.array((4.6, 1.9, 1.6)))
BESIDE = math.sqrt(2) * 0.5


def ego_at(x=0.0, y=0.0, z=0.0, yaw=0.0):
    return Pose(np.array((x, y, z)), Rotation.from_euler('Z', yaw).as_quat())


@pytest.mark.parametrize(
    ('x', 'y', 'z', 'yaw', 'ego_z', 'meets'),
    [
        # Touching by a centimetre is no collision: the ego reaches from -0.9 to 3.7 m.
        (4.8, 0.0, 0.8, 0.0, 0.0, False),
        (4.7, 0.0, 0.8, 0.0, 0.0, False),
        (4.691, 0.0, 0.8, 0.0, 0.0, False),
        (4.689, 0.0, 0.8, 0.0, 0.0, True),
        # At 45 degrees a square of 2 m reaches 1.414 m, but its corner lies beside the ego's.
        (3.72 + BESIDE, 0.97 + BESIDE, 0.8, math.pi / 4, 0.0, False),
        (3.68 + BESIDE, 0.93 + BESIDE, 0.8, math.pi / 4, 0.0, True),
        # Heights must meet too.
        (1.0, 0.0, 2.59, 0.0, 0.0, True),
        (1.0, 0.0, 2.61, 0.0, 0.0, False),
        (1.0, 0.0, -0.99, 0.0, 0.0, True),
        (1.0, 0.0, -1.01, 0.0, 0.0, False),
        # On a hill the ego is higher.
        (1.0, 0.0, 0.8, 0.0, 5.0, False),
        (1.0, 0.0, 5.8, 0.0, 5.0, True),
    ],
)
def test_a_box_of_two_metres_is_met_where_rectangles_and_heights_overlap(
    x, y, z, yaw, ego_z, meets
):
    times_us = [0, 2_000_000]
    box = track('box', 'automobile', [yawed(x, y, z, yaw)] * 2, times_us, dims=(2.0, 2.0, 2.0))
    encounters = Encounters(parse_tracks(tracks_document([box]), print), BOX)
    assert encounters.at(SECOND, ego_at(z=ego_z)) == (('box',) if meets else ())
    assert encounters.at(2 * SECOND + 1, ego_at(z=ego_z)) == ()


def test_who_is_met_is_whose_rectangle_has_room_in_common(tmp_path):
    """By OpenCV's geometry. Known beforehand is only where tracks are not: nobody is lost."""
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
        ahead = (1.4 * math.cos(yaw), 1.4 * math.sin(yaw))
        mine = (ahead, (4.6, 1.9), math.degrees(yaw))
        expected, seen = [], list(encounters.at(t_ns, ego))
        for row, name in enumerate(there.ids):
            x, y, z = there.positions[row] - ego.position
            length, width, height = there.dims[row]
            yaw_deg = Rotation.from_quat(there.quaternions[row]).as_euler('ZYX', degrees=True)[0]
            theirs = ((x, y), (length, width), yaw_deg)
            touches, corners = cv2.rotatedRectangleIntersection(mine, theirs)
            if not touches or abs(z - 0.8) >= (height + 1.6) / 2:
                misses += 1
            elif min(cv2.minAreaRect(corners)[1]) > 0.02:
                expected.append(name)
            else:
                # Either may be said of boxes that hardly touch.
                seen = [one for one in seen if one != name]
        assert seen == expected
        hits += len(expected)
    assert hits > 15
    assert misses > 15


def test_nobody_is_met_where_nobody_is():
    nobody = parse_tracks(tracks_document([]), print)
    assert Encounters(nobody, BOX).at(10**9, ego_at()) == ()
