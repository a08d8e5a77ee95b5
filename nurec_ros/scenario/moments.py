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
Times that callers ask for: whole nanoseconds, as int or as integers of numpy.

A float cannot hold a time of today to the nanosecond, so that it is refused and not rounded.
"""

from __future__ import annotations

import operator
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray
from nurec_ros.scenario.sentence import one_line, shortened

Times = NDArray[np.int64]

_LAST = 2**63 - 1


def one_time(t_ns: SupportsIndex, name: str = 't_ns') -> int:
    """Give one time as int within int64; raises TypeError or ValueError, which say `name`."""
    try:
        return min(max(operator.index(t_ns), -_LAST), _LAST)
    except TypeError:
        pass
    if isinstance(t_ns, np.ndarray) and t_ns.dtype.kind in 'iu':
        raise ValueError(f'{name} is an array of shape {t_ns.shape}, expected one time')
    raise TypeError(f'{name} is {_shown(t_ns)}, expected whole nanoseconds as one int')


def many_times(t_ns: ArrayLike, name: str = 't_ns') -> Times:
    """Give times (M,), M is 1 for one time; raises TypeError or ValueError, which say `name`."""
    try:
        times = np.asarray(t_ns)
    except ValueError:
        # A ragged list.
        times = np.empty(0, dtype=object)
    if times.dtype.kind not in 'iu' and (times.size or times.dtype.kind == 'O'):
        raise TypeError(
            f'{name} is {_shown(t_ns)}, expected whole nanoseconds: an int or an array of ints'
        )
    if times.ndim > 1:
        raise ValueError(
            f'{name} is an array of shape {times.shape}, expected one time or times (M,)'
        )
    if times.dtype.kind == 'u':
        times = np.minimum(times, np.uint64(_LAST))
    return np.atleast_1d(times).astype(np.int64, copy=False)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f'an array of {value.dtype}'
    return one_line(shortened(repr(value)))
