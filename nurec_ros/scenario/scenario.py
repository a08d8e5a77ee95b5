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
"""A scenario: what the rest of the package sees of a USDZ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
import math
from pathlib import Path
from typing import Any

import numpy as np
from nurec_ros.errors import one_line, ScenarioError
from nurec_ros.poses import Array
from nurec_ros.scenario import archive
from nurec_ros.scenario.archive import Archive, MemberError, parse_json, refusal
from nurec_ros.scenario.rig import Box, Camera, Lidar, Rig
from nurec_ros.scenario.road_map import parse_road_map, RoadMap
from nurec_ros.scenario.schema.fields import LAST_US
from nurec_ros.scenario.schema.rig_trajectories import (
    DataInfo,
    parse_data_info,
    parse_metadata,
    parse_rig,
)
from nurec_ros.scenario.schema.sequence_tracks import no_tracks, parse_tracks
from nurec_ros.scenario.tracks import Tracks, with_smooth_heights
from nurec_ros.scenario.trajectory import Trajectory

# A broken file may be wrong in every one of its thousand cameras.
MOST_WARNINGS = 50
# Of the tracks: more than that is no matter of a few at the ends, but of another clock.
_MOST_OUTSIDE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Scenario:
    """
    One drive: the ego's way, the other road users, the cameras and lidars, and the time range.

    Immutable, arrays included, so that one thread may load it and any others use it. The map
    frame is the USDZ's world frame, the rig frame has x forward, y left, z up and its origin on
    the ground below the rear axle; metres, nanoseconds.

    start_ns and end_ns are the first and last moment that both the poses and data_info.json cover,
    whole microseconds; scene_id is the name that the render server knows the scene by;
    metadata_scene_id is metadata.yaml's, '' where it has none; T_earth_map maps map coordinates to
    ECEF, None where the file does not say or not plausibly; world_to_nre is information only;
    warnings are sentences about what was missing or broken, to be said once.
    """

    path: Path
    sequence_id: str
    scene_id: str
    metadata_scene_id: str
    version_string: str
    start_ns: int
    end_ns: int
    ego: Trajectory
    tracks: Tracks
    cameras: Mapping[str, Camera]
    lidars: Mapping[str, Lidar]
    rig_bbox: Box | None
    T_earth_map: Array | None
    world_to_nre: Array | None
    road_map: RoadMap | None
    warnings: tuple[str, ...]

    @property
    def sensors(self) -> tuple[str, ...]:
        """Return the names of the cameras and then of the lidars."""
        return *self.cameras, *self.lidars

    def __repr__(self) -> str:
        lidars = f'{len(self.lidars)} lidars, ' if self.lidars else ''
        return (
            f'Scenario({self.sequence_id!r} in {self.path.name!r}: '
            f'{self.start_ns} to {self.end_ns} ns ({(self.end_ns - self.start_ns) * 1e-9:.3f} s), '
            f'{len(self.ego)} ego poses, {len(self.tracks)} tracks, {len(self.cameras)} cameras, '
            f'{lidars}{len(self.warnings)} warnings)'
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        min_track_lifetime_s: float = 0.1,
        smooth_track_height: bool = False,
    ) -> Scenario:
        """
        Read a USDZ.

        Tracks that live min_track_lifetime_s or less are left out, 0 keeps all; with
        smooth_track_height their heights are smoothed, their horizontal motion is not. Raises
        ScenarioError: one sentence with file, member, key path, what was found and expected;
        TypeError and ValueError for arguments that make no sense.
        """
        min_track_lifetime_ns = _lifetime_ns(min_track_lifetime_s)
        try:
            path = Path(path)
        except TypeError:
            raise TypeError(f'path is {path!r}, expected the path of a USDZ file') from None
        with Archive(path) as opened:
            scenario = _Loader(opened).load(min_track_lifetime_ns)
        if smooth_track_height:
            return replace(scenario, tracks=with_smooth_heights(scenario.tracks))
        return scenario


def _lifetime_ns(seconds: float) -> int:
    expected = 'expected seconds, 0 or more'
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float, np.number)):
        raise TypeError(f'min_track_lifetime_s is {seconds!r}, {expected}')
    if not 0.0 <= seconds < math.inf:
        raise ValueError(f'min_track_lifetime_s is {seconds}, {expected}')
    # Nothing lives longer than a time can be.
    return round(float(min(seconds, LAST_US * 1e-6)) * 1e9)


class _Loader:
    """One load: the open archive, and what there is to say about it."""

    def __init__(self, opened: Archive) -> None:
        self._archive = opened
        self._warnings: list[str] = []
        self._said = 0

    def load(self, min_track_lifetime_ns: int) -> Scenario:
        info = self._data_info()
        metadata = self._metadata()
        rig = self._rig(info.sequence_id)
        tracks = self._tracks()
        if min_track_lifetime_ns:
            tracks = tracks.kept(tracks.end_ns - tracks.start_ns > min_track_lifetime_ns)
        self._check_span(tracks, rig.ego)
        start_ns, end_ns = self._time_range(rig.ego, info)
        path = self._archive.path
        sequence_id = info.sequence_id or rig.sequence_id or one_line(path.stem)
        return Scenario(
            path=path,
            sequence_id=sequence_id,
            scene_id=sequence_id,
            metadata_scene_id=metadata.get('scene_id', ''),
            version_string=metadata.get('version_string', ''),
            start_ns=start_ns,
            end_ns=end_ns,
            ego=rig.ego,
            tracks=tracks,
            cameras=rig.cameras,
            lidars=rig.lidars,
            rig_bbox=rig.bbox,
            T_earth_map=rig.T_earth_map,
            world_to_nre=rig.world_to_nre,
            road_map=self._road_map(rig),
            warnings=self._all_warnings(),
        )

    def _rig(self, sequence_id: str) -> Rig:
        try:
            return parse_rig(self._json(archive.RIG), sequence_id, self._warner(archive.RIG))
        except MemberError as error:
            raise self._refusal(archive.RIG, error) from error

    def _tracks(self) -> Tracks:
        warn = self._warner(archive.TRACKS)
        if archive.TRACKS not in self._archive:
            warn('is missing, so there are no tracks')
            return no_tracks()
        try:
            return parse_tracks(self._json(archive.TRACKS), warn)
        except MemberError as error:
            raise self._refusal(archive.TRACKS, error) from error

    def _data_info(self) -> DataInfo:
        warn = self._warner(archive.DATA_INFO)
        try:
            return parse_data_info(self._json(archive.DATA_INFO), warn)
        except MemberError as error:
            warn(f'{error}, so the id is that of the rig and the range that of the poses')
            return DataInfo()

    def _metadata(self) -> dict[str, str]:
        warn = self._warner(archive.METADATA)
        try:
            return parse_metadata(self._archive.read(archive.METADATA), warn)
        except MemberError as error:
            warn(f'{error}, so the scene id and the version are not known from it')
            return {}

    def _road_map(self, rig: Rig) -> RoadMap | None:
        # Most archives have one, those that people train themselves do not: nothing to say then.
        if archive.ROAD_MAP not in self._archive:
            return None
        warn = self._warner(archive.ROAD_MAP)
        try:
            data = self._archive.read(archive.ROAD_MAP)
            return parse_road_map(data, rig.T_earth_map, rig.ego.positions, warn)
        except MemberError as error:
            warn(f'{error}, so there is no road map')
            return None

    def _check_span(self, tracks: Tracks, ego: Trajectory) -> None:
        """Warn where most tracks live when there are no poses; one pose holds at any time."""
        outside = int(((tracks.end_ns < ego.start_ns) | (tracks.start_ns > ego.end_ns)).sum())
        if ego.start_ns < ego.end_ns and outside > _MOST_OUTSIDE * len(tracks):
            self._warner(archive.TRACKS)(
                f'{outside} of {len(tracks)} tracks are outside of the time of the poses '
                f'({ego.start_ns // 1000} to {ego.end_ns // 1000}), expected most within, so '
                'those are never seen'
            )

    def _time_range(self, ego: Trajectory, info: DataInfo) -> tuple[int, int]:
        """Return the range that poses and data_info both cover."""
        if info.start_us is None or info.end_us is None:
            return ego.start_ns, ego.end_ns
        start_ns = max(ego.start_ns, info.start_us * 1000)
        end_ns = min(ego.end_ns, info.end_us * 1000)
        if start_ns > end_ns:
            self._warner(archive.DATA_INFO)(
                f'pose-range is {info.start_us} to {info.end_us}, expected some of the time of '
                f'the poses ({ego.start_ns // 1000} to {ego.end_ns // 1000}), so theirs is used'
            )
            return ego.start_ns, ego.end_ns
        return start_ns, end_ns

    def _all_warnings(self) -> tuple[str, ...]:
        more = self._said - len(self._warnings)
        if more:
            name = one_line(self._archive.path.name)
            self._warnings.append(f'{name}: there are {more} further warnings')
        return tuple(self._warnings)

    def _json(self, member: str) -> Any:
        return parse_json(self._archive.read(member))

    def _warner(self, member: str) -> Callable[[str], None]:
        head = f'{self._archive.path.name}: {self._archive.name(member)}'

        def warn(text: str) -> None:
            self._said += 1
            if self._said <= MOST_WARNINGS:
                self._warnings.append(one_line(f'{head}: {text}'))

        return warn

    def _refusal(self, member: str, error: Exception) -> ScenarioError:
        return refusal(self._archive.path, f'{self._archive.name(member)}: {error}')
