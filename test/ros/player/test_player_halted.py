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
"""A halted player: whoever comes sees the moment, and one picture of each camera."""

from test.support.archives import CAMERAS, START_US
from test.support.player_bench import stamp_ns

from nav_msgs.msg import Odometry, Path
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
FRONT, REAR = CAMERAS


def camera(bench, name=FRONT, kind='camera_info', message_type=CameraInfo):
    """Listen to one topic of a camera."""
    return bench.listen(message_type, f'~/{name}/{kind}')


def test_late_joiners_see_the_moment(bench):
    """Whatever the topic, latched or repeated: it comes without anything being asked for."""
    bench.seek(BEGIN_NS + 700_000_000)
    topics = {
        '/tf': (TFMessage, False),
        '/tf_static': (TFMessage, True),
        '~/odom': (Odometry, False),
        '~/path': (Path, True),
        '~/ego': (MarkerArray, True),
        '~/tracks': (MarkerArray, False),
        '~/objects': (Detection3DArray, False),
    }
    heard = {
        topic: bench.listen(kind, topic, latched=latched)
        for topic, (kind, latched) in topics.items()
    }
    for topic, messages in heard.items():
        bench.until(lambda messages=messages: messages, topic)
    now = BEGIN_NS + 700_000_000
    assert stamp_ns(heard['~/odom'][0]) == now
    assert stamp_ns(heard['/tf'][0].transforms[-1]) == now
    assert stamp_ns(heard['~/objects'][0]) == now
    assert {stamp_ns(marker) for marker in heard['~/tracks'][0].markers} == {now}
    shown = {marker.ns for marker in heard['~/tracks'][0].markers if marker.action == Marker.ADD}
    assert shown == {
        'automobile',
        'automobile/text',
        'person',
        'person/text',
        'heavy_truck',
        'heavy_truck/text',
    }


def test_moment_is_repeated_with_unchanged_stamps(bench):
    transforms = bench.listen(TFMessage, '/tf')
    odometry = bench.listen(Odometry, '~/odom')
    tracks = bench.listen(MarkerArray, '~/tracks')
    bench.until(lambda: transforms and odometry and tracks, 'the first of each')
    now = BEGIN_NS + 300_000_000
    bench.seek(now)

    def newest():
        shown = [*transforms[-1].transforms, odometry[-1], *tracks[-1].markers]
        return {stamp_ns(one) for one in shown}

    # Nothing of the moment before comes after these.
    bench.until(lambda: tracks[-1].markers and newest() == {now}, 'the moment')
    for messages in (transforms, odometry, tracks):
        messages.clear()
    bench.until(lambda: min(len(transforms), len(odometry), len(tracks)) >= 4, 'repetitions')
    assert {stamp_ns(one) for message in transforms for one in message.transforms} == {now}
    assert {stamp_ns(message) for message in odometry} == {now}
    markers = [marker for message in tracks for marker in message.markers]
    assert {stamp_ns(marker) for marker in markers} == {now}
    assert {marker.action for marker in markers} == {Marker.ADD}


def test_a_new_listener_gets_one_picture_of_the_position(bench):
    bench.seek(BEGIN_NS + 456_789_000)
    infos = camera(bench)
    bench.until(lambda: infos, 'the picture')
    bench.spin(bench.clocks, 50)
    assert [stamp_ns(info) for info in infos] == [BEGIN_NS + 456_789_000]


def test_every_new_listener_gets_one_whoever_listens_already(bench):
    first = camera(bench)
    bench.until(lambda: first, 'the picture of the first')
    second = camera(bench, kind='image_raw/compressed', message_type=CompressedImage)
    bench.until(lambda: second, 'the picture of the second')
    third = camera(bench, kind='image_raw', message_type=Image)
    bench.until(lambda: third, 'the picture of the third')
    assert {stamp_ns(message) for message in (*first, *second, *third)} == {BEGIN_NS}


def test_seek_and_reset_give_a_picture(bench):
    infos = camera(bench)
    bench.until(lambda: infos, 'the first picture')
    for t_ns in (BEGIN_NS + 500_000_000, BEGIN_NS + 1_500_000_000, BEGIN_NS + 250_000_000):
        bench.seek(t_ns)
        bench.until(lambda t_ns=t_ns: stamp_ns(infos[-1]) == t_ns, 'the picture after seek')
    bench.trigger('reset')
    bench.until(lambda: stamp_ns(infos[-1]) == BEGIN_NS, 'the picture after reset')


def test_many_seeks_in_a_row_end_with_the_last_position(bench):
    """A slider that is dragged does not pile up pictures, and shows where it was let go."""
    infos = camera(bench)
    bench.until(lambda: infos, 'the first picture')
    before = len(infos)
    positions = [BEGIN_NS + 10_000_000 * step for step in range(1, 41)]
    for t_ns in positions:
        bench.seek(t_ns)
    bench.until(lambda: stamp_ns(infos[-1]) == positions[-1], 'the last picture')
    stamps = [stamp_ns(info) for info in infos[before:]]
    assert stamps == sorted(stamps)
    # A second picture of begin may still have been on its way.
    assert set(stamps) <= {BEGIN_NS, *positions}


def test_the_transform_of_a_picture_is_there_before_it(bench):
    """It is sent before; ROS orders nothing between topics."""
    bench.seek(BEGIN_NS + 123_456_000)
    transforms = bench.listen_sent(TFMessage, '/tf')
    infos = bench.listen_sent(CameraInfo, f'~/{REAR}/camera_info')
    bench.until(lambda: infos, 'the picture')
    sent_ns, info = infos[0]

    def sent():
        return [
            ns
            for ns, message in transforms
            if stamp_ns(info) in {stamp_ns(one) for one in message.transforms}
        ]

    bench.until(sent, 'its transform')
    assert sent()[0] < sent_ns


def test_stop_gives_no_picture_of_its_own(bench):
    infos = camera(bench)
    bench.until(lambda: infos, 'the first picture')
    bench.trigger('play')
    bench.passes(BEGIN_NS + 300_000_000)
    position = bench.trigger('stop')['current_time_us'] * 1000
    bench.spin(bench.clocks, 50)
    due = {BEGIN_NS + 47_000_000 + 100_000_000 * k for k in range(20)} | {BEGIN_NS, position}
    assert {stamp_ns(info) for info in infos} <= due
