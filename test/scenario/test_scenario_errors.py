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

import json
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
from nurec_ros.errors import one_line, ScenarioError, shortened
from nurec_ros.scenario import archive as archives
from nurec_ros.scenario import Scenario
import pytest

NAN = float('nan')
RIG, TRACKS = 'rig_trajectories.json', 'sequence_tracks.json'
POSES = 'rig_trajectories[0].T_rig_worlds'
TIMES = 'rig_trajectories[0].T_rig_world_timestamps_us'
SECOND_US = sample_times(2.0, 10.0, START_US)[1]
DATA = 'dummy_chunk_id.tracks_data'
DIMS = 'dummy_chunk_id.cuboidtracks_data.cuboids_dims'


def refusal(path, **options):
    """Load what must be refused, and give the sentence."""
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(path, **options)
    text = str(caught.value)
    assert text.startswith(f'{path}: ')
    assert '\n' not in text
    assert len(text) < 600
    assert not text.endswith('.')
    assert ', expected ' in text
    return text


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
    (f'{POSES}[17]', None, 'null'),
    (f'{POSES}[17]', identity()[:3], 'a list of 3, expected a list of 4 lists of 4 numbers'),
    (
        f'{POSES}[17]',
        np.transpose(translation(1, 2, 3)).tolist(),
        'written by columns (its translation is in the last row), expected a rotation and a',
    ),
    (f'{POSES}[17][2]', [0, 0, 0], 'a list of 3, expected a list of 4 numbers'),
    (f'{POSES}[17][2][1]', '1', "'1', expected a finite number"),
    (f'{POSES}[17][2][1]', True, 'true'),
    (f'{POSES}[17][2][1]', NAN, 'nan'),
    (f'{POSES}[17][2][1]', -1e999, '-inf'),
    (f'{POSES}[17][2][1]', 10**400, '1'),
    (f'{POSES}[17]', [[0.0] * 4] * 3 + [[0, 0, 0, 1]], 'singular'),
    (f'{POSES}[17]', np.diag([1, 1, -1, 1]).tolist(), 'a mirror image'),
    (
        f'{POSES}[0]',
        np.diag([1.006, 1, 1, 1]).tolist(),
        'not rigid (off by 0.012), expected a rot',
    ),
    (f'{POSES}[17]', [*identity()[:3], [0, 0, 0, 2.0]], 'not rigid (off by 1)'),
    (f'{POSES}[17]', [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1e300, 1, 0], [0, 0, 0, 1]], 'not rigid'),
    (
        f'{POSES}[17]',
        translation(0, 1e12, 0),
        'at [0, 1e+12, 0], expected coordinates within 1e+08 m',
    ),
    (TIMES, REMOVED, 'missing, expected a list of one time for each pose'),
    (f'{TIMES}[5]', None, 'null, expected whole microseconds from 0 to 2147483647000000'),
    (f'{TIMES}[5]', '7', "'7'"),
    (f'{TIMES}[5]', 7.5, '7.5'),
    (f'{TIMES}[5]', NAN, 'nan'),
    (f'{TIMES}[0]', -1, '-1'),
    (f'{TIMES}[20]', 2**31 * 10**6, '2147483648000000'),
    (f'{TIMES}[20]', 2**70, '1'),
    (
        f'{TIMES}[2]',
        START_US,
        f'{START_US}, expected a time after the one before it ({SECOND_US})',
    ),
    (
        TIMES,
        [START_US + i for i in range(20)],
        'a list of 20, expected 21 times, one for each of rig_trajectories[0].T_rig_worlds',
    ),
]
ROAD_USERS = [
    (DATA, None, 'null'),
    (DATA, REMOVED, 'missing, expected it beside cuboidtracks_data'),
    (f'{DATA}.tracks_id', REMOVED, 'missing, expected a list of ids'),
    (f'{DATA}.tracks_id[2]', None, 'null, expected a text or a whole number'),
    (f'{DATA}.tracks_id[2]', [], 'an empty list'),
    (f'{DATA}.tracks_id[2]', '', 'an empty text, expected an id'),
    (f'{DATA}.tracks_id[2]', True, 'true'),
    (f'{DATA}.tracks_id[2]', '1', "'1', expected an id other than that of [0]"),
    (f'{DATA}.tracks_id[2]', '\ud800', "'\\ud800', expected a text without halves of letters"),
    (
        f'{DATA}.tracks_label_class',
        REMOVED,
        'missing, expected a list of one element for each of tracks_id',
    ),
    (f'{DATA}.tracks_label_class[1]', 4, '4, expected a text'),
    (
        f'{DATA}.tracks_label_class',
        ['a'] * 3,
        'a list of 3, expected 4 elements, one for each of tracks_id',
    ),
    (f'{DATA}.tracks_poses', REMOVED, 'missing'),
    (f'{DATA}.tracks_poses[2]', None, 'null'),
    (f'{DATA}.tracks_poses', [[]] * 3, 'a list of 3, expected 4'),
    (f'{DATA}.tracks_poses[2][17]', [0.0] * 6, 'a list of 6, expected a list of 7 numbers'),
    (f'{DATA}.tracks_poses[2][17][3]', None, 'null'),
    (f'{DATA}.tracks_poses[2][17][3]', NAN, 'nan'),
    (
        f'{DATA}.tracks_poses[2][17]',
        [1, 2, 3, 0, 0, 0, 0],
        'a pose with the quaternion [0, 0, 0, 0], expected one of length 1, exact within 0.01',
    ),
    (f'{DATA}.tracks_poses[1][3]', [1, 2, 3, 0, 0, 0, 1.02], 'a pose with the quaternion'),
    (f'{DATA}.tracks_poses[0][0]', [1, 2, 3, 1e200, 0, 0, 1], 'a pose with the quaternion'),
    (f'{DATA}.tracks_poses[1][3]', [1e9, 2, 3, 0, 0, 0, 1], 'at [1'),
    (f'{DATA}.tracks_timestamps_us', REMOVED, 'missing'),
    (
        f'{DATA}.tracks_timestamps_us[2]',
        [1] * 19,
        'a list of 19, expected 20 times, one for each pose',
    ),
    (f'{DATA}.tracks_timestamps_us[2]', None, 'null'),
    (f'{DATA}.tracks_timestamps_us[2][5]', '0', "'0'"),
    (f'{DATA}.tracks_timestamps_us[2][5]', START_US - 1, f'{START_US - 1}'),
    ('dummy_chunk_id.cuboidtracks_data', REMOVED, 'missing'),
    (DIMS, None, 'null'),
    (f'{DIMS}[3]', [1, 2], 'a list of 2, expected a list of 3 numbers'),
    (DIMS, [[1, 2, 3]] * 3, 'a list of 3, expected 4'),
    (f'{DIMS}[3]', [1, -2, 1], '[1.0, -2.0, 1.0], expected [length, width, height] in metres'),
    (
        f'{DIMS}[1]',
        [1, 2, -1e-9],
        '[1.0, 2.0, -1e-09], expected [length, width, height] in metres',
    ),
    (f'{DIMS}[1][2]', 1e999, 'inf'),
    (f'{DIMS}[3][1]', NAN, 'nan'),
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
)
def test_what_is_wrong_is_named(tmp_path, monkeypatch, member, edit, path, value, found, parser):
    if parser == 'json':
        monkeypatch.setattr(archives, 'orjson', None)
    text = refusal(build_archive(tmp_path, **{edit: {path: value}}))
    assert f'{member}: {path} is {found}' in text


@pytest.mark.parametrize(
    ('document', 'words'),
    [
        ([], 'the top level is an empty list'),
        ({'x': {'y': 1}}, "the top level is an object of 1 ('x') without a chunk"),
    ],
)
def test_tracks_without_a_chunk(tmp_path, document, words):
    assert f'{TRACKS}: {words}' in refusal(build_archive(tmp_path, edit_tracks=lambda _: document))


def test_second_chunk_is_named(tmp_path):
    def edit(document):
        document['other'] = json.loads(json.dumps(document['dummy_chunk_id']))
        document['other']['tracks_data']['tracks_poses'][1][2][0] = None

    text = refusal(build_archive(tmp_path, edit_tracks=edit))
    assert f'{TRACKS}: other.tracks_data.tracks_poses[1][2][0] is null' in text


@pytest.mark.parametrize('member', [RIG, TRACKS])
@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'', 'is not JSON (Expecting value at line 1 column 1), expected JSON'),
        (b'{"a": 1,}', 'is not JSON'),
        (b'{"a": [1, 2', 'is not JSON'),
        (b'{"a": \x80}', 'is not UTF-8 text (byte 6 is 0x80)'),
        (b'\xff\xfe{\x00}\x00', 'is not UTF-8'),
        (b'[' * 100_000, 'is nested too deeply'),
        (b'{"a":' * 100_000, 'is nested too deeply'),
        (b'null', 'the top level is null, expected an object'),
        (b'[]', 'the top level is an empty list, expected an object'),
        (b'"text"', "the top level is 'text', expected an object"),
        (b'NaN', 'the top level is nan, expected an object'),
        (b'9' * 5000, 'the top level is inf, expected an object'),
    ],
)
def test_no_json(tmp_path, member, content, expected):
    assert f'{member}: {expected}' in refusal(build_archive(tmp_path, members={member: content}))


def test_too_much_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, 'MOST_MEMORY', 2 * archives.MEBIBYTE)
    path = build_archive(tmp_path, members={TRACKS: '{"a": [' + '{"b":1},' * 10_000 + '0]}'})
    text = refusal(path)
    assert f'{TRACKS}: would take some 3 MiB of memory (80010 bytes, 20003 values, ' in text
    assert '1 lists, 10001 objects, 10001 texts), expected at most 2 MiB' in text


@pytest.mark.parametrize('digits', [5000, 200_000])
def test_numbers_of_very_many_digits_are_named(tmp_path, digits):
    """No text of a parser's own, whoever meets the number first."""
    long = '9' * digits
    found = 'is inf, expected '

    def with_number(document):
        return json.dumps(document).replace('"LONG"', long)

    document = tracks_document(example_tracks())
    document['dummy_chunk_id']['tracks_data']['tracks_poses'][2][3][1] = 'LONG'
    text = refusal(build_archive(tmp_path, members={TRACKS: with_number(document)}))
    assert f'{TRACKS}: {DATA}.tracks_poses[2][3][1] {found}a finite number' in text

    document = rig_document()
    document['rig_trajectories'][0]['T_rig_world_timestamps_us'][1] = 'LONG'
    text = refusal(build_archive(tmp_path, members={RIG: with_number(document)}))
    assert f'{RIG}: {TIMES}[1] {found}whole microseconds' in text

    document = rig_document()
    document['unknown'] = 'LONG'
    scenario = Scenario.load(build_archive(tmp_path, members={RIG: with_number(document)}))
    assert 'unknown' in scenario.warnings[0]


def test_file_in_a_folder_is_named_in_full(tmp_path):
    path = build_archive(tmp_path, prefix='drive/', members={RIG: '{}'})
    assert f'drive/{RIG}: rig_trajectories is missing' in refusal(path)


def test_sentence_stays_short_whatever_the_file_holds(tmp_path):
    long = 'x' * 100_000
    refusal(build_archive(tmp_path, edit_tracks={DATA: {long: 1}}))
    refusal(build_archive(tmp_path, edit_rig={f'{POSES}[17]': long}))
    path = build_archive(tmp_path, leave_out=[RIG], members={long[:60_000]: ''})
    refusal(path)


@pytest.mark.parametrize('key', ['a\nb', '\ud800', 'x' * 9000, '\0', 'a b'])
def test_keys_of_any_text_leave_one_line(tmp_path, key):
    def edit(document):
        document[key] = document.pop('dummy_chunk_id')
        document[key]['tracks_data']['tracks_poses'][1][2][0] = None

    text = refusal(build_archive(tmp_path, edit_tracks=edit))
    assert 'tracks_data.tracks_poses[1][2][0] is null' in text
    text.encode()


def test_too_many_chunks(tmp_path):
    chunks = {str(i): {'tracks_data': {}} for i in range(1001)}
    path = build_archive(tmp_path, edit_tracks=lambda _: chunks)
    assert f'{TRACKS}: the top level is an object of more than 1000 chunks' in refusal(path)


def test_a_plain_gaussian_export_is_called_what_it_is(tmp_path):
    path = tmp_path / 'export.usdz'
    with zipfile.ZipFile(path, 'w') as archive:
        for member in ('default.usda', 'gauss.usda', 'point_cloud.nurec'):
            archive.writestr(member, b'#')
    text = refusal(path)
    assert 'is a plain Gaussian export (default.usda, gauss.usda, point_cloud.nurec)' in text
    assert text.endswith(', expected the scenario archive of the same scene')


def test_rig_missing(tmp_path):
    text = refusal(build_archive(tmp_path, leave_out=[RIG]))
    assert f'{RIG} is missing (the archive holds data_info.json, default.usda' in text
    assert text.endswith('), expected the archive of a NuRec scenario')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        *((text, text) for text in ('', 'plain', 'Fußgänger €', 'a.b[3]: 5')),
        ('a\nb\tc\r\0', 'a\\nb\\tc\\r\\x00'),
        ('\ud800\u2028\x1b[31m', '\\ud800\\u2028\\x1b[31m'),
    ],
)
def test_what_breaks_a_line_is_escaped(text, expected):
    assert one_line(text) == expected


def test_shortened():
    assert shortened('x' * 60) == 'x' * 60
    assert shortened('x' * 61) == 'x' * 59 + '…'
    assert shortened('abcdef', 4) == 'abc…'
