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
"""Every refusal: one sentence that names file, member, key path, what was found and expected."""

from importlib.util import find_spec
import json
import math
import os
from pathlib import Path
import subprocess
import sys
from test.scenario.loading import DATA, DIMS, NAN, POSES, refusal, TIMES
from test.support.archives import (
    build_archive,
    example_tracks,
    identity,
    REMOVED,
    rig_document,
    sample_times,
    START_US,
    tracks_document,
    translation,
)
import zipfile

import numpy as np
from nurec_ros.errors import one_line, shortened
from nurec_ros.scenario import archive as archives
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.archive import MemberError, parse_json, parsing_memory
import pytest

RIG, TRACKS = archives.RIG, archives.TRACKS
SECOND_US = sample_times(2.0, 10.0, START_US)[1]
COLUMNS = np.transpose(translation(1, 2, 3)).tolist()
BY_COLUMNS = 'written by columns (its translation is in the last row), expected a rotation and a'
STRETCHED = np.diag([1.006, 1, 1, 1]).tolist()
SHEARED = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1e300, 1, 0], [0, 0, 0, 1]]
FEWER = 'a list of 20, expected 21 times, one for each of rig_trajectories[0].T_rig_worlds'
QUATERNION = 'a pose with the quaternion [0, 0, 0, 0], expected one of length 1, exact within 0.01'
SIDES = 'expected [length, width, height] in metres'
ONE_EACH = 'missing, expected a list of one element for each of tracks_id'


@pytest.fixture(params=['orjson', 'json'])
def parser(request, monkeypatch):
    if request.param == 'json':
        monkeypatch.setattr(archives, 'orjson', None)
    elif not find_spec('orjson'):
        pytest.skip('orjson is not installed')
    return request.param


# What is put at a key path (REMOVED: taken away), and the sentence about just that path.
EGO = [
    ('rig_trajectories', REMOVED, 'missing, expected a list of one trajectory'),
    ('rig_trajectories', None, 'null, expected a list'),
    ('rig_trajectories', [], 'an empty list'),
    ('rig_trajectories[0]', 'x', "'x', expected an object"),
    (POSES, REMOVED, 'missing, expected a list of 4x4 matrices'),
    (POSES, [], 'an empty list, expected at least one pose'),
    (POSES, {}, 'an empty object'),
    (f'{POSES}[0]', 1.0, '1.0, expected a list of 4 lists of 4 numbers'),
    (f'{POSES}[17]', identity()[:3], 'a list of 3, expected a list of 4 lists of 4 numbers'),
    (f'{POSES}[17]', COLUMNS, BY_COLUMNS),
    (f'{POSES}[17][2]', [0, 0, 0], 'a list of 3, expected a list of 4 numbers'),
    (f'{POSES}[17][2][1]', '1', "'1', expected a finite number"),
    (f'{POSES}[17][2][1]', True, 'true'),
    (f'{POSES}[17][2][1]', NAN, 'nan'),
    (f'{POSES}[17][2][1]', 10**400, '1'),
    (f'{POSES}[17]', [[0.0] * 4] * 3 + [[0, 0, 0, 1]], 'singular'),
    (f'{POSES}[17]', np.diag([1, 1, -1, 1]).tolist(), 'a mirror image'),
    (f'{POSES}[0]', STRETCHED, 'not rigid (off by 0.012), expected a rot'),
    (f'{POSES}[17]', [*identity()[:3], [0, 0, 0, 2.0]], 'not rigid (off by 1)'),
    (f'{POSES}[17]', SHEARED, 'not rigid'),
    (f'{POSES}[17]', translation(0, 1e12, 0), 'at [0, 1e+12, 0], expected coordinates within 1e+'),
    (TIMES, REMOVED, 'missing, expected a list of one time for each pose'),
    (f'{TIMES}[5]', '7', "'7', expected whole microseconds from 0 to 2147483647000000"),
    (f'{TIMES}[5]', 7.5, '7.5'),
    (f'{TIMES}[0]', -1, '-1'),
    (f'{TIMES}[20]', 2**31 * 10**6, '2147483648000000'),
    (f'{TIMES}[20]', 2**70, '1'),
    (
        f'{TIMES}[2]',
        START_US,
        f'{START_US}, expected a time after the one before it ({SECOND_US})',
    ),
    (TIMES, [START_US + i for i in range(20)], FEWER),
]
ROAD_USERS = [
    (DATA, REMOVED, 'missing, expected it beside cuboidtracks_data'),
    (f'{DATA}.tracks_id', REMOVED, 'missing, expected a list of ids'),
    (f'{DATA}.tracks_id[2]', None, 'null, expected a text or a whole number'),
    (f'{DATA}.tracks_id[2]', '', 'an empty text, expected an id'),
    (f'{DATA}.tracks_id[2]', True, 'true'),
    (f'{DATA}.tracks_id[2]', '1', "'1', expected an id other than that of [0]"),
    (f'{DATA}.tracks_id[2]', '\ud800', "'\\ud800', expected a text without halves of letters"),
    (f'{DATA}.tracks_label_class', REMOVED, ONE_EACH),
    (f'{DATA}.tracks_label_class[1]', 4, '4, expected a text'),
    (f'{DATA}.tracks_label_class', ['a'] * 3, 'a list of 3, expected 4 elements, one for each of'),
    (f'{DATA}.tracks_poses', REMOVED, 'missing'),
    (f'{DATA}.tracks_poses', [[]] * 3, 'a list of 3, expected 4'),
    (f'{DATA}.tracks_poses[2]', None, 'null'),
    (f'{DATA}.tracks_poses[2][17]', [0.0] * 6, 'a list of 6, expected a list of 7 numbers'),
    (f'{DATA}.tracks_poses[2][17][3]', NAN, 'nan'),
    (f'{DATA}.tracks_poses[2][17]', [1, 2, 3, 0, 0, 0, 0], QUATERNION),
    (f'{DATA}.tracks_poses[1][3]', [1, 2, 3, 0, 0, 0, 1.02], 'a pose with the quaternion'),
    (f'{DATA}.tracks_poses[0][0]', [1, 2, 3, 1e200, 0, 0, 1], 'a pose with the quaternion'),
    (f'{DATA}.tracks_poses[1][3]', [1e9, 2, 3, 0, 0, 0, 1], 'at [1'),
    (f'{DATA}.tracks_timestamps_us[2]', [1] * 19, 'a list of 19, expected 20 times, one for each'),
    (f'{DATA}.tracks_timestamps_us[2]', None, 'null'),
    (f'{DATA}.tracks_timestamps_us[2][5]', '0', "'0'"),
    (f'{DATA}.tracks_timestamps_us[2][5]', START_US - 1, f'{START_US - 1}'),
    ('dummy_chunk_id.cuboidtracks_data', REMOVED, 'missing'),
    (DIMS, [[1, 2, 3]] * 3, 'a list of 3, expected 4'),
    (f'{DIMS}[3]', [1, 2], 'a list of 2, expected a list of 3 numbers'),
    (f'{DIMS}[1]', [1, 2, -1e-9], f'[1.0, 2.0, -1e-09], {SIDES}'),
    (f'{DIMS}[1][2]', 1e999, 'inf'),
]


@pytest.mark.parametrize(
    ('member', 'edit', 'path', 'value', 'found', 'parser'),
    [
        (member, edit, path, value, found, parser)
        for member, edit, rows in ((RIG, 'edit_rig', EGO), (TRACKS, 'edit_tracks', ROAD_USERS))
        for path, value, found in rows
        # In numbers alone the parsers may differ.
        for parser in (('orjson', 'json') if isinstance(value, (int, float)) else ('orjson',))
    ],
    indirect=['parser'],
)
def test_what_is_wrong_is_named(tmp_path, member, edit, path, value, found, parser):
    text = refusal(build_archive(tmp_path, **{edit: {path: value}}))
    assert f'{member}: {path} is {found}' in text


def test_tracks_without_a_chunk_or_with_too_many(tmp_path):
    for document, words in (
        ([], 'an empty list'),
        ({'x': {'y': 1}}, "an object of 1 ('x') without a chunk"),
        ({str(i): {'tracks_data': {}} for i in range(1001)}, 'an object of more than 1000 chunks'),
    ):
        text = refusal(build_archive(tmp_path, members={TRACKS: json.dumps(document)}))
        assert f'{TRACKS}: the top level is {words}' in text


@pytest.mark.parametrize('key', ['other', 'a\nb', '\ud800', 'x' * 9000, '\0'])
def test_the_chunk_is_named_in_one_line_whatever_its_key(tmp_path, key):
    def edit(document):
        document[key] = json.loads(json.dumps(document['dummy_chunk_id']))
        document[key]['tracks_data']['tracks_poses'][1][2][0] = None

    text = refusal(build_archive(tmp_path, edit_tracks=edit))
    assert 'tracks_data.tracks_poses[1][2][0] is null' in text
    assert key != 'other' or f'{TRACKS}: other.tracks_data.' in text
    text.encode()


@pytest.mark.parametrize('member', [RIG, TRACKS])
@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'', 'is not JSON (Expecting value at line 1 column 1), expected JSON'),
        (b'{"a": \x80}', 'is not UTF-8 text (byte 6 is 0x80)'),
        (b'[' * 100_000, 'is nested too deeply'),
        (b'null', 'the top level is null, expected an object'),
        (b'"text"', "the top level is 'text', expected an object"),
        (b'NaN', 'the top level is nan, expected an object'),
    ],
)
def test_no_json(tmp_path, member, content, expected):
    assert f'{member}: {expected}' in refusal(build_archive(tmp_path, members={member: content}))


@pytest.mark.parametrize('digits', [5000, 200_000])
def test_numbers_of_very_many_digits_are_named(tmp_path, digits):
    """No text of a parser's own, whoever meets the number first."""

    def with_number(document):
        return json.dumps(document).replace('"LONG"', '9' * digits)

    tracks, rig, fine = tracks_document(example_tracks()), rig_document(), rig_document()
    tracks['dummy_chunk_id']['tracks_data']['tracks_poses'][2][3][1] = 'LONG'
    rig['rig_trajectories'][0]['T_rig_world_timestamps_us'][1] = 'LONG'
    fine['unknown'] = 'LONG'
    for member, document, named in (
        (TRACKS, tracks, f'{DATA}.tracks_poses[2][3][1] is inf, expected a finite number'),
        (RIG, rig, f'{TIMES}[1] is inf, expected whole microseconds'),
    ):
        text = refusal(build_archive(tmp_path, members={member: with_number(document)}))
        assert f'{member}: {named}' in text
    scenario = Scenario.load(build_archive(tmp_path, members={RIG: with_number(fine)}))
    assert 'unknown' in scenario.warnings[0]


def test_a_missing_rig_a_file_in_a_folder_and_long_names_are_told_shortly(tmp_path):
    path = build_archive(tmp_path, prefix='drive/', members={RIG: '{}'})
    assert f'drive/{RIG}: rig_trajectories is missing' in refusal(path)
    long = 'x' * 100_000
    refusal(build_archive(tmp_path, edit_tracks={DATA: {long: 1}}))
    refusal(build_archive(tmp_path, edit_rig={f'{POSES}[17]': long}))
    refusal(build_archive(tmp_path, leave_out=[RIG], members={long[:60_000]: ''}))
    text = refusal(build_archive(tmp_path, leave_out=[RIG]))
    assert f'{RIG} is missing (the archive holds data_info.json, default.usda' in text
    assert text.endswith('), expected the archive of a NuRec scenario')


def test_a_plain_gaussian_export_is_called_what_it_is(tmp_path):
    path = tmp_path / 'export.usdz'
    with zipfile.ZipFile(path, 'w') as archive:
        for member in ('default.usda', 'gauss.usda', 'point_cloud.nurec'):
            archive.writestr(member, b'#')
    text = refusal(path)
    assert 'is a plain Gaussian export (default.usda, gauss.usda, point_cloud.nurec)' in text
    assert text.endswith(', expected the scenario archive of the same scene')


def test_what_breaks_a_line_is_escaped_and_what_is_long_cut_off():
    for text in ('', 'plain', 'Fußgänger €', 'a.b[3]: 5'):
        assert one_line(text) == text
    assert one_line('a\nb\tc\r\0') == 'a\\nb\\tc\\r\\x00'
    assert one_line('\ud800\u2028\x1b[31m') == '\\ud800\\u2028\\x1b[31m'
    assert shortened('x' * 60) == 'x' * 60
    assert shortened('x' * 61) == 'x' * 59 + '…'
    assert shortened('abcdef', 4) == 'abc…'


# JSON in, Python objects out, whichever parser does it.


def test_values(parser):
    for value in (
        *(None, True, 0, -3.5, 'ü€', [], {}, [[1, [2.5]], {'a': {'b': ['c']}}], 2**63),
        # Floats keep every digit.
        [0.1, 1e-300, 5e-324, 1.7976931348623157e308, 27567868848.123457, -0.0],
    ):
        assert parse_json(json.dumps(value).encode()) == value
        assert parse_json(b'\xef\xbb\xbf' + json.dumps(value).encode()) == value


def test_what_only_the_standard_parser_takes_or_refuses(parser):
    found = parse_json(b'[NaN, -Infinity, 1e999, 123456789012345678901234567890]')
    assert math.isnan(found[0])
    assert found[1:] == [-math.inf, math.inf, pytest.approx(1.2345678901234568e29)]
    found = parse_json(b'{"a": -' + b'9' * 200_000 + b', "b": [12, 3.5]}')
    assert found['b'] == [12, 3.5]
    assert found['a'] == -math.inf
    for text in (b'[' * 10**6, b'{"a":' * 10**6, b'[' * 10**5 + b']' * 10**5):
        with pytest.raises(MemberError, match=r'nested too deeply, expected fewer'):
            parse_json(text)


@pytest.mark.parametrize('text', [b'', b'[1,]', b'{"a" 1}', b'nul', b'[1] [2]', b"{'a': 1}"])
def test_no_json_is_refused_with_line_and_column(text, parser):
    with pytest.raises(MemberError, match=r'line 1 column .*, expected JSON'):
        parse_json(text)
    with pytest.raises(MemberError, match='line 3 column 6'):
        parse_json(b'{\n"a": [1,\n   2 3]\n}')


def test_memory_is_estimated_before_it_is_taken(monkeypatch, parser, tmp_path):
    monkeypatch.setattr(archives, 'MOST_MEMORY', 10_000)
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
    # Of a member it is told in full.
    monkeypatch.setattr(archives, 'MOST_MEMORY', 2 * archives.MEBIBYTE)
    path = build_archive(tmp_path, members={TRACKS: '{"a": [' + '{"b":1},' * 10_000 + '0]}'})
    text = refusal(path)
    assert f'{TRACKS}: would take some 3 MiB of memory (80010 bytes, 20003 values, ' in text
    assert '1 lists, 10001 objects, 10001 texts), expected at most 2 MiB' in text


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
    names = vars(archives)
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
