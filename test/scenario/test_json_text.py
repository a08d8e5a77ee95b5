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
from pathlib import Path
import subprocess
import sys

from nurec_ros.scenario import archive
from nurec_ros.scenario.archive import json_contents, JsonError, parse_json
import pytest


@pytest.fixture(params=['orjson', 'json'], autouse=True)
def parser(request, monkeypatch):
    if request.param == 'json':
        monkeypatch.setattr(archive, 'orjson', None)
    elif archive.orjson is None:
        pytest.skip('orjson is not installed')
    return request.param


@pytest.mark.parametrize(
    'value', [None, True, 0, -3.5, 'ü€', [], {}, [[1, [2.5]], {'a': {'b': ['c']}}], 2**63]
)
def test_values(value):
    assert parse_json(json.dumps(value).encode()) == value


def test_what_only_the_standard_parser_takes():
    found = parse_json(b'[NaN, -Infinity, 1e999, 123456789012345678901234567890]')
    assert math.isnan(found[0])
    assert found[1] == -math.inf
    assert found[2] == math.inf
    assert found[3] == pytest.approx(1.2345678901234568e29)


def test_floats_keep_every_digit():
    values = [0.1, 1e-300, 5e-324, 1.7976931348623157e308, 27567868848.123457, -0.0]
    assert parse_json(json.dumps(values).encode()) == values


def test_byte_order_mark():
    assert parse_json(b'\xef\xbb\xbf[1]') == [1]


@pytest.mark.parametrize('text', [b'', b'[1,]', b'{"a" 1}', b'nul', b'[1] [2]', b"{'a': 1}"])
def test_no_json_is_refused_with_line_and_column(text):
    with pytest.raises(JsonError, match=r'line 1 column .*, expected JSON'):
        parse_json(text)


def test_line_and_column_of_a_longer_text():
    with pytest.raises(JsonError, match='line 3 column 6'):
        parse_json(b'{\n"a": [1,\n   2 3]\n}')


@pytest.mark.parametrize('text', [b'[' * 10**6, b'{"a":' * 10**6, b'[' * 10**5 + b']' * 10**5])
def test_deep_nesting_is_refused(text):
    with pytest.raises(JsonError, match=r'nested too deeply, expected fewer'):
        parse_json(text)


def test_numbers_of_too_many_digits_are_named_where_they_matter():
    found = parse_json(b'{"a": -' + b'9' * 200_000 + b', "b": [12, 3.5]}')
    assert found['b'] == [12, 3.5]
    assert found['a'] == -math.inf
    assert repr(found['a']) == 'a number of 200000 digits'


def test_memory_is_estimated_before_it_is_taken(monkeypatch):
    monkeypatch.setattr(archive, 'MOST_MEMORY', 10_000)
    assert len(parse_json(b'[' + b'1,' * 90 + b'1]')) == 91
    for text in (
        b'[' + b'1,' * 200 + b'1]',
        b'[' + b'{},' * 100 + b'1]',
        b'[' + b'"",' * 150 + b'1]',
        b'{' + b'"":1,' * 80 + b'"":1}',
        b'[' * 200,
        b'["' + b'a' * 6000 + b'"]',
    ):
        with pytest.raises(JsonError, match=r'bytes, .* values, .*, expected at most 0 MiB'):
            parse_json(text)


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('1', (1, 0, 0, 0, 0, 0)),
        ('[]', (2, 1, 0, 0, 0, 0)),
        ('[[1, 2], [3]]', (6, 3, 0, 0, 0, 0)),
        ('{"a": [1, {"b": "c"}]}', (5, 1, 2, 2, 3, 0)),
        (r'["\u00e4"]', (2, 1, 0, 0, 1, 4)),
        ('["ä"]', (2, 1, 0, 0, 1, 8)),
        ('["a:b,c"]', (3, 1, 0, 1, 1, 0)),
    ],
)
def test_contents_are_counted_by_their_marks(text, found):
    data = text.encode()
    counted = json_contents(data)
    assert counted.size == len(data)
    assert found == (
        counted.values,
        counted.lists,
        counted.objects,
        counted.keys,
        counted.texts,
        counted.wide,
    )


@pytest.mark.parametrize('value', [1, [], [1], [[1, 2], [3]], {'a': [1, {'b': 2}]}, {}])
def test_count_is_never_too_low(value):
    def number_of(inner):
        if isinstance(inner, dict):
            inner = list(inner.values())
        return 1 + sum(map(number_of, inner)) if isinstance(inner, list) else 1

    values = json_contents(json.dumps(value).encode()).values
    assert number_of(value) <= values <= 2 * number_of(value) + 1


# The kernel's own high-water mark; getrusage hands down the parent's.
MEASURE = """
import sys
from nurec_ros.scenario import archive
if sys.argv[1] == 'json':
    archive.orjson = None

def peak():
    with open('/proc/self/status') as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith('VmHWM'))

data = eval(sys.argv[2])
print(archive.json_contents(data).memory)
before = peak() - 2 * len(data)
archive.parse_json(data)
print(peak() - before)
"""


@pytest.mark.parametrize(
    'text',
    [
        """b'[' + b'{"a":1},' * 200_000 + b'0]'""",
        "b'[' + (b'[' * 400 + b']' * 400 + b',') * 500 + b'0]'",
        """b'[' + (b'{"a":' * 400 + b'1' + b'}' * 400 + b',') * 500 + b'0]'""",
        "b'[' + b'1.5,' * 500_000 + b'0]'",
        """b'[' + b'"ab",' * 300_000 + b'0]'""",
        """b'{' + b','.join(b'"%d":1' % i for i in range(350_000)) + b'}'""",
        """b'["' + '\U0001f600'.encode() + b'a' * 5_000_000 + b'"]'""",
        r"""b'["\ud83d\ude00' + b'a' * 5_000_000 + b'"]'""",
    ],
)
@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs Linux')
def test_no_text_takes_more_memory_than_estimated(parser, text):
    """Ten per cent beside, and what the allocator holds in reserve."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, '-c', MEASURE, parser, text],
        capture_output=True,
        check=True,
        cwd=root,
    )
    estimated, taken = map(int, done.stdout.split())
    assert taken < 1.1 * estimated + 4_000_000
