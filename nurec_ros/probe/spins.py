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
"""The stages of the lidars: a spin of each, what it is worth, and the file that is kept of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from nurec_ros.probe.renders import moment, Renders
from nurec_ros.probe.report import FAIL, NOTE, PASS, SKIP, Stage
from nurec_ros.rendering.calls import no_lidars
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.rendering.replies import check_cloud, ReplyError
from nurec_ros.rendering.requests import RequestBuilder

STAGE = 'lidar'

# The farthest devices see 200 m and a bit (m).
_FARTHEST = 300.0
# Half of a car's surroundings is never within its own lidar's housing (m).
_NEAREST = 0.5
# Of the points; single ones may be odd.
_MOST_FAR = 0.01
_ODD = (
    'expected metres in the frame of the sensor: is the archive the one that the server has, and '
    'what answers a NuRec server of a known version? the saved file tells more'
)
_NOTHING = (
    'nothing is met by any beam: is the scene the one of this archive, does the server reach its '
    'data, and is the device the right one (parameter <lidar>.device)? its log tells more'
)
_SLOW = 'render it at a lower lidar_rate, or use mode lockstep'


@dataclass(frozen=True, slots=True)
class ProbedSpin:
    """
    One spin as a server returned it.

    file_name and data: what is kept, a PCD file, or the reply as it came where it holds no cloud.
    median, nearest, farthest: distances in metres. fault: why the cloud cannot be used, '' where
    it can; remedy: what to do about that; note: what is odd about it, and no fault.
    """

    file_name: str
    data: bytes
    points: int
    nearest: float = 0.0
    median: float = 0.0
    farthest: float = 0.0
    fault: str = ''
    remedy: str = ''
    note: str = ''


def judge_spin(lidar: str, reply: sensorsim_pb2.LidarRenderReturn) -> ProbedSpin:
    """Check a reply as the player does, and whether its points can be a street."""
    try:
        points, intensities = check_cloud(reply)
    except ReplyError as error:
        data = reply.SerializeToString()
        return ProbedSpin(f'{lidar}.bin', data, 0, fault=str(error), remedy=error.remedy)
    count = len(points)
    name = f'{lidar}.pcd'
    if not count:
        return ProbedSpin(name, b'', 0, fault='the cloud is empty', remedy=_NOTHING)
    distances = np.linalg.norm(points, axis=1)
    nearest, median, farthest = (float(part) for part in np.percentile(distances, (0, 50, 100)))
    found = ProbedSpin(name, pcd(points, intensities), count, nearest, median, farthest)
    far = int(np.count_nonzero(distances > _FARTHEST))
    if far > _MOST_FAR * count:
        fault = f'{far} of {count} points are farther away than {_FARTHEST:g} m'
        return replace(found, fault=fault, remedy=_ODD)
    if median < _NEAREST:
        fault = f'half of {count} points are within {median:.2g} m of the sensor'
        return replace(found, fault=fault, remedy=_ODD)
    low, high = float(intensities.min()), float(intensities.max())
    if low < 0.0 or high > 1.0:
        note = f'intensities of {low:g} to {high:g}, expected 0 to 1'
        return replace(found, note=note)
    return found


def pcd(points: NDArray[np.float32], intensities: NDArray[np.float32]) -> bytes:
    """Return a cloud as a binary PCD file of version 0.7: x, y, z and intensity as float32."""
    count = len(points)
    header = (
        '# .PCD v0.7 - Point Cloud Data file format\n'
        'VERSION 0.7\n'
        'FIELDS x y z intensity\n'
        'SIZE 4 4 4 4\n'
        'TYPE F F F F\n'
        'COUNT 1 1 1 1\n'
        f'WIDTH {count}\n'
        'HEIGHT 1\n'
        'VIEWPOINT 0 0 0 1 0 0 0\n'
        f'POINTS {count}\n'
        'DATA binary\n'
    )
    return header.encode() + np.column_stack([points, intensities]).astype('<f4').tobytes()


def lidar_stages(
    renders: Renders, lidars: Sequence[str], spins: list[ProbedSpin]
) -> Iterator[Stage]:
    """Render one spin of each lidar near the middle of the drive; `spins` collects what came."""
    builder = RequestBuilder(renders.scenario, RenderOptions())
    warm = False
    for lidar in lidars:
        if renders.dead:
            yield Stage(STAGE, SKIP, f'{lidar}: not tried, because the server does not answer')
            continue
        device, unnamed = builder.options.device_of(lidar)
        t_ns = moment(renders.scenario, renders.scenario.lidars[lidar].spin_times_ns[:, 1])
        request = builder.build_spin(renders.scene_id, lidar, t_ns)
        details: dict[str, object] = {'lidar': lidar, 'device': device, 'time_us': t_ns // 1000}
        answer = renders.ask(STAGE, 'render_lidar', request, first=not warm)
        if answer.unknown_method:
            error = no_lidars(renders.calls.server)
            yield Stage(STAGE, NOTE, error.problem, error.remedy, answer.latency_s, details)
            return
        if answer.error is not None:
            stage = renders.failed(STAGE, answer)
            yield replace(stage, message=f'{lidar}: {stage.message}', details=details)
            continue
        spin = judge_spin(lidar, answer.reply)
        spins.append(spin)
        details['points'] = spin.points
        status, remedy = PASS, ''
        if spin.points:
            details['ranges_m'] = [spin.nearest, spin.median, spin.farthest]
            message = (
                f'{lidar} as {device}: {spin.points} points, {spin.nearest:.1f} to '
                f'{spin.farthest:.1f} m, half within {spin.median:.1f} m'
            )
        else:
            message = f'{lidar} as {device}'
        if spin.fault:
            status, message, remedy = FAIL, f'{message}: {spin.fault}', spin.remedy
        elif answer.latency_s > renders.slow_s:
            status, message = NOTE, message + (', slow' if warm else ', slow because the first')
            remedy = _SLOW if warm else ''
        elif unnamed or spin.note:
            status, message = NOTE, '; '.join(filter(None, [message, spin.note, unnamed]))
        warm = True
        yield Stage(STAGE, status, message, remedy, answer.latency_s, details)
