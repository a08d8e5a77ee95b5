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
"""What topics show that is special: names, a second player, QoS, colours, lanes, an IMU."""

from test.scenario.test_road_map import earth_pose, road, xodr
from test.support.archives import build_archive, CAMERAS, example_tracks, REMOVED, START_US
from test.support.player_bench import BEGIN_NS, FRONT, MS, NOWHERE, stamp_ns

from nav_msgs.msg import Odometry
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Imu
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract

HALF_NS = BEGIN_NS + 500 * MS


def frames_of(messages):
    """Return the transforms by (parent, child), the last of each."""
    return {
        (one.header.frame_id, one.child_frame_id): one
        for message in messages
        for one in message.transforms
    }


def is_identity(one):
    move, turn = one.transform.translation, one.transform.rotation
    return (move.x, move.y, move.z, turn.x, turn.y, turn.z, abs(turn.w)) == (0, 0, 0, 0, 0, 0, 1)


@pytest.fixture(scope='module')
def running(start, usdz, server):
    """Return the player that owns the clock."""
    return start(usdz_path=usdz, server=server.address, report_s=0.2).ready()


@pytest.fixture(scope='module')
def second(start, running, usdz, server):
    """Return one beside it, in a namespace, with a prefix."""
    bench = start(
        *('-r', '__node:=second', '-r', '__ns:=/fleet'),
        usdz_path=usdz,
        server=server.address,
        publish_clock=False,
        frame_prefix='b/',
        name='/fleet/second',
        beside=running,
        report_s=0.2,
    )
    bench.until(lambda: bench.states, 'the state of the second')
    return bench


def test_frames_do_not_mix(running, second):
    moving = running.listen(TFMessage, '/tf')
    fixed = running.listen(TFMessage, '/tf_static', latched=True)
    egos = {('map', 'base_link'), ('map', 'b/base_link')}
    running.until(lambda: set(frames_of(moving)) == egos, 'both egos')
    cameras = {
        ('base_link', FRONT),
        (FRONT, f'{FRONT}_optical_frame'),
        ('b/base_link', f'b/{FRONT}'),
        (f'b/{FRONT}', f'b/{FRONT}_optical_frame'),
    }
    running.until(lambda: cameras <= set(frames_of(fixed)), 'the frames of both')


def test_each_keeps_its_own_time_and_one_owns_the_clock(running, second):
    second.trigger('reset')
    running.trigger('reset')
    second.trigger('tick')
    running.spin(running.clocks, 30)
    assert running.clock_ns == BEGIN_NS
    assert running.listener.node.count_publishers('/clock') == 1
    assert second.trigger('stop')['current_time_us'] == START_US + 100_000


def test_images_come_under_the_names_and_frames_of_each(running, second):
    for bench, prefix in ((running, ''), (second, 'b/')):
        assert bench.infos_of()[0].header.frame_id == f'{prefix}{FRONT}_optical_frame'


def warnings_of_the_clock(bench):
    lines = bench.player.output.splitlines()
    return [line for line in lines if '[WARN]' in line and '/clock' in line]


def test_no_warning_about_the_clock(running, second):
    running.spin(running.reports, 10)
    assert not warnings_of_the_clock(running) + warnings_of_the_clock(second)


@pytest.fixture(scope='module')
def renamed(start, usdz):
    """Run a player with all names of its own, which somebody else chose."""
    prefix = 'qos_overrides./fleet/nurec/'
    overrides = {
        f'{prefix}tracks.publisher.reliability': 'best_effort',
        f'{prefix}state.publisher.depth': 7,
        f'{prefix}{FRONT}/camera_info.publisher.reliability': 'best_effort',
    }
    return start(
        *('-r', '__ns:=/fleet'),
        name='/fleet/nurec',
        usdz_path=usdz,
        server=NOWHERE,
        map_frame='world',
        base_frame='rig',
        odom_frame='odom',
        imu_rate=50.0,
        fix_rate=5.0,
        tick_us=500_000,
        rate=2.0,
        report_s=0.2,
        **overrides,
    ).ready()


def test_names_are_parameters_and_odom_is_an_identity(renamed):
    moving, odometry = renamed.hear(TFMessage, '/tf'), renamed.hear(Odometry, '~/odom')
    found = frames_of(moving + renamed.hear(TFMessage, '/tf_static', latched=True))
    assert set(found) == {('world', 'odom'), ('odom', 'rig')} | {
        pair for name in CAMERAS for pair in (('rig', name), (name, f'{name}_optical_frame'))
    }
    assert is_identity(found['world', 'odom'])
    assert (odometry[0].header.frame_id, odometry[0].child_frame_id) == ('odom', 'rig')


def test_names_in_diagnostics_have_the_namespace(renamed):
    renamed.until(lambda: renamed.reports, 'diagnostics')
    names = [status.name for status in renamed.reports[-1].status]
    assert names == [f'/fleet/nurec: {part}' for part in ('playback', 'renderer', *CAMERAS)]


def test_the_qos_of_every_publisher_can_be_overridden(renamed):
    def offered(topic):
        renamed.matched(topic)
        infos = renamed.listener.node.get_publishers_info_by_topic(f'/fleet/nurec{topic[1:]}')
        return infos[0].qos_profile

    assert offered('~/tracks').reliability == ReliabilityPolicy.BEST_EFFORT
    assert offered(f'~/{FRONT}/camera_info').reliability == ReliabilityPolicy.BEST_EFFORT
    assert offered('~/objects').reliability == ReliabilityPolicy.RELIABLE
    assert offered('~/state').durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert renamed.get('qos_overrides./fleet/nurec/state.publisher.depth') == 7


def test_every_one_of_a_tick_and_of_playing(renamed):
    messages = renamed.listen(Imu, '~/imu')
    renamed.matched('~/imu')
    # A halted clock brings none; the player has to know of the subscriber first.
    node = renamed.listener.node
    renamed.until(lambda: node.count_subscribers('/fleet/nurec/imu'), 'the subscription')
    renamed.trigger('tick')
    renamed.until(lambda: messages and stamp_ns(messages[-1]) == HALF_NS, 'the tick')
    renamed.seek(BEGIN_NS + 1000 * MS)
    renamed.trigger('play')
    renamed.until(lambda: renamed.state['done'], 'the end')
    renamed.until(lambda: stamp_ns(messages[-1]) == BEGIN_NS + 2000 * MS, 'the last')
    found = [stamp_ns(one) for one in messages if stamp_ns(one) != BEGIN_NS]
    wanted = [*range(20, 501, 20), *range(1020, 2001, 20)]
    assert found == [BEGIN_NS + ms * MS for ms in wanted]
    # This archive lies nowhere on Earth.
    assert '/fleet/nurec/fix' not in renamed.topics()
    assert 'there is no ~/fix' in renamed.player.output


def test_every_topic_can_be_remapped_and_camera_frames_left_to_others(start, usdz, server):
    names = ['/clock', '/tf', '/tf_static', '/diagnostics']
    names += [f'~/{name}' for name in ('state', 'odom', 'tracks', 'path', 'ego', 'objects')]
    names += [f'~/{FRONT}/image_raw/compressed', f'~/{FRONT}/camera_info']
    rules = {name: f'/a{name.removeprefix("~")}' for name in names}
    words = [word for old, new in rules.items() for word in ('-r', f'{old}:={new}')]
    bench = start(*words, usdz_path=usdz, server=server.address, publish_camera_frames=False)
    bench.until(lambda: set(rules.values()) <= bench.topics(), 'the new names')
    assert not {'/clock', '/tf', '/tf_static', '/nurec/state'} & bench.topics()
    fixed = bench.listen(TFMessage, '/a/tf_static', latched=True)
    assert stamp_ns(bench.hear(CameraInfo, f'/a/{FRONT}/camera_info')[0]) == BEGIN_NS
    moving = bench.hear(TFMessage, '/a/tf')
    bench.spin(moving, 2)
    assert not frames_of(fixed)
    assert set(frames_of(moving)) == {('map', 'base_link')}


@pytest.fixture(scope='module')
def special(start, usdz):
    """Run a player that shows Earth and whoever was seen but once."""
    return start(
        usdz_path=usdz,
        server=NOWHERE,
        publish_earth_frame=True,
        min_track_lifetime_s=0.0,
        clock_rate=50,
        report_s=0.2,
    ).ready()


@pytest.fixture
def show(special, tmp_path):
    """Return a function that has it show an archive, and gives the state after the load."""

    def show(*names, **options):
        return special.load(usdz_path=str(build_archive(tmp_path, *names, **options)))

    return show


def test_a_second_clock_is_warned_of_once(special):
    publisher = special.listener.node.create_publisher(Clock, '/clock', 10)
    special.until(lambda: warnings_of_the_clock(special), 'the warning')
    special.spin(special.reports, 5)
    (line,) = warnings_of_the_clock(special)
    assert 'publish_clock' in line
    special.listener.node.destroy_publisher(publisher)


def test_earth_is_the_parent_of_map_where_the_matrix_is_one_of_earth(special, show):
    T_world_base = earth_pose(0.5, 10.0, -20.0, 3.0)
    show(edit_rig={'T_world_base': T_world_base.tolist()})
    fixed = special.hear(TFMessage, '/tf_static', latched=True)
    move = frames_of(fixed)['earth', 'map'].transform.translation
    np.testing.assert_allclose([move.x, move.y, move.z], T_world_base[:3, 3], atol=0.01)
    # One message with all of them.
    assert len(fixed[0].transforms) == 1 + 2 * len(CAMERAS)


def colour(marker):
    return marker.color.r, marker.color.g, marker.color.b, marker.color.a


def test_colours_are_those_of_classes_without_regard_to_case_and_paler_of_static_ones(
    special, show
):
    moving, _, parked, _ = example_tracks()
    labels = ['automobile', 'AutoMobile', 'person', 'hovercraft', 'Zeppelin', 'bus']
    tracks = [
        {
            **moving,
            'id': f'{i}',
            'label': label,
            'poses': [[x, y + 5.0 * i, *rest] for x, y, *rest in moving['poses']],
        }
        for i, label in enumerate(labels)
    ]
    show(tracks=[*tracks, {**parked, 'id': 'parked', 'label': 'BUS'}])
    special.seek(HALF_NS)
    messages = special.listen(MarkerArray, '~/tracks')

    def shown():
        return {
            one.ns: one
            for one in messages[-1].markers
            if one.type == Marker.CUBE and stamp_ns(one) == HALF_NS
        }

    found = special.until(lambda: messages and shown(), 'the moment')
    # The labels are unchanged.
    assert set(found) == {*labels, 'BUS'}
    assert colour(found['automobile']) == colour(found['AutoMobile'])
    # One for all that are not known, and no class's.
    assert colour(found['hovercraft']) == colour(found['Zeppelin'])
    kinds = ('automobile', 'person', 'bus', 'hovercraft')
    assert len({colour(found[label])[:3] for label in kinds}) == len(kinds)
    full, pale = colour(found['bus']), colour(found['BUS'])
    assert all(b >= a - 1e-6 for a, b in zip(full[:3], pale[:3], strict=True))
    assert sum(pale[:3]) > sum(full[:3])
    assert pale[3] < full[3]


def test_road_users_of_one_pose_are_shown_where_no_lifetime_is_too_short(special, show):
    """The archive has one at 0.3 s; by default it lives too shortly."""
    show()
    tracks = special.hear(MarkerArray, '~/tracks')
    special.seek(example_tracks()[3]['times_us'][0] * 1000)
    special.until(
        lambda: any(marker.ns == 'unheard_of' for marker in tracks[-1].markers), 'the short one'
    )


def test_lanes_are_latched_and_come_again_after_a_jump(special, show, usdz):
    show(
        members={'map.xodr': xodr(roads=road())},
        edit_rig={'T_world_base': earth_pose(0.0, 0.0, 0.0, 0.0).tolist()},
    )
    # For one who comes late.
    maps = special.hear(MarkerArray, '~/map', latched=True)
    # A road of 100 m whose only lane is 3.5 m wide, without paint.
    for message in maps:
        lanes = [marker for marker in message.markers if marker.action == Marker.ADD]
        assert {marker.type for marker in lanes} == {Marker.LINE_STRIP}
        ends = [(lane.points[0], lane.points[-1]) for lane in lanes]
        found = sorted(round(end.x) for pair in ends for end in pair)
        assert found == [0, 0, 100, 100]
        assert sorted(round(begin.y, 3) for begin, _ in ends) == [-3.5, 0.0]
    before = len(maps)
    special.seek(HALF_NS)
    special.trigger('reset')
    special.until(lambda: len(maps) > before, 'the map after a jump back')
    special.load(usdz_path=str(usdz))
    special.until(lambda: '/nurec/map' not in special.topics(), 'the end of the topic')
    special.until(
        lambda: [marker.action for marker in maps[-1].markers] == [Marker.DELETEALL],
        'the message that takes the lanes off the displays',
    )


def test_a_scenario_without_a_sequence_id_goes_by_its_files_name(show):
    def edit(rig):
        rig['rig_trajectories'][0].pop('sequence_id', None)
        for calibration in rig['camera_calibrations'].values():
            calibration.pop('sequence_id', None)
        times = rig['rig_trajectories'][0]['cameras_frame_timestamps_us']
        for document in (rig['camera_calibrations'], times):
            for key in list(document):
                document[key.partition('@')[0]] = document.pop(key)

    state = show('a drive.usdz', edit_rig=edit, edit_info={'sequence_id': REMOVED})
    assert state['scenario'] == 'a drive'
