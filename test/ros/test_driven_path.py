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
"""The driven path as it is published: whole, thinned as the ego's own, a long one now and then."""

from test.driving.drives import SECOND, straight, T0
from test.support.outlet import RecordingOutlet
from test.support.player_bench import stamp_ns
from types import SimpleNamespace

import numpy as np
from nurec_ros.driving import motion, TwistCommand
from nurec_ros.driving.ego import DrivenEgo
from nurec_ros.ros import ego_topics
from nurec_ros.ros.ego_topics import DrivenTopics
from nurec_ros.ros.names import FrameNames
import pytest

pytestmark = pytest.mark.ros


@pytest.fixture
def ego(monkeypatch):
    """Return an ego that drives 100 m/s, and keeps 400 poses of its way."""
    monkeypatch.setattr(motion, 'MOST_DRIVEN', 400)
    found = DrivenEgo(straight(speed=0.0), T0, source='twist', command_timeout_ns=0)
    found.put(TwistCommand(0, 100.0, 0.0), halted=True)
    return found


def shown(outlet):
    """Return stamps and places of the poses in each message."""
    return [
        [(stamp_ns(one), one.pose.position.x) for one in message.poses]
        for message in outlet.messages('~/driven_path')
    ]


def test_it_is_that_of_the_ego_whatever_became_of_it(ego):
    outlet = RecordingOutlet()
    topics = DrivenTopics(outlet)
    for seconds in (1, 2, 4, 5, 9):
        ego.advance_to(T0 + seconds * SECOND)
        topics.show_path(ego, 'map', all_of_it=True)
        assert shown(outlet)[-1] == [(row.t_ns, row.position[0]) for row in ego.driven_path]
    # Without a change there is nothing to say.
    topics.show_path(ego, 'map', all_of_it=True)
    assert [len(poses) for poses in shown(outlet)][:2] == [101, 201]
    assert len(shown(outlet)) == 5
    ego.jump(T0)
    topics.show_path(ego, 'map', all_of_it=True)
    assert shown(outlet)[-1] == [(T0, 0.0)]


def test_while_the_clock_plays_a_long_one_waits(ego, monkeypatch):
    clock = SimpleNamespace(now_s=100.0)
    clock.monotonic = lambda: clock.now_s
    monkeypatch.setattr(ego_topics, 'time', clock)
    outlet = RecordingOutlet()
    topics = DrivenTopics(outlet)
    counts = []
    # Some 105 poses may go out every 0.053 s.
    for now_s in (100.0, 100.05, 100.11, 100.12):
        clock.now_s = now_s
        ego.advance_to(ego.passed_ns + (SECOND if not counts else SECOND // 20))
        topics.show_path(ego, 'map', all_of_it=False)
        counts.append(len(shown(outlet)))
    assert counts == [1, 1, 2, 2]
    topics.show_path(ego, 'map', all_of_it=True)
    assert len(shown(outlet)) == 3


def test_the_box_of_the_recorded_ego_is_shown_where_there_is_one():
    outlet = RecordingOutlet()
    topics = DrivenTopics(outlet)
    frames = FrameNames.create(cameras=[], prefix='two/')
    box = SimpleNamespace(centre=np.array([1.5, 0.0, 0.8]), dims=np.array([4.5, 1.9, 1.6]))
    for found in (None, box):
        topics.show_box(SimpleNamespace(rig_bbox=found), frames, T0)
    (message,) = outlet.messages('~/ego_recorded')
    (marker,) = message.markers
    assert (marker.scale.x, marker.pose.position.x) == (4.5, 1.5)
    assert marker.header.frame_id == 'two/recorded_base_link'
