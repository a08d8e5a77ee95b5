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
"""Good replies made bad, each in one of the ways that a client must notice."""

from __future__ import annotations

from typing import Any

_GARBAGE = bytes(range(255, -1, -1)) * 8


def spoil_picture(encoded: bytes, how: str) -> bytes:
    """Give what image_bytes hold where a server fails as `how` says (Behaviour.replies)."""
    if how == 'garbage':
        return _GARBAGE
    if how == 'truncated':
        return encoded[: len(encoded) // 2]
    if how == 'empty':
        return b''
    return encoded


def spoil_items(items: list[Any], how: str) -> None:
    """Change a batch reply's items in place as `how` says (Behaviour.batch_replies)."""
    if not items:
        return
    if how == 'shuffled':
        items.reverse()
    elif how == 'missing':
        items.pop()
    elif how == 'duplicate':
        items.append(items[0])
    elif how == 'unknown':
        items[-1].camera_name = 'camera_that_nobody_asked_for'
