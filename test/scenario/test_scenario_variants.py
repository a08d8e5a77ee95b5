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
from test.scenario.loading import DATA, ENTRY, FRONT, loaded, NAN, POSES, REAR, TIMES
from test.support.archives import (
    build_archive,
    CAMERAS,
    ego_pose,
    example_tracks,
    REMOVED,
    rig_document,
    sample_times,
    SEQUENCE_ID,
    START_US,
    track,
    tracks_document,
    translation,
    yawed,
)
from typing import Any
import zipfile

import numpy as np
from nurec_ros.scenario import Scenario
import pytest

START_NS = START_US * 1000


def entry(document):
    return document['rig_trajectories'][0]


def test_the_example_and_its_short_repr(tmp_path):
    scenario = Scenario.load(str(build_archive(tmp_path)))
    assert scenario.warnings == ()
    assert scenario.road_map is None
    assert (scenario.start_ns, scenario.end_ns) == (START_NS, START_NS + 2_000_000_000)
    np.testing.assert_allclose(scenario.world_to_nre, translation(-38, 0, 0))
    assert scenario.path.name == 'scenario.usdz'
    np.testing.assert_array_equal(scenario.rig_bbox.centre, [1.4, 0, 0.75])
    assert (scenario.rig_bbox.width, scenario.rig_bbox.height) == (1.9, 1.5)
    xodr = '<OpenDRIVE><header><geoReference>+lat_0=1 +lon_0=2</geoReference></header></OpenDRIVE>'
    scenario = Scenario.load(build_archive(tmp_path, members={'map.xodr': xodr}))
    assert repr(scenario) == (
        f"Scenario('{SEQUENCE_ID}' in 'scenario.usdz': {START_US}000 to {START_US + 2_000_000}000 "
        'ns (2.000 s), 21 ego poses, 3 tracks, 2 cameras, 1 warnings)'
    )
    assert repr(scenario.cameras[CAMERAS[0]]) == (
        f"Camera('{CAMERAS[0]}', ftheta, ROLLING_TOP_TO_BOTTOM, 1920x1080, 20 frames)"
    )
    assert repr(scenario.road_map) == "RoadMap('+lat_0=1 +lon_0=2', 0 boundaries)"


def rekeyed(*keys):
    """Return an edit that gives the two cameras other keys."""

    def edit(rig):
        for member in (rig, entry(rig)):
            for key in ('camera_calibrations', 'cameras_frame_timestamps_us'):
                if key in member:
                    member[key] = dict(zip(keys, member[key].values(), strict=True))

    return edit


def bare(tracks):
    return next(iter(tracks.values()))


FIRST, SECOND, THIRD, BLINK = example_tracks()
NAMES = [f'camera_calibrations.{key}.logical_sensor_name' for key in (FRONT, REAR)]
WHOLE: dict[str, dict[str, Any]] = {
    'stored': {'compression': zipfile.ZIP_STORED},
    'deflated': {'compression': zipfile.ZIP_DEFLATED},
    **{f'below {prefix}': {'prefix': prefix} for prefix in ('drive/', 'a/b/', './', 'drive\\')},
    'the top goes before a folder': {
        'members': {'old/rig_trajectories.json': '{', 'old/sequence_tracks.json': '{'}
    },
    'byte order mark': {
        'members': {'rig_trajectories.json': b'\xef\xbb\xbf' + json.dumps(rig_document()).encode()}
    },
    **{
        f'chunk {name}': {'edit_tracks': lambda tracks, name=name: {name: bare(tracks)}}
        for name in (SEQUENCE_ID, 'ego', '')
    },
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
    'cameras without a logical name': {'edit_rig': dict.fromkeys(NAMES, REMOVED)},
    'NaN where nobody looks': {
        'edit_rig': {f'camera_calibrations.{FRONT}.unique_sensor_idx': NAN}
    },
    'further keys of data_info': {'edit_info': {'shards': [1], 'shard_ids': {}}},
    **{
        f'from {start_us} us on': {'start_us': start_us} for start_us in (0, 2_147_000_000_000_000)
    },
}


@pytest.mark.parametrize('name', WHOLE)
def test_the_example_in_other_words(tmp_path, name):
    scenario = loaded(tmp_path, **WHOLE[name])
    assert scenario.start_ns == WHOLE[name].get('start_us', START_US) * 1000
    t_ns = scenario.start_ns + 1_000_000_000
    np.testing.assert_allclose(scenario.ego.at(t_ns), ego_pose(1.0), atol=2e-3)
    assert scenario.tracks.at(t_ns).ids == ('1', '2@scene:a', '3')
    assert tuple(scenario.cameras) == CAMERAS
    assert all(len(camera.frame_times_ns) for camera in scenario.cameras.values())


def test_cameras_of_one_name(tmp_path):
    cameras = loaded(tmp_path, edit_rig=dict.fromkeys(NAMES, 'camera')).cameras
    assert tuple(cameras) == ('camera', REAR)


def test_ids_that_collide_get_their_chunk_before_them(tmp_path):
    chunks = tracks_document([FIRST, SECOND], chunk='a')
    chunks.update(tracks_document([{**THIRD, 'id': FIRST['id']}], chunk='b'))
    scenario = loaded(tmp_path, edit_tracks=lambda _: chunks)
    assert scenario.tracks.ids == ('a/1', '2@scene:a', 'b/1')
    # They stay apart whatever the chunks are called.
    chunks = tracks_document([FIRST, {**SECOND, 'id': 'a/1'}], chunk='a')
    chunks.update(tracks_document([THIRD | {'id': '1'}, BLINK | {'id': 'b/1'}], chunk='b'))
    path = build_archive(tmp_path, edit_tracks=lambda _: chunks)
    assert len(set(Scenario.load(path, min_track_lifetime_s=0).tracks.ids)) == 4


def test_ids_may_be_numbers_and_labels_stay_the_files_text(tmp_path):
    labels = ['Automobile', 'Fußgänger', '', '  two  words ']
    edit = {f'{DATA}.tracks_id': [28, 3.0, 10**25, 'x'], f'{DATA}.tracks_label_class': labels}
    path = build_archive(tmp_path, edit_tracks=edit)
    tracks = Scenario.load(path, min_track_lifetime_s=0).tracks
    assert (tracks.ids[:2], tracks.ids[3]) == (('28', '3'), 'x')
    assert tracks.labels == tuple(labels)


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
    scenario = loaded(tmp_path, edit_tracks={f'{DATA}.tracks_flags': flags})
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
        (REMOVED, 'tracks_flags is missing, expected 4 elements'),
    ],
)
def test_flags_that_are_none(tmp_path, flags, words):
    edit = {f'{DATA}.tracks_flags': flags}
    scenario = Scenario.load(build_archive(tmp_path, edit_tracks=edit))
    head = f'scenario.usdz: sequence_tracks.json: {DATA}.'
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
    path = build_archive(tmp_path)
    for lifetime in (1e300, 10**400, np.float32(1e9)):
        assert not Scenario.load(path, min_track_lifetime_s=lifetime).tracks.ids


def test_lifetime_that_makes_no_sense(tmp_path):
    words, path = (
        'min_track_lifetime_s is .*, expected seconds, 0 or more',
        build_archive(tmp_path),
    )
    for lifetime in (-1.0, NAN, float('inf'), -(10**400)):
        with pytest.raises(ValueError, match=words):
            Scenario.load(path, min_track_lifetime_s=lifetime)
    for other in ('x', None, True):
        with pytest.raises(TypeError, match=words):
            Scenario.load(path, min_track_lifetime_s=other)


def test_path_of_another_kind():
    for path in (None, 5, b'x.usdz'):
        with pytest.raises(TypeError, match=r'path is .*, expected the path of a USDZ file'):
            Scenario.load(path)


KEYS = ('tracks_id', 'tracks_poses', 'tracks_timestamps_us', 'tracks_label_class')
BARE = {'tracks_data': {key: [] for key in KEYS}}


@pytest.mark.parametrize('tracks', [{}, {'dummy_chunk_id': {}}, tracks_document([]), BARE])
def test_no_tracks(tmp_path, tracks):
    scenario = Scenario.load(build_archive(tmp_path, edit_tracks=lambda _: tracks))
    assert scenario.warnings == ('scenario.usdz: sequence_tracks.json: it has no tracks',)
    assert len(scenario.tracks) == 0
    assert len(scenario.tracks.at(START_NS)) == 0


def test_whole_numbers_where_floats_are_expected_and_a_single_pose(tmp_path):
    times = [float(time) for time in sample_times(2.0, 10.0, START_US)]
    edit = {POSES: [np.eye(4, dtype=int).tolist()] * 21, TIMES: times}
    scenario = loaded(tmp_path, edit_rig=edit)
    np.testing.assert_array_equal(scenario.ego.at(START_NS + 1), np.eye(4))
    scenario = loaded(tmp_path, edit_rig={POSES: [ego_pose(0.0)], TIMES: [START_US]})
    assert scenario.start_ns == scenario.end_ns == START_NS
    np.testing.assert_array_equal(scenario.ego.at(START_NS + 5), np.eye(4))


def test_what_is_rigid_and_unit_within_the_tolerance(tmp_path):
    matrices = np.array(entry(rig_document())['T_rig_worlds'])
    matrices[:, :3, :3] += np.random.default_rng(1).uniform(-2e-4, 2e-4, (21, 3, 3))
    quaternions = np.array(FIRST['poses']) * [1, 1, 1, *[0.995] * 4]
    scenario = loaded(
        tmp_path,
        edit_rig={POSES: matrices.tolist()},
        edit_tracks={f'{DATA}.tracks_poses[0]': quaternions.tolist()},
    )
    t_ns = START_NS + 1_000_000_000
    for pose in (scenario.ego.at(t_ns), scenario.tracks.at(t_ns).poses[0]):
        np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-14)


@pytest.mark.parametrize('key', ['world_to_nre', 'world_to_scene'])
@pytest.mark.parametrize('wrapped', [True, False])
def test_world_to_nre_of_any_form(tmp_path, key, wrapped):
    matrix = translation(-12, 0, 1)
    edit = {'world_to_nre': REMOVED, key: {'matrix': matrix} if wrapped else matrix}
    np.testing.assert_allclose(loaded(tmp_path, edit_rig=edit).world_to_nre, matrix)


def test_world_to_nre_absent(tmp_path):
    assert loaded(tmp_path, edit_rig={'world_to_nre': REMOVED}).world_to_nre is None


def test_range_of_data_info(tmp_path):
    for start_us, end_us, from_us, to_us in (
        # It narrows the range, and does not widen it.
        (START_US + 200_000, START_US + 1_700_000.9, 200_000, 1_700_000),
        (5, 2**31 * 10**5, 0, 2_000_000),
    ):
        edit = {'pose-range.start-timestamp_us': start_us, 'pose-range.end-timestamp_us': end_us}
        scenario = loaded(tmp_path, edit_info=edit)
        expected = (START_NS + from_us * 1000, START_NS + to_us * 1000)
        assert (scenario.start_ns, scenario.end_ns) == expected


def test_names_and_metadata_stay_text(tmp_path):
    assert loaded(tmp_path, edit_info={'sequence_id': 'from-info'}).scene_id == 'from-info'
    scenario = Scenario.load(build_archive(tmp_path, leave_out=['data_info.json']))
    assert scenario.scene_id == scenario.sequence_id == SEQUENCE_ID
    edit = {f'{ENTRY}.sequence_id': REMOVED}
    path = build_archive(tmp_path, 'stem.usdz', leave_out=['data_info.json'], edit_rig=edit)
    assert Scenario.load(path).scene_id == 'stem'
    metadata = 'scene_id: 1234\nversion_string: 26.10\ntime_range: {start: 1.0, end: .nan}\n'
    scenario = loaded(tmp_path, members={'metadata.yaml': metadata})
    assert scenario.metadata_scene_id == '1234'
    assert scenario.version_string == '26.10'
