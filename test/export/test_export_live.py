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
from test.export.test_export_bags import frame_times, messages
from test.support.archives import CAMERAS
from test.support.player_bench import Bench, stamp_ns

from rclpy.serialization import deserialize_message


def test_images_calibrations_and_transforms_are_those_of_a_live_player(
    export, make_server, make_context, usdz: Path, tmp_path: Path
):
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import CameraInfo, CompressedImage
    from tf2_msgs.msg import TFMessage
    from visualization_msgs.msg import MarkerArray

    server = make_server()
    camera, times = CAMERAS[0], frame_times(usdz)[CAMERAS[0]]
    kinds = {
        f'~/{camera}/image_raw/compressed': CompressedImage,
        f'~/{camera}/camera_info': CameraInfo,
        '~/odom': Odometry,
        '/tf': TFMessage,
        '~/tracks': MarkerArray,
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
        bench.until(lambda: images and heard['~/tracks'] and heard['/tf'], 'the first picture')
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
    finally:
        bench.close()
    code, out = export(server, options=['--cameras', camera])
    assert code == 0
    names = {(f'/nurec{topic[1:]}' if topic[0] == '~' else topic): topic for topic in kinds}
    ours: dict[str, list] = {topic: [] for topic in kinds}
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

    def transforms(found):
        return {stamp_ns(one): one for message in found for one in message.transforms}

    live_tf, our_tf = transforms(heard['/tf']), transforms(ours['/tf'])
    for t_ns in times:
        assert our_tf[t_ns] == live_tf[t_ns]
    live_odom = {stamp_ns(message): message for message in heard['~/odom']}
    both = [message for message in ours['~/odom'] if stamp_ns(message) in live_odom]
    assert len(both) > 10
    for message in both:
        assert message == live_odom[stamp_ns(message)]

    def boxes(found):
        """Return what does not change with time: whose marker it is, and how it looks."""
        return {
            (marker.ns, marker.id): (marker.text, str(marker.color), marker.type)
            for message in found
            for marker in message.markers
            if marker.action == marker.ADD
        }

    # The moments are those of a timer in a live player, but the road users are the same.
    assert boxes(ours['~/tracks']) == boxes(heard['~/tracks'])
    assert boxes(ours['~/tracks'])
