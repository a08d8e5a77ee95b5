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
What playback tells: its state, its steps, and what is to be done about a moment.

An effect is a value. Who carries it out (a node, a bag, a program that steps an environment) is
none of playback's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
import json
from typing import Any, TypeAlias

from nurec_ros.playback.schedule import Due


@dataclass(frozen=True, slots=True)
class PlaybackState:
    """
    The state at one moment.

    `speed` is the rate. `seconds_since_start` counts from begin, `duration_s` is end less
    begin, `progress` runs from 0 to 1. The new and removed track ids are those since the
    state that was announced before, or those of one step. `start_us` and `end_us` are begin and
    end; `cameras` those that are rendered.
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
    start_us: int = 0
    end_us: int = 0
    cameras: tuple[str, ...] = ()

    def values(self) -> dict[str, str]:
        """Return each field's value as JSON text, by the field's name."""
        return {
            one.name: json.dumps(getattr(self, one.name), ensure_ascii=False)
            for one in fields(self)
        }

    def to_json(self) -> str:
        """Return all fields as one line of JSON."""
        return json.dumps(self._shown(), ensure_ascii=False)

    def _shown(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def summary(self) -> str:
        """Return one word: idle, playing, done or halted."""
        if not self.scenario:
            return 'idle'
        if self.is_playing:
            return 'playing'
        return 'done' if self.done else 'halted'

    @property
    def sentence(self) -> str:
        """Return which scenario stands or plays where."""
        return (
            f"'{self.scenario}' is {self.summary} at {self.seconds_since_start:.6f} s "
            f'({self.current_time_us} us)'
        )


@dataclass(frozen=True, slots=True)
class StepState(PlaybackState):
    """
    The state right after a step; its new and removed track ids are those of the step.

    `failed_images` has, by camera, why images of the step are missing; where none is, the JSON
    leaves it out.
    """

    failed_images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, state: PlaybackState, new: tuple[str, ...], removed: tuple[str, ...]) -> StepState:
        """Return a state with the track ids that a step brought and took."""
        values = {one.name: getattr(state, one.name) for one in fields(state)}
        return cls(**{**values, 'new_track_ids': new, 'removed_track_ids': removed})

    def _shown(self) -> dict[str, Any]:
        shown = asdict(self)
        if not self.failed_images:
            del shown['failed_images']
        return shown


@dataclass(slots=True, eq=False)
class Step:
    """
    One `~/tick` or `~/play_next`, from the request to the end of its frames.

    `duration_ns` is None for the way to the next frame of any camera. Once it has moved, `state`
    is the state right after that, and `frames` are those that it made due. `refusal` says why it
    did not move, `overtaken_by` who moved the clock elsewhere before it was done.
    """

    duration_ns: int | None = None
    state: StepState | None = None
    frames: tuple[Due, ...] = ()
    refusal: str = ''
    overtaken_by: str = ''
    over: bool = False
    _lost: Counter[str] = field(default_factory=Counter)
    _reasons: dict[str, str] = field(default_factory=dict)

    def lose(self, frame: Due, reason: str) -> None:
        """Note that a frame failed, if it is one of this step's."""
        if not self.over and frame in self.frames:
            self._lost[frame.name] += 1
            self._reasons[frame.name] = reason

    @property
    def failed_images(self) -> dict[str, str]:
        """Return the cameras that lost images: how many of how many, and why the last one."""
        asked = Counter(frame.name for frame in self.frames)
        return {
            name: f'{count} of {asked[name]} lost: {self._reasons[name]}'
            for name, count in sorted(self._lost.items())
        }


@dataclass(frozen=True, slots=True)
class Show:
    """
    Show a moment: of what is on, in this order, the clock, the pose, the road users.

    `stamps` are those of images that will follow: the pose goes out for each of them too.
    """

    t_ns: int
    clock: bool = False
    pose: bool = False
    stamps: tuple[int, ...] = ()
    tracks: bool = False


@dataclass(frozen=True, slots=True)
class ShowJump:
    """
    Show a jump back, or another scenario (`loaded`): everything anew, in the contract's order.

    Once more half a second later, with `Playback.again`.
    """

    t_ns: int
    loaded: bool = False


@dataclass(frozen=True, slots=True)
class ShowAll:
    """Show all of a moment again, latched topics too, without a word about a jump."""

    t_ns: int


@dataclass(frozen=True, slots=True)
class Render:
    """
    Render frames.

    `keep`: none may be dropped for a newer one. `fail_if_down`: they fail at once while there is
    no server. With a `ticket`, `Playback.frames_done` is to be called when all are out or lost.
    """

    frames: Sequence[Due]
    keep: bool = False
    fail_if_down: bool = False
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class Discard:
    """Give up every frame that was asked for: its stamp lies in the future now."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish the state."""

    state: PlaybackState


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step is over: refused, overtaken, or all of its frames are out or lost."""

    step: Step


Effect: TypeAlias = Show | ShowJump | ShowAll | Render | Discard | Announce | StepDone
