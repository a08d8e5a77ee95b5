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
"""~/load: from nothing, to another scenario and back; a player without one says what to do."""

from itertools import pairwise
from test.support.archives import build_archive, CAMERAS, START_US
from test.support.player_bench import Bench, serve, stamp_ns

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Path as PathMessage
import pytest
from rosbag2_interfaces.srv import GetRate, IsPaused, PlayNext, Resume, Seek, SetRate
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
OTHER_START_US = START_US + 500_000_000
OTHER_CAMERA = 'camera_roof'


@pytest.fixture(scope='module')
def other(tmp_path_factory):
    """Return a scenario of 3 s, later, with one camera in common and one of its own, no box."""

    def without_box(document):
        del document['rig_trajectories'][0]['rig_bbox']

    return build_archive(
        tmp_path_factory.mktemp('other'),
        duration_s=3.0,
        start_us=OTHER_START_US,
        cameras=(CAMERAS[0], OTHER_CAMERA),
        edit_rig=without_box,
    )


@pytest.fixture(scope='module')
def server(usdz):
    """Return a render server; both scenarios have the same scene id."""
    with serve(usdz) as running:
        yield running


@pytest.fixture
def bench(running, usdz):
    """Return the shared player with the first scenario."""
    running.configure(usdz_path=str(usdz), cameras=[''])
    running.trigger('load')
    running.until(lambda: running.clock_ns == BEGIN_NS, 'the clock at begin')
    # What is known of the graph comes by another way than the answer of load.
    running.until(lambda: topics_of(running) == info_topics(*CAMERAS), 'the topics')
    yield running
    running.configure(rate=1.0)


def topics_of(bench):
    """Return the names of the player's camera_info topics."""
    return {name for name in bench.topics() if name.endswith('/camera_info')}


def info_topics(*cameras):
    return {f'/nurec/{camera}/camera_info' for camera in cameras}


def test_position_is_begin_and_halted(bench, other):
    bench.trigger('play')
    bench.configure(usdz_path=str(other))
    state = bench.trigger('load')
    assert (state['is_playing'], state['current_time_us']) == (False, OTHER_START_US)
    assert state['duration_s'] == pytest.approx(3.0)
    bench.until(lambda: bench.clock_ns == OTHER_START_US * 1000, 'the new time')


def test_back_to_an_earlier_time(bench, other, usdz):
    bench.configure(usdz_path=str(other))
    bench.trigger('load')
    bench.configure(usdz_path=str(usdz))
    assert bench.trigger('load')['current_time_us'] == START_US
    bench.until(lambda: bench.clock_ns == BEGIN_NS, 'the earlier time')


def test_the_rate_stays(bench, other):
    bench.configure(rate=2.5, usdz_path=str(other))
    assert bench.trigger('load')['speed'] == 2.5


def test_old_markers_are_deleted_and_new_ones_shown(bench, other):
    tracks = bench.listen(MarkerArray, '~/tracks')
    bench.seek(BEGIN_NS + 1_000_000_000)
    bench.until(lambda: tracks and tracks[-1].markers, 'the old tracks')
    bench.configure(usdz_path=str(other))
    bench.trigger('load')
    bench.trigger('tick')

    def after():
        cleared = [
            i
            for i, message in enumerate(tracks)
            if any(marker.action == Marker.DELETEALL for marker in message.markers)
        ]
        first = cleared[-1] + 1 if cleared else len(tracks)
        return tracks[first:]

    bench.until(lambda: any(message.markers for message in after()), 'the new tracks')
    stamps = {stamp_ns(marker) for message in after() for marker in message.markers}
    assert min(stamps) >= OTHER_START_US * 1000


def test_latched_topics_are_replaced(bench, other):
    bench.configure(usdz_path=str(other))
    bench.trigger('load')
    paths = bench.listen(PathMessage, '~/path', latched=True)
    egos = bench.listen(MarkerArray, '~/ego', latched=True)
    statics = bench.listen(TFMessage, '/tf_static', latched=True)
    bench.until(lambda: paths and egos and statics, 'the latched topics')
    assert stamp_ns(paths[0].poses[0]) == OTHER_START_US * 1000
    # The other scenario has no box: who comes now sees none.
    assert [marker.action for marker in egos[0].markers] == [Marker.DELETEALL]
    frames = {transform.child_frame_id for transform in statics[0].transforms}
    assert OTHER_CAMERA in frames
    assert CAMERAS[1] not in frames


def test_static_frames_come_in_one_message_and_again(bench, other):
    """A running listener gets them too: they are published, not merely kept."""
    statics = bench.listen(TFMessage, '/tf_static', latched=True)
    bench.until(lambda: statics, 'the frames')
    count = len(statics)
    bench.configure(usdz_path=str(other))
    bench.trigger('load')
    bench.until(lambda: len(statics) == count + 1, 'the frames of the other scenario')
    assert len(statics[-1].transforms) == 4


def test_camera_topics_come_and_go(bench, other):
    assert topics_of(bench) == info_topics(*CAMERAS)
    bench.configure(usdz_path=str(other))
    bench.trigger('load')
    bench.until(
        lambda: topics_of(bench) == info_topics(CAMERAS[0], OTHER_CAMERA), 'the new topics'
    )
    infos = bench.listen(CameraInfo, f'~/{OTHER_CAMERA}/camera_info')
    bench.until(lambda: infos, 'a picture of the new camera')
    assert stamp_ns(infos[0]) == OTHER_START_US * 1000


def test_a_listener_of_a_camera_that_stays_gets_a_picture(bench, other):
    infos = bench.listen(CameraInfo, f'~/{CAMERAS[0]}/camera_info')
    bench.until(lambda: infos, 'the first picture')
    bench.configure(usdz_path=str(other))
    bench.trigger('load')
    bench.until(lambda: stamp_ns(infos[-1]) == OTHER_START_US * 1000, 'the picture after load')


def test_cameras_are_taken_as_they_are_then(bench):
    assert bench.configure(cameras=[CAMERAS[1]])[0].successful
    assert topics_of(bench) == info_topics(*CAMERAS)
    bench.trigger('load')
    bench.until(lambda: topics_of(bench) == info_topics(CAMERAS[1]), 'one camera only')


def test_parameters_of_cameras_come_and_go(bench, other):
    bench.configure(usdz_path=str(other))
    bench.trigger('load')
    assert bench.configure(**{f'{OTHER_CAMERA}__rate': 5.0})[0].successful
    assert not bench.configure(**{f'{CAMERAS[1]}__rate': 5.0})[0].successful


def bad_files(folder):
    """Make files that cannot be loaded; give what the refusal says of each."""
    text = folder / 'text.usdz'
    text.write_text('this is no archive')
    no_rig = build_archive(folder, 'no_rig.usdz', leave_out=['rig_trajectories.json'])

    def backwards(document):
        document['rig_trajectories'][0]['T_rig_world_timestamps_us'].reverse()

    return {
        folder / 'missing.usdz': 'missing.usdz',
        text: 'text.usdz',
        no_rig: 'rig_trajectories.json',
        build_archive(folder, 'times.usdz', edit_rig=backwards): 'T_rig_world_timestamps_us',
    }


def test_a_bad_file_leaves_everything_as_it_was(bench, tmp_path):
    bench.seek(BEGIN_NS + 700_000_000)
    for path, said in bad_files(tmp_path).items():
        bench.configure(usdz_path=str(path))
        reason = bench.refusal('load')
        assert said in reason
        assert '\n' not in reason
        state = bench.trigger('stop')
        assert state['current_time_us'] == START_US + 700_000
        assert state['scenario'].startswith('clipgt-')
        assert topics_of(bench) == info_topics(*CAMERAS)
    bench.trigger('play')


@pytest.mark.parametrize(
    ('values', 'said'),
    [
        ({'usdz_path': ''}, 'usdz_path'),
        ({'cameras': ['camera_nobody_knows']}, 'camera_nobody_knows'),
    ],
)
def test_what_does_not_fit_is_refused(bench, values, said):
    bench.configure(**values)
    assert said in bench.refusal('load')
    assert topics_of(bench) == info_topics(*CAMERAS)
    assert bench.trigger('stop')['scenario']


def test_unknown_cameras_are_refused_with_those_that_there_are(bench):
    bench.configure(cameras=['nobody', CAMERAS[0]])
    reason = bench.refusal('load')
    assert all(name in reason for name in ('nobody', *CAMERAS))


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
    bench.until(lambda: bench.clock_ns == BEGIN_NS, 'the begin of the real drive')
    stamps = [stamp_ns(clock) for clock in bench.clocks[before:]]
    # That drive begins where this one does: the clock goes back once, and not before.
    backwards = [i for i, (a, b) in enumerate(pairwise(stamps)) if b < a]
    assert len(backwards) == 1
    assert len(set(stamps[: backwards[0] + 1])) > 1


def test_loads_are_served_one_after_another(bench, other, usdz):
    calls = [bench.start_call(Trigger, 'load') for _ in range(3)]
    bench.until(lambda: all(call.done() for call in calls), 'all answers')
    assert all(call.result().success for call in calls)


EVERYTHING = {
    'play',
    'stop',
    'reset',
    'tick',
    'load',
    'pause',
    'resume',
    'toggle_paused',
    'is_paused',
    'get_rate',
    'set_rate',
    'seek',
    'play_next',
}


@pytest.fixture(scope='module')
def idle(start):
    """Return a player that has nothing to play."""
    running: Bench = start()
    running.until(lambda: running.states, 'the state')
    return running


def test_state_says_so(idle):
    assert (idle.state['scenario'], idle.state['is_playing']) == ('', False)
    assert idle.states[-1].message == 'idle'


def test_only_state_and_diagnostics_are_published(idle):
    expected = {'/rosout', '/parameter_events', '/nurec/state', '/diagnostics'}
    idle.until(lambda: idle.topics() == expected, 'exactly these topics')


def test_one_line_of_log_says_what_to_do(idle):
    idle.until(lambda: '~/load' in idle.player.output, 'the line')
    (line,) = [one for one in idle.player.output.splitlines() if '[INFO]' in one]
    assert '~/load' in line
    assert 'usdz_path' in line


def test_every_service_is_there(idle):
    def offered():
        found = idle.listener.node.get_service_names_and_types_by_node('nurec', '/')
        return {name.removeprefix('/nurec/') for name, _ in found}

    idle.until(lambda: offered() >= EVERYTHING, 'all services')


@pytest.mark.parametrize('name', ['play', 'stop', 'reset', 'tick'])
def test_triggers_refuse_with_the_remedy(idle, name):
    reason = idle.refusal(name)
    assert 'no scenario is loaded' in reason
    assert 'usdz_path' in reason
    assert '~/load' in reason


def test_load_without_a_path_refuses(idle):
    assert 'usdz_path' in idle.refusal('load')


def test_rosbag2_services_answer(idle):
    assert idle.call(IsPaused, 'is_paused').paused
    assert idle.call(SetRate, 'set_rate', SetRate.Request(rate=2.0)).success
    assert idle.call(GetRate, 'get_rate').rate == 2.0
    assert not idle.call(Seek, 'seek').success
    assert not idle.call(PlayNext, 'play_next').success
    idle.call(Resume, 'resume')
    assert idle.call(IsPaused, 'is_paused').paused


def test_diagnostics_say_so(idle):
    found = idle.listen(DiagnosticArray, '/diagnostics')
    idle.until(lambda: found, 'diagnostics')
    assert [status.name for status in found[-1].status] == ['nurec: playback']
    assert found[-1].status[0].level == DiagnosticStatus.OK
    assert 'usdz_path' in found[-1].status[0].message
    assert found[-1].header.stamp.nanosec > 0


def test_load_ends_it(start, usdz):
    bench = start()
    bench.until(lambda: bench.states, 'the state')
    bench.configure(usdz_path=str(usdz), rate=2.0)
    assert bench.call(Trigger, 'load').success
    bench.until(lambda: bench.clocks, 'the clock')
    assert bench.trigger('tick')['current_time_us'] == START_US + 100_000
    bench.until(lambda: bench.state['speed'] == 2.0, 'the state')
