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
"""Bags that `nurec_export` writes, read by `rosbags` and `mcap`."""

from __future__ import annotations

from collections import Counter
import json
from pathlib import Path
from test.export.conftest import picture
from test.support.archives import CAMERAS, START_US
import threading
from typing import Any

import grpc
from mcap.reader import make_reader
from nurec_ros.errors import ConfigurationError
from nurec_ros.export.wishes import read_overrides
from nurec_ros.scenario import Scenario
import pytest
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
import yaml

BEGIN_NS = START_US * 1000


def messages(bag: Path) -> list[tuple[str, int, bytes]]:
    """Return topic, time and bytes of all messages, in the files' order."""
    found = []
    with Reader(bag) as reader:
        for connection, t_ns, data in reader.messages():
            found.append((connection.topic, t_ns, bytes(data)))
    return found


def in_files(bag: Path) -> list[tuple[str, int, bytes]]:
    """Return the same, as the MCAP files hold them one after the other."""
    found = []
    for name in info(bag)['relative_file_paths']:
        with (bag / name).open('rb') as file:
            for _, channel, message in make_reader(file).iter_messages(log_time_order=False):
                found.append((channel.topic, message.log_time, message.data))
    return found


def info(bag: Path) -> dict[str, Any]:
    return yaml.safe_load((bag / 'metadata.yaml').read_text())['rosbag2_bagfile_information']


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def frame_times(usdz: Path) -> dict[str, list[int]]:
    scenario = Scenario.load(usdz)
    return {
        name: [
            int(t)
            for t in camera.frame_times_ns[:, 1]
            if scenario.start_ns <= t <= scenario.end_ns
        ]
        for name, camera in scenario.cameras.items()
    }


def test_a_bag_holds_every_frame_with_its_calibration_and_transform(exported, usdz):
    from sensor_msgs.msg import CameraInfo, CompressedImage
    from tf2_msgs.msg import TFMessage

    found = messages(exported / 'drive')
    transforms = {
        stamp_of(transform)
        for topic, _, data in found
        if topic == '/tf'
        for transform in deserialize_message(data, TFMessage).transforms
    }
    for camera, times in frame_times(usdz).items():
        assert len(times) > 10
        images = [
            (t, deserialize_message(data, CompressedImage))
            for topic, t, data in found
            if topic == f'/nurec/{camera}/image_raw/compressed'
        ]
        assert [t for t, _ in images] == times
        assert [stamp_of(image) for _, image in images] == times
        assert set(times) <= transforms
        infos = [
            (t, deserialize_message(data, CameraInfo))
            for topic, t, data in found
            if topic == f'/nurec/{camera}/camera_info'
        ]
        assert [stamp_of(one) for _, one in infos] == times
        assert infos[0][1].header.frame_id == f'{camera}_optical_frame'
        assert not any(topic == f'/nurec/{camera}/image_raw' for topic, _, _ in found)


def test_the_files_are_in_the_order_of_time_and_topic(exported):
    out = exported
    found = in_files(out / 'drive')
    order = [topic['topic_metadata']['name'] for topic in topics_of(out / 'drive')]
    keys = [(t, order.index(topic)) for topic, t, _ in found]
    assert keys == sorted(keys)
    assert Counter(found).most_common(1)[0][1] == 1


def topics_of(bag: Path) -> list[dict[str, Any]]:
    return info(bag)['topics_with_message_count']


def test_the_metadata_are_those_that_rosbag2_writes(exported, usdz):
    out = exported
    found, bag = info(out / 'drive'), out / 'drive'
    scenario = Scenario.load(usdz)
    counts = Counter(topic for topic, _, _ in in_files(bag))
    assert found['version'] == 8
    assert found['storage_identifier'] == 'mcap'
    assert found['relative_file_paths'] == ['drive_0.mcap', 'drive_1.mcap']
    assert found['starting_time'] == {'nanoseconds_since_epoch': scenario.start_ns}
    assert found['duration'] == {'nanoseconds': scenario.end_ns - scenario.start_ns}
    assert found['message_count'] == sum(counts.values())
    for topic in topics_of(bag):
        meta = topic['topic_metadata']
        assert topic['message_count'] == counts[meta['name']]
        assert meta['serialization_format'] == 'cdr'
        assert meta['type_description_hash'].startswith('RIHS01_')
        (qos,) = yaml.safe_load(meta['offered_qos_profiles'])
        latched = meta['name'] in ('/tf_static', '/nurec/path', '/nurec/ego', '/nurec/state')
        # rmw's numbers: keep last, reliable, transient local or volatile.
        assert (qos['history'], qos['reliability']) == (1, 1)
        assert (qos['durability'], qos['depth'] == 1) == ((1, True) if latched else (2, False))
    assert [file['path'] for file in found['files']] == found['relative_file_paths']
    for number, file in enumerate(found['files']):
        times = [t for _, t, _ in in_files(bag) if number == min((t - BEGIN_NS) // 10**9, 1)]
        assert file['message_count'] == len(times)
        assert file['starting_time'] == {'nanoseconds_since_epoch': min(times)}
        assert file['duration'] == {'nanoseconds': max(times) - min(times)}
    assert {path.name for path in bag.iterdir()} == {
        *found['relative_file_paths'],
        'metadata.yaml',
    }
    assert not (out / '.export').exists()


def test_clock_and_markers_come_at_their_rates_of_scenario_time(export, make_server, usdz):
    topics = ('--topics', '/clock', '~/tracks', '/tf_static', '~/*/camera_info')
    rates = ('-p', 'clock_rate:=20', '-p', 'marker_rate:=4')
    code, out = export(make_server(), options=[*rates, *topics])
    assert code == 0
    scenario = Scenario.load(usdz)
    span_s = (scenario.end_ns - scenario.start_ns) / 1e9
    found = messages(out / 'drive')
    clock = [t for topic, t, _ in found if topic == '/clock']
    assert len(clock) == len(set(clock))
    assert {scenario.start_ns + k * 50_000_000 for k in range(int(span_s * 20) + 1)} <= set(clock)
    # Each time that something is published is one of the clock's.
    assert {t for _, t, _ in found} == set(clock)
    tracks = [t for topic, t, _ in found if topic == '/nurec/tracks']
    expected = {scenario.start_ns + k * 250_000_000 for k in range(int(span_s * 4) + 1)}
    assert set(tracks) == expected | {scenario.end_ns}
    assert [t for topic, t, _ in found if topic == '/tf_static'] == [scenario.start_ns]


def test_the_state_comes_at_frame_times_begin_and_end(exported, usdz):
    from diagnostic_msgs.msg import DiagnosticStatus as State

    scenario = Scenario.load(usdz)
    states = [
        (
            t,
            {kv.key: json.loads(kv.value) for kv in deserialize_message(data, State).values},
        )
        for topic, t, data in messages(exported / 'drive')
        if topic == '/nurec/state'
    ]
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

    one = exported
    several = [make_server(sometimes_slow) for _ in range(3)]
    code, other = export(*several, output='other', options=['--in-flight', '4'])
    assert code == 0
    assert all(server.requests() for server in several)
    for path in sorted((one / 'drive').iterdir()):
        assert path.read_bytes() == (other / 'drive' / path.name).read_bytes(), path.name
    # A bag in one piece holds the same messages: no part depends on those before it.
    monkeypatch.setattr('nurec_ros.export.part.PART_NS', 10**12)
    code, whole = export(make_server(), output='whole', options=['--in-flight', '1'])
    assert code == 0
    assert len(info(whole / 'drive')['files']) == 1
    assert in_files(whole / 'drive') == in_files(one / 'drive')


def test_sqlite_holds_the_same(exported, export, make_server):
    topics = ('/tf', '/nurec/odom', f'/nurec/{CAMERAS[0]}/camera_info')
    code, lite = export(make_server(), options=['--storage', 'sqlite3', '--topics', *topics])
    assert code == 0
    assert info(lite / 'drive')['storage_identifier'] == 'sqlite3'
    assert [path.suffix for path in sorted((lite / 'drive').glob('drive_*'))] == ['.db3'] * 2
    same = [found for found in messages(exported / 'drive') if found[0] in topics]
    assert Counter(messages(lite / 'drive')) == Counter(same)
    with AnyReader([lite / 'drive']) as reader:
        connection, _, data = next(reader.messages())
        assert reader.deserialize(data, connection.msgtype) is not None


def test_less_is_written_where_less_is_asked_for(export, make_server, usdz):
    server = make_server()
    camera = CAMERAS[1]
    code, out = export(
        server,
        options=[
            *('--cameras', camera, '--start', '0.5', '--duration', '1', '--node-name', 'me'),
            *('--topics', '/tf', '~/*/image_raw/compressed'),
        ],
    )
    assert code == 0
    begin = Scenario.load(usdz).start_ns + 500_000_000
    times = [t for t in frame_times(usdz)[camera] if begin <= t <= begin + 10**9]
    found = messages(out / 'drive')
    assert {topic for topic, _, _ in found} == {'/tf', f'/me/{camera}/image_raw/compressed'}
    assert [t for topic, t, _ in found if topic != '/tf'] == times
    assert len(server.requests()) == len(times)


def test_nothing_is_rendered_for_topics_without_images(export, make_server):
    server = make_server()
    code, out = export(server, options=['--topics', '/tf', 'tracks'])
    assert code == 0
    assert server.requests() == []
    assert {topic for topic, _, _ in messages(out / 'drive')} == {'/tf', '/nurec/tracks'}


def test_frames_that_fail_are_listed(export, make_server, usdz, capsys):
    times = frame_times(usdz)[CAMERAS[0]]
    bad_us = times[3] // 1000

    def render(request, context):
        if request.camera_intrinsics.logical_id == CAMERAS[0] and (
            request.frame_end_us == bad_us or request.frame_start_us == bad_us
        ):
            context.abort(grpc.StatusCode.INTERNAL, 'NRenderer.render failed')
        return picture(request)

    code, out = export(make_server(render))
    assert code == 3
    told, errors = capsys.readouterr()
    assert f'{out / "drive"}: 39 frames in 2 parts, 1 missing: see {out / "export.json"}\n' == told
    assert errors.count('render failed') == 1
    (entry,) = json.loads((out / 'export.json').read_text())['scenarios']
    assert entry['complete'] is True
    (lost,) = entry['missing']
    assert (lost['sensor'], lost['stamp_ns']) == (CAMERAS[0], times[3])
    assert 'render failed' in lost['reason']
    topic = f'/nurec/{CAMERAS[0]}/image_raw/compressed'
    there = [t for name, t, _ in messages(out / 'drive') if name == topic]
    assert there == [t for t in times if t != times[3]]


def test_neither_a_broken_file_nor_a_mistyped_one_stops_the_others(
    export, make_server, tmp_path, usdz, capsys
):
    bad, lost = tmp_path / 'bad.usdz', tmp_path / 'lost.usdz'
    bad.write_bytes(b'no zip')
    code, out = export(make_server(), files=[lost, bad, usdz], options=['--topics', '/tf'])
    assert code == 3
    entries = json.loads((out / 'export.json').read_text())['scenarios']
    assert [entry['bag'] for entry in entries] == ['bad', 'drive', 'lost']
    assert [entry['complete'] for entry in entries] == [False, True, False]
    told, errors = capsys.readouterr()
    assert f'{lost}: there is no such file' in entries[2]['error']
    for path, entry in ((bad, entries[0]), (lost, entries[2])):
        assert str(path) in entry['error']
        # The reason once, when it was found.
        assert (errors + told).count(entry['error']) == 1
        assert f'{path.name}: not exported\n' in told
    assert messages(out / 'drive')


def test_what_could_not_be_read_now_is_no_less_complete(export, copied, make_server, tmp_path):
    server = make_server()
    code, out = export(server, files=[tmp_path / 'typo' / 'drive.usdz'], options=['--resume'])
    assert code == 3
    (entry,) = json.loads((out / 'export.json').read_text())['scenarios']
    assert entry['complete'] is True
    assert export(server, options=['--resume'])[0] == 0


# Whatever the files hold.
WRONG = [
    (['-p', 'loop:=true'], '-p loop: not in an export'),
    (['-p', 'resolution_scal:=1'], "do you mean 'resolution_scale'"),
    (
        ['-p', 'cameras:=[,]'],
        '-p cameras:=[,]: the value is no YAML, expected a list of strings such',
    ),
    (['-p', 'resolution_scale:=7'], "parameter 'resolution_scale' is 7"),
    (['-p', 'nonsense'], 'expected name:=value'),
    (['-p', 'map_frame:=base_link'], "both name the frame 'base_link'"),
    (['--server', 'here'], "argument --server is 'here', expected HOST:PORT"),
]
# By what a file holds.
NO_FIT = [
    (['--cameras', 'none'], "parameter 'cameras' names 'none'"),
    (['--start', '100'], 'leave nothing of the scenario'),
    (['-p', 'rear.rate:=5'], "'rear.…' is for a sensor that"),
    (
        ['-p', f'{CAMERAS[0]}.device:=at128'],
        f"no parameter '{CAMERAS[0]}.device', expected one of ",
    ),
    (['--params-file', '/nowhere.yaml'], 'cannot read /nowhere.yaml'),
    (['--topics', '/tf', '/nope'], "--topics '/nope' is no topic of "),
    (['--topics', f'~/{CAMERAS[1]}/*', '--cameras', CAMERAS[0]], 'expected some of /clock, '),
]


@pytest.mark.parametrize(
    ('code', 'options', 'words'),
    [(2, *case) for case in WRONG] + [(1, *case) for case in NO_FIT],
)
def test_a_mistake_is_one_sentence(export, make_server, capsys, tmp_path, code, options, words):
    try:
        ended, _ = export(make_server(), options=options)
    except SystemExit as end:
        ended = end.code
    assert ended == code
    printed = capsys.readouterr().err
    assert words in printed
    assert 'Traceback' not in printed
    # Nothing was begun.
    assert not (tmp_path / 'out' / 'drive').exists()


def test_files_that_would_be_one_bag_are_a_wrong_argument(export, usdz, tmp_path, capsys):
    for files, options, words in (
        ([usdz, tmp_path / 'drive.usdz'], [], 'would both be written into'),
        ([usdz, tmp_path / 'b.usdz'], ['--ego', 'ego.csv'], '--ego: is for one scenario, found 2'),
    ):
        with pytest.raises(SystemExit) as end:
            export(files=files, options=options)
        assert end.value.code == 2
        assert words in capsys.readouterr().err


def test_a_topic_that_nothing_has_is_told_with_those_there_are(export, exported, capsys):
    """As a bag without --topics has them, with the decoded images that it leaves out."""
    there = {topic['topic_metadata']['name'] for topic in topics_of(exported / 'drive')}
    there |= {f'/nurec/{camera}/image_raw' for camera in CAMERAS}
    assert export(output='typo', options=['--topics', '~/trakcs'])[0] == 1
    named = capsys.readouterr().err.strip().partition("'~/trakcs' is no topic of ")[2]
    assert set(named.partition('; expected some of ')[2].split(', ')) == there


def test_a_topic_of_other_scenarios_is_one_that_this_may_lack(
    export, make_server, tmp_path, usdz, capsys
):
    """A map and lidars are not in every file; a bag with nothing at all is none."""
    assert not Scenario.load(usdz).lidars
    assert Scenario.load(usdz).road_map is None
    code, out = export(make_server(), options=['--topics', '~/map', '~/*/points', '/tf'])
    assert code == 0
    assert {topic for topic, _, _ in messages(out / 'drive')} == {'/tf'}
    capsys.readouterr()
    code, out = export(output='empty', options=['--topics', '~/map', '~/*/points'])
    assert code == 1
    assert 'drive.usdz has no topic of --topics ~/map ~/*/points' in capsys.readouterr().err
    assert not (out / 'drive').exists()


def test_the_shipped_parameters_are_taken(export, make_server, tmp_path):
    path = tmp_path / 'own.yaml'
    text = (Path(__file__).parents[2] / 'config' / 'nurec.yaml').read_text()
    path.write_text(text + '\nnurec:\n  ros__parameters:\n    base_frame: car\n')
    options = ['--params-file', path, '--topics', '~/odom']
    code, out = export(make_server(), options=options)
    assert code == 0
    from nav_msgs.msg import Odometry

    data = next(data for topic, _, data in messages(out / 'drive') if topic == '/nurec/odom')
    assert deserialize_message(data, Odometry).child_frame_id == 'car'


def test_a_parameters_file_is_read_as_rclpy_reads_it(tmp_path):
    path = tmp_path / 'own.yaml'
    path.write_text(
        '/**:\n  ros__parameters: {rate: 2.0, hfov_deg: 60, map_frame: world}\n'
        'other:\n  ros__parameters: {map_frame: elsewhere}\n'
        '/me:\n  ros__parameters:\n    map_frame: mine\n    camera_rat: 5\n'
        '    front: {rate: 4}\n    qos_overrides: {/tf: {publisher: {depth: 7}}}\n'
    )
    found, unknown = read_overrides(['hfov_deg:=70'], [path], 'me')
    assert found.table == {'map_frame': 'mine', 'hfov_deg': 70.0}
    assert found.sensors == {'front': {'rate': 4.0}}
    assert unknown == [
        f"{path}: parameter 'camera_rat' is unknown; do you mean 'camera_rate'?",
    ]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a: [', 'is no YAML'),
        ('[1, 2]', 'expected a mapping of nodes to ros__parameters'),
        ('me: 5', 'me has no ros__parameters'),
        ('me: {parameters: {}}', 'me has no ros__parameters'),
    ],
)
def test_a_parameters_file_of_another_kind_is_named(tmp_path, text, words):
    path = tmp_path / 'own.yaml'
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_overrides([], [path], 'me')
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)
