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
"""Texts out of files, made fit for a message: one line, printable, not too long."""

from __future__ import annotations


def shortened(text: str, longest: int = 60) -> str:
    """Give the text, cut where it is too long."""
    return text if len(text) <= longest else text[: longest - 1] + '…'


def one_line(text: str) -> str:
    """Give the text with everything escaped that breaks lines or that cannot be encoded."""
    if text.isprintable():
        return text
    return ''.join(
        char if char.isprintable() else char.encode('unicode_escape').decode('ascii')
        for char in text
    )
