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
"""
Which of many time intervals hold a given moment, without looking at all of them.

The time axis is cut into buckets; each lists the intervals that reach into it. The cuts stand at
every k-th start or end, k being the larger of 64 and the mean number of intervals held at once:
a bucket then lists at most k intervals beyond those that hold its begin, so that a question costs
in proportion to its answer, and all lists together have at most some eight entries an interval.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Indices = NDArray[np.intp]

_SMALLEST_BUCKET = 64


@dataclass(frozen=True, slots=True, eq=False)
class ActivationIndex:
    """Closed intervals [starts (T,), ends (T,)], starts <= ends, and the index over them."""

    starts: Times
    ends: Times
    _edges: Times = field(init=False, repr=False)
    _offsets: list[int] = field(init=False, repr=False)
    _members: NDArray[np.int32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.starts)
        edges = _bucket_edges(self.starts, self.ends)
        first = np.searchsorted(edges, self.starts, side='right') - 1
        lengths = np.searchsorted(edges, self.ends, side='right') - first
        members = np.repeat(np.arange(count, dtype=np.int32), lengths)
        begins = np.cumsum(lengths) - lengths
        buckets = np.arange(len(members)) - np.repeat(begins - first, lengths)
        # A stable sort keeps the members of a bucket in the order of the file.
        order = np.argsort(buckets, kind='stable')
        offsets = np.searchsorted(buckets[order], np.arange(len(edges) + 1))
        object.__setattr__(self, '_edges', edges)
        object.__setattr__(self, '_offsets', offsets.tolist())
        object.__setattr__(self, '_members', members[order])

    def at(self, t: int) -> Indices:
        """Give the indices (N,), ascending, of the intervals that hold t."""
        bucket = int(self._edges.searchsorted(t, side='right')) - 1
        if bucket < 0:
            return np.empty(0, dtype=np.intp)
        begin, end = self._offsets[bucket], self._offsets[bucket + 1]
        candidates = self._members[begin:end]
        holds = self.starts.take(candidates) <= t
        holds &= self.ends.take(candidates) >= t
        return candidates[holds].astype(np.intp)

    def __repr__(self) -> str:
        return f'ActivationIndex({len(self.starts)} intervals)'

    @property
    def size(self) -> int:
        """Give the number of entries in all buckets together: what the index costs in memory."""
        return len(self._members)


def _bucket_edges(starts: Times, ends: Times) -> Times:
    count = len(starts)
    if not count:
        return np.empty(0, dtype=np.int64)
    moments = np.sort(np.concatenate([starts, ends]))
    # Active at a moment: started by then, less ended before it.
    active = np.searchsorted(np.sort(starts), moments, side='right')
    active = active - np.searchsorted(np.sort(ends), moments, side='left')
    every = max(_SMALLEST_BUCKET, int(active.mean()))
    cuts = moments[::every]
    # The second cut keeps a crowd that starts and ends at one moment out of what follows it.
    return np.unique(np.concatenate([cuts, cuts + 1]))
