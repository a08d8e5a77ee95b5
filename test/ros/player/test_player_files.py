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
"""Files by ~/load into a player that plays: broken ones are refused, odd ones played."""

from test.support.archives import build_archive, CAMERAS, START_US
from test.support.player_bench import NOWHERE

import pytest
from sensor_msgs.msg import CameraInfo

pytestmark = pytest.mark.contract

KEY = 'rig_trajectories.json'
TRACKS = 'sequence_tracks.json'


@pytest.fixture(scope='module')
def playing(start, usdz):
    """Run a player that plays, slowly, whatever is refused."""
    bench = start(usdz_path=usdz, server=NOWHERE, rate=0.01).ready()
    bench.trigger('play')
    return bench


def trajectory(change):
    """Edit the one trajectory."""

    def edit(rig):
        change(rig['rig_trajectories'][0])

    return {'edit_rig': edit}


def tracks(change):
    """Edit the one chunk of tracks."""

    def edit(document):
        change(document['dummy_chunk_id'])

    return {'edit_tracks': edit}


def set_pose(value):
    def change(one):
        one['T_rig_worlds'][3] = value

    return trajectory(change)


def set_track(key, value):
    def change(chunk):
        chunk['tracks_data'][key][0] = value

    return tracks(change)


NAN = float('nan')
FATAL = {
    'no rig': ({'leave_out': [KEY]}, [KEY]),
    'rig no JSON': ({'members': {KEY: '{"a": '}}, [KEY]),
    'pose of another shape': (set_pose([[1.0, 0.0, 0.0, 0.0]] * 3), [KEY, 'T_rig_worlds']),
    'NaN in a pose': (
        set_pose([[1.0, 0.0, 0.0, NAN], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0, 0, 0, 1]]),
        [KEY, 'T_rig_worlds'],
    ),
    'times that go back': (
        trajectory(lambda one: one['T_rig_world_timestamps_us'].reverse()),
        [KEY, 'T_rig_world_timestamps_us'],
    ),
    'another number of times': (
        trajectory(lambda one: one['T_rig_world_timestamps_us'].pop()),
        [KEY, 'T_rig_world_timestamps_us'],
    ),
    'no poses': (trajectory(lambda one: one.pop('T_rig_worlds')), [KEY, 'T_rig_worlds']),
    'track without an id': (
        tracks(lambda chunk: chunk['tracks_data'].pop('tracks_id')),
        [TRACKS, 'tracks_id'],
    ),
    'track poses of another shape': (
        set_track('tracks_poses', [[0.0, 0.0]]),
        [TRACKS, 'tracks_poses'],
    ),
    'track times that go back': (
        tracks(lambda chunk: chunk['tracks_data']['tracks_timestamps_us'][0].reverse()),
        [TRACKS, 'tracks_timestamps_us'],
    ),
    'too few labels': (
        tracks(lambda chunk: chunk['tracks_data']['tracks_label_class'].pop()),
        [TRACKS, 'tracks_label_class'],
    ),
    'too few sizes': (
        tracks(lambda chunk: chunk['cuboidtracks_data']['cuboids_dims'].pop()),
        [TRACKS, 'cuboids_dims'],
    ),
}


@pytest.mark.parametrize('what', FATAL)
def test_refused_in_one_line_and_the_old_scenario_plays_on(playing, tmp_path, what):
    options, words = FATAL[what]
    path = build_archive(tmp_path, 'broken.usdz', **options)
    before = playing.state['scenario']
    playing.configure(usdz_path=str(path))
    reason = playing.refusal('load')
    assert '\n' not in reason
    for word in ['broken.usdz', *words]:
        assert word in reason
    state = playing.trigger('play')
    assert (state['is_playing'], state['scenario']) == (True, before)
    clocks = playing.spin(playing.clocks, 5)
    assert len({(one.clock.sec, one.clock.nanosec) for one in clocks}) > 1


def unknown_lens(rig):
    calibration = next(iter(rig['camera_calibrations'].values()))
    calibration['camera_model']['type'] = 'compound-eye'


def no_frames(rig):
    times = rig['rig_trajectories'][0]['cameras_frame_timestamps_us']
    for key in times:
        times[key] = []


TOLERATED = {
    'no tracks': ({'leave_out': [TRACKS]}, TRACKS),
    'no data_info': ({'leave_out': ['data_info.json']}, 'data_info.json'),
    'broken data_info': ({'members': {'data_info.json': '[1, 2'}}, 'data_info.json'),
    'broken metadata': ({'metadata': '\t: ]['}, 'metadata.yaml'),
    'unknown lens': ({'edit_rig': unknown_lens}, CAMERAS[0]),
    'broken map': ({'members': {'map.xodr': '<OpenDRIVE'}}, 'map.xodr'),
}


@pytest.mark.parametrize('what', TOLERATED)
def test_what_is_optional_is_said_once_and_the_rest_is_loaded(playing, tmp_path, what):
    options, word = TOLERATED[what]
    path = build_archive(tmp_path, **options)
    before = len(playing.player.output)
    playing.configure(usdz_path=str(path))
    state = playing.trigger('load')
    assert state['duration_s'] == pytest.approx(2.0)
    playing.trigger('play')
    playing.spin(playing.clocks, 10)
    lines = playing.player.output[before:].splitlines()
    assert len([one for one in lines if '[WARN]' in one and word in one]) == 1


@pytest.mark.parametrize(
    'options',
    [
        {'edit_rig': no_frames},
        {'tracks': []},
        {'cameras': ()},
        {'edit_rig': lambda rig: rig.update(something_new={'a': 1})},
        {'leave_out': ['metadata.yaml', 'default.usda', 'volume.nurec']},
    ],
    ids=['no frames', 'no road users', 'no cameras', 'unknown keys', 'other members missing'],
)
def test_what_is_merely_absent_loads(playing, tmp_path, options):
    playing.configure(usdz_path=str(build_archive(tmp_path, **options)))
    state = playing.trigger('load')
    assert (state['current_time_us'], state['done']) == (START_US, False)


def test_begin_and_end_are_what_poses_and_range_cover_both(playing, tmp_path):
    def edit(info):
        info['pose-range']['start-timestamp_us'] += 250_000
        info['pose-range']['end-timestamp_us'] -= 500_000

    playing.configure(usdz_path=str(build_archive(tmp_path, edit_info=edit)))
    state = playing.trigger('load')
    assert state['current_time_us'] == START_US + 250_000
    assert state['duration_s'] == pytest.approx(1.25)
    playing.configure(tick_us=3_600_000_000)
    assert playing.trigger('tick')['current_time_us'] == START_US + 1_500_000
    playing.configure(tick_us=100_000)


LATER_US = START_US + 500_000_000


def topics_of(bench):
    """Return the names of the player's camera_info topics."""
    return {name for name in bench.topics() if name.endswith('/camera_info')}


def of_camera(change):
    """Return an edit of the first camera's calibration."""

    def edit(document):
        calibration = next(iter(document['camera_calibrations'].values()))
        change(calibration, calibration['camera_model']['parameters'])

    return edit


LONG_NAME = 'a' * 240
ROAD = (
    '<road id="{0}" length="50"><planView><geometry s="0" x="0" y="{0}" hdg="0" length="50">'
    '<line/></geometry></planView>{1}</road>'
)
LANES = (
    '<lanes><laneSection s="0"><center><lane id="0" type="none"/></center><right>'
    '<lane id="-1" type="driving"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>'
    '</right></laneSection></lanes>'
)
ODD_FILES = {
    'long_camera_name': {
        'edit_rig': of_camera(lambda camera, _: camera.update(logical_sensor_name=LONG_NAME))
    },
    'blind_camera': {
        'edit_rig': of_camera(lambda _, lens: lens.update(principal_point=[960.0, -3000.0]))
    },
    'no_lane_section': {
        'members': {
            'map.xodr': '<OpenDRIVE>'
            + ROAD.format(1, '<lanes/>')
            + ROAD.format(9, LANES)
            + '</OpenDRIVE>'
        }
    },
}


@pytest.mark.parametrize(
    ('name', 'cameras', 'level', 'said'),
    [
        (
            'long_camera_name',
            ('a' * 120, CAMERAS[1]),
            'INFO',
            f"camera '{LONG_NAME}' is {'a' * 120} in",
        ),
        ('blind_camera', CAMERAS[1:], 'WARN', CAMERAS[0]),
        ('no_lane_section', CAMERAS, 'WARN', 'map.xodr'),
    ],
)
def test_it_is_played_and_said_once(bench, usdz, tmp_path, name, cameras, level, said):
    # What the row before has loaded.
    bench.configure(usdz_path=str(usdz))
    bench.trigger('load')
    path = build_archive(tmp_path, start_us=LATER_US, **ODD_FILES[name])
    bench.trigger('play')
    before = len(bench.player.output)
    bench.configure(usdz_path=str(path))
    assert bench.trigger('load')['current_time_us'] == LATER_US
    expected = {f'/nurec/{camera}/camera_info' for camera in cameras}
    bench.until(lambda: topics_of(bench) == expected, 'the topics')
    infos = [bench.listen(CameraInfo, f'~/{camera}/camera_info') for camera in cameras]
    bench.until(lambda: all(infos), 'a picture of each camera')
    assert bench.trigger('play')['is_playing']
    bench.passes(LATER_US * 1000 + 100_000_000)
    lines = [line for line in bench.player.output[before:].splitlines() if said in line]
    assert len(lines) == 1, lines
    assert f'[{level}]' in lines[0]
