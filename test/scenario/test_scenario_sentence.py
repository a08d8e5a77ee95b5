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
"""Texts of files in messages: one line, printable, not too long."""

from nurec_ros.errors import one_line, shortened
import pytest


@pytest.mark.parametrize('text', ['', 'plain', 'Fußgänger €', 'a.b[3]: 5'])
def test_printable_text_stays(text):
    assert one_line(text) == text


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a\nb', 'a\\nb'),
        ('a\tb\r', 'a\\tb\\r'),
        ('\0', '\\x00'),
        ('\ud800', '\\ud800'),
        ('\u2028', '\\u2028'),
        ('\x1b[31m', '\\x1b[31m'),
    ],
)
def test_what_breaks_a_line_is_escaped(text, expected):
    assert one_line(text) == expected
    one_line(text).encode()


def test_shortened():
    assert shortened('x' * 60) == 'x' * 60
    assert shortened('x' * 61) == 'x' * 59 + '…'
    assert shortened('abcdef', 4) == 'abc…'
