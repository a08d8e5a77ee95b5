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
from nurec_ros.settings import Settings
import pytest

MS = 1_000_000
S = 1_000_000_000
NO_FRAMES = np.array([], dtype=np.int64)
WIDE = [Due('wide', ms * MS) for ms in (100, 200, 300)]
TELE = [Due('tele', ms * MS) for ms in (200, 250)]


@pytest.fixture
def schedule():
    times = {due[0].name: np.array([one.t_ns for one in due]) for due in (WIDE, TELE)}
    return Schedule({**times, 'none': NO_FRAMES})


def test_due(schedule):
    for after_ms, until_ms, names, due in (
        # By time, then by name, without those before and at the beginning.
        (0, 1000, None, [WIDE[0], TELE[0], WIDE[1], TELE[1], WIDE[2]]),
        (100, 200, ['wide'], [WIDE[1]]),
        (99, 199, ['wide'], [WIDE[0]]),
        (200, 200, None, []),
        (1000, 0, None, []),
        (0, 1000, ['tele', 'tele', 'unknown'], TELE),
        (0, 1000, [], []),
    ):
        assert schedule.due(after_ms * MS, until_ms * MS, names) == due


def test_next_after(schedule):
    for after_ns, names, next_ms in (
        (0, None, 100),
        (100 * MS - 1, None, 100),
        (100 * MS, None, 200),
        (200 * MS, ['wide'], 300),
        (300 * MS, None, None),
        (250 * MS, ['tele'], None),
        (0, ['none'], None),
        (0, [], None),
    ):
        assert schedule.next_after(after_ns, names) == (next_ms and next_ms * MS)


def test_times_are_sorted_unique_and_exact():
    t = 2**62 + 1
    schedule = Schedule({'a': np.array([t + 1, 3, 1, t, 1], dtype=np.int64)})
    assert schedule.names == ('a',)
    assert schedule.times('a').tolist() == [1, 3, t, t + 1]
    assert schedule.due(t, t + 1) == [Due('a', t + 1)]
    assert isinstance(schedule.due(0, t)[0].t_ns, int)
    with pytest.raises(KeyError):
        schedule.times('b')


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.sampled_from('abc'), st.lists(st.integers(0, 50)), max_size=3),
    st.lists(st.integers(-1, 51), min_size=2, max_size=9),
    st.one_of(st.none(), st.lists(st.sampled_from('abcd'))),
)
def test_agrees_with_a_plain_search(times, edges, names):
    schedule = Schedule(times)
    pairs = {
        (t, name) for name, each in times.items() for t in each if names is None or name in names
    }
    # Forwards and back, and one span after another.
    for after, until in [*itertools.pairwise(edges), *itertools.pairwise(sorted(edges))]:
        expected = sorted(pair for pair in pairs if after < pair[0] <= until)
        assert [(due.t_ns, due.name) for due in schedule.due(after, until, names)] == expected
    later = [t for t, _ in pairs if t > edges[0]]
    assert schedule.next_after(edges[0], names) == (min(later) if later else None)


# --- camera_times -------------------------------------------------------------------------------


def test_times_of_a_camera():
    for ends, begin, end, rate, times in (
        # Recorded ones within the range, as whole microseconds; without any 10 Hz.
        (np.arange(5) * 10 * MS, 10 * MS, 30 * MS, 0, [10 * MS, 20 * MS, 30 * MS]),
        (np.array([1_999, 5_001]), 0, S, 0, [1_000, 5_000]),
        (NO_FRAMES, 2 * S, 3 * S, 0, [2 * S + k * 100 * MS for k in range(11)]),
        (np.array([99 * S]), 2 * S, 3 * S, 0, [2 * S + k * 100 * MS for k in range(11)]),
        # Beyond a microsecond each microsecond once.
        (NO_FRAMES, 0, 3_000, 5e6, [0, 1_000, 2_000, 3_000]),
        # Of a range without a whole microsecond nothing.
        (NO_FRAMES, 1_001, 1_999, 10, []),
        (NO_FRAMES, 2_000, 1_000, 0, []),
        (NO_FRAMES, 1_999, 2_001, 10, [2_000]),
    ):
        assert camera_times(ends, begin, end, rate).tolist() == times


@pytest.mark.parametrize('rate', [1.0, 29.97, 30, 1 / 3, 1000.0])
def test_rate_counts_from_begin_without_drift(rate):
    begin = 27_567_868_848_000
    end = begin + 20 * S
    times = camera_times(np.array([begin + 1]), begin, end, rate)
    assert times[0] == begin
    assert times.dtype == np.int64
    assert not np.any(times % 1000)
    assert np.abs(times - (begin + np.arange(len(times)) / rate * 1e9)).max() <= 600
    assert times[-1] <= end
    assert len(times) in (math.floor(20 * rate) + 1, math.floor(20 * rate + 1e-9) + 1)


def test_a_range_is_moved_inward_by_whole_microseconds():
    drive = SimpleNamespace(start_ns=7 * S, end_ns=9 * S)

    def moved(start_s, end_s):
        return Settings(start_offset_s=start_s, end_offset_s=end_s).range_ns(drive)

    assert moved(0.0, 0.0) == (7 * S, 9 * S)
    assert moved(0.5000004, 0.25) == (7 * S + 500 * MS, 9 * S - 250 * MS)
    assert moved(1.0, 1.0) == (8 * S, 8 * S)
    with pytest.raises(ConfigurationError) as caught:
        moved(1.5, 0.500001)
    assert str(caught.value) == (
        "parameters 'start_offset_s' (1.5) and 'end_offset_s' (0.500001) leave nothing of the "
        'scenario, which lasts 2 s'
    )
