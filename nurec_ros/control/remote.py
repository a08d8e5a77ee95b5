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
What the remote control knows of a player, and which calls its commands become.

It is told of messages, answers and the time, and returns the calls to make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
import json
import math
from typing import Any, TypeAlias

from nurec_ros.playback.clock import MAX_RATE, MIN_RATE
from nurec_ros.playback.effects import PlaybackState

# ~/state comes once a second at least.
SILENT_S = 3.0
# So does /diagnostics.
HEALTH_KEPT_S = 5.0
ANSWER_S = 5.0
NOTE_S = 4.0

# A state with the fields' defaults.
NOTHING = PlaybackState()

# The levels of diagnostic_msgs.
OK = 0

NO_SCENARIO = 'no scenario is loaded: set usdz_path and call ~/load'


# What is needed of ~/state.
NEEDED = (
    *('is_playing', 'speed', 'current_time_us', 'done', 'scenario', 'active_tracks'),
    *('start_us', 'end_us'),
)


def parsed_state(values: Mapping[str, str]) -> PlaybackState:
    """Return the state that has these fields, as JSON texts; ValueError where one is wrong."""
    parsed: dict[str, Any] = {}
    for name in NEEDED:
        if name not in values:
            continue
        value, expected = json.loads(values[name]), type(getattr(NOTHING, name))
        if expected is float and type(value) is int:
            value = float(value)
        if type(value) is not expected:
            raise ValueError(f'{name} is {value!r}, expected {expected.__name__}')
        parsed[name] = value
    return PlaybackState(**parsed)


@dataclass(frozen=True, slots=True)
class PlayerCall:
    """A service of the player's, by its name below the node, and what it is called with."""

    service: str
    value: float = 0.0

    @property
    def lane(self) -> str:
        """Return what it moves: a later call of a lane takes the place of one that waits."""
        return 'play' if self.service == 'stop' else self.service


@dataclass(frozen=True, slots=True)
class Status:
    """A status of /diagnostics; `part` is its name without the node's."""

    part: str
    level: int
    message: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong; `part` is the part of the player that says so, or empty."""

    text: str
    part: str = ''

    def __str__(self) -> str:
        return f'{self.part}: {self.text}' if self.part else self.text


@dataclass(frozen=True, slots=True)
class PlayerView:
    """
    What there is to show at a moment; `state` is None while there is no player.

    achieved: the speed that lockstep comes to. images_hz: of all cameras. wrong: what is wrong,
    worst first. note: what a key came to, for a few seconds.
    """

    state: PlaybackState | None
    position_us: int = 0
    achieved: float | None = None
    images_hz: float | None = None
    wrong: tuple[Wrong, ...] = ()
    note: str = ''


# What a key asks of a remote, in a state at a time; None where that cannot be.
Command: TypeAlias = Callable[['Remote', PlaybackState, float], 'PlayerCall | None']


class Remote:
    """The remote control of the player called `node`."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._state: PlaybackState | None = None
        self._heard_s = 0.0
        self._health: tuple[Status, ...] = ()
        self._health_s = -math.inf
        # None until the graph was looked at.
        self._there: bool | None = None
        self._publishers: Set[str] = frozenset()
        self._others: tuple[str, ...] = ()
        self._under_way: dict[str, tuple[PlayerCall, float]] = {}
        self._waiting: dict[str, PlayerCall] = {}
        self._note, self._note_s = '', -math.inf

    # What comes from the player.

    def take_presence(self, publishers: Set[str], others: Sequence[str] = ()) -> None:
        """Take the ids of what publishes the node's state, and the names of other players."""
        # A killed one's stays for some seconds, and calls go to that too.
        changed = bool(self._publishers) and publishers != self._publishers
        self._publishers = publishers
        self._there, self._others = bool(publishers), tuple(others)
        if not publishers:
            self._state = None
            self._health = ()
        if changed or not publishers:
            self._under_way.clear()
            self._waiting.clear()

    def take_state(self, values: Mapping[str, str], now_s: float) -> None:
        """Take a message of ~/state: each field's value as JSON text."""
        self._there = True
        self._heard_s = now_s
        try:
            self._state = parsed_state(values)
        except ValueError as error:
            self._tell(f"{self._node}/state is not a player's: {error}", now_s)

    def take_health(self, statuses: Sequence[Status], now_s: float) -> None:
        """Take the player's statuses of one message of /diagnostics."""
        self._health, self._health_s = tuple(statuses), now_s

    def answered(
        self, call: PlayerCall, success: bool, message: str, now_s: float
    ) -> PlayerCall | None:
        """Take the answer to a call; return the one that waited for it."""
        under_way = self._under_way.get(call.lane)
        if under_way is None or under_way[0] is not call:
            return None
        del self._under_way[call.lane]
        if not success:
            self._tell(
                message or f'{call.service} was refused; the log of the player says why', now_s
            )
        elif self._state is not None:
            self._apply(call, now_s)
        waiting = self._waiting.pop(call.lane, None)
        return self._send(waiting, now_s) if waiting is not None else None

    def _apply(self, call: PlayerCall, now_s: float) -> None:
        """Make the known state what a call has made of it, ahead of the next ~/state."""
        state = self._state
        assert state is not None
        changes: dict[str, Any] = {'current_time_us': self.position_us(now_s)}
        if call.service in ('play', 'stop'):
            changes['is_playing'] = call.service == 'play'
        elif call.service == 'set_rate':
            changes['speed'] = call.value
        elif call.service in ('seek', 'reset'):
            at_us = round(call.value) if call.service == 'seek' else state.start_us
            changes = {'current_time_us': at_us, 'done': at_us >= state.end_us}
            changes['is_playing'] = state.is_playing and call.service == 'seek'
        self._state, self._heard_s = replace(state, **changes), now_s

    def look(self, now_s: float) -> None:
        """Give up calls that nobody answers; pictures of a next frame may take their time."""
        for lane, (call, sent_s) in list(self._under_way.items()):
            if call.service != 'play_next' and now_s - sent_s > ANSWER_S:
                del self._under_way[lane]
                self._waiting.pop(lane, None)
                self._tell(f'{call.service}: no answer for {ANSWER_S:g} s', now_s)

    # What comes from the keys.

    def press(self, command: Command, now_s: float) -> PlayerCall | None:
        """Return the call that a command is now; None where it waits for another, or cannot be."""
        state = self._state
        self._note = ''
        if state is None:
            return None
        if not state.scenario:
            self._tell(NO_SCENARIO, now_s)
            return None
        call = command(self, state, now_s)
        if call is None:
            return None
        if call.lane in self._under_way:
            self._waiting[call.lane] = call
            return None
        return self._send(call, now_s)

    # The commands.

    def toggle(self, state: PlaybackState, now_s: float) -> PlayerCall | None:
        return PlayerCall('stop' if self._will_play(state) else 'play')

    def next_frame(self, state: PlaybackState, now_s: float) -> PlayerCall | None:
        if self._will_play(state):
            self._tell('it plays: halt it first (space)', now_s)
            return None
        if state.done:
            self._tell('it is at the end', now_s)
            return None
        return PlayerCall('play_next')

    def reset(self, state: PlaybackState, now_s: float) -> PlayerCall | None:
        self._waiting.pop('seek', None)
        return PlayerCall('reset')

    def change_rate(self, state: PlaybackState, now_s: float, *, factor: float) -> PlayerCall:
        wanted = self._wanted('set_rate')
        rate = (wanted.value if wanted is not None else state.speed) * factor
        # Three digits: so many ups and downs come back to where they began.
        return PlayerCall('set_rate', min(max(float(f'{rate:.3g}'), MIN_RATE), MAX_RATE))

    def seek_by(self, state: PlaybackState, now_s: float, *, seconds: float) -> PlayerCall:
        wanted = self._wanted('seek')
        from_us = wanted.value if wanted is not None else self.position_us(now_s)
        return self._seek(state, from_us + seconds * 1e6)

    def seek_to(self, state: PlaybackState, now_s: float, *, share: float) -> PlayerCall:
        return self._seek(state, state.start_us + share * (state.end_us - state.start_us))

    def _will_play(self, state: PlaybackState) -> bool:
        wanted = self._wanted('play')
        return wanted.service == 'play' if wanted is not None else state.is_playing

    def _seek(self, state: PlaybackState, to_us: float) -> PlayerCall:
        return PlayerCall('seek', round(min(max(to_us, state.start_us), state.end_us)))

    def _wanted(self, lane: str) -> PlayerCall | None:
        """Return the latest call of a lane that is not answered yet."""
        if lane in self._waiting:
            return self._waiting[lane]
        return self._under_way[lane][0] if lane in self._under_way else None

    def _send(self, call: PlayerCall, now_s: float) -> PlayerCall:
        self._under_way[call.lane] = (call, now_s)
        return call

    def _tell(self, text: str, now_s: float) -> None:
        self._note, self._note_s = text, now_s

    # What there is to show.

    def position_us(self, now_s: float) -> int:
        """Return the position, reckoned on from the last message while it plays."""
        state = self._state
        if state is None:
            return 0
        if not state.is_playing:
            return state.current_time_us
        achieved = self._achieved(now_s)
        speed = state.speed if achieved is None else min(achieved, state.speed)
        # Not further than the next message, where none comes.
        passed_s = min(max(now_s - self._heard_s, 0.0), SILENT_S)
        return min(round(state.current_time_us + 1e6 * passed_s * speed), state.end_us)

    def view(self, now_s: float) -> PlayerView:
        """Return what is known now."""
        note = self._note if now_s - self._note_s <= NOTE_S else ''
        if self._state is None:
            return PlayerView(None, wrong=(Wrong(self._absence()),), note=note)
        fresh = self._fresh(now_s)
        worst_first = sorted(fresh, key=lambda status: -status.level)
        wrong = [Wrong(one.message, one.part) for one in worst_first if one.level != OK]
        if now_s - self._heard_s > SILENT_S:
            wrong.insert(0, Wrong(f'{self._node} is silent for {now_s - self._heard_s:.0f} s'))
        elif not self._state.scenario:
            wrong.insert(0, Wrong(NO_SCENARIO))
        next_frame = self._under_way.get('play_next')
        if next_frame is not None and now_s - next_frame[1] > ANSWER_S:
            note = note or 'waiting for the images of the next frame'
        rates = [float(one.values['received_hz']) for one in fresh if 'received_hz' in one.values]
        return PlayerView(
            self._state,
            self.position_us(now_s),
            self._achieved(now_s) if self._state.is_playing else None,
            sum(rates) if fresh else None,
            tuple(wrong),
            note,
        )

    def _absence(self) -> str:
        if self._there is None:
            return f'looking for {self._node}'
        if self._there:
            return f'{self._node} is there and has not said anything yet'
        text = f'there is no player {self._node}: waiting for one'
        if self._others:
            return f'{text}; there is {", ".join(self._others)} (--node)'
        return f'{text} (is ROS_DOMAIN_ID the same?)'

    def _achieved(self, now_s: float) -> float | None:
        """Return the speed that lockstep comes to, once measured; else the rate is the speed."""
        for status in self._fresh(now_s):
            if status.values.get('mode') != 'lockstep':
                continue
            try:
                speed = float(status.values.get('achieved_speed_s_per_s', ''))
            except ValueError:
                continue
            return speed or None
        return None

    def _fresh(self, now_s: float) -> tuple[Status, ...]:
        return self._health if now_s - self._health_s <= HEALTH_KEPT_S else ()
