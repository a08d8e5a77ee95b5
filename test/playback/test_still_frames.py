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
"""Which cameras owe a still frame: bookkeeping without ROS and without renders."""

from nurec_ros.playback.waiting import StillFrames
import pytest

BOTH = ('a', 'b')


@pytest.fixture
def stills():
    return StillFrames()


def test_nothing_is_owed_at_first(stills):
    assert stills.begin(BOTH) == ()


def test_what_is_owed_is_asked_for_once_for_those_who_are_subscribed(stills):
    stills.owe(BOTH)
    assert stills.begin(('b',)) == ('b',)
    stills.end(('b',))
    # Who comes later gets it later.
    assert stills.begin(BOTH) == ('a',)
    stills.end(('a',))
    assert stills.begin(BOTH) == ()


def test_one_at_a_time_for_a_camera_and_the_last_position_in_any_case(stills):
    stills.owe(('a',))
    assert stills.begin(BOTH) == ('a',)
    for _ in range(10):
        stills.owe(('a',))
        assert stills.begin(BOTH) == ()
    stills.owe(('b',))
    assert stills.begin(BOTH) == ('b',)
    stills.end(('a',))
    assert stills.begin(BOTH) == ('a',)
    stills.end(BOTH)
    assert stills.begin(BOTH) == ()


def test_where_frames_come_by_themselves_nothing_is_owed(stills):
    stills.owe(BOTH)
    stills.forget(['a'])
    assert stills.begin(BOTH) == ('b',)


@pytest.mark.parametrize(
    ('counts', 'expected'),
    [
        ([(1,)], 1),
        ([(1,), (1,)], 1),
        ([(1,), (2,)], 2),
        ([(2,), (1,)], 1),
        ([(2,), (1,), (2,)], 2),
        ([(0,), (3,)], 1),
        ([(1,), (0,), (1,)], 2),
        # From one topic to another: new there.
        ([(1, 0), (0, 1)], 2),
        # A camera that got a topic more.
        ([(1,), (1, 1)], 2),
    ],
)
def test_each_growth_of_the_audience_owes_a_frame(stills, counts, expected):
    asked = 0
    for numbers in counts:
        stills.count({'a': numbers})
        cameras = stills.begin(('a',) if any(numbers) else ())
        asked += len(cameras)
        stills.end(cameras)
    assert asked == expected


def test_who_comes_during_a_render_gets_one_of_their_own(stills):
    stills.count({'a': (1,)})
    assert stills.begin(('a',)) == ('a',)
    stills.count({'a': (2,)})
    assert stills.begin(('a',)) == ()
    stills.end(('a',))
    assert stills.begin(('a',)) == ('a',)
