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

from pathlib import Path
from test.export.conftest import frame_times, messages, SMALL
from test.support.archives import CAMERAS
from test.support.player_bench import Bench, stamp_ns, state_of
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
    code, out = export(server, options=['--cameras', camera])
    assert code == 0
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
