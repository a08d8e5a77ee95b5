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
"""A bag against what a live player sends in lockstep, of the same scenario and server."""

from __future__ import annotations

import json
from pathlib import Path
from test.export.test_export_bags import frame_times, messages
from test.support.archives import CAMERAS
from test.support.player_bench import Bench, stamp_ns
from typing import Any

from nurec_ros.scenario import Scenario
from rclpy.serialization import deserialize_message


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
        state = {entry.key: json.loads(entry.value) for entry in message.values}
        t_ns = state['current_time_us'] * 1000
        if t_ns < before_ns:
            there = set()
        before_ns = t_ns
        there |= set(state.pop('new_track_ids'))
        there -= set(state.pop('removed_track_ids'))
        told[t_ns] = {**state, 'there': sorted(there), 'name': message.name}
    return told


def transforms(found: list[Any]) -> dict[int, Any]:
    return {stamp_ns(one): one for message in found for one in message.transforms}


def test_a_bag_holds_what_a_live_player_sends(
    export, make_server, make_context, usdz: Path, tmp_path: Path
):
    from diagnostic_msgs.msg import DiagnosticStatus
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import CameraInfo, CompressedImage
    from tf2_msgs.msg import TFMessage
    from vision_msgs.msg import Detection3DArray
    from visualization_msgs.msg import MarkerArray

    server = make_server()
    camera, times = CAMERAS[0], frame_times(usdz)[CAMERAS[0]]
    begin_ns = Scenario.load(usdz).start_ns
    # Between the frames of the camera, where markers are due.
    marked = [begin_ns + k * 100_000_000 for k in (3, 8, 14)]
    kinds = {
        f'~/{camera}/image_raw/compressed': CompressedImage,
        f'~/{camera}/camera_info': CameraInfo,
        '~/odom': Odometry,
        '/tf': TFMessage,
        '~/tracks': MarkerArray,
        '~/objects': Detection3DArray,
    }
    bench = Bench(
        tmp_path,
        make_context(),
        {
            'usdz_path': usdz,
            'server': server.address,
            'mode': 'lockstep',
            'cameras': f'[{camera}]',
            'image_format': 'png',
            'resolution_scale': 0.02,
        },
    )
    try:
        heard = {topic: bench.listen(kind, topic) for topic, kind in kinds.items()}
        bench.ready()
        images = heard[f'~/{camera}/image_raw/compressed']
        # The still frame of the begin: the subscriptions are there.
        bench.until(
            lambda: images and all(heard[name] for name in ('~/tracks', '~/objects', '/tf')),
            'the first picture',
        )
        bench.trigger('play')
        bench.until(lambda: bench.state['done'], 'the end')
        bench.until(
            lambda: all(
                any(stamp_ns(message) >= times[-1] for message in heard[topic])
                for topic in kinds
                if topic not in ('/tf', '~/tracks')
            ),
            'the last picture',
        )
        # The moments of markers and states are those of timers while it plays, and these later.
        bench.trigger('reset')
        for t_ns in sorted({*marked, times[5], times[12]}):
            bench.seek(t_ns)
            bench.until(
                lambda t_ns=t_ns: (
                    t_ns in boxes(heard['~/tracks'])
                    and t_ns in map(stamp_ns, heard['~/objects'])
                    and t_ns in states(bench.states)
                ),
                'what was sought',
            )
    finally:
        bench.close()
    code, out = export(server, options=['--cameras', camera])
    assert code == 0
    heard['~/state'], kinds['~/state'] = bench.states, DiagnosticStatus
    names = {(f'/nurec{topic[1:]}' if topic[0] == '~' else topic): topic for topic in kinds}
    ours: dict[str, list[object]] = {topic: [] for topic in kinds}
    for name, _, data in messages(out / 'drive'):
        if name in names:
            topic = names[name]
            ours[topic].append(deserialize_message(data, kinds[topic]))
    for topic in list(kinds)[:2]:
        live = {stamp_ns(message): message for message in heard[topic]}
        assert [stamp_ns(message) for message in ours[topic]] == times
        assert set(times) <= set(live)
        for message in ours[topic]:
            assert message == live[stamp_ns(message)]
    live_tf, our_tf = transforms(heard['/tf']), transforms(ours['/tf'])
    for t_ns in times:
        assert our_tf[t_ns] == live_tf[t_ns]
    live_odom = {stamp_ns(message): message for message in heard['~/odom']}
    both = [message for message in ours['~/odom'] if stamp_ns(message) in live_odom]
    assert len(both) > 10
    for message in both:
        assert message == live_odom[stamp_ns(message)]
    live_boxes, our_boxes = boxes(heard['~/tracks']), boxes(ours['~/tracks'])
    live_objects = {stamp_ns(message): message for message in heard['~/objects']}
    our_objects = {stamp_ns(message): message for message in ours['~/objects']}
    end_ns = Scenario.load(usdz).end_ns
    assert set(marked) <= set(our_boxes) & set(live_boxes)
    assert all(our_boxes[t_ns] for t_ns in marked)
    # Near begin and end nobody is there.
    for t_ns in set(our_boxes) & set(live_boxes):
        assert our_boxes[t_ns] == live_boxes[t_ns]
    assert {begin_ns, *marked, end_ns} <= set(our_objects) & set(live_objects)
    for t_ns in set(our_objects) & set(live_objects):
        assert our_objects[t_ns] == live_objects[t_ns]
    our_states, live_states = states(ours['~/state']), states(bench.states)
    assert {begin_ns, times[5], times[12], end_ns} <= set(our_states) & set(live_states)
    for t_ns in set(our_states) & set(live_states):
        # One plays, and the other was sought.
        same = {'is_playing': our_states[t_ns]['is_playing']}
        assert our_states[t_ns] == {**live_states[t_ns], **same}
