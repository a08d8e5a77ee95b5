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
    rig_document,
    START_US,
    tracks_document,
    translation,
)
import zipfile

import numpy as np
from nurec_ros.errors import ScenarioError
from nurec_ros.scenario import archive as archives
from nurec_ros.scenario import Scenario
import pytest

NAN = float('nan')
RIG, TRACKS = 'rig_trajectories.json', 'sequence_tracks.json'
POSES = 'rig_trajectories[0].T_rig_worlds'
TIMES = 'rig_trajectories[0].T_rig_world_timestamps_us'
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


def put(value, *keys):
    """Give an edit that sets a value deep in a document."""

    def edit(document):
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return edit


def without(*keys):
    def edit(document):
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]

    return edit


def rig(edit):
    return lambda document: edit(document['rig_trajectories'][0])


def tracks(edit):
    return lambda document: edit(document['dummy_chunk_id'])


EGO = {
    'no trajectories': (without('rig_trajectories'), 'rig_trajectories is missing'),
    'null trajectories': (put(None, 'rig_trajectories'), 'rig_trajectories is null'),
    'empty trajectories': (put([], 'rig_trajectories'), 'rig_trajectories is an empty list'),
    'text entry': (put(['x'], 'rig_trajectories'), "rig_trajectories[0] is 'x'"),
    'no poses': (rig(without('T_rig_worlds')), f'{POSES} is missing'),
    'empty poses': (rig(put([], 'T_rig_worlds')), f'{POSES} is an empty list'),
    'poses object': (rig(put({}, 'T_rig_worlds')), f'{POSES} is an empty object'),
    'flat poses': (rig(put([1.0] * 21, 'T_rig_worlds')), f'{POSES}[0] is 1.0'),
    'null pose': (rig(put(None, 'T_rig_worlds', 17)), f'{POSES}[17] is null'),
    '3x4': (
        rig(put(identity()[:3], 'T_rig_worlds', 17)),
        f'{POSES}[17] is a list of 3, expected a list of 4 lists of 4 numbers',
    ),
    'by columns': (
        rig(lambda e: e.update(T_rig_worlds=np.transpose(e['T_rig_worlds'], (0, 2, 1)).tolist())),
        f'{POSES}[1] is written by columns (its translation is in the last row)',
    ),
    'ragged row': (rig(put([0, 0, 0], 'T_rig_worlds', 17, 2)), f'{POSES}[17][2] is a list of 3'),
    'text number': (rig(put('1', 'T_rig_worlds', 17, 2, 1)), f"{POSES}[17][2][1] is '1'"),
    'true': (rig(put(True, 'T_rig_worlds', 17, 2, 1)), f'{POSES}[17][2][1] is true'),
    'NaN': (rig(put(NAN, 'T_rig_worlds', 17, 2, 1)), f'{POSES}[17][2][1] is nan'),
    'infinity': (rig(put(-1e999, 'T_rig_worlds', 17, 2, 1)), f'{POSES}[17][2][1] is -inf'),
    'huge': (rig(put(10**400, 'T_rig_worlds', 17, 2, 1)), f'{POSES}[17][2][1] is 1'),
    'singular': (rig(put([[0.0] * 4] * 3 + [[0, 0, 0, 1]], 'T_rig_worlds', 17)), f'{POSES}[17]'),
    'mirror': (
        rig(put([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]], 'T_rig_worlds', 17)),
        f'{POSES}[17] is a mirror',
    ),
    'scaled': (rig(put(1.01, 'T_rig_worlds', 0, 0, 0)), f'{POSES}[0] is not rigid'),
    'row': (rig(put([0, 0, 0, 2.0], 'T_rig_worlds', 17, 3)), f'{POSES}[17] is not rigid'),
    'overflow': (rig(put(1e300, 'T_rig_worlds', 17, 2, 1)), f'{POSES}[17]'),
    'far': (rig(put(translation(0, 1e12, 0), 'T_rig_worlds', 17)), f'{POSES}[17] is at'),
    'no times': (rig(without('T_rig_world_timestamps_us')), f'{TIMES} is missing'),
    'null time': (rig(put(None, 'T_rig_world_timestamps_us', 5)), f'{TIMES}[5] is null'),
    'text time': (rig(put('7', 'T_rig_world_timestamps_us', 5)), f"{TIMES}[5] is '7'"),
    'half time': (rig(put(7.5, 'T_rig_world_timestamps_us', 5)), f'{TIMES}[5] is 7.5'),
    'NaN time': (rig(put(NAN, 'T_rig_world_timestamps_us', 5)), f'{TIMES}[5] is nan'),
    'negative time': (rig(put(-1, 'T_rig_world_timestamps_us', 0)), f'{TIMES}[0] is -1'),
    'late time': (rig(put(2**31 * 10**6, 'T_rig_world_timestamps_us', 20)), f'{TIMES}[20] is 2'),
    'huge time': (rig(put(2**70, 'T_rig_world_timestamps_us', 20)), f'{TIMES}[20] is 1'),
    'repeated': (
        rig(lambda e: e['T_rig_world_timestamps_us'].__setitem__(5, START_US + 400_000)),
        f'{TIMES}[5]',
    ),
    'backwards': (rig(put(START_US, 'T_rig_world_timestamps_us', 5)), f'{TIMES}[5] is {START_US}'),
    'fewer times': (rig(without('T_rig_world_timestamps_us', 3)), f'{TIMES} is a list of 20'),
    'fewer poses': (rig(without('T_rig_worlds', 3)), f'{TIMES} is a list of 21, expected 20'),
}

ROAD_USERS = {
    'top-level list': (lambda _: [], 'the top level is an empty list'),
    'no chunk': (
        lambda _: {'x': {'y': 1}},
        "the top level is an object of 1 ('x') without a chunk",
    ),
    'null data': (put(None, 'dummy_chunk_id', 'tracks_data'), f'{DATA} is null'),
    'only cuboids': (without('dummy_chunk_id', 'tracks_data'), f'{DATA} is missing'),
    'no ids': (tracks(without('tracks_data', 'tracks_id')), f'{DATA}.tracks_id is missing'),
    'null id': (tracks(put(None, 'tracks_data', 'tracks_id', 2)), f'{DATA}.tracks_id[2] is null'),
    'list id': (tracks(put([], 'tracks_data', 'tracks_id', 2)), f'{DATA}.tracks_id[2]'),
    'empty id': (
        tracks(put('', 'tracks_data', 'tracks_id', 2)),
        f'{DATA}.tracks_id[2] is an empty text, expected an id',
    ),
    'true id': (tracks(put(True, 'tracks_data', 'tracks_id', 2)), f'{DATA}.tracks_id[2] is true'),
    'same id': (tracks(put('1', 'tracks_data', 'tracks_id', 2)), f"{DATA}.tracks_id[2] is '1'"),
    'half a letter': (
        tracks(put('\ud800', 'tracks_data', 'tracks_id', 2)),
        f'{DATA}.tracks_id[2]',
    ),
    'no labels': (
        tracks(without('tracks_data', 'tracks_label_class')),
        f'{DATA}.tracks_label_class is missing',
    ),
    'number label': (
        tracks(put(4, 'tracks_data', 'tracks_label_class', 1)),
        f'{DATA}.tracks_label_class[1] is 4',
    ),
    'fewer labels': (
        tracks(without('tracks_data', 'tracks_label_class', 1)),
        f'{DATA}.tracks_label_class is a list of 3, expected 4',
    ),
    'no poses': (
        tracks(without('tracks_data', 'tracks_poses')),
        f'{DATA}.tracks_poses is missing',
    ),
    'null poses': (
        tracks(put(None, 'tracks_data', 'tracks_poses', 2)),
        f'{DATA}.tracks_poses[2] is null',
    ),
    'fewer poses': (
        tracks(without('tracks_data', 'tracks_poses', 2)),
        f'{DATA}.tracks_poses is a list of 3, expected 4',
    ),
    'short pose': (
        tracks(put([0.0] * 6, 'tracks_data', 'tracks_poses', 2, 17)),
        f'{DATA}.tracks_poses[2][17] is a list of 6',
    ),
    'null number': (
        tracks(put(None, 'tracks_data', 'tracks_poses', 2, 17, 3)),
        f'{DATA}.tracks_poses[2][17][3] is null',
    ),
    'NaN number': (
        tracks(put(NAN, 'tracks_data', 'tracks_poses', 2, 17, 3)),
        f'{DATA}.tracks_poses[2][17][3] is nan',
    ),
    'zero quaternion': (
        tracks(put([1, 2, 3, 0, 0, 0, 0], 'tracks_data', 'tracks_poses', 2, 17)),
        f'{DATA}.tracks_poses[2][17] is a pose with the quaternion [0, 0, 0, 0]',
    ),
    'long quaternion': (
        tracks(put([1, 2, 3, 0, 0, 0, 1.02], 'tracks_data', 'tracks_poses', 1, 3)),
        f'{DATA}.tracks_poses[1][3] is a pose with the quaternion',
    ),
    'huge quaternion': (
        tracks(put([1, 2, 3, 1e200, 0, 0, 1], 'tracks_data', 'tracks_poses', 0, 0)),
        f'{DATA}.tracks_poses[0][0] is a pose with the quaternion',
    ),
    'far': (
        tracks(put([1e9, 2, 3, 0, 0, 0, 1], 'tracks_data', 'tracks_poses', 1, 3)),
        f'{DATA}.tracks_poses[1][3] is at',
    ),
    'no times': (
        tracks(without('tracks_data', 'tracks_timestamps_us')),
        f'{DATA}.tracks_timestamps_us is missing',
    ),
    'fewer times': (
        tracks(without('tracks_data', 'tracks_timestamps_us', 2, 5)),
        f'{DATA}.tracks_timestamps_us[2] is a list of 19, expected 20',
    ),
    'null times': (
        tracks(put(None, 'tracks_data', 'tracks_timestamps_us', 2)),
        f'{DATA}.tracks_timestamps_us[2] is null',
    ),
    'text time': (
        tracks(put('0', 'tracks_data', 'tracks_timestamps_us', 2, 5)),
        f"{DATA}.tracks_timestamps_us[2][5] is '0'",
    ),
    'backwards': (
        tracks(put(START_US - 1, 'tracks_data', 'tracks_timestamps_us', 2, 5)),
        f'{DATA}.tracks_timestamps_us[2][5] is {START_US - 1}',
    ),
    'no dims': (
        tracks(without('cuboidtracks_data')),
        'dummy_chunk_id.cuboidtracks_data is missing',
    ),
    'null dims': (tracks(put(None, 'cuboidtracks_data', 'cuboids_dims')), f'{DIMS} is null'),
    'short dims': (
        tracks(put([1, 2], 'cuboidtracks_data', 'cuboids_dims', 3)),
        f'{DIMS}[3] is a list of 2',
    ),
    'fewer dims': (
        tracks(without('cuboidtracks_data', 'cuboids_dims', 3)),
        f'{DIMS} is a list of 3, expected 4',
    ),
    'negative dims': (
        tracks(put([1, -2, 1], 'cuboidtracks_data', 'cuboids_dims', 3)),
        f'{DIMS}[3] is [1.0, -2.0, 1.0]',
    ),
    'a length below zero': (
        tracks(put([1, 2, -1e-9], 'cuboidtracks_data', 'cuboids_dims', 1)),
        f'{DIMS}[1] is [1.0, 2.0, -1e-09], expected [length, width, height] in metres',
    ),
    'infinite dims': (
        tracks(put([1, 2, 1e999], 'cuboidtracks_data', 'cuboids_dims', 1)),
        f'{DIMS}[1][2] is inf',
    ),
    'NaN dims': (
        tracks(put([1, NAN, 1], 'cuboidtracks_data', 'cuboids_dims', 3)),
        f'{DIMS}[3][1] is nan',
    ),
}


@pytest.mark.parametrize('parser', ['orjson', 'json'])
@pytest.mark.parametrize('case', EGO)
def test_ego(tmp_path, monkeypatch, case, parser):
    if parser == 'json':
        monkeypatch.setattr(archives, 'orjson', None)
    edit, expected = EGO[case]
    text = refusal(build_archive(tmp_path, edit_rig=edit))
    assert f'{RIG}: {expected}' in text
    assert ', expected ' in text


@pytest.mark.parametrize('parser', ['orjson', 'json'])
@pytest.mark.parametrize('case', ROAD_USERS)
def test_road_users(tmp_path, monkeypatch, case, parser):
    if parser == 'json':
        monkeypatch.setattr(archives, 'orjson', None)
    edit, expected = ROAD_USERS[case]
    text = refusal(build_archive(tmp_path, edit_tracks=edit))
    assert f'{TRACKS}: {expected}' in text
    assert ', expected ' in text


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
        (b'9' * 5000, 'the top level is a number of 5000 digits, expected an object'),
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
    found = f'is a number of {digits} digits, expected '

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
    refusal(build_archive(tmp_path, edit_tracks=tracks(put({long: 1}, 'tracks_data'))))
    refusal(build_archive(tmp_path, edit_rig=rig(put(long, 'T_rig_worlds', 17))))
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
