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
What playback wants done about a moment, the steps that it serves, and the state that it tells.

An effect is a value. Who carries it out (a node, a bag, a program that steps an environment) is
none of playback's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
import json
from typing import TypeAlias

from nurec_ros.playback.clock import Due, PlaybackClock, Schedule

PLAYING = 'the clock runs; halt it first, with ~/pause or ~/stop'
AT_THE_END = 'the position is the end; go back with ~/seek or ~/reset'
NO_MORE_FRAMES = 'no camera or lidar has a frame between the position and the end'


@dataclass(frozen=True, slots=True)
class DrivenState:
    """What is told of an ego that is not the recorded one; `collisions` are ids of tracks."""

    ego_source: str
    ego_speed: float
    ego_input_stamp_us: int
    deviation_m: float
    deviation_deg: float
    collisions: tuple[str, ...] = ()
    stopped_by: str = ''


@dataclass(frozen=True, slots=True)
class Passed:
    """What a movement came to: where it ended, whom it met on the way, and why it stopped."""

    until_ns: int
    collisions: tuple[str, ...] = ()
    stopped_by: str = ''


@dataclass(frozen=True, slots=True)
class PlaybackState:
    """
    The state at one moment.

    `speed` is the rate. `seconds_since_start` counts from begin, `duration_s` is end less
    begin, `progress` runs from 0 to 1. The new and removed track ids are those since the
    state that was announced before, or those of one step. `start_us` and `end_us` are begin and
    end; `cameras` those that are rendered. `ego` tells of one that is not the recorded ego;
    `failed_images`, by camera, why images of a step are missing. The JSON has neither without any.
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
    ego: DrivenState | None = None
    failed_images: Mapping[str, str] = field(default_factory=dict)

    def values(self) -> dict[str, str]:
        """Return each field's value as JSON text, by the field's name."""
        return {
            name: json.dumps(value, ensure_ascii=False) for name, value in self._shown().items()
        }

    def to_json(self) -> str:
        return json.dumps(self._shown(), ensure_ascii=False)

    def _shown(self) -> dict[str, object]:
        shown = asdict(self)
        driven = shown.pop('ego') or {}
        if not self.failed_images:
            del shown['failed_images']
        return {**shown, **driven}

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


def difference(
    before: Iterable[str], after: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is new in `after`, and what of `before` is gone."""
    if before == after:
        return (), ()
    known, there = dict.fromkeys(before), dict.fromkeys(after)
    return (
        tuple(name for name in there if name not in known),
        tuple(name for name in known if name not in there),
    )


@dataclass(slots=True, eq=False)
class Step:
    """
    One `~/tick` or `~/play_next`, from the request to the end of its frames.

    `duration_ns` is None for the way to the next frame of any sensor. Once it has moved, `state`
    is the state right after that, and `frames` are those that it made due. `refusal` says why it
    did not move, `overtaken_by` who moved the clock elsewhere before it was done, `error` what
    went wrong with it, unforeseen.
    """

    duration_ns: int | None = None
    state: PlaybackState | None = None
    frames: tuple[Due, ...] = ()
    refusal: str = ''
    overtaken_by: str = ''
    error: Exception | None = None
    over: bool = False
    _lost: Counter[str] = field(default_factory=Counter)
    _reasons: dict[str, str] = field(default_factory=dict)

    def way(self, clock: PlaybackClock, schedule: Schedule) -> int | None:
        """Return the ns that it moves by; None, with the `refusal`, where it must not."""
        if self.duration_ns is not None:
            return self.duration_ns
        next_ns = schedule.next_after(clock.position_ns)
        if clock.is_playing:
            self.refusal = PLAYING
        elif clock.done:
            self.refusal = AT_THE_END
        elif next_ns is None:
            self.refusal = NO_MORE_FRAMES
        else:
            return next_ns - clock.position_ns
        return None

    @property
    def stamps(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(frame.t_ns for frame in self.frames))

    def lose(self, frame: Due, reason: str) -> None:
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

    `stamps` are those of images that will follow: the pose goes out for each of them too. Where
    time has passed to get here, `after_ns` is where it began: what is due since is due now.
    """

    t_ns: int
    clock: bool = False
    pose: bool = False
    stamps: tuple[int, ...] = ()
    tracks: bool = False
    after_ns: int | None = field(default=None, compare=False)


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

    `fail_if_down`: they fail at once while there is no server. With `when_out` none may be dropped
    for a newer one; when all are out or lost it is to be called, once, for what follows.
    """

    frames: Sequence[Due]
    fail_if_down: bool = False
    when_out: Callable[[], list[Effect]] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Discard:
    """Give up every frame that was asked for: its stamp lies in the future now."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish the state."""

    state: PlaybackState


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step is over: refused, overtaken, failed, or all of its frames are out or lost."""

    step: Step


Effect: TypeAlias = Show | ShowJump | ShowAll | Render | Discard | Announce | StepDone
