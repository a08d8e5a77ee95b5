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
"""JSON in, Python objects out, whichever parser does it."""

import json
import math

from nurec_ros.scenario.schema import json_text
from nurec_ros.scenario.schema.json_text import count_values, JsonError, parse
import pytest


@pytest.fixture(params=['orjson', 'json'], autouse=True)
def parser(request, monkeypatch):
    if request.param == 'json':
        monkeypatch.setattr(json_text, 'orjson', None)
    elif json_text.orjson is None:
        pytest.skip('orjson is not installed')


@pytest.mark.parametrize(
    'value', [None, True, 0, -3.5, 'ü€', [], {}, [[1, [2.5]], {'a': {'b': ['c']}}], 2**63]
)
def test_values(value):
    assert parse(json.dumps(value).encode()) == value


def test_what_only_the_standard_parser_takes():
    found = parse(b'[NaN, -Infinity, 1e999, 123456789012345678901234567890]')
    assert math.isnan(found[0])
    assert found[1] == -math.inf
    assert found[2] == math.inf
    assert found[3] == pytest.approx(1.2345678901234568e29)


def test_floats_keep_every_digit():
    values = [0.1, 1e-300, 5e-324, 1.7976931348623157e308, 27567868848.123457, -0.0]
    assert parse(json.dumps(values).encode()) == values


def test_byte_order_mark():
    assert parse(b'\xef\xbb\xbf[1]') == [1]


@pytest.mark.parametrize('text', [b'', b'[1,]', b'{"a" 1}', b'nul', b'[1] [2]', b"{'a': 1}"])
def test_no_json_is_refused_with_line_and_column(text):
    with pytest.raises(JsonError, match='line 1 column'):
        parse(text)


def test_line_and_column_of_a_longer_text():
    with pytest.raises(JsonError, match='line 3 column 6'):
        parse(b'{\n"a": [1,\n   2 3]\n}')


@pytest.mark.parametrize('text', [b'[' * 10**6, b'{"a":' * 10**6, b'[' * 10**5 + b']' * 10**5])
def test_deep_nesting_is_refused(text):
    with pytest.raises(JsonError, match='nested too deeply'):
        parse(text)


def test_values_are_counted_before_they_are_made(monkeypatch):
    monkeypatch.setattr(json_text, 'MOST_VALUES', 100)
    assert len(parse(b'[' + b'1,' * 90 + b'1]')) == 91
    for text in (b'[' + b'1,' * 100 + b'1]', b'[' + b'{},' * 60 + b'1]'):
        with pytest.raises(JsonError, match='at most 100 are read'):
            parse(text)


@pytest.mark.parametrize('value', [1, [], [1], [[1, 2], [3]], {'a': [1, {'b': 2}]}, {}])
def test_count_is_never_too_low(value):
    def number_of(inner):
        if isinstance(inner, dict):
            inner = list(inner.values())
        return 1 + sum(map(number_of, inner)) if isinstance(inner, list) else 1

    assert number_of(value) <= count_values(json.dumps(value).encode()) <= 2 * number_of(value) + 1
