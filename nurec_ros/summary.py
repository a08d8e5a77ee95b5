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
"""
What is in a scenario, for people and programs: the facts of `nurec_info`.

Everything is computed from the loaded records; nothing is asked of a server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from nurec_ros.errors import NurecError
from nurec_ros.scenario import Camera, Lidar, Scenario
from nurec_ros.scenario.cameras import CameraModel
from nurec_ros.scenario.trajectory import Trajectory

SUFFIX = '.usdz'
# A step longer than this many usual ones is a gap: one missed frame makes two of one.
GAP_STEPS = 1.8
# Points along a row or column of the image, of which the outermost that the lens sees count.
SAMPLES = 401


@dataclass(frozen=True, slots=True)
class Gaps:
    """Where samples are missing: how many steps are too long, the longest, and where it begins."""

    count: int = 0
    longest_s: float = 0.0
    longest_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """
    One camera; None for what the file does not tell.

    `hfov_deg` and `vfov_deg` are measured through the lens along the row and the column of the
    principal point. `fit_rms_px` and `fit_max_px` say how far ROS's equidistant model is off, None
    where ROS has the lens's own. `problem` says why it cannot be rendered.
    """

    name: str
    model: str | None
    width: int | None
    height: int | None
    hfov_deg: float | None
    vfov_deg: float | None
    frames: int
    rate_hz: float | None
    gaps: Gaps
    fit_rms_px: float | None
    fit_max_px: float | None
    problem: str


@dataclass(frozen=True, slots=True)
class LidarFacts:
    """
    One lidar; None for what the file does not tell.

    `spinning_hz` is how often its model turns in a second, `rate_hz` how often it was recorded.
    """

    name: str
    model: str | None
    rows: int | None
    columns: int | None
    spinning_hz: float | None
    spins: int
    rate_hz: float | None
    gaps: Gaps


@dataclass(frozen=True, slots=True)
class ScenarioFacts:
    """One scenario; lengths in metres, speeds in m/s, times as in the file."""

    path: str
    sequence_id: str
    scene_id: str
    version: str
    start_us: int
    end_us: int
    duration_s: float
    poses: int
    pose_gaps: Gaps
    length_m: float
    mean_speed: float
    max_speed: float
    tracks: int
    classes: dict[str, int]
    controllable: int
    static: int
    cameras: list[CameraFacts]
    lidars: list[LidarFacts]
    road_map: bool
    lane_boundaries: int
    warnings: list[str]


def find_files(places: Iterable[Path]) -> list[Path]:
    """Return the files, each once, with those of each folder below it, by name."""
    found: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            found.update(dict.fromkeys(sorted(place.rglob(f'*{SUFFIX}'))))
        else:
            found[place] = None
    return list(found)


def facts_of(scenario: Scenario) -> ScenarioFacts:
    tracks, ego = scenario.tracks, scenario.ego
    duration_s = (scenario.end_ns - scenario.start_ns) / 1e9
    length_m, speeds = way_of(scenario)
    return ScenarioFacts(
        path=str(scenario.path),
        sequence_id=scenario.sequence_id,
        scene_id=scenario.metadata_scene_id,
        version=scenario.version_string,
        start_us=scenario.start_ns // 1000,
        end_us=scenario.end_ns // 1000,
        duration_s=duration_s,
        poses=len(ego),
        pose_gaps=gaps_of(ego.times_ns),
        length_m=length_m,
        mean_speed=length_m / duration_s if duration_s else 0.0,
        max_speed=float(speeds.max(initial=0.0)),
        tracks=len(tracks),
        classes=dict(Counter(tracks.labels).most_common()),
        controllable=int(tracks.controllable.sum()),
        static=int(tracks.static.sum()),
        cameras=[_camera(camera) for camera in scenario.cameras.values()],
        lidars=[_lidar(lidar) for lidar in scenario.lidars.values()],
        road_map=scenario.road_map is not None,
        lane_boundaries=len(scenario.road_map.boundaries) if scenario.road_map else 0,
        warnings=list(scenario.warnings),
    )


def gaps_of(times_ns: NDArray[np.int64]) -> Gaps:
    """Return where steps between times (N,) are much longer than usual."""
    steps = np.diff(times_ns)
    if not len(steps):
        return Gaps()
    long = steps > GAP_STEPS * float(np.median(steps))
    if not long.any():
        return Gaps()
    worst = int(steps.argmax())
    return Gaps(int(long.sum()), float(steps[worst]) / 1e9, int(times_ns[worst]) // 1000)


def field_of_view(model: CameraModel, axis: int) -> float:
    """Return the angle (deg) that the image spans along x (axis 0) or y (1), as the lens sees."""
    first, last = _edges(model, axis) or (0.0, 0.0)
    return float(np.degrees(last - first))


def view_edges(camera: Camera) -> tuple[float, float] | None:
    """Return the yaws (rad, in the rig frame) of the image's left and right edge."""
    edges = _edges(camera.model, 0) if camera.model is not None else None
    if edges is None:
        return None
    forward = camera.T_rig_camera[:2, 2]
    yaw = float(np.arctan2(forward[1], forward[0]))
    return yaw - edges[0], yaw - edges[1]


def _edges(model: CameraModel, axis: int) -> tuple[float, float] | None:
    """Return the angles (rad) of the outermost rays along a row or a column; None without any."""
    line = np.tile(np.array(model.principal_point), (SAMPLES, 1))
    line[:, axis] = np.linspace(-0.5, model.resolution[axis] - 0.5, SAMPLES)
    rays, valid = model.unproject(line)
    if not valid.any():
        return None
    angles = np.arctan2(rays[valid, axis], rays[valid, 2])
    return float(angles.min()), float(angles.max())


def way_of(scenario: Scenario) -> tuple[float, NDArray[np.float64]]:
    """Return the length of the drive between start and end, and its speeds."""
    ego: Trajectory = scenario.ego
    times = ego.times_ns
    inside = times[(times > scenario.start_ns) & (times < scenario.end_ns)]
    times = np.unique(np.concatenate([[scenario.start_ns], inside, [scenario.end_ns]]))
    steps = np.linalg.norm(np.diff(ego.pose(times).position, axis=0), axis=1)
    seconds = np.diff(times) / 1e9
    return float(steps.sum()), steps / seconds


def _camera(camera: Camera) -> CameraFacts:
    ends = np.unique(camera.frame_times_ns[:, 1])
    model, size = camera.model, camera.resolution
    kind = hfov = vfov = rms = most = None
    if model is not None:
        kind = model.kind + (' + windshield' if model.windshield else '')
        hfov, vfov = field_of_view(model, 0), field_of_view(model, 1)
        rms, most = _fit(model)
    return CameraFacts(
        name=camera.name,
        model=kind,
        width=size[0] if size else None,
        height=size[1] if size else None,
        hfov_deg=hfov,
        vfov_deg=vfov,
        frames=len(ends),
        rate_hz=_rate(ends),
        gaps=gaps_of(ends),
        fit_rms_px=rms,
        fit_max_px=most,
        problem=camera.problem,
    )


def _lidar(lidar: Lidar) -> LidarFacts:
    ends, model = np.unique(lidar.spin_times_ns[:, 1]), lidar.model
    return LidarFacts(
        name=lidar.name,
        model=model.kind if model else None,
        rows=len(model.row_elevations_rad) if model else None,
        columns=len(model.column_azimuths_rad) if model else None,
        spinning_hz=model.spinning_frequency_hz if model else None,
        spins=len(ends),
        rate_hz=_rate(ends),
        gaps=gaps_of(ends),
    )


def _rate(times_ns: NDArray[np.int64]) -> float | None:
    span_s = float(times_ns[-1] - times_ns[0]) / 1e9 if len(times_ns) > 1 else 0.0
    return (len(times_ns) - 1) / span_s if span_s else None


def _fit(model: CameraModel) -> tuple[float | None, float | None]:
    if not model.needs_fit:
        return None, None
    try:
        _, residual = model.fit('equidistant')
    except ValueError:
        return None, None
    return residual.rms_px, residual.max_px


# For people.


def text_of(facts: ScenarioFacts) -> str:
    shown = facts.scene_id and facts.scene_id != facts.sequence_id
    classes = ', '.join(f'{count} {label}' for label, count in facts.classes.items())
    speeds = f'{facts.mean_speed:.1f} m/s on average, at most {facts.max_speed:.1f}'
    poses = f'{facts.poses} poses{_gap_text(facts.pose_gaps)}'
    lanes = f'OpenDRIVE, {facts.lane_boundaries} lane boundaries placed'
    kinds = f'{facts.controllable} controllable, {facts.static} static'
    lines = [
        f'{facts.path}',
        f'  scene     {facts.sequence_id}{f" (metadata: {facts.scene_id})" if shown else ""}',
        f'  version   {facts.version or "unknown"}',
        f'  time      {facts.duration_s:.3f} s, {facts.start_us} to {facts.end_us} us',
        f'  drive     {facts.length_m:.1f} m, {speeds}; {poses}',
        f'  tracks    {f"{facts.tracks}: {classes} ({kinds})" if facts.tracks else "none"}',
        f'  map       {lanes if facts.road_map else "none"}',
        f'  cameras   {len(facts.cameras) or "none"}',
        *(f'    {line}' for line in _camera_lines(facts.cameras)),
        f'  lidars    {len(facts.lidars) or "none"}',
        *(f'    {line}' for line in _lidar_lines(facts.lidars)),
        *(f'  warning   {warning}' for warning in facts.warnings),
    ]
    return '\n'.join(lines)


def _gap_text(gaps: Gaps) -> str:
    if not gaps.count:
        return ''
    many = 'a gap' if gaps.count == 1 else f'{gaps.count} gaps'
    return f', {many} of up to {gaps.longest_s:.3f} s (at {gaps.longest_at_us} us)'


def _camera_lines(cameras: Sequence[CameraFacts]) -> list[str]:
    rows = []
    for camera in cameras:
        rest = f'{camera.frames} frames{_gap_text(camera.gaps)}'
        if camera.fit_rms_px is not None:
            rest += f', fit {camera.fit_rms_px:.2f} px rms, {camera.fit_max_px:.2f} max'
        if camera.problem:
            rest += f'; cannot be rendered: {camera.problem}'
        rows.append(
            (
                camera.name,
                camera.model or 'no model',
                f'{camera.width}x{camera.height}' if camera.width else 'no size',
                'no view' if camera.hfov_deg is None else f'{camera.hfov_deg:.0f} deg',
                _rate_text(camera.rate_hz),
                rest,
            )
        )
    return columns(rows)


def _lidar_lines(lidars: Sequence[LidarFacts]) -> list[str]:
    return columns(
        [
            (
                lidar.name,
                lidar.model or 'no model',
                f'{lidar.rows} rows of {lidar.columns}' if lidar.model else 'no beams',
                f'turns at {lidar.spinning_hz:g} Hz' if lidar.model else 'no turn',
                _rate_text(lidar.rate_hz),
                f'{lidar.spins} spins{_gap_text(lidar.gaps)}',
            )
            for lidar in lidars
        ]
    )


def _rate_text(rate_hz: float | None) -> str:
    return 'no rate' if rate_hz is None else f'{rate_hz:.2f} Hz'


HEADINGS = ('file', 'scene', 's', 'm', 'm/s', 'cameras', 'lidars', 'tracks', 'map', 'warnings')


def table_of(found: Sequence[tuple[Path, ScenarioFacts | NurecError]]) -> str:
    """Return one line for each file; those that are broken with their reason."""
    rows: list[tuple[str, ...]] = [HEADINGS]
    reasons = []
    for path, facts in found:
        if isinstance(facts, NurecError):
            rows.append((str(path), 'broken', *('-',) * (len(HEADINGS) - 2)))
            reasons.append(f'broken: {facts}')
            continue
        rows.append(
            (
                str(path),
                facts.sequence_id,
                f'{facts.duration_s:.1f}',
                f'{facts.length_m:.0f}',
                f'{facts.mean_speed:.1f}',
                str(len(facts.cameras)),
                str(len(facts.lidars)),
                str(facts.tracks),
                'yes' if facts.road_map else 'no',
                str(len(facts.warnings)),
            )
        )
    return '\n'.join([*columns(rows), *reasons])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in columns, to the left."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))] if rows else []
    return [
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
