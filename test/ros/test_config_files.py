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
"""config/nurec.rviz against what a running player offers; config/fastdds_shm.xml and its use."""

from collections.abc import Iterator
import os
from pathlib import Path
import re
import subprocess
import sys
from test.support.player_bench import Bench, NOWHERE
import time
from typing import Any
from xml.etree import ElementTree

from nurec_ros.example import make_example, write_example
from nurec_ros.ros.sensor_topics import LAYOUTS
from nurec_ros.scenario import Scenario
import pytest
import rclpy
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    qos_check_compatible,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage
import yaml

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).resolve().parents[2] / 'config'
PLUGINS = 'rviz_default_plugins/'

# What each kind of display subscribes to; those with None have no topic of their own.
TYPES = {
    'Camera': 'sensor_msgs/msg/Image',
    'Grid': None,
    'Image': 'sensor_msgs/msg/Image',
    'MarkerArray': 'visualization_msgs/msg/MarkerArray',
    'Odometry': 'nav_msgs/msg/Odometry',
    'Path': 'nav_msgs/msg/Path',
    'PointCloud2': 'sensor_msgs/msg/PointCloud2',
    'TF': None,
}
# As rviz writes them.
RELIABILITY = {
    'Reliable': ReliabilityPolicy.RELIABLE,
    'Best Effort': ReliabilityPolicy.BEST_EFFORT,
}
DURABILITY = {
    'Transient Local': DurabilityPolicy.TRANSIENT_LOCAL,
    'Volatile': DurabilityPolicy.VOLATILE,
}
HISTORY = {'Keep Last': HistoryPolicy.KEEP_LAST}

# The rig of NuRec's public scenes.
CAMERAS = (
    'camera_front_wide_120fov',
    'camera_front_tele_30fov',
    'camera_cross_left_120fov',
    'camera_cross_right_120fov',
    'camera_rear_left_70fov',
    'camera_rear_right_70fov',
)
LIDAR = 'lidar_gt_top_p128'

DOCUMENT = yaml.safe_load((CONFIG / 'nurec.rviz').read_text())
MANAGER = DOCUMENT['Visualization Manager']
DISPLAYS = {display['Name']: display for display in MANAGER['Displays']}
KINDS = {name: display['Class'].removeprefix(PLUGINS) for name, display in DISPLAYS.items()}
SHOWN = {name: one['Topic']['Value'] for name, one in DISPLAYS.items() if 'Topic' in one}


@pytest.fixture(scope='module')
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Return a player that is driven, with the six cameras and the lidar."""
    folder = tmp_path_factory.mktemp('player')
    context = rclpy.Context()
    rclpy.init(context=context)
    usdz_path = write_example(folder / 'street.usdz', make_example(duration_s=2.0))
    parameters = {'usdz_path': usdz_path, 'server': NOWHERE, 'ego_source': 'twist'}
    bench = Bench(folder, context, parameters, quick=True)
    yield bench.ready()
    bench.close()
    rclpy.try_shutdown(context=context)


@pytest.fixture(scope='module')
def frames(bench: Bench) -> set[str]:
    messages = [
        bench.listen(TFMessage, '/tf'),
        bench.listen(TFMessage, '/tf_static', latched=True),
    ]
    bench.until(lambda: all(messages), 'frames')
    transforms = [one for heard in messages for message in heard for one in message.transforms]
    parents = {one.header.frame_id for one in transforms}
    return parents | {one.child_frame_id for one in transforms}


def publisher(bench: Bench, topic: str) -> Any:
    """Return the type and QoS of the one publisher of a topic."""
    (found,) = bench.until(lambda: bench.listener.node.get_publishers_info_by_topic(topic), topic)
    return found


def test_every_display_is_of_a_known_kind_and_every_topic_is_shown():
    assert len(DISPLAYS) == len(MANAGER['Displays'])
    for name, display in DISPLAYS.items():
        assert display['Class'].startswith(PLUGINS)
        assert (TYPES[KINDS[name]] is not None) == ('Topic' in display)
    # Below the player's default name, in whose place the launch file puts another.
    assert all(topic.startswith('/nurec/') for topic in SHOWN.values())
    topics = ('tracks', 'ego', 'path', 'odom', 'ego_recorded', 'driven_path', 'map')
    assert {f'/nurec/{name}' for name in topics} <= set(SHOWN.values())
    assert 'TF' in KINDS.values()


@pytest.mark.parametrize('name', SHOWN)
def test_topic_is_offered_with_that_type_and_qos(bench, name):
    topic = DISPLAYS[name]['Topic']
    wanted = QoSProfile(
        depth=topic['Depth'],
        reliability=RELIABILITY[topic['Reliability Policy']],
        durability=DURABILITY[topic['Durability Policy']],
        history=HISTORY[topic['History Policy']],
        liveliness=LivelinessPolicy.AUTOMATIC,
    )
    offered = publisher(bench, topic['Value'])
    assert offered.topic_type == TYPES[KINDS[name]]
    compatibility, reason = qos_check_compatible(offered.qos_profile, wanted)
    # The depth of a remote publisher is not known, and no matter of compatibility.
    assert compatibility == QoSCompatibility.OK, reason
    # What is latched must be asked for as latched, else it comes once and never again.
    assert wanted.durability == offered.qos_profile.durability
    if KINDS[name] == 'Camera':
        # It subscribes to the calibration beside the image, by name.
        info = publisher(bench, topic['Value'].rpartition('/')[0] + '/camera_info')
        assert info.topic_type == 'sensor_msgs/msg/CameraInfo'


def test_frames_exist(frames):
    assert MANAGER['Global Options']['Fixed Frame'] == 'map'
    views = MANAGER['Views']
    targets = {view['Target Frame'] for view in (views['Current'], *views['Saved'])}
    assert targets | {'map', LIDAR} <= frames


def test_points_are_coloured_by_the_field_that_they_have():
    """Show the lidar of NuRec's rigs, which the example has too."""
    (display,) = (DISPLAYS[name] for name, kind in KINDS.items() if kind == 'PointCloud2')
    assert display['Topic']['Value'] == f'/nurec/{LIDAR}/points'
    assert display['Color Transformer'] == 'Intensity'
    for layout in ('xyzi', 'xyzirc'):
        assert display['Channel Name'] in (LAYOUTS[layout].names or ())
    # It is 0 to 1 in one layout, 0 to 255 in the other.
    assert display['Autocompute Intensity Bounds'] is True


def docks():
    """
    Return whether each dock is visible, by its name, as rviz restores it.

    In Qt's saved state of a main window each dock is the byte FB, its name (the length in bytes,
    then UTF-16), and a byte of flags, the lowest of which says that it is visible.
    """
    state = bytes.fromhex(DOCUMENT['Window Geometry']['QMainWindow State'])
    found = {}
    for start in (match.end() for match in re.finditer(b'\xfb', state)):
        name_start = start + 4
        flags = name_start + int.from_bytes(state[start:name_start], 'big')
        name = state[name_start:flags].decode('utf-16-be', 'replace')
        if name and name.isascii() and name.isprintable():
            found[name] = bool(state[flags] & 1)
    return found


def test_docks_are_visible_but_for_the_overlay():
    """Rviz enables a display whose dock is visible, whatever the file says of the display."""
    others = dict.fromkeys(('Displays', 'Views', 'Time'), True)
    assert docks() == {**others, 'Overlay': False, **dict.fromkeys(CAMERAS, True)}
    assert DISPLAYS['Overlay']['Enabled'] is False
    for camera in CAMERAS:
        # A dock of its own, placed by the saved layout.
        assert (KINDS[camera], SHOWN[camera]) == ('Image', f'/nurec/{camera}/image_raw')
        assert DOCUMENT['Window Geometry'][camera] == {'collapsed': False}


def test_the_overlay_shows_every_display_but_what_is_around_the_camera():
    visibility = DISPLAYS['Overlay']['Visibility']
    # Pictures are no geometry, which alone can be seen in another display.
    others = {name for name, kind in KINDS.items() if kind not in ('Camera', 'Image')}
    assert set(visibility) == {*others, 'Value'}
    assert {name for name, seen in visibility.items() if not seen} == {'Ego', 'TF'}


def test_the_cameras_are_those_of_the_public_scenes(pittsburgh):
    assert tuple(Scenario.load(pittsburgh).cameras) == CAMERAS


# Shared memory.

PROFILE = CONFIG / 'fastdds_shm.xml'
NAMESPACE = '{http://www.eprosima.com}'
SEGMENT = 32 * 2**20
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')

# Publishes one 1080p picture for each line that it reads and says so; first, what shared memory it
# has itself: in /dev/shm other processes' files come and go.
PUBLISHER = r"""
import pathlib, re, sys, time
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image
rclpy.init()
node = Node('sender')
publisher = node.create_publisher(Image, '/picture', 10)
maps = pathlib.Path('/proc/self/maps').read_text()
spans = re.findall(r'^([0-9a-f]+)-([0-9a-f]+) .* /dev/shm/', maps, re.M)
print(max(int(end, 16) - int(begin, 16) for begin, end in spans), flush=True)
message = Image(width=1920, height=1080)
message.data.frombytes(bytes(1920 * 1080 * 3))
for line in sys.stdin:
    while not publisher.get_subscription_count():
        time.sleep(0.01)
    message.header.frame_id = line.strip()
    publisher.publish(message)
    print('published', flush=True)
"""
# A picture that does not come is sent again after so long.
AGAIN_S = 3.0


def free_shared_memory() -> int:
    try:
        found = os.statvfs('/dev/shm')
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def test_the_profile_is_the_default_one_with_shared_memory_and_udp():
    profiles = ElementTree.parse(PROFILE).getroot().find(f'{NAMESPACE}profiles')
    participant = profiles.find(f'{NAMESPACE}participant')
    assert participant.get('is_default_profile') == 'true'
    transports = {
        found.findtext(f'{NAMESPACE}transport_id'): found
        for found in profiles.iter(f'{NAMESPACE}transport_descriptor')
    }
    used = [transports[one.text] for one in participant.iter(f'{NAMESPACE}transport_id')]
    assert [one.findtext(f'{NAMESPACE}type') for one in used] == ['SHM', 'UDPv4']
    assert used[0].findtext(f'{NAMESPACE}segment_size') == str(SEGMENT)
    assert participant.find(f'.//{NAMESPACE}useBuiltinTransports').text == 'false'


@pytest.mark.skipif(
    'fastrtps' not in get_rmw_implementation_identifier(), reason='the profile is of Fast DDS'
)
@pytest.mark.skipif(free_shared_memory() < 2 * SEGMENT, reason='/dev/shm is too small')
def test_raw_pictures_reach_a_best_effort_reader_and_only_the_publisher_needs_it(listener):
    received: list[Image] = []
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    listener.node.create_subscription(Image, '/picture', received.append, qos)
    with subprocess.Popen(
        [sys.executable, '-c', PUBLISHER],
        env=os.environ | dict.fromkeys(VARIABLES, str(PROFILE)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as sender:
        assert int(sender.stdout.readline()) >= SEGMENT
        listener.until(lambda: listener.node.count_publishers('/picture'), 'the publisher')
        sent_s = 0.0

        def sent_and_received(name: str) -> bool:
            nonlocal sent_s
            # It may be lost: the reader takes what it gets.
            if time.monotonic() - sent_s > AGAIN_S:
                sender.stdin.write(f'{name}\n')
                sender.stdin.flush()
                assert sender.stdout.readline() == 'published\n'
                sent_s = time.monotonic()
            return any(message.header.frame_id == name for message in received)

        for name in 'abcd':
            sent_s = -AGAIN_S
            listener.until(lambda name=name: sent_and_received(name), f'picture {name}')
        # It ends with its input, and takes its shared memory along.
        sender.stdin.close()
    assert len(received[-1].data) == 1920 * 1080 * 3
