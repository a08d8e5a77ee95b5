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
What a load does before anything changes: read the file and check what was asked against it.

All of it runs in a thread beside the executor and touches neither node nor network, so that the
old scenario plays on, and stays when this one fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nurec_ros.errors import ConfigurationError
from nurec_ros.ros.frames import topic_names
from nurec_ros.scenario import Scenario

MICROSECOND = 1000


@dataclass(frozen=True, slots=True)
class Order:
    """
    What the parameters ask for at the moment of the load.

    `cameras` are logical names or their tokens, empty for all; the offsets are in seconds.
    """

    path: str
    cameras: tuple[str, ...] = ()
    start_offset_s: float = 0.0
    end_offset_s: float = 0.0
    min_track_lifetime_s: float = 0.1
    smooth_track_height: bool = False
    server: str = ''
    scene_id: str = ''
    scene_url: str = ''

    @classmethod
    def from_parameters(cls, parameters: Any) -> Order:
        """Take down the values as they are now; ConfigurationError without a `usdz_path`."""
        if not parameters.usdz_path:
            raise ConfigurationError("parameter 'usdz_path' is empty; expected the path of a USDZ")
        return cls(
            path=parameters.usdz_path,
            cameras=parameters.cameras,
            start_offset_s=parameters.start_offset_s,
            end_offset_s=parameters.end_offset_s,
            min_track_lifetime_s=parameters.min_track_lifetime_s,
            smooth_track_height=parameters.smooth_track_height,
            server=parameters.server,
            scene_id=parameters.scene_id,
            scene_url=parameters.scene_url,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """
    A scenario that was read and found to fit the order.

    `cameras` are the logical names of those to render, in the file's order; `begin_ns` and
    `end_ns` bound the playback.
    """

    scenario: Scenario
    cameras: tuple[str, ...]
    begin_ns: int
    end_ns: int
    warnings: tuple[str, ...] = field(default=())


def read(order: Order) -> Reading:
    """
    Read the file and check the order against it.

    ScenarioError where the file cannot be used, ConfigurationError where the order does not fit
    it: unknown cameras, or offsets that leave nothing of the range.
    """
    scenario = Scenario.load(
        Path(order.path).expanduser(),
        min_track_lifetime_s=order.min_track_lifetime_s,
        smooth_track_height=order.smooth_track_height,
    )
    begin_ns, end_ns = moved_inward(scenario, order.start_offset_s, order.end_offset_s)
    chosen = choose_cameras(scenario.cameras, order.cameras)
    # A camera that has a problem was warned about by the scenario; asked for by name, it
    # deserves a word of its own.
    silent = tuple(name for name in chosen if not scenario.cameras[name].renderable)
    warnings = scenario.warnings + tuple(
        f"camera '{name}' cannot be rendered: {scenario.cameras[name].problem}"
        for name in silent
        if order.cameras
    )
    cameras = tuple(name for name in chosen if name not in silent)
    for name in cameras:
        # Each takes a moment, and models keep what they found: not in the executor's time then.
        model = scenario.cameras[name].model
        if model is not None and model.kind == 'ftheta':
            # One that cannot be fitted has a camera_info that says so.
            with suppress(ValueError):
                model.fit('equidistant')
    return Reading(scenario, cameras, begin_ns, end_ns, warnings)


def moved_inward(scenario: Scenario, start_s: float, end_s: float) -> tuple[int, int]:
    """Give begin and end in ns; ConfigurationError where less than 1 us is left of the range."""
    begin_ns = scenario.start_ns + round(start_s * 1e6) * MICROSECOND
    end_ns = scenario.end_ns - round(end_s * 1e6) * MICROSECOND
    if begin_ns > end_ns:
        duration_s = (scenario.end_ns - scenario.start_ns) / 1e9
        raise ConfigurationError(
            f"parameters 'start_offset_s' ({start_s:g}) and 'end_offset_s' ({end_s:g}) leave "
            f'nothing of the scenario, which lasts {duration_s:g} s'
        )
    return begin_ns, end_ns


def choose_cameras(known: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """
    Give the logical names of the cameras that are wanted, in the order of `known`.

    A wanted name may also be the token that the camera has in topics. Nothing wanted means all.
    ConfigurationError names every unknown one and all that there are.
    """
    known = tuple(known)
    wanted = tuple(wanted)
    if not wanted:
        return known
    by_token = {token: name for name, token in topic_names(known).items()}
    unknown = [name for name in wanted if name not in known and name not in by_token]
    if unknown:
        raise ConfigurationError(
            f"parameter 'cameras' names {_listed(unknown)}; expected some of "
            f'{_listed(known, by_token) or "none: the scenario has no camera"}'
        )
    chosen = {name if name in known else by_token[name] for name in wanted}
    return tuple(name for name in known if name in chosen)


def _listed(names: Iterable[str], by_token: Mapping[str, str] | None = None) -> str:
    """Quote names; one that is another in topics, by which it may be wanted too, with that."""
    tokens = {name: token for token, name in (by_token or {}).items()}
    return ', '.join(
        f"'{name}'" if tokens.get(name, name) == name else f"'{name}' ({tokens[name]})"
        for name in names
    )
