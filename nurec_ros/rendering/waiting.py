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
"""Calls that take their time: what is shown and said of them before they end."""

from __future__ import annotations

from collections.abc import Iterable

from nurec_ros.rendering.policy import ServerError
from nurec_ros.rendering.remedies import OVERLOADED
from nurec_ros.rendering.replies import Sent
from nurec_ros.rendering.session import Session


def first_frame_waited_s(calls: Iterable[Sent], session: Session | None, now: float) -> float:
    """Give for how long the first frame of a session has been out; 0 if it came or none is."""
    if session is None or session.warm:
        return 0.0
    return max((now - sent.since for sent in calls if sent.session is session), default=0.0)


def late_error(
    calls: Iterable[Sent], server: str, render_timeout_s: float, now: float
) -> ServerError | None:
    """
    Give what is wrong with a batch that takes longer than any single frame may.

    It is not given up yet: its items are rendered one after the other. None for first frames.
    """
    late = [sent for sent in calls if not sent.first and now - sent.since > render_timeout_s]
    if not late:
        return None
    sent = min(late, key=lambda sent: sent.since)
    return ServerError(
        'timeout',
        f'{server} has not answered {sent.method} within {render_timeout_s:g} s (it holds '
        f'{len(sent.jobs)} frames and is given up after {sent.timeout_s:g} s)',
        OVERLOADED.format(option='render_timeout_s'),
    )
