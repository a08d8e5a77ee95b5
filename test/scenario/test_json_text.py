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

from importlib.util import find_spec
import json
import math
import os
from pathlib import Path
import subprocess
import sys

from nurec_ros.scenario import archive
from nurec_ros.scenario.archive import MemberError, parse_json, parsing_memory
import pytest


@pytest.fixture(params=['orjson', 'json'], autouse=True)
def parser(request, monkeypatch):
    if request.param == 'json':
        monkeypatch.setattr(archive, 'orjson', None)
    elif not find_spec('orjson'):
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
    with pytest.raises(MemberError, match=r'line 1 column .*, expected JSON'):
        parse_json(text)


def test_line_and_column_of_a_longer_text():
    with pytest.raises(MemberError, match='line 3 column 6'):
        parse_json(b'{\n"a": [1,\n   2 3]\n}')


@pytest.mark.parametrize('text', [b'[' * 10**6, b'{"a":' * 10**6, b'[' * 10**5 + b']' * 10**5])
def test_deep_nesting_is_refused(text):
    with pytest.raises(MemberError, match=r'nested too deeply, expected fewer'):
        parse_json(text)


def test_numbers_of_too_many_digits_are_named_where_they_matter():
    found = parse_json(b'{"a": -' + b'9' * 200_000 + b', "b": [12, 3.5]}')
    assert found['b'] == [12, 3.5]
    assert found['a'] == -math.inf


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
        with pytest.raises(MemberError, match=r'bytes, .* values, .*, expected at most 0 MiB'):
            parse_json(text)


@pytest.mark.parametrize(
    ('text', 'held'),
    [
        ('1', '1 bytes, 1 values, 0 lists, 0 objects, 0 texts'),
        ('[]', '2 bytes, 2 values, 1 lists, 0 objects, 0 texts'),
        ('[[1, 2], [3]]', '13 bytes, 6 values, 3 lists, 0 objects, 0 texts'),
        ('{"a": [1, {"b": "c"}]}', '22 bytes, 5 values, 1 lists, 2 objects, 3 texts'),
        ('["a:b,c"]', '9 bytes, 3 values, 1 lists, 0 objects, 1 texts'),
    ],
)
def test_contents_are_counted_by_their_marks(text, held):
    assert parsing_memory(text.encode())[1] == held


def test_letters_beyond_ascii_take_more():
    plain, escaped, wide = (parsing_memory(text.encode())[0] for text in ('"a"', r'"\u"', '"ä"'))
    assert escaped - plain == 2 + 4 * 4
    assert wide - plain == 2 + 8 * 4


def texts():
    """Yield what is dear in one way each."""
    yield b'[' + b'{"a":1},' * 100_000 + b'0]'
    yield b'[' + (b'[' * 400 + b']' * 400 + b',') * 250 + b'0]'
    yield b'[' + (b'{"a":' * 400 + b'1' + b'}' * 400 + b',') * 250 + b'0]'
    yield b'[' + b'1.5,' * 250_000 + b'0]'
    yield b'[' + b'"ab",' * 150_000 + b'0]'
    yield b'{' + b','.join(b'"%d":1' % i for i in range(175_000)) + b'}'
    yield b'["' + '\U0001f600'.encode() + b'a' * 5_000_000 + b'"]'
    yield rb'["\ud83d\ude00' + b'a' * 5_000_000 + b'"]'


def peak():
    """Return the kernel's own high-water mark in bytes; getrusage hands down the parent's."""
    status = Path('/proc/self/status').read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if 'VmHWM' in line) * 1024


def measure():
    """Write parser, estimate and use of memory for each text, each in a process of its own."""
    dear = list(texts())
    names = vars(archive)
    for installed in dict.fromkeys([names['orjson'], None]):
        names['orjson'] = installed
        for data in dear:
            if child := os.fork():
                os.waitpid(child, 0)
                continue
            before = peak() - 2 * len(data)
            parse_json(data)
            name = 'orjson' if installed else 'json'
            os.write(1, f'{name} {parsing_memory(data)[0]} {peak() - before}\n'.encode())
            os._exit(0)


@pytest.fixture(scope='module')
def measured():
    return subprocess.run(
        [sys.executable, '-c', f'from {__name__} import measure; measure()'],
        capture_output=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
        text=True,
    ).stdout.splitlines()


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs Linux')
def test_no_text_takes_more_memory_than_estimated(parser, measured):
    """Ten per cent beside, and what the allocator holds in reserve."""
    found = [tuple(map(int, rest)) for name, *rest in map(str.split, measured) if name == parser]
    assert len(found) == 8
    for estimated, taken in found:
        assert 1_000_000 < taken < 1.1 * estimated + 4_000_000
