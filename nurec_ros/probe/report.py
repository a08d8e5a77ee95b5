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
"""What the probe found: one record per stage, as lines for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

PASS, NOTE, FAIL, SKIP = 'pass', 'note', 'fail', 'skip'

_MARKS = {PASS: '✓', NOTE: '·', FAIL: '✗', SKIP: '–'}
_PLAIN_MARKS = {PASS: 'ok', NOTE: 'note', FAIL: 'FAIL', SKIP: 'skip'}
_NAME_WIDTH = 8
_MESSAGE_WIDTH = 74


@dataclass(frozen=True, slots=True)
class Stage:
    """
    One step of the probe.

    name: of a fixed set (resolve, tcp, channel, health, service, version, config, scenes, cameras,
    render, batch, sizes, images, lidar); status: pass, note (worth knowing, nothing broken), fail,
    or skip (an earlier failure left nothing to try); remedy: one sentence, with every failure;
    details: further values for JSON.
    """

    name: str
    status: str
    message: str
    remedy: str = ''
    latency_s: float | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status == FAIL and not self.remedy:
            raise ValueError(f'the failed stage {self.name} has no remedy: {self.message}')

    def to_json(self) -> dict[str, object]:
        """Return the stage in JSON's own types."""
        latency = None if self.latency_s is None else round(self.latency_s * 1000, 3)
        return {
            'stage': self.name,
            'status': self.status,
            'message': self.message,
            'remedy': self.remedy,
            'latency_ms': latency,
            **self.details,
        }

    def lines(self, *, plain: bool = False) -> list[str]:
        """Return the stage as one line, and one more for a remedy; `plain` keeps to ASCII."""
        mark = f'{_PLAIN_MARKS[self.status]:>4}' if plain else _MARKS[self.status]
        line = f' {mark} {self.name:<{_NAME_WIDTH}} {self.message}'
        if self.latency_s is not None:
            line = f'{line:<{_MESSAGE_WIDTH}} {self.latency_s * 1000:8.1f} ms'
        if not self.remedy:
            return [line]
        indent = ' ' * (len(mark) + _NAME_WIDTH + 3)
        return [line, f'{indent}{"->" if plain else "→"} {self.remedy}']


def passed(stages: Iterable[Stage]) -> bool:
    """Return whether nothing failed; what was skipped stands behind something that did."""
    return all(stage.status in (PASS, NOTE) for stage in stages)


def summary(stages: Iterable[Stage]) -> str:
    """Return the verdict in one line."""
    failed = list(dict.fromkeys(stage.name for stage in stages if stage.status == FAIL))
    if failed:
        return f'failed: {", ".join(failed)}'
    return 'every stage passed'
