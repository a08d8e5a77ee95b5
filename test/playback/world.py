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
"""A playback with an invented wall clock, and all that it wants done."""

import numpy as np
from nurec_ros.playback.clock import Schedule
from nurec_ros.playback.effects import Announce, Effect, Render, Step
from nurec_ros.playback.playback import Playback

MS = 1_000_000
BEGIN, END = 1_000 * MS, 3_000 * MS
# Wide at 10 Hz, tele at 4 Hz, both from begin on.
TIMES = {'wide': BEGIN + 100 * MS * np.arange(21), 'tele': BEGIN + 250 * MS * np.arange(9)}
# Who is there when: one all the time, one in the first half, one in the second.
TRACKS = {'all': (BEGIN, END), 'first': (BEGIN, 2_000 * MS), 'second': (2_001 * MS, END)}


def active_ids(t_ns):
    return tuple(name for name, (first, last) in TRACKS.items() if first <= t_ns <= last)


class World:
    """A playback, a wall clock that moves when it is told to, and all that was to be done."""

    def __init__(self, *, shown=True, begin=BEGIN, end=END, at_ms=None, **options):
        self.wall_ns = 7 * MS
        self.audiences = {'wide': (1, 0), 'tele': (0, 0)}
        options.setdefault('active_ids', active_ids)
        self.delivering = False
        self.playback = Playback(
            begin,
            end,
            Schedule(options.pop('times', TIMES)),
            scenario='drive',
            audiences=lambda: self.audiences,
            delivering=lambda: self.delivering,
            **options,
        )
        self.log: list[Effect] = []
        if shown:
            self.start(at_ms)

    def start(self, at_ms=None):
        """Show the first moment, or another one, and forget how."""
        self.advance()
        self.finish()
        if at_ms is not None:
            self.seek(at_ms)
            self.advance(5)
            self.finish()
        self.log.clear()

    def do(self, command, *arguments):
        return self.logged(command(self.wall_ns, *arguments))

    def logged(self, effects):
        self.log += effects
        return effects

    def advance(self, ms=0):
        self.wall_ns += round(ms * MS)
        return self.do(self.playback.advance)

    def play(self):
        return self.do(self.playback.play)

    def stop(self):
        return self.logged(self.playback.stop())

    def reset(self):
        return self.logged(self.playback.reset())

    def seek(self, t_ms):
        return self.do(self.playback.seek, t_ms * MS)

    def step(self, ms):
        step = Step(None if ms is None else round(ms * MS))
        self.do(self.playback.step, step)
        return step

    def look(self):
        return self.do(self.playback.look)

    def renders(self):
        return [effect for effect in self.log if isinstance(effect, Render)]

    def finish(self):
        """All frames that were asked for are out."""
        done = []
        for render in self.renders():
            if render.ticket:
                done += self.do(self.playback.frames_done, render.ticket)
        return done

    @property
    def position_ms(self):
        return self.playback.position_ns / MS


def kinds(effects):
    return [type(effect).__name__ for effect in effects]


def frames(render):
    return [(frame.name, frame.t_ns / MS) for frame in render.frames]


def states(effects):
    return [effect.state for effect in effects if isinstance(effect, Announce)]
