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
"""
Every message of a player that plays the generated example in lockstep, made comparable.

`record` plays it from load to end, seeks back, ticks, goes to the next frames and resets; what it
returns is plain data. What depends on the wall is left out: how often a halted moment is repeated,
and where the clock is between two due times. What is left must be the same in every run and on
every machine, but for the last digits of numbers and for how a JPEG is decoded.

    python -m test.ros.message_log test/ros/data/message_log.json
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
import json
import os
from pathlib import Path
import sys
import tempfile
from test.support.domain import claim_domain
from test.support.player_bench import Bench, stamp_ns, state_of
from test.support.process import Process
from typing import Any
import zipfile

import cv2
import numpy as np

FRONT, CROSS, REAR = (
    'camera_front_wide_120fov',
    'camera_cross_left_120fov',
    'camera_rear_left_70fov',
)
# The first at its recorded frame times, the others at rates of their own.
RATES = {FRONT: 0.0, CROSS: 10.0, REAR: 4.0}
DURATION_S = 3
TICK_NS = 100_000_000
TICKS, FRAMES = 5, 3
# Cells of a picture whose mean colours are compared.
CELLS = (2, 3)
STATE = (
    *('is_playing', 'speed', 'current_time_us', 'seconds_since_start', 'duration_s', 'progress'),
    *('done', 'scenario', 'active_tracks'),
)
IDS = ('new_track_ids', 'removed_track_ids')
KINDS = ('image_raw', 'image_raw/compressed', 'camera_info')
JUMP = (*('/clock', '~/tracks', '~/path', '~/ego', '/tf', '~/odom', '~/tracks', '~/objects'),)
ADD, DELETE, DELETE_ALL = 0, 2, 3
CUBE, TEXT = 1, 9

Sent = tuple[int, Any]


def topics() -> dict[str, tuple[type, bool]]:
    """Return the topics of the player: type, and whether they are latched."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
    from nav_msgs.msg import Odometry
    from nav_msgs.msg import Path as PathMessage
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image
    from tf2_msgs.msg import TFMessage
    from vision_msgs.msg import Detection3DArray
    from visualization_msgs.msg import MarkerArray

    kinds = dict(zip(KINDS, (Image, CompressedImage, CameraInfo), strict=True))
    return {
        '/clock': (Clock, False),
        '/tf': (TFMessage, False),
        '/tf_static': (TFMessage, True),
        '/diagnostics': (DiagnosticArray, False),
        '~/odom': (Odometry, False),
        '~/path': (PathMessage, True),
        '~/ego': (MarkerArray, True),
        '~/tracks': (MarkerArray, False),
        '~/objects': (Detection3DArray, False),
        '~/state': (DiagnosticStatus, True),
        **{f'~/{name}/{kind}': (kinds[kind], False) for name in RATES for kind in KINDS},
    }


# Playing it.


@dataclass
class Journey:
    """What was heard, by topic, and what the services answered."""

    heard: dict[str, list[Sent]]
    answers: list[tuple[str, dict[str, Any] | bool]]
    begin_ns: int
    end_ns: int
    due_ns: dict[str, list[int]]
    seek_ns: int


def record(folder: Path) -> dict[str, Any]:
    """Play the example, and return what it showed."""
    import pytest
    import rclpy

    usdz = folder / 'example.usdz'
    words = [usdz, '--duration', DURATION_S]
    assert Process('nurec_ros.cli.example', words, folder / 'example.log').wait() == 0
    leave_out_lidars(usdz)
    domain = claim_domain()
    context = rclpy.Context()
    rclpy.init(args=['test'], context=context, domain_id=domain)
    with ExitStack() as stack:
        stack.callback(rclpy.try_shutdown, context=context)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv('ROS_DOMAIN_ID', str(domain))
        server = Process(
            'nurec_ros.cli.preview',
            ['--port', 0, '--no-caption', '--usdz', usdz],
            folder / 'preview.log',
        )
        stack.callback(server.end)
        parameters = {
            'usdz_path': usdz,
            'server': server.says(r'^serving on (\S+)$')[1],
            'mode': 'lockstep',
            'rate': 2.0,
            # Where it stops for frames is not a matter of this.
            'clock_rate': 20.0,
            'tick_us': TICK_NS // 1000,
            'resolution_scale': 0.05,
            'cameras': f'[{", ".join(RATES)}]',
            **{f'{name}.rate': rate for name, rate in RATES.items()},
            # A machine that does other things as well is not to lose any.
            **{
                f'qos_overrides./{name.replace("~", "nurec").lstrip("/")}.publisher.depth': 1000
                for name in topics()
            },
        }
        bench = Bench(folder, context, parameters)
        stack.callback(bench.close)
        return normalised(_play(bench, usdz))


def leave_out_lidars(usdz: Path) -> None:
    """Write an archive anew without its lidars: without one nothing else is to change."""
    with zipfile.ZipFile(usdz) as archive:
        members = {info: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(usdz, 'w') as archive:
        for info, data in members.items():
            text = data
            if info.filename == 'rig_trajectories.json':
                rig = json.loads(data)
                rig['lidar_calibrations'] = {}
                rig['rig_trajectories'][0]['lidars_frame_timestamps_us'] = {}
                text = json.dumps(rig).encode()
            archive.writestr(info.filename, text)


def _play(bench: Bench, usdz: Path) -> Journey:
    from rosbag2_interfaces.srv import PlayNext

    heard = {
        name: bench.listen_sent(kind, name, latched=latched)
        for name, (kind, latched) in topics().items()
    }
    begin_ns, end_ns, due_ns = _times(usdz)
    journey = Journey(heard, [], begin_ns, end_ns, due_ns, begin_ns + 1_500_000_000)

    index = Index(heard)

    def shown(t_ns: int, cameras: Iterable[str] = RATES, since_ns: int = 0) -> None:
        """Wait until a moment is on all topics, sent since a moment of the wall."""
        names = ['/tf', '~/odom', '~/tracks', '~/objects', '~/state']
        names += [f'~/{camera}/{kind}' for camera in cameras for kind in KINDS]
        for name in names:
            bench.until(lambda name=name: index.has(name, t_ns, since_ns), f'{t_ns} on {name}')

    def step(after_ns: int, until_ns: int, since_ns: int) -> None:
        """Wait until a moment is shown, and all frames on the way there."""
        shown(until_ns, (), since_ns)
        for camera, times in due_ns.items():
            for t_ns in times:
                if after_ns < t_ns <= until_ns:
                    for name in (f'~/{camera}/{kind}' for kind in KINDS):
                        bench.until(
                            lambda name=name, t_ns=t_ns: index.has(name, t_ns, since_ns),
                            f'{t_ns} on {name}',
                        )

    def jump(call: Any, t_ns: int) -> int:
        """Jump back, and wait for all that is shown then; return when the new time began."""
        looked = len(heard['/clock'])
        counts = {topic: len(heard[topic]) for topic in ('~/path', '~/ego')}
        call()

        def back() -> int | None:
            nonlocal looked
            clocks = heard['/clock']
            while looked < len(clocks):
                if stamp_ns(clocks[looked][1]) < stamp_ns(clocks[looked - 1][1]):
                    return looked
                looked += 1
            return None

        number = bench.until(back, 'the jump')
        since_ns = heard['/clock'][number][0]
        shown(t_ns, since_ns=since_ns)
        for topic, before in counts.items():
            bench.until(
                lambda topic=topic, before=before: len(heard[topic]) >= before + 2, 'both showings'
            )
        bench.until(lambda: len(heard['/clock']) > number + 1, 'the second message of the clock')
        return since_ns

    bench.ready()
    shown(begin_ns)
    bench.until(lambda: heard['/tf_static'] and heard['~/path'] and heard['~/ego'], 'the rest')
    journey.answers.append(('play', bench.trigger('play')))
    bench.until(lambda: bench.state['done'], 'the end')
    step(begin_ns, end_ns, 0)
    jumped_ns = jump(lambda: bench.seek(journey.seek_ns), journey.seek_ns)
    position_ns = journey.seek_ns
    for _ in range(TICKS):
        answer = bench.trigger('tick')
        journey.answers.append(('tick', answer))
        step(position_ns, position_ns + TICK_NS, jumped_ns)
        position_ns += TICK_NS
    for _ in range(FRAMES):
        assert bench.call(PlayNext, 'play_next').success
        state = bench.trigger('stop')
        journey.answers.append(('play_next', state))
        after_ns, position_ns = position_ns, state['current_time_us'] * 1000
        step(after_ns, position_ns, jumped_ns)
    jump(lambda: journey.answers.append(('reset', bench.trigger('reset'))), begin_ns)
    return journey


class Index:
    """When each moment was last sent on each topic; looks at each message once."""

    def __init__(self, heard: dict[str, list[Sent]]) -> None:
        self._heard = heard
        self._taken = dict.fromkeys(heard, 0)
        self._sent: dict[tuple[str, int], int] = {}

    def has(self, topic: str, t_ns: int, since_ns: int) -> bool:
        """Return whether a moment was sent on a topic since a moment of the wall."""
        messages = self._heard[topic]
        taken = self._taken[topic]
        for sent_ns, message in messages[taken:]:
            for stamp in _stamps(topic, message):
                self._sent[topic, stamp] = sent_ns
        self._taken[topic] = len(messages)
        return self._sent.get((topic, t_ns), -1) >= since_ns


def _times(usdz: Path) -> tuple[int, int, dict[str, list[int]]]:
    """Return begin, end and the due times of each camera, read from the archive."""
    with zipfile.ZipFile(usdz) as archive:
        rig = json.loads(archive.read('rig_trajectories.json'))
    (trajectory,) = rig['rig_trajectories']
    poses_us = trajectory['T_rig_world_timestamps_us']
    begin_us, end_us = poses_us[0], poses_us[-1]
    spans = trajectory['cameras_frame_timestamps_us']
    due = {}
    for name, rate in RATES.items():
        if rate:
            count = int((end_us - begin_us) * rate / 1e6) + 1
            times = [begin_us + round(1e6 * k / rate) for k in range(count)]
        else:
            times = [end for _, end in next(v for k, v in spans.items() if k.startswith(name))]
        due[name] = [t * 1000 for t in times if begin_us <= t <= end_us]
    return begin_us * 1000, end_us * 1000, due


def _stamps(topic: str, message: Any) -> list[int]:
    if topic in ('/tf', '/tf_static'):
        return [stamp_ns(one) for one in message.transforms]
    if topic in ('~/tracks', '~/ego'):
        return [stamp_ns(one) for one in message.markers if one.action != DELETE_ALL]
    if topic == '~/state':
        return [state_of(message)['current_time_us'] * 1000]
    return [stamp_ns(message)]


# Making it comparable.


def normalised(journey: Journey) -> dict[str, Any]:
    """Return the messages by jump and topic, as plain data."""
    clocks = sorted(journey.heard['/clock'], key=lambda one: one[0])
    starts = [0] + [
        after[0] for before, after in pairwise(clocks) if stamp_ns(after[1]) < stamp_ns(before[1])
    ]
    assert len(starts) == 3, 'the clock goes back twice'
    log: dict[str, Any] = {
        'answers': [[name, _told(answer, ids=name == 'tick')] for name, answer in journey.answers],
        'cameras': {name: _camera(journey, name) for name in RATES},
        'ego': _one(map(_ego, _all(journey, '~/ego'))),
        'static': _one(map(_transforms, _all(journey, '/tf_static'))),
        'path': _one(map(_path, _all(journey, '~/path'))),
        'statuses': _one(
            [status.name for status in message.status] for message in _all(journey, '/diagnostics')
        ),
        'eras': [],
    }
    users: dict[str, Any] = {}
    for number, (start_ns, end_ns) in enumerate(pairwise([*starts, 1 << 62])):
        era = Era(journey, number, start_ns, end_ns)
        log['eras'].append(era.log())
        for name, user in era.users().items():
            assert users.setdefault(name, user) == user, 'the same in every era'
    log['road_users'] = users
    return log


class Era:
    """What was sent between two jumps of the clock."""

    def __init__(self, journey: Journey, number: int, start_ns: int, end_ns: int) -> None:
        self._number = number
        self._sent = {
            name: [
                one for one in sorted(heard, key=lambda one: one[0]) if start_ns <= one[0] < end_ns
            ]
            for name, heard in journey.heard.items()
        }
        begin_ns, end_ns = journey.begin_ns, journey.end_ns
        due = {t_ns for times in journey.due_ns.values() for t_ns in times}
        steps = [journey.seek_ns + TICK_NS * count for count in range(TICKS + 1)]
        frames = sorted(t_ns for t_ns in due if t_ns > steps[-1])[:FRAMES]
        # Where the clock stops for sure, and where all is shown.
        self._halts, self._shown = [
            ({begin_ns, end_ns} | due, {begin_ns, end_ns}),
            ({*steps, *frames}, {*steps, *frames}),
            ({begin_ns}, {begin_ns}),
        ][number]
        if number == 1:
            self._halts |= {t_ns for t_ns in due if steps[0] < t_ns <= frames[-1]}

    def log(self) -> dict[str, Any]:
        """Return all of it."""
        found: dict[str, Any] = {
            'clock': self._clock(),
            'tf': self._tf(),
            'twist': self._twist(),
            'tracks': self._tracks()[0],
            'state': self._states(),
            'images': {name: self._images(name) for name in RATES},
        }
        if self._number:
            found['order'] = self._order()
            found['paths'] = len(self._sent['~/path'])
            found['egos'] = len(self._sent['~/ego'])
            found['vanished'] = self._deleted()
            found['deletions'] = sum(map(_clears, self._messages('~/tracks')))
        return found

    def users(self) -> dict[str, Any]:
        """Return by id: class, size, text, colour, and how high above the box the text is."""
        return self._tracks()[1]

    def _messages(self, topic: str) -> list[Any]:
        return [message for _, message in self._sent[topic]]

    def _clock(self) -> list[int]:
        stamps = list(map(stamp_ns, self._messages('/clock')))
        assert stamps == sorted(stamps), 'the clock goes back within an era'
        return _distinct(t_ns for t_ns in stamps if t_ns in self._shown | self._halts)

    def _tf(self) -> list[Any]:
        known: dict[int, list[float]] = {}
        for message in self._messages('/tf'):
            for one in message.transforms:
                t_ns = stamp_ns(one)
                if t_ns in self._halts:
                    row = [*_vector(one.transform.translation), *_turn(one.transform.rotation)]
                    assert known.setdefault(t_ns, row) == row, 'two transforms of one stamp'
                assert (one.header.frame_id, one.child_frame_id) == ('map', 'base_link')
        return [[t_ns, *row] for t_ns, row in sorted(known.items())]

    def _twist(self) -> list[Any]:
        poses = {row[0]: row[1:] for row in self._tf()}
        known = {}
        for message in self._messages('~/odom'):
            t_ns = stamp_ns(message)
            if t_ns in self._shown:
                pose = message.pose.pose
                assert [*_vector(pose.position), *_turn(pose.orientation)] == poses[t_ns]
                twist = message.twist.twist
                known[t_ns] = [*_vector(twist.linear), *_vector(twist.angular)]
        return [[t_ns, *row] for t_ns, row in sorted(known.items())]

    def _tracks(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return where the road users are by moment, and what never changes about each."""
        found: dict[str, Any] = {}
        known: dict[str, Any] = {}
        markers = self._markers()
        for message in self._messages('~/objects'):
            t_ns = stamp_ns(message)
            if t_ns not in self._shown:
                continue
            moment = {}
            boxes = markers.get(t_ns, {})
            for one in message.detections:
                place = (*_vector(one.bbox.center.position), *_turn(one.bbox.center.orientation))
                moment[one.id] = list(place)
                ns, size, *shown = boxes[place]
                assert (ns, size) == (one.results[0].hypothesis.class_id, _vector(one.bbox.size))
                assert known.setdefault(one.id, [ns, size, *shown]) == [ns, size, *shown]
            assert len(moment) == len(boxes), 'boxes and objects are the same'
            assert found.setdefault(str(t_ns), moment) == moment, 'two lists of one moment'
        return found, known

    def _markers(self) -> dict[int, dict[tuple[float, ...], Any]]:
        """Return the boxes by moment and pose, each with its text; every look is the same."""
        found: dict[int, dict[tuple[float, ...], Any]] = {}
        for message in self._messages('~/tracks'):
            added = [one for one in message.markers if one.action == ADD]
            if not added or stamp_ns(added[0]) not in self._shown:
                continue
            texts = {one.id: one for one in added if one.type == TEXT}
            moment = {}
            for box in added:
                if box.type != CUBE:
                    continue
                text = texts.pop(box.id)
                assert text.ns == f'{box.ns}/text'
                place = (*_vector(box.pose.position), *_turn(box.pose.orientation))
                colour = [float(round(getattr(box.color, part), 3)) for part in 'rgba']
                height = round(text.pose.position.z - box.pose.position.z, 4)
                moment[place] = [box.ns, _vector(box.scale), text.text, colour, height]
            assert not texts, 'a text without a box'
            assert found.setdefault(stamp_ns(added[0]), moment) == moment, 'two looks'
        return found

    def _deleted(self) -> list[list[Any]]:
        """Return what vanished, by the moment that was shown without it."""
        found = []
        for message in self._messages('~/tracks'):
            gone = sorted(one.ns for one in message.markers if one.action == DELETE)
            if gone:
                found.append([stamp_ns(message.markers[0]), gone])
        return found

    def _states(self) -> list[Any]:
        """Return the changes; who came and went where the message before is known."""
        found: list[Any] = []
        for index, message in enumerate(self._messages('~/state')):
            state = state_of(message)
            if state['current_time_us'] * 1000 not in self._shown:
                continue
            told = _told(state)
            if not found or found[-1][0] != told:
                found.append([told, [], []])
            if self._number and index:
                for place, key in enumerate(IDS, 1):
                    found[-1][place] = sorted(found[-1][place] + state[key])
        return found

    def _images(self, camera: str) -> list[Any]:
        """Return stamp and colours of each picture; all three topics have the same ones."""
        topics_of = [self._messages(f'~/{camera}/{kind}') for kind in KINDS]
        stamps = [_distinct(map(stamp_ns, messages)) for messages in topics_of]
        assert stamps[0] == stamps[1] == stamps[2], f'the topics of {camera} are in step'
        assert stamps[0] == sorted(stamps[0])
        transforms = {
            stamp_ns(one) for message in self._messages('/tf') for one in message.transforms
        }
        assert set(stamps[0]) <= transforms, 'a transform of every image'
        compressed = {stamp_ns(message): message for message in topics_of[1]}
        rows = []
        for t_ns, raw in {stamp_ns(message): message for message in topics_of[0]}.items():
            pixels = np.array(raw.data, np.uint8).reshape(raw.height, raw.width, 3)
            jpeg = np.array(compressed[t_ns].data, np.uint8)
            bgr: Any = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
            assert np.abs(bgr[..., ::-1].astype(int) - pixels).mean() < 4.0, 'both show the same'
            rows.append([t_ns, _cells(pixels)])
        return rows

    def _order(self) -> list[str]:
        """Return the topics from the first clock of the era to the second one, as sent."""
        second_ns = self._sent['/clock'][1][0]
        sent = sorted(
            (sent_ns, name)
            for name, messages in self._sent.items()
            for sent_ns, _ in messages
            if sent_ns < second_ns and (name in JUMP or name == '/tf_static')
        )
        # The moment may be repeated before the next message of the clock.
        return [name for _, name in sent][: len(JUMP)]


def _camera(journey: Journey, camera: str) -> dict[str, Any]:
    info = _one(
        [
            *(one.header.frame_id, one.width, one.height, one.distortion_model),
            *([round(float(value), 5) for value in values] for values in (one.d, one.k, one.p)),
        ]
        for one in _all(journey, f'~/{camera}/camera_info')
    )
    image = _one(
        [one.header.frame_id, one.encoding, one.width, one.height, one.step, one.is_bigendian]
        for one in _all(journey, f'~/{camera}/image_raw')
    )
    compressed = _one(
        [one.header.frame_id, one.format]
        for one in _all(journey, f'~/{camera}/image_raw/compressed')
    )
    return {'camera_info': info, 'image_raw': image, 'compressed': compressed}


def _all(journey: Journey, topic: str) -> list[Any]:
    return [message for _, message in journey.heard[topic]]


def _one(values: Iterable[Any]) -> Any:
    """Return what all of them are."""
    first, *others = values
    for other in others:
        assert other == first
    return first


def _told(state: dict[str, Any], *, ids: bool = False) -> dict[str, Any]:
    return {key: state[key] for key in (*STATE, *(IDS if ids else ()))}


def _ego(message: Any) -> list[Any]:
    return [
        [
            *(one.header.frame_id, one.ns, one.type, one.action, one.frame_locked),
            *_vector(one.pose.position),
            *_vector(one.scale),
        ]
        for one in message.markers
    ]


def _transforms(message: Any) -> list[Any]:
    return [
        [
            *(one.header.frame_id, one.child_frame_id, stamp_ns(one)),
            *_vector(one.transform.translation),
            *_turn(one.transform.rotation),
        ]
        for one in message.transforms
    ]


def _path(message: Any) -> list[Any]:
    return [
        [stamp_ns(one), *_vector(one.pose.position), *_turn(one.pose.orientation)]
        for one in message.poses
    ]


def _clears(message: Any) -> bool:
    return any(one.action == DELETE_ALL for one in message.markers)


def _vector(message: Any) -> list[float]:
    return [round(value, 5) + 0.0 for value in (message.x, message.y, message.z)]


def _turn(message: Any) -> list[float]:
    """Return a quaternion, of both the one with w of at least 0."""
    values = (message.x, message.y, message.z, message.w)
    sign = -1.0 if message.w < 0 else 1.0
    return [round(sign * value, 6) + 0.0 for value in values]


def _cells(pixels: np.ndarray) -> list[int]:
    rows = np.array_split(pixels, CELLS[0], axis=0)
    cells = [cell for row in rows for cell in np.array_split(row, CELLS[1], axis=1)]
    return [round(float(value)) for cell in cells for value in cell.mean(axis=(0, 1))]


def _distinct(values: Iterable[int]) -> list[int]:
    """Return the values without those that repeat the one before."""
    found: list[int] = []
    for value in values:
        if not found or found[-1] != value:
            found.append(value)
    return found


# Comparing it.

CLOSE, CLOSE_COLOURS = 2e-4, 12


def differences(found: Any, expected: Any, where: str = '') -> Iterator[str]:
    """Yield a sentence for each thing that is not as expected."""
    if isinstance(expected, dict) and isinstance(found, dict):
        if set(found) != set(expected):
            yield f'{where}: keys {sorted(found)}, expected {sorted(expected)}'
        for key in expected:
            if key in found:
                yield from differences(found[key], expected[key], f'{where}/{key}')
    elif isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            yield f'{where}: {len(found)} entries, expected {len(expected)}'
        for number, (one, other) in enumerate(zip(found, expected, strict=False)):
            yield from differences(one, other, f'{where}/{number}')
    elif isinstance(expected, float) and isinstance(found, float):
        if abs(found - expected) > CLOSE:
            yield f'{where}: {found}, expected {expected}'
    elif '/images/' in where and where.count('/') == 7:
        if abs(found - expected) > CLOSE_COLOURS:
            yield f'{where}: colour {found}, expected {expected}'
    elif (found, type(found)) != (expected, type(expected)):
        yield f'{where}: {found!r}, expected {expected!r}'


def main() -> None:
    """Write the log to the file that is named."""
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
    with tempfile.TemporaryDirectory() as folder:
        log = record(Path(folder))
    Path(sys.argv[1]).write_text(_lines(log) + '\n')


def _lines(value: Any, depth: int = 4) -> str:
    """Return JSON with one line for each entry down to a depth."""
    if depth and isinstance(value, dict) and value:
        rows = [f'{json.dumps(key)}: {_lines(one, depth - 1)}' for key, one in value.items()]
        return '{\n' + ',\n'.join(rows) + '\n}'
    if depth and isinstance(value, list) and value:
        return '[\n' + ',\n'.join(_lines(one, depth - 1) for one in value) + '\n]'
    return json.dumps(value, separators=(',', ':'), ensure_ascii=False)


if __name__ == '__main__':
    main()
