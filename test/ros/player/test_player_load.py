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
"""~/load: from nothing, to another scenario and back; files that are broken, and odd ones."""

from itertools import pairwise
from test.scenario.test_road_map import road, xodr
from test.support.archives import build_archive, CAMERAS, REMOVED, SEQUENCE_ID, START_US
from test.support.player_bench import BEGIN_NS, Bench, FRONT, REAR, stamp_ns

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Path as PathMessage
import pytest
from rosbag2_interfaces.srv import GetRate, IsPaused, PlayNext, Resume, Seek, SetRate
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract

OTHER_START_US = START_US + 500_000_000
OTHER_NS = OTHER_START_US * 1000
OTHER_CAMERA = 'camera_roof'


@pytest.fixture(scope='module')
def other(tmp_path_factory):
    """Return a scenario of 3 s, later, with one camera in common and one of its own, no box."""
    path = build_archive(
        tmp_path_factory.mktemp('other'),
        duration_s=3.0,
        start_us=OTHER_START_US,
        cameras=(FRONT, OTHER_CAMERA),
        edit_rig={'rig_trajectories[0].rig_bbox': REMOVED},
    )
    return str(path)


@pytest.fixture
def bench(running, usdz):
    """Return the shared player with the first scenario."""
    running.load(usdz_path=str(usdz), cameras=[''])
    running.stands(BEGIN_NS)
    # What is known of the graph comes by another way than the answer of load.
    running.until(lambda: topics_of(running) == info_topics(*CAMERAS), 'the topics')
    yield running
    running.configure(rate=1.0)


def topics_of(bench):
    """Return the names of the player's camera_info topics."""
    return {name for name in bench.topics() if name.endswith('/camera_info')}


def info_topics(*cameras):
    return {f'/nurec/{camera}/camera_info' for camera in cameras}


def test_position_is_begin_and_halted_and_the_rate_stays(bench, other, usdz):
    bench.trigger('play')
    state = bench.load(usdz_path=other, rate=2.5)
    assert (state['is_playing'], state['current_time_us']) == (False, OTHER_START_US)
    assert (state['duration_s'], state['speed']) == (3.0, 2.5)
    bench.stands(OTHER_NS)
    # And back to an earlier time.
    assert bench.load(usdz_path=str(usdz))['current_time_us'] == START_US
    bench.stands(BEGIN_NS)


def test_who_comes_after_a_load_sees_nothing_of_before(bench, other):
    static = bench.hear(TFMessage, '/tf_static', latched=True)
    count = len(static)
    bench.load(usdz_path=other)
    # Who is there gets the frames too, in one message.
    bench.until(lambda: len(static) == count + 1, 'the frames of the other scenario')
    assert len(static[-1].transforms) == 4
    (path, *_) = bench.hear(PathMessage, '~/path', latched=True)
    assert stamp_ns(path.poses[0]) == OTHER_NS
    # The other scenario has no box.
    (ego, *_) = bench.hear(MarkerArray, '~/ego', latched=True)
    assert [marker.action for marker in ego.markers] == [Marker.DELETEALL]
    (fixed, *_) = bench.hear(TFMessage, '/tf_static', latched=True)
    frames = {one.child_frame_id for one in fixed.transforms}
    assert OTHER_CAMERA in frames
    assert REAR not in frames


def test_topics_and_parameters_of_cameras_come_and_go(bench, other):
    assert topics_of(bench) == info_topics(*CAMERAS)
    staying = bench.infos_of(FRONT)
    bench.load(usdz_path=other)
    bench.until(lambda: topics_of(bench) == info_topics(FRONT, OTHER_CAMERA), 'the new topics')
    bench.until(lambda: stamp_ns(staying[-1]) == OTHER_NS, 'the picture after load')
    assert stamp_ns(bench.infos_of(OTHER_CAMERA)[0]) == OTHER_NS
    assert bench.configure(**{f'{OTHER_CAMERA}__rate': 5.0})[0].successful


def test_cameras_are_taken_as_they_are_then(bench):
    assert bench.configure(cameras=[REAR])[0].successful
    assert topics_of(bench) == info_topics(*CAMERAS)
    bench.trigger('load')
    bench.until(lambda: topics_of(bench) == info_topics(REAR), 'one camera only')


def test_what_does_not_fit_is_refused(bench):
    for values, said in [
        ({'cameras': ['nobody', FRONT]}, ['nobody', *CAMERAS]),
        ({'usdz_path': ''}, ['usdz_path']),
    ]:
        bench.configure(**values)
        reason = bench.refusal('load')
        assert all(word in reason for word in said)
        assert topics_of(bench) == info_topics(*CAMERAS)
        assert bench.trigger('stop')['scenario']


def test_the_old_scenario_plays_on_while_the_new_one_is_read(bench, pittsburgh):
    """Reading a real drive takes a while; not one clock message of the old time is missing."""
    bench.configure(rate=0.1)
    bench.trigger('play')
    bench.spin(bench.clocks, 5)
    bench.configure(usdz_path=str(pittsburgh))
    before = len(bench.clocks)
    load = bench.start_call(Trigger, 'load')
    bench.until(load.done, 'the answer of load')
    assert load.result().success, load.result().message
    bench.stands(BEGIN_NS)
    stamps = [stamp_ns(clock) for clock in bench.clocks[before:]]
    # That drive begins where this one does: the clock goes back once, and not before.
    backwards = [i for i, (a, b) in enumerate(pairwise(stamps)) if b < a]
    assert len(backwards) == 1
    assert len(set(stamps[: backwards[0] + 1])) > 1


def test_loads_are_served_one_after_another(bench):
    calls = [bench.start_call(Trigger, 'load') for _ in range(3)]
    bench.until(lambda: all(call.done() for call in calls), 'all answers')
    assert all(call.result().success for call in calls)


RIG, TRACKS, INFO = 'rig_trajectories.json', 'sequence_tracks.json', 'data_info.json'
POSES = 'rig_trajectories[0].T_rig_worlds'
TRACK_IDS = 'dummy_chunk_id.tracks_data.tracks_id'
# One of each kind; test/scenario has every key.
FATAL = {
    'no archive': ({}, []),
    'no rig': ({'leave_out': [RIG]}, [RIG]),
    'rig no JSON': ({'members': {RIG: '{"a": '}}, [RIG]),
    'NaN in a pose': ({'edit_rig': {f'{POSES}[3][0][3]': float('nan')}}, [RIG, 'T_rig_worlds']),
    'no poses': ({'edit_rig': {POSES: REMOVED}}, [RIG, 'T_rig_worlds']),
    'track without an id': ({'edit_tracks': {TRACK_IDS: REMOVED}}, [TRACKS, 'tracks_id']),
}


def test_what_is_broken_is_refused_in_one_line_and_all_stays_as_it_was(bench, tmp_path):
    bench.configure(rate=0.01)
    bench.seek(BEGIN_NS + 700_000_000)
    for what, (options, words) in FATAL.items():
        path = tmp_path / 'broken.usdz'
        if what == 'no archive':
            path.write_text('this is no archive')
        else:
            build_archive(tmp_path, path.name, **options)
        bench.configure(usdz_path=str(path))
        reason = bench.refusal('load')
        assert '\n' not in reason
        assert all(word in reason for word in ['broken.usdz', *words]), (what, reason)
        state = bench.trigger('stop')
        assert state['current_time_us'] == START_US + 700_000
        assert state['scenario'] == SEQUENCE_ID
        assert topics_of(bench) == info_topics(*CAMERAS)
    bench.configure(usdz_path=str(tmp_path / 'missing.usdz'))
    bench.trigger('play')
    assert 'missing.usdz' in bench.refusal('load')
    # It plays on.
    assert bench.trigger('play')['is_playing']
    clocks = bench.spin(bench.clocks, 5)
    assert len(set(map(stamp_ns, clocks))) > 1


def of_camera(change):
    """Return an edit of the first camera's calibration."""

    def edit(document):
        calibration = next(iter(document['camera_calibrations'].values()))
        change(calibration, calibration['camera_model'])

    return {'edit_rig': edit}


def blind(_, model):
    model['parameters']['principal_point'] = [960.0, -3000.0]


FRAME_TIMES = 'rig_trajectories[0].cameras_frame_timestamps_us'
LONG_NAME = 'a' * 240
# Of two roads one that has no lane section.
ROADS = road() + road().replace('laneSection', 'x')
# What is in them, what is said of it, and the cameras that are there.
ODD = {
    'no tracks': ({'leave_out': [TRACKS]}, TRACKS, CAMERAS),
    'broken data_info': ({'members': {INFO: '[1, 2'}}, INFO, CAMERAS),
    'broken map': ({'members': {'map.xodr': '<OpenDRIVE'}}, 'map.xodr', CAMERAS),
    'no lane section': ({'members': {'map.xodr': xodr(roads=ROADS)}}, 'map.xodr', CAMERAS),
    'unknown lens': (of_camera(lambda _, lens: lens.update(type='compound-eye')), FRONT, [REAR]),
    'blind camera': (of_camera(blind), FRONT, [REAR]),
    'long name': (
        of_camera(lambda camera, _: camera.update(logical_sensor_name=LONG_NAME)),
        f"camera '{LONG_NAME}' is {'a' * 120} in",
        ['a' * 120, REAR],
    ),
    'no frames': ({'edit_rig': {f'{FRAME_TIMES}.{FRONT}@{SEQUENCE_ID}': []}}, 'no times', CAMERAS),
    'no road users': ({'tracks': []}, TRACKS, CAMERAS),
    'no cameras': ({'cameras': ()}, 'there are no cameras', ()),
    'other members missing': (
        {'leave_out': ['metadata.yaml', 'default.usda', 'volume.nurec']},
        'metadata.yaml',
        CAMERAS,
    ),
}


@pytest.mark.parametrize('what', ODD)
def test_what_is_odd_is_played_and_said_once(running, tmp_path, what):
    options, said, cameras = ODD[what]
    before = len(running.player.output)
    state = running.load(usdz_path=str(build_archive(tmp_path, **options)))
    assert (state['current_time_us'], state['done']) == (START_US, False)
    assert state['duration_s'] == pytest.approx(2.0)
    running.until(lambda: topics_of(running) == info_topics(*cameras), 'the topics')
    for camera in cameras:
        running.infos_of(camera)
    assert running.trigger('play')['is_playing']
    assert len(set(map(stamp_ns, running.spin(running.clocks, 5)))) > 2
    level = 'INFO' if what == 'long name' else 'WARN'
    told = [one for one in running.player.output[before:].splitlines() if said in one]
    assert [f'[{level}]' in line for line in told] == [True], told


def test_begin_and_end_are_what_poses_and_range_cover_both(bench, tmp_path):
    def edit(info):
        info['pose-range']['start-timestamp_us'] += 250_000
        info['pose-range']['end-timestamp_us'] -= 500_000

    state = bench.load(usdz_path=str(build_archive(tmp_path, edit_info=edit)))
    assert state['current_time_us'] == START_US + 250_000
    assert state['duration_s'] == pytest.approx(1.25)
    bench.configure(tick_us=3_600_000_000)
    assert bench.trigger('tick')['current_time_us'] == START_US + 1_500_000
    bench.configure(tick_us=100_000)


SERVICES = {'play', 'stop', 'reset', 'tick', 'load', 'pause', 'resume', 'toggle_paused'}
SERVICES |= {'is_paused', 'get_rate', 'set_rate', 'seek', 'play_next'}


@pytest.fixture(scope='module')
def idle(start):
    """Return a player that has nothing to play."""
    running: Bench = start(report_s=0.2)
    running.until(lambda: running.states, 'the state')
    return running


def test_what_an_idle_player_publishes_and_says(idle):
    assert (idle.state['scenario'], idle.state['is_playing']) == ('', False)
    assert idle.states[-1].message == 'idle'
    expected = {'/rosout', '/parameter_events', '/nurec/state', '/diagnostics'}
    idle.until(lambda: idle.topics() == expected, 'exactly these topics')
    idle.until(lambda: '~/load' in idle.player.output, 'the line')
    (line,) = [one for one in idle.player.output.splitlines() if '[INFO]' in one]
    assert '~/load' in line
    assert 'usdz_path' in line
    idle.until(lambda: idle.reports, 'diagnostics')
    (status,) = idle.reports[-1].status
    assert (status.name, status.level) == ('nurec: playback', DiagnosticStatus.OK)
    assert 'usdz_path' in status.message
    assert idle.reports[-1].header.stamp.nanosec > 0


def test_every_service_is_there(idle):
    def offered():
        found = idle.listener.node.get_service_names_and_types_by_node('nurec', '/')
        return {name.removeprefix('/nurec/') for name, _ in found}

    idle.until(lambda: offered() >= SERVICES, 'all services')


def test_services_of_an_idle_player_refuse_with_the_remedy(idle):
    for name in ('play', 'stop', 'reset', 'tick'):
        reason = idle.refusal(name)
        assert 'no scenario is loaded' in reason
        assert 'usdz_path' in reason
        assert '~/load' in reason
    assert 'usdz_path' in idle.refusal('load')
    assert idle.call(IsPaused, 'is_paused').paused
    assert idle.call(SetRate, 'set_rate', SetRate.Request(rate=2.0)).success
    assert idle.call(GetRate, 'get_rate').rate == 2.0
    assert not idle.call(Seek, 'seek').success
    assert not idle.call(PlayNext, 'play_next').success
    idle.call(Resume, 'resume')
    assert idle.call(IsPaused, 'is_paused').paused


def test_load_ends_it(idle, usdz):
    idle.load(usdz_path=str(usdz), rate=2.0)
    idle.until(lambda: idle.clocks, 'the clock')
    assert idle.trigger('tick')['current_time_us'] == START_US + 100_000
    idle.until(lambda: idle.state['speed'] == 2.0, 'the state')
