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
"""Which cameras owe a picture: bookkeeping without ROS and without renders."""

from concurrent.futures import Future

from nurec_ros.ros.pictures import Pictures
import pytest

CAMERAS = ('a', 'b')


class Renders:
    """Takes orders, and ends them when the test says so."""

    def __init__(self):
        self.asked = []
        self.futures = []
        self.posted = []
        self.pictures = Pictures(self.render, self.posted.append)

    def render(self, cameras):
        self.asked.append(cameras)
        self.futures.append(Future())
        return self.futures[-1]

    def end(self, index=-1):
        """End a render, and let the executor's thread hear of it."""
        self.futures[index].set_result(None)
        while self.posted:
            self.posted.pop(0)()


@pytest.fixture
def renders():
    return Renders()


def test_nothing_is_owed_at_first(renders):
    renders.pictures.make(CAMERAS)
    assert renders.asked == []


def test_a_position_is_owed_to_those_who_listen(renders):
    renders.pictures.owe(CAMERAS)
    assert renders.pictures.ready(('b',)) == ('b',)
    renders.pictures.make(('b',))
    assert renders.asked == [('b',)]


def test_it_is_owed_once(renders):
    renders.pictures.owe(CAMERAS)
    renders.pictures.make(CAMERAS)
    renders.end()
    renders.pictures.make(CAMERAS)
    assert renders.asked == [CAMERAS]


def test_who_comes_later_gets_it_later(renders):
    renders.pictures.owe(CAMERAS)
    renders.pictures.make(('a',))
    renders.end()
    renders.pictures.make(CAMERAS)
    assert renders.asked == [('a',), ('b',)]


def test_one_at_a_time_for_a_camera_and_the_last_position_in_any_case(renders):
    for _ in range(10):
        renders.pictures.owe(CAMERAS)
        renders.pictures.make(CAMERAS)
    assert renders.asked == [CAMERAS]
    renders.end()
    renders.pictures.make(CAMERAS)
    assert renders.asked == [CAMERAS, CAMERAS]
    renders.end()
    renders.pictures.make(CAMERAS)
    assert len(renders.asked) == 2


def test_another_camera_does_not_wait(renders):
    renders.pictures.owe(('a',))
    renders.pictures.make(CAMERAS)
    renders.pictures.owe(('b',))
    renders.pictures.make(CAMERAS)
    assert renders.asked == [('a',), ('b',)]


@pytest.mark.parametrize(
    ('counts', 'expected'),
    [
        ([1], 1),
        ([1, 1], 1),
        ([1, 2], 2),
        ([2, 1], 1),
        ([2, 1, 2], 2),
        ([0, 3], 1),
        ([1, 0, 1], 2),
    ],
)
def test_each_growth_of_the_audience_is_a_picture(renders, counts, expected):
    for count in counts:
        renders.pictures.count({'a': (count,)})
        renders.pictures.make(('a',) if count else ())
        if renders.futures and not renders.futures[-1].done():
            renders.end()
    assert len(renders.asked) == expected


def test_who_changes_from_one_topic_to_another_is_new_there(renders):
    renders.pictures.count({'a': (1, 0)})
    renders.pictures.make(('a',))
    renders.end()
    renders.pictures.count({'a': (0, 1)})
    renders.pictures.make(('a',))
    assert renders.asked == [('a',), ('a',)]


def test_who_comes_during_a_render_gets_one_of_his_own(renders):
    renders.pictures.count({'a': (1,)})
    renders.pictures.make(('a',))
    renders.pictures.count({'a': (2,)})
    renders.pictures.make(('a',))
    assert len(renders.asked) == 1
    renders.end()
    renders.pictures.make(('a',))
    assert len(renders.asked) == 2


def test_where_frames_come_by_themselves_nothing_is_owed(renders):
    renders.pictures.owe(CAMERAS)
    renders.pictures.forget(['a'])
    renders.pictures.make(CAMERAS)
    assert renders.asked == [('b',)]


def test_a_render_that_ends_at_once(renders):
    """The future may be done before anybody can add a callback to it."""
    done = Future()
    done.set_result(None)
    posted = []
    pictures = Pictures(lambda cameras: done, posted.append)
    pictures.owe(('a',))
    pictures.make(('a',))
    pictures.owe(('a',))
    assert pictures.ready(('a',)) == ()
    posted.pop()()
    assert pictures.ready(('a',)) == ('a',)
