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
"""The error that a calibration which cannot be used raises."""

from __future__ import annotations

from collections.abc import Mapping

_LONGEST = 80
_LONGEST_LIST = 8


class CameraModelError(ValueError):
    """
    A camera model that cannot be built from what stands in the file.

    `key` is the path below `camera_model` (`type`, `parameters.focal_length[1]`), `found` what
    stands there, `expected` what should; the caller puts file and member in front.
    """

    def __init__(self, key: str, found: object, expected: str) -> None:
        self.key = key
        self.found = found if isinstance(found, str) else shortened(found)
        self.expected = expected
        super().__init__(f'{key}: found {self.found}, expected {expected}')

    def __reduce__(self) -> tuple[type[CameraModelError], tuple[str, str, str]]:
        return (CameraModelError, (self.key, self.found, self.expected))


def shortened(value: object) -> str:
    """Give the value as one short piece of text for a message, in the words of JSON."""
    if value is None or isinstance(value, bool):
        return 'null' if value is None else str(value).lower()
    if isinstance(value, Mapping):
        return f'an object of {len(value)}' if value else 'an empty object'
    # Never the whole of what may be huge or deeply nested.
    if isinstance(value, (list, tuple)) and not _is_flat(value):
        return f'a list of {len(value)}'
    text = ' '.join(repr(value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + '…'


def _is_flat(values: list[object] | tuple[object, ...]) -> bool:
    """Tell whether a list is short and holds numbers and texts alone."""
    return len(values) <= _LONGEST_LIST and not any(
        isinstance(value, (list, tuple, Mapping)) for value in values
    )
