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
"""What the playback is doing, as services and `~/state` tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
import json
from typing import Any


@dataclass(frozen=True, slots=True)
class PlaybackState:
    """
    The state at one moment.

    `speed` is the rate. `seconds_since_start` counts from begin, `duration_s` is end less
    begin, `progress` runs from 0 to 1. The new and removed track ids are those since the
    previous state, or those of one tick.
    """

    is_playing: bool = False
    speed: float = 1.0
    current_time_us: int = 0
    seconds_since_start: float = 0.0
    duration_s: float = 0.0
    progress: float = 0.0
    done: bool = False
    scenario: str = ''
    active_tracks: int = 0
    new_track_ids: tuple[str, ...] = ()
    removed_track_ids: tuple[str, ...] = ()

    def values(self) -> dict[str, str]:
        """Give each field's value as JSON text, by the field's name."""
        return {
            field.name: json.dumps(getattr(self, field.name), ensure_ascii=False)
            for field in fields(self)
        }

    def to_json(self) -> str:
        """Give all fields as one line of JSON."""
        return json.dumps(self._shown(), ensure_ascii=False)

    def _shown(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def summary(self) -> str:
        """Say it in a word: idle, playing, done or halted."""
        if not self.scenario:
            return 'idle'
        if self.is_playing:
            return 'playing'
        return 'done' if self.done else 'halted'

    @property
    def sentence(self) -> str:
        """Say which scenario stands or plays where."""
        return (
            f"'{self.scenario}' is {self.summary} at {self.seconds_since_start:.6f} s "
            f'({self.current_time_us} us)'
        )


@dataclass(frozen=True, slots=True)
class StepState(PlaybackState):
    """
    The state right after a tick; its new and removed track ids are those of the tick.

    `failed_images` has, by camera, why images of the tick are missing; where none is, the JSON
    leaves it out.
    """

    failed_images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, state: PlaybackState, new: tuple[str, ...], removed: tuple[str, ...]) -> StepState:
        """Take a state, and the track ids that a step brought and took."""
        values = {one.name: getattr(state, one.name) for one in fields(state)}
        return cls(**{**values, 'new_track_ids': new, 'removed_track_ids': removed})

    def _shown(self) -> dict[str, Any]:
        shown = PlaybackState._shown(self)
        if not self.failed_images:
            del shown['failed_images']
        return shown
