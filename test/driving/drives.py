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
"""Recorded egos whose place at any moment is known in closed form, and egos that are driven."""

import math

import numpy as np
from nurec_ros.driving import DrivenEgo, Limits, TwistCommand
from nurec_ros.scenario import Trajectory
from nurec_ros.scenario.trajectory import PoseTable
from scipy.spatial.transform import Rotation

SECOND = 1_000_000_000
# Of the size of an epoch: float64 no longer counts its nanoseconds.
T0 = 1_700_000_000_120_000_000
LIMITS = Limits(wheelbase_m=2.85, max_acceleration=3.0, max_deceleration=6.0)


def ego(positions, rotations, hz=10.0, start_ns=T0):
    """Return a trajectory through positions (N, 3) with rotations of scipy's."""
    times = start_ns + np.round(np.arange(len(positions)) * SECOND / hz).astype(np.int64)
    return Trajectory(PoseTable(times, np.asarray(positions, dtype=float), rotations.as_quat()))


def straight(speed=10.0, seconds=20.0, yaw=0.0, pitch=0.0, start=(0.0, 0.0, 0.0), hz=10.0):
    """Return a straight drive; `pitch` (rad) is positive uphill."""
    way = speed * np.arange(round(seconds * hz) + 1) / hz
    ahead = (math.cos(yaw), math.sin(yaw), math.tan(pitch))
    positions = np.array(start) + way[:, np.newaxis] * ahead
    rotation = Rotation.from_euler('ZYX', (yaw, -pitch, 0.0))
    return ego(positions, Rotation.concatenate([rotation] * len(way)), hz)


def by_heading(xy, heights=None, hz=10.0):
    """Return a drive on the level through points (N, 2), heading along the way."""
    xy = np.asarray(xy, dtype=float)
    heights = np.zeros(len(xy)) if heights is None else heights
    step = np.gradient(xy, axis=0)
    yaws = np.arctan2(step[:, 1], step[:, 0])
    return ego(np.column_stack((xy, heights)), Rotation.from_euler('Z', yaws[:, np.newaxis]), hz)


def level_circle(radius=20.0, speed=8.0, seconds=20.0, hz=100.0):
    """Return a left turn about the origin."""
    angle = speed / radius * np.arange(round(seconds * hz) + 1) / hz
    positions = np.column_stack(
        (radius * np.cos(angle), radius * np.sin(angle), np.zeros_like(angle))
    )
    return ego(positions, Rotation.from_euler('Z', (angle + math.pi / 2)[:, np.newaxis]), hz)


def euler(pose):
    """Return yaw, pitch, roll of a pose, by scipy; pitch is positive downhill."""
    return Rotation.from_quat(pose.quaternion).as_euler('ZYX')


def driven(source, recorded=None, at_ns=T0, *, timeout_s=0.0):
    """Return an ego that `source` drives; recorded, it stands."""
    recorded = recorded or straight(speed=0.0, seconds=30.0)
    timeout_ns = round(timeout_s * SECOND)
    return DrivenEgo(recorded, at_ns, source=source, limits=LIMITS, command_timeout_ns=timeout_ns)


def turning(speed, yaw_rate, recorded=None, at_ns=T0):
    """Return an ego that drives with this twist from a halted moment on."""
    ego = driven('twist', recorded, at_ns)
    ego.put(TwistCommand(0, speed, yaw_rate), halted=True)
    return ego


def after(ego, seconds):
    """Return the pose of an ego once time has passed up to so much after T0."""
    ego.advance_to(T0 + round(seconds * SECOND))
    return ego.pose(ego.passed_ns)
