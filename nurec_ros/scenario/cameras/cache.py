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
"""A small cache that is bounded by the bytes it holds, for arrays that are dear to compute."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
import threading
from typing import Generic, TypeVar

Value = TypeVar('Value')


class BoundedCache(Generic[Value]):
    """
    Keep the values used last, up to a number of bytes; safe to use from several threads.

    A value larger than the bound is computed and handed out, but not kept. Two threads that miss
    the same key at once both compute it: values must be immutable and equal.
    """

    def __init__(self, limit_bytes: int, size_of: Callable[[Value], int]) -> None:
        self.limit_bytes = limit_bytes
        self._size_of = size_of
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Give the size of everything that is kept."""
        return self._held

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Give the value of the key, computed now if it is not held."""
        with self._lock:
            entry = self._values.get(key)
            if entry is not None:
                self._values.move_to_end(key)
                return entry[0]
        value = compute()
        size = self._size_of(value)
        if size > self.limit_bytes:
            return value
        with self._lock:
            if key not in self._values:
                self._values[key] = (value, size)
                self._held += size
                while self._held > self.limit_bytes:
                    _, (_, freed) = self._values.popitem(last=False)
                    self._held -= freed
        return value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._held = 0
