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
"""What is learned about a server's batches, and when single calls do better."""

from __future__ import annotations

from collections.abc import Sequence

from nurec_ros.rendering import policy
from nurec_ros.rendering.frames import Frame
from nurec_ros.rendering.policy import ServerError
from nurec_ros.rendering.session import Session


def learn(
    session: Session, error: ServerError | None, results: Sequence[Frame | ServerError]
) -> str:
    """
    Note in the session how a batch went; under the lock that guards it.

    error: of the call as a whole; results: else, one for each frame. Gives the log level of
    session.batch_note, which is then new, where no batch is to be sent any more; else empty.
    """
    if error is None:
        return _learn_from_items(session, results)
    if error.kind == 'version':
        return _give_up(session, 'the server has no batch_render_rgb: single calls', 'info')
    if error.action == policy.FAIL and error.kind != 'timeout':
        session.batch_failures += 1
        if session.batch_failures >= policy.BATCH_FAILURES.value:
            return _give_up(session, f'batches fail ({error}): single calls', 'warn')
    return ''


def _learn_from_items(session: Session, results: Sequence[Frame | ServerError]) -> str:
    session.batch = True
    session.batch_failures = 0
    errors = [result for result in results if isinstance(result, ServerError)]
    unmatched = any(error.action == policy.ALONE for error in errors)
    useless = len(errors) == len(results) and all(error.kind == 'reply' for error in errors)
    if not unmatched and not useless:
        session.batch_mismatches = 0
        return ''
    session.batch_mismatches += 1
    times = policy.BATCH_MISMATCHES.value
    if session.batch_mismatches < times:
        return ''
    what = 'do not match what was asked for' if unmatched else 'hold no picture'
    return _give_up(
        session, f'batch replies {what}, {times:g} times in a row: single calls', 'warn'
    )


def _give_up(session: Session, note: str, level: str) -> str:
    session.batch = False
    new = session.batch_note != note
    session.batch_note = note
    return level if new else ''
