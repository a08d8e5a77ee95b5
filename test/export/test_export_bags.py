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
"""Bags that `nurec_export` writes, read by `rosbags` and `mcap`, and a live player beside them."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from itertools import chain
from pathlib import Path
from test.export.conftest import (
    frame_times,
    in_files,
    info,
    messages,
    PART_NS,
    picture,
    read,
    SMALL,
)
from test.support.archives import CAMERAS
from test.support.player_bench import Bench, stamp_ns, state_of
import threading
from typing import Any

from nurec_ros.export.bag import closer, serialized, type_description, type_name
from nurec_ros.scenario import Scenario
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.highlevel import AnyReader
import yaml


def test_a_bag_holds_every_frame_with_its_calibration_and_transform(exported, usdz):
    from sensor_msgs.msg import CameraInfo, CompressedImage
    from tf2_msgs.msg import TFMessage

    bag = exported / 'drive'
    sent = read(bag, '/tf', TFMessage)
    transforms = {stamp_ns(one) for _, some in sent for one in some.transforms}
    for camera, times in frame_times(usdz).items():
        assert len(times) == 10
        images = read(bag, f'/nurec/{camera}/image_raw/compressed', CompressedImage)
        infos = read(bag, f'/nurec/{camera}/camera_info', CameraInfo)
        for some in (images, infos):
            assert [(t, stamp_ns(one)) for t, one in some] == [(t, t) for t in times]
        assert set(times) <= transforms
        assert infos[0][1].header.frame_id == f'{camera}_optical_frame'
        assert not read(bag, f'/nurec/{camera}/image_raw', CompressedImage)


def test_files_and_metadata_are_as_rosbag2_writes_them(exported, usdz):
    """In the order of time and topic; with times, counts, type hashes and QoS."""
    bag, scenario = exported / 'drive', Scenario.load(usdz)
    found, files = info(bag), in_files(bag)
    whole = [message for file in files for message in file]
    topics = found['topics_with_message_count']
    order = [topic['topic_metadata']['name'] for topic in topics]
    keys = [(t, order.index(topic)) for topic, t, _ in whole]
    assert keys == sorted(keys)
    assert len(set(whole)) == len(whole) == found['message_count']
    assert (found['version'], found['storage_identifier']) == (8, 'mcap')
    assert found['relative_file_paths'] == ['drive_0.mcap', 'drive_1.mcap', 'drive_2.mcap']
    assert found['starting_time'] == {'nanoseconds_since_epoch': scenario.start_ns}
    assert found['duration'] == {'nanoseconds': scenario.end_ns - scenario.start_ns}
    counts = Counter(topic for topic, _, _ in whole)
    for topic in topics:
        meta = topic['topic_metadata']
        assert topic['message_count'] == counts[meta['name']]
        assert meta['serialization_format'] == 'cdr'
        assert meta['type_description_hash'].startswith('RIHS01_')
        (qos,) = yaml.safe_load(meta['offered_qos_profiles'])
        latched = meta['name'] in ('/tf_static', '/nurec/path', '/nurec/ego', '/nurec/state')
        # rmw's numbers: keep last, reliable, transient local or volatile.
        assert (qos['history'], qos['reliability']) == (1, 1)
        assert (qos['durability'], qos['depth'] == 1) == ((1, True) if latched else (2, False))
    for number, (file, path) in enumerate(zip(files, found['relative_file_paths'], strict=True)):
        times = [t for _, t, _ in file]
        assert {min((t - scenario.start_ns) // PART_NS, 2) for t in times} == {number}
        assert found['files'][number] == {
            'path': path,
            'starting_time': {'nanoseconds_since_epoch': min(times)},
            'duration': {'nanoseconds': max(times) - min(times)},
            'message_count': len(times),
        }
    assert {path.name for path in bag.iterdir()} == {
        *found['relative_file_paths'],
        'metadata.yaml',
    }
    assert not (exported / '.export').exists()


def test_clock_and_markers_come_at_their_rates_of_scenario_time(export, make_server, usdz):
    topics = ('--topics', '/clock', '~/tracks', '/tf_static', '~/*/camera_info')
    rates = ('-p', 'clock_rate:=20', '-p', 'marker_rate:=4', '-p', f'{CAMERAS[0]}.rate:=5')
    out = export(make_server(), options=[*rates, '--cameras', CAMERAS[0], *topics])
    start_ns = Scenario.load(usdz).start_ns
    found = messages(out / 'drive')
    clock = [t for topic, t, _ in found if topic == '/clock']
    assert len(clock) == len(set(clock))
    assert {start_ns + k * 50_000_000 for k in range(21)} <= set(clock)
    # Each time that something is published is one of the clock's.
    assert {t for _, t, _ in found} == set(clock)
    # The last is the end too.
    rates_hz = {'/nurec/tracks': 4, f'/nurec/{CAMERAS[0]}/camera_info': 5, '/tf_static': 0}
    for name, rate_hz in rates_hz.items():
        times = [t for topic, t, _ in found if topic == name]
        assert times == [start_ns + k * 10**9 // (rate_hz or 1) for k in range(rate_hz + 1)]


def test_the_state_comes_at_frame_times_begin_and_end(exported, usdz):
    from diagnostic_msgs.msg import DiagnosticStatus as State

    scenario = Scenario.load(usdz)
    found = read(exported / 'drive', '/nurec/state', State)
    states = [(t, state_of(one)) for t, one in found]
    due = {t for times in frame_times(usdz).values() for t in times}
    assert [t for t, _ in states] == sorted(due | {scenario.start_ns, scenario.end_ns})
    assert [state['current_time_us'] * 1000 for _, state in states] == [t for t, _ in states]
    # Over all parts, the tracks that came less those that went are those there.
    there: set[str] = set()
    for t_ns, state in states:
        there |= set(state['new_track_ids'])
        there -= set(state['removed_track_ids'])
        assert there == set(scenario.tracks.active_ids(t_ns))
    assert states[-1][1]['done'] is True
    assert all(state['is_playing'] for _, state in states[:-1])


def test_two_exports_are_equal_whatever_the_servers_and_the_parts(
    exported, export, make_server, monkeypatch
):
    slow = threading.Event()

    def sometimes_slow(request, context):
        if request.frame_end_us % 3 == 0:
            slow.wait(0.05)
        return picture(request)

    several = [make_server(sometimes_slow) for _ in range(3)]
    other = export(*several, output='other', options=['--in-flight', '4'])
    assert all(server.requests() for server in several)
    for path in sorted((exported / 'drive').iterdir()):
        assert path.read_bytes() == (other / 'drive' / path.name).read_bytes(), path.name
    # A bag in one piece holds the same messages: no part depends on those before it.
    monkeypatch.setattr('nurec_ros.export.part.PART_NS', 10**12)
    whole = export(make_server(), output='whole', options=['--in-flight', '1'])
    assert in_files(whole / 'drive') == [[*chain(*in_files(exported / 'drive'))]]


def test_sqlite_holds_the_same(exported, export, make_server):
    topics = ('/tf', '/nurec/odom', f'/nurec/{CAMERAS[0]}/camera_info')
    lite = export(make_server(), options=['--storage', 'sqlite3', '--topics', *topics])
    assert info(lite / 'drive')['storage_identifier'] == 'sqlite3'
    assert [path.suffix for path in sorted((lite / 'drive').glob('drive_*'))] == ['.db3'] * 3
    same = [found for found in messages(exported / 'drive') if found[0] in topics]
    assert Counter(messages(lite / 'drive')) == Counter(same)
    with AnyReader([lite / 'drive']) as reader:
        connection, _, data = next(reader.messages())
        assert reader.deserialize(data, connection.msgtype) is not None


def test_less_is_written_and_rendered_where_less_is_asked_for(export, make_server, usdz):
    server, camera = make_server(), CAMERAS[1]
    some = ('--cameras', camera, '--start', '0.2', '--duration', '0.5', '--node-name', 'me')
    topics = ('--topics', '/tf', '~/*/image_raw/compressed')
    out = export(server, options=[*some, *topics])
    begin = Scenario.load(usdz).start_ns + 200_000_000
    times = [t for t in frame_times(usdz)[camera] if begin <= t <= begin + 500_000_000]
    found = messages(out / 'drive')
    assert {topic for topic, _, _ in found} == {'/tf', f'/me/{camera}/image_raw/compressed'}
    assert [t for topic, t, _ in found if topic != '/tf'] == times
    assert len(server.requests()) == len(times) == 5
    out = export(server, output='none', options=['--topics', '/tf', 'tracks'])
    assert len(server.requests()) == 5
    assert {topic for topic, _, _ in messages(out / 'drive')} == {'/tf', '/nurec/tracks'}


# --- against a live player ---------------------------------------------------------------------


def boxes(found: list[Any]) -> dict[int, dict[tuple[str, int], Any]]:
    """Return the markers of road users by the time of their message: where and how each is."""
    return {
        stamp_ns(message.markers[0]): {
            (marker.ns, marker.id): marker
            for marker in message.markers
            if marker.action == marker.ADD
        }
        for message in found
        if message.markers
    }


def states(found: list[Any]) -> dict[int, dict[str, Any]]:
    """Return what is told of each moment, and who is there by what came and went."""
    told: dict[int, dict[str, Any]] = {}
    there: set[str] = set()
    before_ns = -1
    for message in found:
        state = state_of(message)
        # One plays, and the other was sought.
        del state['is_playing']
        t_ns = state['current_time_us'] * 1000
        if t_ns < before_ns:
            there = set()
        before_ns = t_ns
        there |= set(state.pop('new_track_ids'))
        there -= set(state.pop('removed_track_ids'))
        told[t_ns] = {**state, 'there': sorted(there), 'name': message.name}
    return told


def by_stamp(found: list[Any]) -> dict[int, Any]:
    return {stamp_ns(message): message for message in found}


def test_a_bag_holds_what_a_live_player_sends(
    export, make_server, make_context, usdz: Path, tmp_path: Path
):
    from diagnostic_msgs.msg import DiagnosticStatus
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import CameraInfo, CompressedImage
    from tf2_msgs.msg import TFMessage
    from vision_msgs.msg import Detection3DArray
    from visualization_msgs.msg import MarkerArray

    server, scenario = make_server(), Scenario.load(usdz)
    camera, times = CAMERAS[0], frame_times(usdz)[CAMERAS[0]]
    begin_ns, end_ns = scenario.start_ns, scenario.end_ns
    # Between the frames of the camera, where markers are due.
    marked = [begin_ns + k * 100_000_000 for k in (3, 5, 7)]
    images = f'~/{camera}/image_raw/compressed'
    kinds = {
        images: CompressedImage,
        f'~/{camera}/camera_info': CameraInfo,
        '~/odom': Odometry,
        '/tf': TFMessage,
        '~/tracks': MarkerArray,
        '~/objects': Detection3DArray,
    }
    source = {'usdz_path': usdz, 'server': server.address, 'mode': 'lockstep'}
    bench = Bench(tmp_path, make_context(), {**source, 'cameras': f'[{camera}]'}, *SMALL)
    try:
        live = {topic: bench.listen(kind, topic) for topic, kind in kinds.items()}
        live['~/state'] = bench.states
        bench.ready()
        # The still frame of the begin: the subscriptions are there.
        bench.until(
            lambda: all(live[name] for name in (images, '~/tracks', '~/objects', '/tf')),
            'the first picture',
        )
        bench.trigger('play')
        bench.until(lambda: bench.state['done'], 'the end')
        stamped = [live[name] for name in kinds if name not in ('/tf', '~/tracks')]
        bench.until(
            lambda: all(any(stamp_ns(one) >= times[-1] for one in some) for some in stamped),
            'the last picture',
        )
        # The moments of markers and states are those of timers while it plays, and these later.
        bench.trigger('reset')
        for t_ns in sorted({*marked, times[5], times[8]}):
            bench.seek(t_ns)
            bench.until(
                lambda t_ns=t_ns: (
                    t_ns in boxes(live['~/tracks'])
                    and t_ns in by_stamp(live['~/objects'])
                    and t_ns in states(live['~/state'])
                ),
                'what was sought',
            )
    finally:
        bench.close()
    out = export(server, options=['--cameras', camera])
    kinds['~/state'] = DiagnosticStatus
    names = {(f'/nurec{topic[1:]}' if topic[0] == '~' else topic): topic for topic in kinds}
    ours: dict[str, list[Any]] = {topic: [] for topic in kinds}
    for name, _, data in messages(out / 'drive'):
        if name in names:
            ours[names[name]].append(deserialize_message(data, kinds[names[name]]))

    def same(read: Any, topic: str, moments: set[int]) -> int:
        """Compare what both have; return how many that is, these moments among it."""
        mine, sent = read(ours[topic]), read(live[topic])
        both = mine.keys() & sent.keys()
        assert moments <= both
        for t_ns in both:
            assert mine[t_ns] == sent[t_ns]
        return len(both)

    for topic in (images, f'~/{camera}/camera_info'):
        assert [stamp_ns(message) for message in ours[topic]] == times
        same(by_stamp, topic, set(times))
    same(
        lambda found: by_stamp([one for some in found for one in some.transforms]), '/tf', {*times}
    )
    assert same(by_stamp, '~/odom', set()) > 10
    # Near begin and end nobody is there.
    same(boxes, '~/tracks', set(marked))
    assert all(boxes(ours['~/tracks'])[t_ns] for t_ns in marked)
    same(by_stamp, '~/objects', {begin_ns, *marked, end_ns})
    same(states, '~/state', {begin_ns, times[5], times[8], end_ns})


# --- bytes of messages ---------------------------------------------------------------------------


def examples():
    """Return messages whose texts leave gaps of every size, with lists of each length."""
    from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import CameraInfo, CompressedImage, NavSatFix, PointCloud2, PointField
    from std_msgs.msg import Header
    from tf2_msgs.msg import TFMessage
    from visualization_msgs.msg import Marker, MarkerArray

    for length in range(4):
        text = 'abcdefg'[:length]
        header = Header(frame_id=text)
        markers = [Marker(header=header, ns=text, text=text[1:]) for _ in range(length % 3)]
        yield Odometry(header=header, child_frame_id='car')
        yield CompressedImage(header=header, format='jpeg', data=list(range(length)))
        yield CameraInfo(header=header, distortion_model=text, d=[1.0] * length)
        yield NavSatFix(header=header, latitude=1.5)
        yield PointCloud2(header=header, fields=[PointField(name=text, count=1)] * length)
        yield DiagnosticStatus(name=text, values=[KeyValue(key=text, value='ab')] * length)
        yield MarkerArray(markers=markers)
        yield TFMessage()


def test_every_byte_that_means_nothing_becomes_zero_and_no_other_does():
    """Each byte is turned round: what another library reads the same then is a gap."""
    gaps = 0
    for message in examples():
        kind = type_name(type(message))
        types, whole = type_description(kind)[1], serialized(message, kind)
        read = types.deserialize_cdr(serialize_message(message), kind)
        assert whole == bytes(types.serialize_cdr(read, kind))
        if len(whole) > 420:
            continue
        close = closer(types, kind)
        for place in range(4, len(whole)):
            turned = bytearray(whole)
            turned[place] ^= 0xFF
            kept = bytes(turned)
            means_nothing = None
            # A length that is turned round is none.
            with suppress(Exception):
                read = types.deserialize_cdr(kept, kind)
                means_nothing = bytes(types.serialize_cdr(read, kind)) == whole
            if means_nothing is not None:
                close(turned)
                assert bytes(turned) == (whole if means_nothing else kept), (kind, place)
                gaps += means_nothing
    assert gaps > 30


def test_a_type_with_wide_text_is_not_understood_silently():
    from rosbags.typesys import get_types_from_msg, get_typestore, Stores

    types = get_typestore(Stores.EMPTY)
    types.register(get_types_from_msg('wstring text', 'some_msgs/msg/Wide'))
    with pytest.raises(KeyError, match='wstring'):
        closer(types, 'some_msgs/msg/Wide')
