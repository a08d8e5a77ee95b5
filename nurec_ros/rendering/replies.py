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
"""What a call brought back: one result for each job that it carried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nurec_ros.rendering.frames import Frame
from nurec_ros.rendering.images import check_reply, ReplyError
from nurec_ros.rendering.lanes import Job
from nurec_ros.rendering.policy import ALONE, ServerError
from nurec_ros.rendering.session import Session


@dataclass(eq=False, slots=True)
class Sent:
    """
    A call in flight.

    sizes: (width, height) asked for, of each job; since: monotonic seconds; first: sent before the
    first frame of the scene came; weight: its share of what may be in flight.
    """

    jobs: list[Job]
    session: Session
    sizes: list[tuple[int, int]]
    since: float
    timeout_s: float
    first: bool
    weight: float
    method: str
    with_tracks: bool


def single_result(
    sent: Sent, reply: Any, image_format: str, latency_s: float
) -> Frame | ServerError:
    """Give the frame of an RGBRenderReturn, or what is wrong with it."""
    return _checked(sent, 0, reply.image_bytes, image_format, latency_s)


def batch_results(
    sent: Sent,
    reply: Any,
    image_format: str,
    latency_s: float,
    error_of: Callable[[str], ServerError],
) -> tuple[list[Frame | ServerError], str]:
    """
    Match the items of a BatchRGBRenderReturn to the jobs, by camera name.

    error_of: from an item's error message to the error. Also gives the names of items that nobody
    asked for, as a text.
    """
    items: dict[str, list[Any]] = {job.camera: [] for job in sent.jobs}
    strange = []
    for item in reply.items:
        if item.camera_name in items:
            items[item.camera_name].append(item)
        else:
            strange.append(item.camera_name or 'an item without a name')
    results: list[Frame | ServerError] = []
    for index, job in enumerate(sent.jobs):
        found = items[job.camera]
        if not found:
            results.append(_unmatched(f'the batch reply lacks {job.camera}'))
        elif len(found) > 1:
            results.append(_unmatched(f'the batch reply holds {job.camera} {len(found)} times'))
        elif not found[0].success:
            results.append(error_of(found[0].error_message))
        else:
            data = found[0].result.image_bytes
            results.append(_checked(sent, index, data, image_format, latency_s))
    return results, ', '.join(strange)


def _checked(
    sent: Sent, index: int, data: bytes, image_format: str, latency_s: float
) -> Frame | ServerError:
    job = sent.jobs[index]
    try:
        encoding, width, height = check_reply(data, image_format, sent.sizes[index])
    except ReplyError as error:
        return ServerError(
            'reply',
            f'{job.camera}: {error}',
            f'{error.remedy}; nurec_probe saves what the server sends',
        )
    return Frame(job.camera, job.t_ns, data, encoding, width, height, latency_s)


def _unmatched(problem: str) -> ServerError:
    return ServerError(
        'unmatched',
        problem,
        'it is asked for by itself; set batch to never if this goes on',
        ALONE,
    )
