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
One picture of the moment while the clock is halted.

Frames come from the passing of time; a halted player passes none. So one picture of the
position is made after each jump, after each change of what is rendered, and for a camera whenever
somebody more listens to it. There is never more than one on its way for a camera: a slider that is
dragged does not pile up renders, and the last position gets its picture in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future as ThreadFuture
from itertools import zip_longest
from typing import Any

Render = Callable[[tuple[str, ...]], ThreadFuture[Any]]


class Pictures:
    """
    Which cameras still owe a picture of the moment.

    One thread alone uses it; `post` brings the end of a render back into that thread. `render`
    asks for one picture of each of the cameras named, at the position.
    """

    def __init__(self, render: Render, post: Callable[[Callable[[], None]], None]) -> None:
        self._render = render
        self._post = post
        self._owed: set[str] = set()
        self._under_way: set[str] = set()
        self._audiences: dict[str, tuple[int, ...]] = {}

    def owe(self, cameras: Iterable[str]) -> None:
        """Note that the last picture shows another position, or shows it otherwise."""
        self._owed.update(cameras)

    def forget(self, cameras: Iterable[str]) -> None:
        """Note that frames of these cameras come by themselves."""
        self._owed.difference_update(cameras)

    def count(self, audiences: Mapping[str, tuple[int, ...]]) -> None:
        """
        Take the numbers of subscribers of each camera's topics; where one grew it owes a picture.

        Each topic for itself: somebody may leave one and come to another between two looks.
        """
        for camera, numbers in audiences.items():
            before = self._audiences.get(camera, ())
            if any(now > then for now, then in zip_longest(numbers, before, fillvalue=0)):
                self._owed.add(camera)
        self._audiences = dict(audiences)

    def ready(self, listened: Iterable[str]) -> tuple[str, ...]:
        """Give the cameras that are listened to, owe a picture and have none on its way."""
        return tuple(
            camera for camera in listened if camera in self._owed and camera not in self._under_way
        )

    def make(self, listened: Iterable[str]) -> None:
        """Ask for what is owed to the cameras that somebody listens to."""
        ready = self.ready(listened)
        if not ready:
            return
        self._owed.difference_update(ready)
        self._under_way.update(ready)
        future = self._render(ready)
        future.add_done_callback(lambda _: self._post(lambda: self._made(ready)))

    def _made(self, cameras: tuple[str, ...]) -> None:
        self._under_way.difference_update(cameras)
