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
"""What the topics show that is special: classes' colours, no box, an IMU, overridden QoS."""

from test.scenario.test_road_map import earth_pose, road, xodr
from test.support.archives import build_archive, CAMERAS, example_tracks, START_US
from test.support.player_bench import NOWHERE, stamp_ns

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Path
import pytest
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import Imu
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
MS = 1_000_000
TIME_OF_THE_ONE_POSE_NS = example_tracks()[3]['times_us'][0] * 1000
LABELS = ['automobile', 'AutoMobile', 'person', 'hovercraft', 'Zeppelin']


def boxes(bench):
    """Return the boxes of the halted moment by label."""
    tracks = bench.listen(MarkerArray, '~/tracks')
    bench.until(lambda: tracks, 'the tracks')
    return {one.ns: one for one in tracks[-1].markers if one.type == Marker.CUBE}


def colour(marker):
    return marker.color.r, marker.color.g, marker.color.b, marker.color.a


def test_colours_are_looked_up_without_regard_to_case_and_labels_are_unchanged(start, tmp_path):
    moving = example_tracks()[0]
    tracks = [
        {
            **moving,
            'id': f'{i}',
            'label': label,
            'poses': [[x, y + 5.0 * i, *rest] for x, y, *rest in moving['poses']],
        }
        for i, label in enumerate(LABELS)
    ]
    bench = start(usdz_path=build_archive(tmp_path, tracks=tracks), server=NOWHERE).ready()
    bench.seek(BEGIN_NS + 500_000_000)
    bench.until(lambda: bench.clock_ns == BEGIN_NS + 500_000_000, 'the moment')
    found = boxes(bench)
    assert set(found) == set(LABELS)
    assert colour(found['automobile']) == colour(found['AutoMobile'])
    # One for all that are not known, and no class's.
    assert colour(found['hovercraft']) == colour(found['Zeppelin'])
    assert len({colour(found[label]) for label in ('automobile', 'person', 'hovercraft')}) == 3


def test_static_ones_are_paler(start, tmp_path):
    """Two of one class, of which one never moves."""
    moving, _, parked, _ = example_tracks()
    tracks = [{**moving, 'label': 'bus'}, {**parked, 'label': 'BUS'}]
    bench = start(usdz_path=build_archive(tmp_path, tracks=tracks), server=NOWHERE).ready()
    bench.seek(BEGIN_NS + 500_000_000)
    bench.until(lambda: bench.clock_ns == BEGIN_NS + 500_000_000, 'the moment')
    found = boxes(bench)
    full, pale = colour(found['bus']), colour(found['BUS'])
    assert all(b >= a - 1e-6 for a, b in zip(full[:3], pale[:3], strict=True))
    assert sum(pale[:3]) > sum(full[:3])
    assert pale[3] < full[3]


def test_road_users_of_one_pose_are_shown_where_no_lifetime_is_too_short(start, usdz):
    """The archive has one at 0.3 s; by default it lives too shortly."""
    bench = start(usdz_path=usdz, server=NOWHERE, min_track_lifetime_s=0.0).ready()
    tracks = bench.listen(MarkerArray, '~/tracks')
    bench.until(lambda: tracks, 'the tracks')
    bench.seek(TIME_OF_THE_ONE_POSE_NS)
    bench.until(
        lambda: any(marker.ns == 'unheard_of' for marker in tracks[-1].markers), 'the short one'
    )


def test_without_a_box_there_is_no_ego(start, tmp_path):
    def edit(rig):
        del rig['rig_trajectories'][0]['rig_bbox']

    bench = start(usdz_path=build_archive(tmp_path, edit_rig=edit), server=NOWHERE).ready()
    egos = bench.listen(MarkerArray, '~/ego', latched=True)
    paths = bench.listen(Path, '~/path', latched=True)
    bench.until(lambda: paths, 'the path')
    bench.seek(BEGIN_NS + 500_000_000)
    bench.trigger('reset')
    bench.until(lambda: len(paths) >= 3, 'the path after a jump back, twice')
    shown = [marker for message in egos for marker in message.markers]
    assert not [marker for marker in shown if marker.action == Marker.ADD]


def test_lanes_are_latched_and_come_again_after_a_jump(start, tmp_path, usdz):
    def edit(rig):
        rig['T_world_base'] = earth_pose(0.0, 0.0, 0.0, 0.0).tolist()

    members = {'map.xodr': xodr(roads=road())}
    path = build_archive(tmp_path, members=members, edit_rig=edit)
    bench = start(usdz_path=path, server=NOWHERE).ready()
    maps = bench.listen(MarkerArray, '~/map', latched=True)
    bench.until(lambda: maps, 'the map, for one who comes late')
    # A road of 100 m whose only lane is 3.5 m wide, without paint.
    for message in maps:
        lanes = [marker for marker in message.markers if marker.action == Marker.ADD]
        assert {marker.type for marker in lanes} == {Marker.LINE_STRIP}
        ends = [(lane.points[0], lane.points[-1]) for lane in lanes]
        found = sorted(round(end.x) for pair in ends for end in pair)
        assert found == [0, 0, 100, 100]
        assert sorted(round(begin.y, 3) for begin, _ in ends) == [-3.5, 0.0]
    before = len(maps)
    bench.seek(BEGIN_NS + 500_000_000)
    bench.trigger('reset')
    bench.until(lambda: len(maps) > before, 'the map after a jump back')
    bench.configure(usdz_path=str(usdz))
    bench.trigger('load')
    bench.until(lambda: '/nurec/map' not in bench.topics(), 'the end of the topic')
    bench.until(
        lambda: [marker.action for marker in maps[-1].markers] == [Marker.DELETEALL],
        'the message that takes the lanes off the displays',
    )


def test_a_scenario_without_a_sequence_id_goes_by_its_files_name(start, tmp_path):
    def edit_rig(rig):
        rig['rig_trajectories'][0].pop('sequence_id', None)
        for calibration in rig['camera_calibrations'].values():
            calibration.pop('sequence_id', None)
        times = rig['rig_trajectories'][0]['cameras_frame_timestamps_us']
        for document in (rig['camera_calibrations'], times):
            for key in list(document):
                document[key.partition('@')[0]] = document.pop(key)

    def edit_info(info):
        del info['sequence_id']

    usdz = build_archive(tmp_path, 'a drive.usdz', edit_rig=edit_rig, edit_info=edit_info)
    bench = start(usdz_path=usdz, server=NOWHERE).ready()
    assert bench.state['scenario'] == 'a drive'


def test_the_qos_of_every_publisher_can_be_overridden(start, usdz):
    prefix = 'qos_overrides.'
    overrides = {
        f'{prefix}/nurec/tracks.publisher.reliability': 'best_effort',
        f'{prefix}/nurec/state.publisher.depth': 7,
        f'{prefix}/nurec/{CAMERAS[0]}/camera_info.publisher.reliability': 'best_effort',
    }
    bench = start(usdz_path=usdz, server=NOWHERE, **overrides).ready()

    def offered(topic):
        bench.matched(topic)
        infos = bench.listener.node.get_publishers_info_by_topic(topic)
        return infos[0].qos_profile

    assert offered('/nurec/tracks').reliability == ReliabilityPolicy.BEST_EFFORT
    info = offered(f'/nurec/{CAMERAS[0]}/camera_info')
    assert info.reliability == ReliabilityPolicy.BEST_EFFORT
    assert offered('/nurec/objects').reliability == ReliabilityPolicy.RELIABLE
    assert offered('/nurec/state').durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert bench.get(f'{prefix}/nurec/state.publisher.depth') == 7


def test_diagnostics_come_once_a_second_with_all_parts_in_one_message(bench):
    found = bench.listen(DiagnosticArray, '/diagnostics')
    bench.trigger('tick')
    now = (START_US + 100_000) * 1000
    bench.until(lambda: sum(stamp_ns(message) == now for message in found) >= 2, 'two messages')
    names = [status.name for status in found[-1].status]
    assert names == ['nurec: playback', 'nurec: renderer', *(f'nurec: {c}' for c in CAMERAS)]


def test_every_one_of_a_tick_and_of_playing(start, usdz):
    bench = start(
        usdz_path=usdz, server=NOWHERE, imu_rate=50.0, fix_rate=5.0, tick_us=500_000, rate=2.0
    ).ready()
    messages = bench.listen(Imu, '~/imu')
    bench.matched('~/imu')
    # A halted clock brings none; the player has to know of the subscriber first.
    bench.until(lambda: bench.listener.node.count_subscribers('/nurec/imu'), 'the subscription')
    bench.trigger('tick')
    bench.until(lambda: messages and stamp_ns(messages[-1]) == BEGIN_NS + 500 * MS, 'the tick')
    bench.seek(BEGIN_NS + 1000 * MS)
    bench.trigger('play')
    bench.until(lambda: bench.state['done'], 'the end')
    bench.until(lambda: stamp_ns(messages[-1]) == BEGIN_NS + 2000 * MS, 'the last')
    found = [stamp_ns(one) for one in messages if stamp_ns(one) != BEGIN_NS]
    wanted = [*range(20, 501, 20), *range(1020, 2001, 20)]
    assert found == [BEGIN_NS + ms * MS for ms in wanted]
    # This archive lies nowhere on Earth.
    assert '/nurec/fix' not in bench.topics()
    assert 'there is no ~/fix' in bench.player.output


def test_names_in_diagnostics_have_the_namespace(start, usdz):
    bench = start('-r', '__ns:=/fleet', name='/fleet/nurec', usdz_path=usdz, server=NOWHERE)
    found = bench.listen(DiagnosticArray, '/diagnostics')
    bench.until(lambda: found and len(found[-1].status) > 1, 'the diagnostics')
    names = [status.name for status in found[-1].status]
    assert names == [f'/fleet/nurec: {part}' for part in ('playback', 'renderer', *CAMERAS)]
