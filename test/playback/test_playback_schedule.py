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
"""The schedule of frame times against a plain search through lists."""

import itertools
import math
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.playback import camera_times, Due, Schedule
from nurec_ros.playback.clock import moved_inward
import pytest

MS = 1_000_000
S = 1_000_000_000


@pytest.fixture
def schedule():
    return Schedule(
        {
            'wide': np.array([100, 200, 300]) * MS,
            'tele': np.array([200, 250]) * MS,
            'none': np.array([], dtype=np.int64),
        }
    )


def test_due_is_half_open(schedule):
    assert schedule.due(100 * MS, 200 * MS, ['wide']) == [Due('wide', 200 * MS)]
    assert schedule.due(99 * MS, 199 * MS, ['wide']) == [Due('wide', 100 * MS)]
    assert schedule.due(200 * MS, 200 * MS) == []
    assert schedule.due(200 * MS - 1, 200 * MS) == [Due('tele', 200 * MS), Due('wide', 200 * MS)]


def test_due_is_ordered_by_time_then_name(schedule):
    assert schedule.due(0, S) == [
        Due('wide', 100 * MS),
        Due('tele', 200 * MS),
        Due('wide', 200 * MS),
        Due('tele', 250 * MS),
        Due('wide', 300 * MS),
    ]


def test_due_of_selected_names(schedule):
    assert schedule.due(0, S, ['tele', 'tele', 'unknown']) == [
        Due('tele', 200 * MS),
        Due('tele', 250 * MS),
    ]
    assert schedule.due(0, S, []) == []


def test_backward_span_is_empty(schedule):
    assert schedule.due(S, 0) == []


def test_next_after(schedule):
    assert schedule.next_after(0) == 100 * MS
    assert schedule.next_after(100 * MS) == 200 * MS
    assert schedule.next_after(100 * MS - 1) == 100 * MS
    assert schedule.next_after(200 * MS, ['wide']) == 300 * MS
    assert schedule.next_after(300 * MS) is None
    assert schedule.next_after(250 * MS, ['tele']) is None
    assert schedule.next_after(0, ['none']) is None
    assert schedule.next_after(0, []) is None


def test_times_are_sorted_and_unique():
    schedule = Schedule({'a': np.array([3, 1, 2, 1])})
    assert schedule.names == ('a',)
    assert schedule.times('a').tolist() == [1, 2, 3]
    with pytest.raises(KeyError):
        schedule.times('b')


def test_large_times_stay_exact():
    t = 2**62 + 1
    schedule = Schedule({'a': np.array([t, t + 1], dtype=np.int64)})
    assert schedule.due(t, t + 1) == [Due('a', t + 1)]
    assert isinstance(schedule.due(0, t)[0].t_ns, int)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from('abc'), st.lists(st.integers(0, 50)), max_size=3),
    st.integers(-1, 51),
    st.integers(-1, 51),
    st.one_of(st.none(), st.lists(st.sampled_from('abcd'))),
)
def test_agrees_with_a_plain_search(times, after, until, names):
    schedule = Schedule(times)
    pairs = {
        (t, name) for name, each in times.items() for t in each if names is None or name in names
    }
    expected = sorted(pair for pair in pairs if after < pair[0] <= until)
    assert [(due.t_ns, due.name) for due in schedule.due(after, until, names)] == expected
    later = [t for t, _ in pairs if t > after]
    assert schedule.next_after(after, names) == (min(later) if later else None)


def test_consecutive_spans_give_each_frame_once(schedule):
    edges = list(range(0, 400 * MS, 7 * MS)) + [400 * MS]
    found = []
    for after, until in itertools.pairwise(edges):
        found += schedule.due(after, until)
    assert found == schedule.due(0, 400 * MS)


# --- camera_times -------------------------------------------------------------------------------


def test_recorded_times_within_the_range():
    ends = np.array([0, 10, 20, 30, 40]) * MS
    assert camera_times(ends, 10 * MS, 30 * MS, 0).tolist() == [10 * MS, 20 * MS, 30 * MS]


def test_recorded_times_become_whole_microseconds():
    assert camera_times(np.array([1_999, 5_001]), 0, S, 0).tolist() == [1_000, 5_000]


@pytest.mark.parametrize('ends', [np.array([], dtype=np.int64), np.array([99 * S])])
def test_without_frame_times_10_hz(ends):
    times = camera_times(ends, 2 * S, 3 * S, 0)
    assert times.tolist() == [2 * S + k * 100 * MS for k in range(11)]


@pytest.mark.parametrize('rate', [1.0, 3.0, 10.0, 29.97, 30, 1 / 3, 1000.0])
def test_rate_counts_from_begin_without_drift(rate):
    begin = 27_567_868_848_000
    end = begin + 20 * S
    times = camera_times(np.array([begin + 1]), begin, end, rate)
    assert times[0] == begin
    assert times.dtype == np.int64
    assert not np.any(times % 1000)
    for k, t in enumerate(times.tolist()):
        assert abs(t - (begin + k / rate * 1e9)) <= 600
    assert times[-1] <= end
    assert len(times) in (math.floor(20 * rate) + 1, math.floor(20 * rate + 1e-9) + 1)


def test_rate_beyond_a_microsecond_gives_each_microsecond_once():
    assert camera_times(np.array([]), 0, 3_000, 5e6).tolist() == [0, 1_000, 2_000, 3_000]


def test_range_without_a_whole_microsecond_gives_nothing():
    assert camera_times(np.array([]), 1_001, 1_999, 10).tolist() == []
    assert camera_times(np.array([]), 2_000, 1_000, 0).tolist() == []
    assert camera_times(np.array([]), 1_999, 2_001, 10).tolist() == [2_000]


@pytest.mark.parametrize('rate', [-1.0, float('nan'), float('inf')])
def test_bad_rate_is_refused(rate):
    with pytest.raises(ValueError, match=r'^the frame rate is .*, expected 0 or more'):
        camera_times(np.array([]), 0, S, rate)


def test_a_range_is_moved_inward_by_whole_microseconds():
    drive = SimpleNamespace(start_ns=7 * S, end_ns=9 * S)
    assert moved_inward(drive, 0.0, 0.0) == (7 * S, 9 * S)
    assert moved_inward(drive, 0.5000004, 0.25) == (7 * S + 500 * MS, 9 * S - 250 * MS)
    assert moved_inward(drive, 1.0, 1.0) == (8 * S, 8 * S)
    with pytest.raises(ConfigurationError) as caught:
        moved_inward(drive, 1.5, 0.500001)
    assert str(caught.value) == (
        "parameters 'start_offset_s' (1.5) and 'end_offset_s' (0.500001) leave nothing of the "
        'scenario, which lasts 2 s'
    )
