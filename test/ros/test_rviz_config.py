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
"""config/nurec.rviz against what a running player offers: topics, types, QoS, frames."""

from pathlib import Path
import re
from test.support.listener import Listener
from test.support.player_bench import running_player

from nurec_ros.example import write_example
from nurec_ros.ros.sensor_topics import LAYOUTS
from nurec_ros.scenario import Scenario
import pytest
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    qos_check_compatible,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
)
from tf2_msgs.msg import TFMessage
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'config' / 'nurec.rviz'
PLUGINS = 'rviz_default_plugins/'
PICTURES = ('Camera', 'Image')

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

DOCUMENT = yaml.safe_load(CONFIG.read_text())
MANAGER = DOCUMENT['Visualization Manager']
DISPLAYS = {display['Name']: display for display in MANAGER['Displays']}
WITH_TOPIC = [name for name, display in DISPLAYS.items() if 'Topic' in display]


def kind_of(display):
    """Return a display's kind, without the name of the plugins' package."""
    kind = display['Class']
    assert kind.startswith(PLUGINS)
    return kind.removeprefix(PLUGINS)


def subscription_qos(display):
    """Return the QoS that rviz subscribes with."""
    topic = display['Topic']
    return QoSProfile(
        depth=topic['Depth'],
        reliability=RELIABILITY[topic['Reliability Policy']],
        durability=DURABILITY[topic['Durability Policy']],
        history=HISTORY[topic['History Policy']],
        liveliness=LivelinessPolicy.AUTOMATIC,
    )


class Offer:
    """A running player's publishers and frames, for an observer."""

    def __init__(self, listener):
        self.listener = listener
        self.tf = listener.listen(TFMessage, '/tf')
        self.tf_static = listener.listen(TFMessage, '/tf_static', latched=True)

    def publisher(self, topic):
        """Return the type and QoS of the one publisher of a topic."""
        node = self.listener.node
        found = self.listener.until(lambda: node.get_publishers_info_by_topic(topic), topic)
        assert len(found) == 1, topic
        return found[0]

    def frames(self):
        """Return all frames."""
        self.listener.until(lambda: self.tf and self.tf_static, 'frames')
        messages = [*self.tf, *self.tf_static]
        transforms = [one for message in messages for one in message.transforms]
        return {one.header.frame_id for one in transforms} | {
            one.child_frame_id for one in transforms
        }


@pytest.fixture(scope='module')
def offer(tmp_path_factory):
    """Return what a player offers that is driven, with the six cameras and the lidar."""
    import rclpy

    folder = tmp_path_factory.mktemp('player')
    context = rclpy.Context()
    rclpy.init(context=context)
    listener = Listener(context)
    usdz_path = write_example(folder / 'street.usdz', duration_s=2.0)
    parameters = {'usdz_path': usdz_path, 'server': 'localhost:1', 'ego_source': 'twist'}
    with running_player(folder, parameters) as player:
        found = Offer(listener)
        listener.until(lambda: player.alive() and found.tf, 'the first transform')
        yield found
    listener.close()
    rclpy.try_shutdown(context=context)


def test_every_display_is_of_a_known_kind():
    assert len(DISPLAYS) == len(MANAGER['Displays'])
    for display in DISPLAYS.values():
        kind = kind_of(display)
        assert (TYPES[kind] is not None) == ('Topic' in display)


def test_the_road_users_the_ego_and_its_path_are_shown():
    shown = {display['Topic']['Value'] for display in DISPLAYS.values() if 'Topic' in display}
    assert {'/nurec/tracks', '/nurec/ego', '/nurec/path', '/nurec/odom'} <= shown
    assert {'/nurec/ego_recorded', '/nurec/driven_path', '/nurec/map'} <= shown
    assert 'TF' in {kind_of(display) for display in DISPLAYS.values()}


@pytest.mark.parametrize('name', WITH_TOPIC)
def test_topic_is_below_the_players_default_name(name):
    """Let the launch file put another name in its place."""
    assert DISPLAYS[name]['Topic']['Value'].startswith('/nurec/')


@pytest.mark.parametrize('name', WITH_TOPIC)
def test_topic_is_offered_with_that_type(offer, name):
    display = DISPLAYS[name]
    publisher = offer.publisher(display['Topic']['Value'])
    assert publisher.topic_type == TYPES[kind_of(display)]


@pytest.mark.parametrize('name', WITH_TOPIC)
def test_qos_fits_what_is_offered(offer, name):
    display = DISPLAYS[name]
    publisher = offer.publisher(display['Topic']['Value'])
    wanted = subscription_qos(display)
    compatibility, reason = qos_check_compatible(publisher.qos_profile, wanted)
    # The depth of a remote publisher is not known, and no matter of compatibility.
    assert compatibility == QoSCompatibility.OK, reason
    # What is latched must be asked for as latched, else it comes once and never again.
    assert wanted.durability == publisher.qos_profile.durability


@pytest.mark.parametrize('name', [n for n in WITH_TOPIC if kind_of(DISPLAYS[n]) == 'Camera'])
def test_camera_display_finds_its_calibration(offer, name):
    """The Camera display subscribes beside the image, by name."""
    image = DISPLAYS[name]['Topic']['Value']
    publisher = offer.publisher(image.rpartition('/')[0] + '/camera_info')
    assert publisher.topic_type == 'sensor_msgs/msg/CameraInfo'


def test_frames_exist(offer):
    frames = offer.frames()
    assert MANAGER['Global Options']['Fixed Frame'] == 'map'
    views = MANAGER['Views']
    for view in (views['Current'], *views['Saved']):
        assert view['Target Frame'] in frames
    assert 'map' in frames


def test_points_are_coloured_by_the_field_that_they_have(offer):
    """Show the lidar of NuRec's rigs, which the example has too."""
    clouds = [display for display in DISPLAYS.values() if kind_of(display) == 'PointCloud2']
    assert [display['Topic']['Value'] for display in clouds] == [f'/nurec/{LIDAR}/points']
    (display,) = clouds
    assert display['Color Transformer'] == 'Intensity'
    for layout in ('xyzi', 'xyzirc'):
        assert display['Channel Name'] in (LAYOUTS[layout].names or ())
    # It is 0 to 1 in one layout, 0 to 255 in the other.
    assert display['Autocompute Intensity Bounds'] is True
    assert LIDAR in offer.frames()


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
    assert docks() == {
        'Displays': True,
        'Views': True,
        'Time': True,
        'Overlay': False,
        **dict.fromkeys(CAMERAS, True),
    }
    assert DISPLAYS['Overlay']['Enabled'] is False


def test_the_overlay_shows_every_display_but_what_is_around_the_camera():
    visibility = DISPLAYS['Overlay']['Visibility']
    # Pictures are no geometry, which alone can be seen in another display.
    others = {name for name, display in DISPLAYS.items() if kind_of(display) not in PICTURES}
    assert set(visibility) == {*others, 'Value'}
    assert {name for name, seen in visibility.items() if not seen} == {'Ego', 'TF'}


@pytest.mark.parametrize('camera', CAMERAS)
def test_every_camera_has_an_image_in_the_window(camera):
    """A dock of its own, placed by the saved layout."""
    display = DISPLAYS[camera]
    assert kind_of(display) == 'Image'
    assert display['Topic']['Value'] == f'/nurec/{camera}/image_raw'
    geometry = DOCUMENT['Window Geometry']
    assert geometry[camera] == {'collapsed': False}
    assert docks()[camera]


def test_the_cameras_are_those_of_the_public_scenes(pittsburgh):
    assert tuple(Scenario.load(pittsburgh).cameras) == CAMERAS
