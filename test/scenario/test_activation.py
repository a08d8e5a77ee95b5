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
"""The activation index beside a look at every interval."""

import hypothesis
from hypothesis import strategies
import numpy as np
from nurec_ros.scenario.tracks import ActivationIndex
import pytest


def looked_up(starts, ends, t):
    return np.flatnonzero((starts <= t) & (ends >= t))


def random_intervals(count, active, seed=1):
    """Return intervals over a time so long that about `active` of them hold each moment."""
    random = np.random.default_rng(seed)
    starts = random.integers(0, 6000 * count // active, count)
    return starts, starts + random.integers(0, 12_000, count)


@pytest.mark.parametrize(('count', 'active'), [(1, 1), (50, 50), (1000, 300), (5000, 3)])
def test_equals_a_look_at_all(count, active):
    starts, ends = random_intervals(count, active)
    index = ActivationIndex(starts, ends)
    moments = np.concatenate([starts[:200], ends[:200], starts[:200] - 1, ends[:200] + 1])
    for t in moments.tolist():
        np.testing.assert_array_equal(index.at(t), looked_up(starts, ends, t))


def test_before_and_after_everything():
    index = ActivationIndex(np.array([10, 20]), np.array([15, 30]))
    assert len(index.at(9)) == 0
    assert len(index.at(31)) == 0
    assert len(index.at(-(2**62))) == 0
    assert len(index.at(2**62)) == 0


def test_without_intervals():
    index = ActivationIndex(np.empty(0, int), np.empty(0, int))
    assert len(index.at(0)) == 0
    assert len(index.members) == 0


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(
    strategies.lists(
        strategies.tuples(strategies.integers(0, 60), strategies.integers(0, 60)), max_size=300
    )
)
def test_any_intervals(pairs):
    starts = np.array([min(pair) for pair in pairs], dtype=np.int64)
    ends = np.array([max(pair) for pair in pairs], dtype=np.int64)
    index = ActivationIndex(starts, ends)
    for t in range(-1, 62):
        np.testing.assert_array_equal(index.at(t), looked_up(starts, ends, t))


@pytest.mark.parametrize(('count', 'active'), [(1000, 300), (20_000, 300), (100_000, 300)])
def test_memory_and_work_are_bounded(count, active):
    starts, ends = random_intervals(count, active)
    index = ActivationIndex(starts, ends)
    assert len(index.members) <= 9 * count + 1000
    lists = np.diff(index.offsets)
    assert lists.max() <= 6 * active


def test_a_crowd_of_one_moment_does_not_burden_the_next():
    starts = np.concatenate([np.full(50_000, 1000), np.arange(2000, 3000)])
    ends = np.concatenate([np.full(50_000, 1000), np.arange(2000, 3000) + 50])
    index = ActivationIndex(starts, ends)
    assert len(index.at(1000)) == 50_000
    bucket = int(np.searchsorted(index.edges, 1001, side='right')) - 1
    assert index.offsets[bucket + 1] - index.offsets[bucket] <= 1000


def test_intervals_that_all_span_everything():
    count = 20_000
    index = ActivationIndex(np.arange(count), np.arange(count) + 10 * count)
    assert len(index.members) <= 9 * count
    assert len(index.at(5 * count)) == count
