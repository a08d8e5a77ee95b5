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
"""Motion: closed forms, scipy's solve_ivp, and spans that are cut in many ways."""

from functools import cache
import math
from test.driving.drives import (
    after,
    driven,
    euler,
    level_circle,
    LIMITS,
    SECOND,
    straight,
    T0,
    turning,
)

import numpy as np
from nurec_ros.driving import AckermannCommand, TwistCommand
from nurec_ros.driving.inputs import InputError
from nurec_ros.playback import PlaybackClock
import pytest
from scipy.integrate import solve_ivp


@pytest.mark.parametrize(
    ('speed', 'rate'), [(8.0, 0.4), (-3.0, 0.9), (15.0, -0.05), (12.0, 1e-9), (0.0, 0.5)]
)
def test_unicycle_drives_an_arc(speed, rate):
    ego = turning(speed, rate)
    for seconds in (0.1, 1.0, 7.77, 20.0):
        found = after(ego, seconds)
        # About the centre of the turn, which lies to the left by speed / rate; half angles, so
        # that a hair's breadth of a turn keeps its digits.
        half = rate * seconds / 2
        chord = 2 * speed / rate * math.sin(half)
        at = (chord * math.cos(half), chord * math.sin(half), 0.0)
        np.testing.assert_allclose(found.position, at, atol=1e-9)
        turned = math.remainder(euler(found)[0] - rate * seconds, math.tau)
        assert abs(turned) < 1e-9
        velocity = ego.velocity(ego.passed_ns)
        np.testing.assert_array_equal(velocity.linear, (speed, 0.0, 0.0))
        np.testing.assert_array_equal(velocity.angular, (0.0, 0.0, rate))


# A wheel turns as far as it can.
@pytest.mark.parametrize(('steering', 'turned_deg'), [(math.radians(-15.0), -15.0), (80.0, 35.0)])
def test_bicycle_speeds_up_on_a_circle_and_brakes_to_a_stand(steering, turned_deg):
    ego = driven('ackermann')
    curvature = math.tan(math.radians(turned_deg)) / 2.85
    ego.put(AckermannCommand(0, 6.0, steering), halted=True)
    # 3 m/s^2 for 2 s, then even; 6 m/s^2 for 1 s is a way of 3 m.
    for seconds, way, speed in (
        (1.3, 1.5 * 1.3**2, 3.9),
        (2.0, 6.0, 6.0),
        (3.5, 15.0, 6.0),
        (10.0, 18.0, 0.0),
    ):
        found, angle = after(ego, seconds), way * curvature
        at = (math.sin(angle) / curvature, (1 - math.cos(angle)) / curvature)
        np.testing.assert_allclose(found.position[:2], at, atol=1e-8)
        velocity = ego.velocity(ego.passed_ns)
        assert velocity.linear[0] == pytest.approx(speed, abs=1e-12)
        assert velocity.angular[2] == pytest.approx(speed * curvature, abs=1e-12)
        if seconds == 3.5:
            ego.put(AckermannCommand(0, 0.0, steering), halted=True)
    np.testing.assert_array_equal(velocity.linear, (0.0, 0.0, 0.0))


def ramp(value, *legs):
    """Return a value as a function of seconds: from goal to goal, each at its rate."""
    times, values = [0.0], [value]
    for goal, rate in legs:
        times.append(times[-1] + abs(goal - values[-1]) / rate)
        values.append(goal)
    return lambda seconds: np.interp(seconds, times, values)


@pytest.mark.parametrize(
    ('command', 'speed_at', 'steering_at'),
    [
        (
            AckermannCommand(0, 2.0, -0.5, acceleration=1.5, steering_rate=0.4),
            *(ramp(10.0, (2.0, 1.5)), ramp(0.0, (-0.5, 0.4))),
        ),
        (
            AckermannCommand(0, 14.0, 0.6, acceleration=2.5, steering_rate=0.15),
            *(ramp(2.0, (14.0, 2.5)), ramp(0.0, (0.6, 0.15))),
        ),
        # Braked to a stand, it speeds up the other way.
        (
            AckermannCommand(0, -4.0, 0.2, steering_rate=0.07),
            *(ramp(6.0, (0.0, 6.0), (-4.0, 3.0)), ramp(0.0, (0.2, 0.07))),
        ),
        # More than the vehicle can.
        (
            AckermannCommand(0, 25.0, -1.4, acceleration=9.0, steering_rate=1.1),
            *(ramp(20.0, (25.0, 3.0)), ramp(0.0, (-math.radians(35.0), 1.1))),
        ),
    ],
)
def test_turning_steering_equals_scipys_solution(command, speed_at, steering_at):
    seconds = 5.0
    ego = driven('ackermann', straight(speed=speed_at(0.0), seconds=30.0))
    ego.put(command, halted=True)

    def slope(t, state):
        speed, yaw = speed_at(t), state[2]
        turn = math.tan(steering_at(t)) / LIMITS.wheelbase_m
        return speed * math.cos(yaw), speed * math.sin(yaw), speed * turn

    asked = np.linspace(0.0, seconds, 26)
    truth = solve_ivp(
        slope, (0, seconds), (0, 0, 0), 'DOP853', asked, rtol=1e-11, atol=1e-11, max_step=0.1
    )
    for t, x, y, yaw in zip(asked, *truth.y, strict=True):
        found = after(ego, t)
        np.testing.assert_allclose(found.position[:2], (x, y), atol=1e-6)
        assert abs(math.remainder(euler(found)[0] - yaw, math.tau)) < 1e-7
        assert ego.velocity(ego.passed_ns).linear[0] == pytest.approx(speed_at(t), abs=1e-6)


# What a span is cut into.


def by_clock(rate, until_ns, hz=100.0):
    """Return the positions of a clock that plays at a rate, at every tick of a timer."""
    wall = [0]
    clock = PlaybackClock(T0, until_ns, now=lambda: wall[0], rate=rate)
    clock.play()
    positions = []
    while not clock.done:
        wall[0] += round(SECOND / hz)
        positions.append(clock.advance().position_ns)
    return positions


END = T0 + SECOND
COMMANDS: dict[str, list[TwistCommand] | list[AckermannCommand]] = {
    'twist': [
        TwistCommand(T0, 9.0, 0.3),
        TwistCommand(T0 + 314_159_265, 7.0, -0.8),
        TwistCommand(T0 + 500_000_000, 12.0, 0.1),
    ],
    'ackermann': [
        AckermannCommand(T0, 12.0, 0.3, acceleration=2.0, steering_rate=0.5),
        AckermannCommand(T0 + 271_828_182, 4.0, -0.4, steering_rate=0.9),
        AckermannCommand(T0 + 650_000_000, -2.0, 0.1, steering_rate=0.3),
    ],
}
CUTS = {
    'one tick of a second': [END],
    'ticks of 33333 us': [*(T0 + k * 33_333_000 for k in range(1, 31)), END],
    'rate 0.01': by_clock(0.01, END),
    'rate 0.3': by_clock(0.3, END),
    'rate 100': by_clock(100.0, END),
    'at random': [*np.unique(np.random.default_rng(1).integers(T0 + 1, END, 300)).tolist(), END],
    'each command just in time': [
        *sorted(one.stamp_ns for commands in COMMANDS.values() for one in commands[1:]),
        END,
    ],
}


@cache
def poses(source, cut):
    """Return all that is said of a second that was cut in a way: the same, bit for bit."""
    asked = np.arange(T0, END + 1, 12_345_678)
    ego = driven(source, level_circle(), timeout_s=0.25)
    waiting = [*COMMANDS[source]]

    def give(until_ns):
        while waiting and waiting[0].stamp_ns <= until_ns:
            ego.put(waiting.pop(0), halted=True)

    give(T0 if cut == 'each command just in time' else END)
    seen = {}
    for t_ns in CUTS[cut]:
        before = ego.passed_ns
        ego.advance_to(t_ns)
        give(t_ns)
        for one in asked[(asked > before) & (asked <= t_ns)].tolist():
            seen[one] = ego.pose(one)
    # What was seen when it had just passed is what it stays.
    for one, pose in seen.items():
        assert ego.pose(one).position.tobytes() == pose.position.tobytes()
    velocities = [ego.velocity(one) for one in asked.tolist()]
    sides = [ego.deviation(one) for one in asked.tolist()]
    path = [(row.t_ns, row.position, row.quaternion) for row in ego.driven_path]
    found = ego.pose(asked)
    return (
        found.position.tobytes(),
        found.quaternion.tobytes(),
        np.array([[*one.linear, *one.angular] for one in velocities]).tobytes(),
        sides,
        path,
    )


@pytest.mark.parametrize('cut', list(CUTS)[1:])
@pytest.mark.parametrize('source', COMMANDS)
def test_it_does_not_matter_how_a_second_is_cut(source, cut):
    assert poses(source, cut) == poses(source, 'one tick of a second')


def test_take_over_keeps_speed_and_curvature_until_the_timeout():
    recorded = level_circle(radius=20.0, speed=8.0)
    at_ns = T0 + 3 * SECOND
    for source in ('twist', 'ackermann'):
        ego = driven(source, recorded, at_ns, timeout_s=0.5)
        ego.advance_to(at_ns + SECOND // 2)
        assert ego.starved
        want = recorded.pose(at_ns + SECOND // 2)
        # The recording goes along chords of 8 cm, whose speed and turn were taken over.
        np.testing.assert_allclose(ego.pose(ego.passed_ns).position, want.position, atol=1e-3)
        speed = recorded.velocity(at_ns).linear[0]
        ego.advance_to(at_ns + SECOND)
        left = {'twist': 0.0, 'ackermann': speed - 3.0}[source]
        assert ego.velocity(ego.passed_ns).linear[0] == pytest.approx(left, abs=1e-9)
        assert ego.starved


def test_after_the_timeout_a_twist_ends_and_a_bicycle_brakes():
    for source, command in (
        ('twist', TwistCommand(T0, 6.0, 0.0)),
        ('ackermann', AckermannCommand(T0, 6.0, 0.1, acceleration=3.0)),
    ):
        ego = driven(source, straight(speed=6.0), timeout_s=0.5)
        ego.put(command, halted=True)
        ego.advance_to(T0 + SECOND // 2 - 1)
        assert not ego.starved
        ego.advance_to(T0 + 3 * SECOND)
        assert ego.starved
        way = {'twist': 3.0, 'ackermann': 3.0 + 3.0}[source]
        curvature = {'twist': 1e-12, 'ackermann': math.tan(0.1) / 2.85}[source]
        x, y, _ = ego.pose(ego.passed_ns).position
        assert math.hypot(x, y) == pytest.approx(
            2 / curvature * math.sin(way * curvature / 2), abs=1e-6
        )
        # One of then counts no more, the next one does.
        with pytest.raises(InputError, match='command_timeout_s'):
            ego.put(command, halted=True)
        assert ego.starved
        ego.put(type(command)(0, 1.0, 0.0), halted=True)
        ego.advance_to(T0 + 3 * SECOND + SECOND // 4)
        assert not ego.starved
        assert ego.velocity(ego.passed_ns).linear[0] > 0.5


def test_of_equal_stamps_the_last_counts_and_of_others_the_latest():
    ego = driven('twist')
    ego.put(TwistCommand(T0 + SECOND // 2, 100.0, 3.0), halted=True)
    ego.put(TwistCommand(T0 + SECOND // 2, 4.0, 0.0), halted=True)
    ego.put(TwistCommand(T0, 50.0, 0.0), halted=True)
    ego.put(TwistCommand(T0, 2.0, 0.0), halted=True)
    np.testing.assert_allclose(after(ego, 1.0).position, (1.0 + 2.0, 0.0, 0.0), atol=1e-9)
    # Stamped before the one that counts: what was overtaken on its way.
    ego.put(TwistCommand(T0 + SECOND // 4, 1000.0, 0.0), halted=True)
    np.testing.assert_allclose(after(ego, 2.0).position, (7.0, 0.0, 0.0), atol=1e-9)


def test_equal_stamps_of_a_turning_wheel_leave_no_trace():
    twice, once = (driven('ackermann', straight(speed=5.0)) for _ in range(2))
    command = AckermannCommand(T0, 5.0, 0.2, steering_rate=0.1)
    twice.put(AckermannCommand(T0, 5.0, 0.5), halted=True)
    twice.put(command, halted=True)
    once.put(command, halted=True)
    for ego in (twice, once):
        ego.advance_to(END)
    assert twice.pose(END).position.tobytes() == once.pose(END).position.tobytes()


def test_a_late_command_touches_only_what_comes():
    ego = driven('twist', timeout_s=0.5)
    ego.put(TwistCommand(T0, 2.0, 0.0), halted=False)
    ego.advance_to(T0 + 200_000_000)
    asked = np.arange(T0, T0 + 200_000_001, 10_000_000)
    before = ego.pose(asked).position.tobytes()
    ego.put(TwistCommand(T0 + 100_000_000, 10.0, 0.0), halted=False)
    assert ego.pose(asked).position.tobytes() == before
    assert ego.velocity(T0 + 200_000_000).linear[0] == 2.0
    np.testing.assert_allclose(after(ego, 0.3).position, (0.4 + 1.0, 0.0, 0.0), atol=1e-9)


def test_rate_100_costs_no_more_than_rate_1():
    def knots(cuts):
        ego = turning(9.0, 0.3, level_circle())
        asked = []
        nearest = ego.path.nearest

        def counted(*where):
            asked.append(where)
            return nearest(*where)

        ego.path.nearest = counted
        for t_ns in cuts:
            ego.advance_to(t_ns)
        return len(asked)

    assert knots(CUTS['rate 100']) <= knots(by_clock(1.0, END)) <= 110
