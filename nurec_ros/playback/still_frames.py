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
Still frames: one frame of the position while the clock is halted.

Frames come from the passing of time; a halted player passes none. So one frame of the position
is rendered after each jump, after each change of what is rendered, and for a camera whenever
somebody more subscribes to it. There is never more than one on its way for a camera: a slider
that is dragged does not pile up renders, and the last position gets its frame in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest


class StillFrames:
    """Which cameras still owe a frame of the position."""

    def __init__(self) -> None:
        self._owed: set[str] = set()
        self._under_way: set[str] = set()
        self._audiences: dict[str, tuple[int, ...]] = {}

    def owe(self, cameras: Iterable[str]) -> None:
        """Note that the last frame shows another position, or shows it otherwise."""
        self._owed.update(cameras)

    def forget(self, cameras: Iterable[str]) -> None:
        """Note that frames of these cameras come by themselves."""
        self._owed.difference_update(cameras)

    def count(self, audiences: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
        """
        Take the numbers of subscribers of each camera's topics; where one grew a frame is owed.

        Each topic for itself: somebody may leave one and come to another between two looks.
        Return the cameras that have a subscriber.
        """
        for camera, numbers in audiences.items():
            before = self._audiences.get(camera, ())
            if any(now > then for now, then in zip_longest(numbers, before, fillvalue=0)):
                self._owed.add(camera)
        self._audiences = dict(audiences)
        return tuple(camera for camera, numbers in audiences.items() if any(numbers))

    def begin(self, subscribed: Iterable[str]) -> tuple[str, ...]:
        """Return the subscribed cameras whose frame is to be asked for now; it is under way."""
        ready = tuple(
            camera
            for camera in subscribed
            if camera in self._owed and camera not in self._under_way
        )
        self._owed.difference_update(ready)
        self._under_way.update(ready)
        return ready

    def end(self, cameras: Iterable[str]) -> None:
        """Note that the frames of these cameras are out or lost."""
        self._under_way.difference_update(cameras)
