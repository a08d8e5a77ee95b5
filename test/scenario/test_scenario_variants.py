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
"""Every variant of an archive that producers write, each as a small archive of its own."""

import json
from test.scenario.loading import loaded
from test.support.archives import (
    build_archive,
    CAMERAS,
    ego_pose,
    example_tracks,
    REMOVED,
    rig_document,
    SEQUENCE_ID,
    START_US,
    track,
    tracks_document,
    translation,
    yawed,
)
import zipfile

import numpy as np
from nurec_ros.scenario import Scenario
import pytest

START_NS = START_US * 1000


def entry(document):
    return document['rig_trajectories'][0]


def data(document):
    return next(iter(document.values()))['tracks_data']


def test_the_example(tmp_path):
    scenario = Scenario.load(str(build_archive(tmp_path)))
    assert scenario.warnings == ()
    assert scenario.road_map is None
    assert (scenario.start_ns, scenario.end_ns) == (START_NS, START_NS + 2_000_000_000)
    np.testing.assert_allclose(scenario.world_to_nre, translation(-38, 0, 0))
    assert scenario.path.name == 'scenario.usdz'
    np.testing.assert_array_equal(scenario.rig_bbox.centre, [1.4, 0, 0.75])
    assert (scenario.rig_bbox.width, scenario.rig_bbox.height) == (1.9, 1.5)


def rekeyed(*keys):
    """Return an edit that gives the two cameras other keys."""

    def edit(rig):
        for member in (rig, entry(rig)):
            for key in ('camera_calibrations', 'cameras_frame_timestamps_us'):
                if key in member:
                    member[key] = dict(zip(keys, member[key].values(), strict=True))

    return edit


def of_each_camera(change):
    return lambda rig: [change(one) for one in rig['camera_calibrations'].values()] and None


def bare(tracks):
    return next(iter(tracks.values()))


FIRST, SECOND, THIRD, BLINK = example_tracks()
WHOLE = {
    'stored': {'compression': zipfile.ZIP_STORED},
    'deflated': {'compression': zipfile.ZIP_DEFLATED},
    **{f'below {prefix}': {'prefix': prefix} for prefix in ('drive/', 'a/b/', './', 'drive\\')},
    'the top goes before a folder': {
        'members': {'old/rig_trajectories.json': '{', 'old/sequence_tracks.json': '{'}
    },
    'byte order mark': {
        'members': {'rig_trajectories.json': b'\xef\xbb\xbf' + json.dumps(rig_document()).encode()}
    },
    **{f'chunk {name}': {'chunk': name} for name in (SEQUENCE_ID, 'ego', '')},
    'tracks without a chunk': {'edit_tracks': bare},
    'wrapped tracks': {'edit_tracks': lambda tracks: {'sequence_tracks': tracks}},
    'bare and wrapped': {'edit_tracks': lambda tracks: {'sequence_tracks': bare(tracks)}},
    'two chunks': {
        'edit_tracks': lambda _: {
            **tracks_document([FIRST, SECOND], chunk='a'),
            **tracks_document([THIRD, BLINK], chunk='b'),
        }
    },
    'a bare trajectory': {'edit_rig': lambda rig: rig.update(rig_trajectories=entry(rig))},
    **{
        f'cameras {keys}': {'edit_rig': rekeyed(*keys)}
        for keys in (('camera_0', 'camera_1'), CAMERAS, ('a.b[0]', 'ü@x@y'))
    },
    'cameras without a logical name': {
        'edit_rig': of_each_camera(lambda one: one.pop('logical_sensor_name'))
    },
    'NaN where nobody looks': {
        'edit_rig': of_each_camera(lambda one: one.update(unique_sensor_idx=float('nan')))
    },
    'further keys of data_info': {'edit_info': {'shards': [1], 'shard_ids': {}}},
}


@pytest.mark.parametrize('name', WHOLE)
def test_the_example_in_other_words(tmp_path, name):
    scenario = loaded(tmp_path, **WHOLE[name])
    t_ns = START_NS + 1_000_000_000
    np.testing.assert_allclose(scenario.ego.at(t_ns), ego_pose(1.0), atol=2e-3)
    assert scenario.tracks.at(t_ns).ids == ('1', '2@scene:a', '3')
    assert tuple(scenario.cameras) == CAMERAS
    assert all(len(camera.frame_times_ns) for camera in scenario.cameras.values())


def test_keys_of_cameras_are_kept(tmp_path):
    cameras = loaded(tmp_path, edit_rig=rekeyed('a.b[0]', 'ü@x@y')).cameras
    assert [camera.key for camera in cameras.values()] == ['a.b[0]', 'ü@x@y']


@pytest.mark.parametrize('start_us', [0, 1_600_000_000_000_000, 2_147_000_000_000_000])
def test_any_epoch(tmp_path, start_us):
    scenario = loaded(tmp_path, start_us=start_us)
    assert scenario.start_ns == start_us * 1000
    np.testing.assert_allclose(
        scenario.ego.at(scenario.start_ns + 1_000_000_000), ego_pose(1.0), atol=2e-3
    )


def test_ids_that_collide_get_their_chunk_before_them(tmp_path):
    chunks = tracks_document([FIRST, SECOND], chunk='a')
    chunks.update(tracks_document([{**THIRD, 'id': FIRST['id']}], chunk='b'))
    scenario = loaded(tmp_path, edit_tracks=lambda _: chunks)
    assert scenario.tracks.ids == ('a/1', '2@scene:a', 'b/1')


def test_ids_stay_apart_whatever_the_chunks_are_called(tmp_path):
    chunks = tracks_document([FIRST, {**SECOND, 'id': 'a/1'}], chunk='a')
    others = [{**THIRD, 'id': '1'}, {**BLINK, 'id': 'b/1'}]
    chunks.update(tracks_document(others, chunk='b'))
    path = build_archive(tmp_path, edit_tracks=lambda _: chunks)
    ids = Scenario.load(path, min_track_lifetime_s=0).tracks.ids
    assert len(set(ids)) == 4


def test_ids_as_numbers(tmp_path):
    def edit(tracks):
        data(tracks)['tracks_id'] = [28, 3.0, 10**25, 'x']

    path = build_archive(tmp_path, edit_tracks=edit)
    tracks = Scenario.load(path, min_track_lifetime_s=0).tracks
    assert tracks.ids[:2] == ('28', '3')
    assert tracks.ids[3] == 'x'


@pytest.mark.parametrize(
    'flags',
    [
        ['DYNAMIC|CONTROLLABLE', 'DYNAMIC', 'NONE', 'NONE'],
        [['DYNAMIC', 'CONTROLLABLE'], ['DYNAMIC'], [], ['NONE']],
        ['dynamic | controllable', ' Dynamic', '', 0],
        [['DYNAMIC|CONTROLLABLE'] * 21, ['DYNAMIC'] * 11, [0] * 21, [0]],
        [[['DYNAMIC', 'CONTROLLABLE']] * 21, [['DYNAMIC']], None, [None]],
    ],
)
def test_flags_of_any_form(tmp_path, flags):
    scenario = loaded(tmp_path, edit_tracks=lambda t: data(t).update(tracks_flags=flags))
    both = frozenset({'DYNAMIC', 'CONTROLLABLE'})
    assert scenario.tracks.flags == (both, frozenset({'DYNAMIC'}), frozenset())
    assert scenario.tracks.static.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        ([0] * 4, ''),
        ([3, 0, 0, 0], 'tracks_flags[0] is 3, expected names of flags'),
        ([{}, 1.5, None, 0], 'tracks_flags[0] (and 1 others alike) is an empty object, expected'),
        (None, 'tracks_flags is null, expected 4 elements'),
        ('DYNAMIC', "tracks_flags is 'DYNAMIC', expected 4 elements"),
        (['NONE'], 'tracks_flags is a list of 1, expected 4 elements'),
        ({}, 'tracks_flags is an empty object, expected 4 elements'),
        (REMOVED, 'tracks_flags is missing, expected 4 elements'),
    ],
)
def test_flags_that_are_none(tmp_path, flags, words):
    edit = {'dummy_chunk_id.tracks_data.tracks_flags': flags}
    scenario = Scenario.load(build_archive(tmp_path, edit_tracks=edit))
    head = 'scenario.usdz: sequence_tracks.json: dummy_chunk_id.tracks_data.'
    assert [text.startswith(head + words) for text in scenario.warnings] == [True] * bool(words)
    assert scenario.tracks.static.all()


def test_tracks_of_one_pose(tmp_path):
    path = build_archive(tmp_path)
    assert '4' not in Scenario.load(path).tracks.ids
    tracks = Scenario.load(path, min_track_lifetime_s=0).tracks
    index = tracks.ids.index('4')
    moment = int(tracks.start_ns[index])
    assert tracks.end_ns[index] == moment
    active = tracks.at(moment)
    np.testing.assert_array_equal(active.poses[active.ids.index('4')][:3, 3], [5.0, 5.0, 0.5])
    assert '4' not in tracks.at(moment + 1).ids


def test_lifetime_limit_is_exclusive(tmp_path):
    times = [START_US, START_US + 100_000]
    poses = [yawed(0, 0, 0, 0), yawed(1, 0, 0, 0)]
    longer = [START_US, START_US + 100_001]
    tracks = [track('a', 'car', poses, times), track('b', 'car', poses, longer)]
    path = build_archive(tmp_path, tracks=tracks)
    assert Scenario.load(path).tracks.ids == ('b',)
    assert Scenario.load(path, min_track_lifetime_s=0.05).tracks.ids == ('a', 'b')


@pytest.mark.parametrize(
    ('lifetime', 'error'),
    [
        (-1.0, ValueError),
        (float('nan'), ValueError),
        (float('inf'), ValueError),
        (-(10**400), ValueError),
        ('x', TypeError),
        (None, TypeError),
        ([0.1], TypeError),
        (True, TypeError),
    ],
)
def test_lifetime_that_makes_no_sense(tmp_path, lifetime, error):
    words = 'min_track_lifetime_s is .*, expected seconds, 0 or more'
    with pytest.raises(error, match=words):
        Scenario.load(build_archive(tmp_path), min_track_lifetime_s=lifetime)


@pytest.mark.parametrize('lifetime', [1e300, 10**400, np.float32(1e9)])
def test_lifetime_that_nobody_has(tmp_path, lifetime):
    scenario = Scenario.load(build_archive(tmp_path), min_track_lifetime_s=lifetime)
    assert not scenario.tracks.ids


@pytest.mark.parametrize('path', [None, 5, b'x.usdz'])
def test_path_of_another_kind(path):
    with pytest.raises(TypeError, match=r'path is .*, expected the path of a USDZ file'):
        Scenario.load(path)


def test_repr_is_one_short_line(tmp_path):
    xodr = '<OpenDRIVE><header><geoReference>+lat_0=1 +lon_0=2</geoReference></header></OpenDRIVE>'
    scenario = Scenario.load(build_archive(tmp_path, members={'map.xodr': xodr}))
    assert repr(scenario) == (
        f"Scenario('{SEQUENCE_ID}' in 'scenario.usdz': {START_US}000 to {START_US + 2_000_000}000 "
        'ns (2.000 s), 21 ego poses, 3 tracks, 2 cameras, 1 warnings)'
    )
    assert repr(scenario.cameras[CAMERAS[0]]) == (
        f"Camera('{CAMERAS[0]}', ftheta, 1920x1080, ROLLING_TOP_TO_BOTTOM, 20 frames)"
    )
    assert repr(scenario.road_map) == "RoadMap('+lat_0=1 +lon_0=2', 0 boundaries)"


def test_labels_stay_the_files_text(tmp_path):
    labels = ['Automobile', 'Fußgänger', '', '  two  words ']
    scenario = Scenario.load(
        build_archive(tmp_path, edit_tracks=lambda t: data(t).update(tracks_label_class=labels)),
        min_track_lifetime_s=0,
    )
    assert scenario.tracks.labels == tuple(labels)


KEYS = ('tracks_id', 'tracks_poses', 'tracks_timestamps_us', 'tracks_label_class')
BARE = {'tracks_data': {key: [] for key in KEYS}}


@pytest.mark.parametrize('tracks', [{}, {'dummy_chunk_id': {}}, tracks_document([]), BARE])
def test_no_tracks(tmp_path, tracks):
    scenario = Scenario.load(build_archive(tmp_path, edit_tracks=lambda _: tracks))
    assert scenario.warnings == ('scenario.usdz: sequence_tracks.json: it has no tracks',)
    assert len(scenario.tracks) == 0
    assert len(scenario.tracks.at(START_NS)) == 0


def test_whole_numbers_where_floats_are_expected(tmp_path):
    def edit(rig):
        entry(rig)['T_rig_worlds'] = [np.eye(4, dtype=int).tolist()] * 21
        times = entry(rig)['T_rig_world_timestamps_us']
        entry(rig)['T_rig_world_timestamps_us'] = [float(time) for time in times]

    scenario = loaded(tmp_path, edit_rig=edit)
    np.testing.assert_array_equal(scenario.ego.at(START_NS + 1), np.eye(4))


def test_matrices_that_are_rigid_within_the_tolerance(tmp_path):
    def edit(rig):
        matrices = np.array(entry(rig)['T_rig_worlds'])
        matrices[:, :3, :3] += np.random.default_rng(1).uniform(-2e-4, 2e-4, (21, 3, 3))
        entry(rig)['T_rig_worlds'] = matrices.tolist()

    scenario = loaded(tmp_path, edit_rig=edit)
    rotation = scenario.ego.at(START_NS + 1_000_000_000)[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-14)


def test_quaternions_that_are_unit_within_the_tolerance(tmp_path):
    def edit(tracks):
        poses = data(tracks)['tracks_poses'][0]
        data(tracks)['tracks_poses'][0] = [
            [*pose[:3], *(0.995 * part for part in pose[3:])] for pose in poses
        ]

    scenario = loaded(tmp_path, edit_tracks=edit)
    pose = scenario.tracks.at(START_NS + 1_000_000_000).poses[0]
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-14)


@pytest.mark.parametrize('key', ['world_to_nre', 'world_to_scene'])
@pytest.mark.parametrize('wrapped', [True, False])
def test_world_to_nre_of_any_form(tmp_path, key, wrapped):
    def edit(rig):
        del rig['world_to_nre']
        matrix = translation(-12, 0, 1)
        rig[key] = {'matrix': matrix} if wrapped else matrix

    scenario = loaded(tmp_path, edit_rig=edit)
    np.testing.assert_allclose(scenario.world_to_nre, translation(-12, 0, 1))


def test_world_to_nre_absent(tmp_path):
    scenario = loaded(tmp_path, edit_rig=lambda rig: rig.pop('world_to_nre') and None)
    assert scenario.world_to_nre is None


def test_two_cameras_of_one_name(tmp_path):
    def edit(rig):
        for calibration in rig['camera_calibrations'].values():
            calibration['logical_sensor_name'] = 'camera'

    cameras = loaded(tmp_path, edit_rig=edit).cameras
    assert tuple(cameras) == ('camera', f'{CAMERAS[1]}@{SEQUENCE_ID}')


def test_data_info_narrows_the_range(tmp_path):
    def edit(info):
        info['pose-range']['start-timestamp_us'] += 200_000
        info['pose-range']['end-timestamp_us'] = START_US + 1_700_000.9

    scenario = loaded(tmp_path, edit_info=edit)
    assert scenario.start_ns == START_NS + 200_000_000
    assert scenario.end_ns == START_NS + 1_700_000_000


def test_data_info_does_not_widen_the_range(tmp_path):
    edit = {'pose-range.start-timestamp_us': 5, 'pose-range.end-timestamp_us': 2**31 * 10**5}
    scenario = loaded(tmp_path, edit_info=edit)
    assert (scenario.start_ns, scenario.end_ns) == (START_NS, START_NS + 2_000_000_000)


def test_names(tmp_path):
    edits = {'edit_info': lambda info: info.update(sequence_id='from-info')}
    assert loaded(tmp_path, **edits).scene_id == 'from-info'
    scenario = Scenario.load(build_archive(tmp_path, leave_out=['data_info.json']))
    assert scenario.scene_id == scenario.sequence_id == SEQUENCE_ID
    nameless = build_archive(
        tmp_path,
        'stem.usdz',
        leave_out=['data_info.json'],
        edit_rig=lambda rig: entry(rig).pop('sequence_id') and None,
    )
    assert Scenario.load(nameless).scene_id == 'stem'


def test_metadata_stays_text(tmp_path):
    metadata = 'scene_id: 1234\nversion_string: 26.10\ntime_range: {start: 1.0, end: .nan}\n'
    scenario = loaded(tmp_path, metadata=metadata)
    assert scenario.metadata_scene_id == '1234'
    assert scenario.version_string == '26.10'


def test_one_ego_pose(tmp_path):
    def edit(rig):
        for key in ('T_rig_worlds', 'T_rig_world_timestamps_us'):
            entry(rig)[key] = entry(rig)[key][:1]

    scenario = loaded(tmp_path, edit_rig=edit)
    assert scenario.start_ns == scenario.end_ns == START_NS
    np.testing.assert_array_equal(scenario.ego.at(START_NS + 5), np.eye(4))


def test_standard_parser_gives_the_same(tmp_path, monkeypatch):
    path = build_archive(tmp_path)
    fast = Scenario.load(path)
    monkeypatch.setattr('nurec_ros.scenario.archive.orjson', None)
    slow = Scenario.load(path)
    np.testing.assert_array_equal(fast.ego.positions, slow.ego.positions)
    np.testing.assert_array_equal(fast.tracks.samples.positions, slow.tracks.samples.positions)
    assert fast.tracks.ids == slow.tracks.ids
    assert slow.warnings == ()
