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
"""Plays the scenario to its end while everything is recorded, and shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import shutil
import sys
import time
from typing import Any

from nurec_ros.demo.processes import DemoError
from nurec_ros.demo.recorder import Topic
from nurec_ros.demo.watch import Watch
from nurec_ros.scenario import Scenario
from tqdm import tqdm

READY_S = 90.0
# So long the position may stand still while playing.
STALL_S = 30.0
MOST_COLUMNS = 100
# So many late frames are no sign of a renderer that is too slow.
TOLERATED = 0.02
BAR = '{desc} {percentage:3.0f}% |{bar}| {n:.1f} / {total:.1f} s{postfix}'


@dataclass(frozen=True, slots=True)
class Played:
    """What was recorded, over how much time of the wall and of the scenario, and what to add."""

    topics: tuple[Topic, ...]
    wall_s: float
    scenario_s: float
    remarks: tuple[str, ...]


class Progress:
    """A bar for a terminal; else a line at each quarter, so that logs stay readable."""

    QUARTERS = 4

    def __init__(self, total_s: float, *, terminal: bool, stream: Any = None) -> None:
        self._total = max(total_s, 1e-9)
        self._quarter = 0
        self._stream = stream or sys.stderr
        self._bar = tqdm(
            total=round(self._total, 1),
            desc='playing',
            bar_format=BAR,
            # A terminal that does not know its size (in CI, say) would get no bar at all.
            ncols=min(MOST_COLUMNS, shutil.get_terminal_size().columns or MOST_COLUMNS),
            nrows=24,
            disable=not terminal,
            file=self._stream,
        )
        self._lines = not terminal

    def show(self, seconds: float, note: str) -> None:
        """Say that `seconds` of the scenario have passed."""
        self._bar.n = round(min(seconds, self._total), 1)
        self._bar.set_postfix_str(note)
        quarter = int(self.QUARTERS * seconds / self._total + 1e-6)
        if self._lines and quarter > self._quarter:
            self._quarter = quarter
            percent = 100 * quarter // self.QUARTERS
            line = f'playing {percent:3d} %: {seconds:.1f} s, {note}'
            print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def record_drive(
    recording: Path,
    check: Callable[[], None],
    scenario: Scenario,
    cameras: Sequence[str],
    say: Callable[[str], object],
) -> Played:
    """
    Wait for the player, play to the end, record everything; `say` is told what it waits for.

    Raise DemoError where the player does not get ready, refuses, or stands still while playing.
    """
    # The player makes legal topic names of the cameras' names.
    from nurec_ros.ros.frames import topic_names

    tokens = topic_names(scenario.cameras)
    names = [tokens[camera] for camera in cameras]
    with Watch(recording, check) as watch:
        watch.wait_ready(names, READY_S, say)
        recorder = watch.recorder
        first_us = watch.state['current_time_us']
        recorder.measuring = True
        began = time.monotonic()
        watch.play()
        _play_to_the_end(watch, names)
        wall_s = time.monotonic() - began
        recorder.measuring = False
        scenario_s = (watch.state['current_time_us'] - first_us) / 1e6
        watch.settle()
        remarks = [*rendering(watch.diagnostics, names), *_skipped(recorder.skipped)]
    return Played(tuple(recorder.topics.values()), wall_s, scenario_s, tuple(remarks))


def _play_to_the_end(watch: Watch, cameras: Sequence[str]) -> None:
    progress = Progress(watch.state['duration_s'], terminal=sys.stderr.isatty())
    last_us, moved = -1, time.monotonic()
    try:
        while not watch.state['done']:
            watch.step()
            now_us = watch.state['current_time_us']
            if now_us != last_us:
                last_us, moved = now_us, time.monotonic()
                images = sum(watch.image_count(camera) for camera in cameras)
                note = f'{images} images, {watch.state["active_tracks"]} tracks'
                progress.show(watch.state['seconds_since_start'], note)
            elif time.monotonic() - moved > STALL_S:
                message = f'the player has stood still at {last_us} us for {STALL_S:g} s'
                raise DemoError(message)
    finally:
        progress.close()


def rendering(
    diagnostics: Mapping[str, tuple[str, Mapping[str, str]]], cameras: Sequence[str]
) -> list[str]:
    """
    Sum up what became of the frames, from the counters in the player's diagnostics.

    Their messages would not do: they tell of the last second.
    """
    asked = received = dropped = 0
    failed: dict[str, str] = {}
    for name, (_, values) in sorted(diagnostics.items()):
        camera = name.rpartition(': ')[2]
        if camera not in cameras:
            continue
        asked += int(values['asked'])
        received += int(values['received'])
        dropped += int(values['dropped'])
        if int(values['failed']):
            failed[camera] = f'{values["failed"]} frames failed: {values["last_error"]}'
    remarks = [f'images: {received} came of {asked} that were due']
    if dropped > TOLERATED * asked:
        remarks.append(
            f'the renderer cannot keep up, {dropped} frames were dropped: '
            'lower --camera-rate, --resolution-scale or --rate'
        )
    return remarks + [f'{camera}: {text}' for camera, text in failed.items()]


def _skipped(skipped: dict[str, str]) -> list[str]:
    """Say what is missing in the recording, once for each reason."""
    reasons: dict[str, int] = {}
    for reason in skipped.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    return [f'not recorded ({count}): {reason}' for reason, count in reasons.items()]
