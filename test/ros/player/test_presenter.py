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
"""In what order a moment, a jump and another scenario go out; without a middleware."""

from test.support.archives import build_archive, START_US
from test.support.player_bench import stamp_ns
from test.support.recorder import Recorder
from types import SimpleNamespace

from nurec_ros.ros.presenter import Presenter, QUIET_S
from nurec_ros.scenario import Scenario
import pytest
from visualization_msgs.msg import Marker

BEGIN_NS = START_US * 1000
MS = 1_000_000

PARAMETERS = {
    'publish_clock': True,
    'publish_tf': True,
    'publish_camera_frames': True,
    'publish_earth_frame': False,
    'map_frame': 'map',
    'base_frame': 'base_link',
    'odom_frame': '',
    'frame_prefix': '',
    'velocity_arrows': False,
    'trail_length_s': 0.0,
}


class Journal(Recorder):
    """A recorder that also keeps the order among topics."""

    def __init__(self):
        super().__init__()
        self.order = []

    def create_publisher(self, message_type, topic, qos, **options):
        publisher = super().create_publisher(message_type, topic, qos, **options)
        publish = publisher.publish

        def note(message):
            self.order.append(topic)
            publish(message)

        publisher.publish = note
        return publisher


class Stage:
    """A presenter with a clock of the test's."""

    def __init__(self, usdz, **parameters):
        self.node = Journal()
        self.time_s = 50.0
        self.scenario = Scenario.load(usdz)
        values = SimpleNamespace(**{**PARAMETERS, **parameters})
        self.presenter = Presenter(self.node, values, self.scenario, now=lambda: self.time_s)
        self.presenter.change(self.scenario)

    def settled(self):
        """Show the first moment, and forget that it was shown."""
        assert self.presenter.settle(BEGIN_NS)
        self.clear()
        self.time_s += 1.0
        return self

    def clear(self):
        self.node.order.clear()
        for topic in self.node.topics.values():
            topic.messages.clear()

    def messages(self, topic):
        return self.node.topics[topic].messages


@pytest.fixture
def stage(usdz):
    return Stage(usdz)


def test_the_first_moment(stage):
    assert stage.presenter.settle(BEGIN_NS)
    assert stage.node.order == [
        '/clock',
        '/tf_static',
        '~/path',
        '~/ego',
        '/tf',
        '~/odom',
        '~/tracks',
        '~/objects',
    ]
    assert not stage.presenter.settle(BEGIN_NS)


def test_a_jump_back_clears_first(stage):
    stage.settled().presenter.jump_back()
    assert stage.presenter.settle(BEGIN_NS)
    assert stage.node.order[:3] == ['/clock', '~/tracks', '~/path']
    (deletion,) = stage.messages('~/tracks')[0].markers
    assert deletion.action == Marker.DELETEALL


def test_nothing_goes_out_before_listeners_had_time_for_the_old(stage):
    presenter = stage.settled().presenter
    presenter.clock(BEGIN_NS + 500 * MS)
    presenter.pose(BEGIN_NS + 500 * MS)
    stage.clear()
    presenter.jump_back()
    for _ in range(3):
        assert not presenter.settle(BEGIN_NS)
        presenter.clock(BEGIN_NS)
        presenter.pose(BEGIN_NS, [BEGIN_NS])
        presenter.tracks(BEGIN_NS)
        presenter.repeat(BEGIN_NS)
        presenter.whole(BEGIN_NS)
        stage.time_s += QUIET_S / 4
    # The clock goes on where it was, so that nobody takes it for dead.
    assert set(stage.node.order) == {'/clock'}
    assert {stamp_ns(clock) for clock in stage.messages('/clock')} == {BEGIN_NS + 500 * MS}
    assert presenter.unsettled
    stage.time_s += QUIET_S / 2
    assert presenter.settle(BEGIN_NS)
    assert not presenter.unsettled


def test_a_jump_forward_is_shown_at_once_and_clears_nothing(stage):
    presenter = stage.settled().presenter
    presenter.pose(BEGIN_NS)
    stage.clear()
    presenter.jump()
    assert presenter.unsettled
    assert presenter.settle(BEGIN_NS + 300 * MS)
    assert stage.node.order == ['/clock', '/tf', '~/odom', '~/tracks', '~/objects']
    assert stamp_ns(stage.messages('/clock')[0]) == BEGIN_NS + 300 * MS


def test_the_position_shown_is_the_last_one(stage):
    """Two jumps before the first could be shown: it is one."""
    presenter = stage.settled().presenter
    presenter.clock(BEGIN_NS + 500 * MS)
    presenter.pose(BEGIN_NS + 500 * MS)
    stage.clear()
    presenter.jump_back()
    presenter.jump()
    stage.time_s += 1.0
    assert presenter.settle(BEGIN_NS + 200 * MS)
    assert stage.node.order.count('/clock') == 1
    assert stamp_ns(stage.messages('/clock')[0]) == BEGIN_NS + 200 * MS


def test_another_scenario(stage, tmp_path):
    def without_box(document):
        del document['rig_trajectories'][0]['rig_bbox']

    other = Scenario.load(
        build_archive(tmp_path, start_us=5_000_000, cameras=('roof',), edit_rig=without_box)
    )
    stage.settled().presenter.change(other)
    stage.time_s += 1.0
    assert stage.presenter.settle(other.start_ns)
    assert stage.node.order[:3] == ['/clock', '~/tracks', '/tf_static']
    frames = [one.child_frame_id for one in stage.messages('/tf_static')[0].transforms]
    assert frames == ['roof', 'roof_optical_frame']
    assert stamp_ns(stage.messages('~/path')[0].poses[0]) == 5_000_000_000
    (deletion,) = stage.messages('~/ego')[0].markers
    assert deletion.action == Marker.DELETEALL
    # Gone is gone: the second showing says no more about it.
    stage.clear()
    stage.presenter.whole(other.start_ns)
    assert stage.messages('~/ego') == []


def test_images_stamps_are_in_the_message_of_the_moment(stage):
    presenter = stage.settled().presenter
    times = [BEGIN_NS + 30 * MS, BEGIN_NS + 10 * MS, BEGIN_NS + 30 * MS]
    presenter.pose(BEGIN_NS + 40 * MS, times)
    (message,) = stage.messages('/tf')
    assert [stamp_ns(one) - BEGIN_NS for one in message.transforms] == [10 * MS, 30 * MS, 40 * MS]
    (odometry,) = stage.messages('~/odom')
    assert stamp_ns(odometry) == BEGIN_NS + 40 * MS


def test_an_image_at_the_position_adds_nothing(stage):
    stage.settled().presenter.pose(BEGIN_NS, [BEGIN_NS])
    assert len(stage.messages('/tf')[0].transforms) == 1


@pytest.mark.parametrize(
    ('parameter', 'topics'), [('publish_tf', {'/tf', '~/odom'}), ('publish_clock', {'/clock'})]
)
def test_what_is_switched_off_is_not_there(usdz, parameter, topics):
    stage = Stage(usdz, **{parameter: False})
    assert stage.presenter.settle(BEGIN_NS)
    assert not topics & set(stage.node.order)
    assert '~/path' in stage.node.order


def test_without_transforms_nothing_waits(usdz):
    stage = Stage(usdz, publish_tf=False).settled()
    stage.presenter.pose(BEGIN_NS)
    stage.presenter.jump_back()
    assert stage.presenter.settle(BEGIN_NS)
