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
A scenario to drive in, for plain Python: no ROS, no graph, no clock but the steps'.

The core is the player's: a step here asks the renderer for what the same `~/tick` would.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
import threading
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from nurec_ros.driving import Deviation, InputError
from nurec_ros.driving.inputs import Action, input_of, nanoseconds_of
from nurec_ros.driving.watch import EgoWatch
from nurec_ros.errors import ConfigurationError, NurecError, RenderError
from nurec_ros.playback.effects import Effect, Render, Step
from nurec_ros.playback.playback import Playback
from nurec_ros.poses import Pose
from nurec_ros.rendering.frames import Cloud, decode_rgb, Failure, Frame
from nurec_ros.rendering.pipeline import RenderPipeline
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.scenario import Scenario
from nurec_ros.scenario.tracks import ActiveTracks
from nurec_ros.scenario.trajectory import Twist
from nurec_ros.setting_values import chosen_names, convert, Value
from nurec_ros.settings import Settings, TABLE, Values

SECOND = 1_000_000_000
MICROSECOND = 1000
# What belongs to the node's timers, topics and services alone.
NOT_HERE = ('mode', 'rate', 'tick_us', 'loop', 'autoplay', 'ego_wait_s')

# Odometry is a pose over ROS; here that is 'pose'.
SOURCES = ('ackermann', 'twist', 'pose', 'recorded')

_Seen = TypeVar('_Seen', 'Image', 'PointCloud')


@dataclass(frozen=True)
class Image:
    """A picture of a camera as it came; decoded when `rgb` is asked for."""

    camera: str
    t_ns: int
    data: bytes
    encoding: str
    _frame: Frame = field(repr=False)

    def __repr__(self) -> str:
        return f'Image({self.camera} at {self.t_ns}, {self.encoding}, {len(self.data)} bytes)'

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """Return the picture (height, width, 3); RenderError where it does not decode."""
        return decode_rgb(self._frame)


@dataclass(frozen=True)
class PointCloud:
    """A spin of a lidar, `t_ns` its end; put together when `xyzi` is asked for."""

    lidar: str
    t_ns: int
    _cloud: Cloud = field(repr=False)

    def __repr__(self) -> str:
        return f'PointCloud({self.lidar} at {self.t_ns}, {len(self._cloud.points)} points)'

    @cached_property
    def xyzi(self) -> NDArray[np.float32]:
        """Return the points (N, 4): metres in the sensor's frame of `t_ns`, intensity 0 to 1."""
        return np.column_stack([self._cloud.points, self._cloud.intensities])


@dataclass(frozen=True)
class Observation:
    """
    What there is to know after a step.

    `t_ns` and `seconds`, from begin, are the position. `images` has the newest picture of each
    camera that one was due of in the step, `clouds` likewise of each lidar; `failed_images` why
    others are missing, of cameras and lidars. `pose` is T_map_rig of the ego, `twist` its velocity
    in its own frame, `collisions` the ids of the tracks that it met on the way. `done`: the step
    led to the end (`why` is 'the end'), or was stopped before (`why` says by what).
    """

    t_ns: int
    seconds: float
    images: Mapping[str, Image]
    clouds: Mapping[str, PointCloud]
    failed_images: Mapping[str, str]
    pose: Pose
    twist: Twist
    deviation: Deviation
    collisions: tuple[str, ...]
    done: bool
    why: str
    _scenario: Scenario = field(repr=False)

    @cached_property
    def tracks(self) -> ActiveTracks:
        """Return the other road users at the position."""
        return self._scenario.tracks.at(self.t_ns)


class Environment:
    """
    Steps through a scenario while a program drives.

    `server` is that of the parameter, '' for neither images nor clouds. `ego_source` ('twist',
    'ackermann' or 'pose') says what `step` takes; with 'recorded' nobody drives, and it takes
    None. The other parameters are those of the player's table. One thread alone may use it;
    `close` it, or use it in a with statement. ScenarioError and ConfigurationError where file or
    parameters cannot be used; NurecError for whatever is asked of a closed one.
    """

    def __init__(
        self,
        usdz: str | Path,
        server: str = 'localhost:46435',
        *,
        ego_source: str = 'ackermann',
        **parameters: Any,
    ) -> None:
        named = {'ego_source': ego_source, **parameters}
        if server:
            named['server'] = server
        self._settings = settings = _settings(named)
        self.scenario = scenario = Scenario.load(
            Path(usdz).expanduser(),
            min_track_lifetime_s=settings.min_track_lifetime_s,
            smooth_track_height=settings.smooth_track_height,
        )
        self._range_ns = settings.range_ns(scenario)
        self.cameras: tuple[str, ...] = ()
        self.lidars: tuple[str, ...] = ()
        if server:
            chosen = chosen_names(scenario.cameras, settings.cameras, 'camera')
            self.cameras = tuple(name for name in chosen if scenario.cameras[name].renderable)
            self.lidars = chosen_names(scenario.lidars, settings.lidars, 'lidar')
        self._watch = EgoWatch.of(scenario, self._range_ns[0], settings)
        self._lock = threading.Lock()
        self._images: dict[str, Image] = {}
        self._clouds: dict[str, PointCloud] = {}
        self._failures: dict[tuple[str, int], str] = {}
        self._pipeline: RenderPipeline | None = None
        self._closed = False
        self._playback = self._new_playback()
        if server:
            self._pipeline = RenderPipeline(
                scenario, RenderOptions.of(Values(settings)), self._deliver
            )
            self._pipeline.start()

    @property
    def action(self) -> str:
        """Return what `step` takes: the ego's source."""
        return self._watch.ego.source

    def reset(self, start_s: float = 0.0) -> Observation:
        """
        Stand on the recorded ego, `start_s` after begin, with a picture of each camera.

        InputError where that is not between begin and end.
        """
        self._check_open()
        playback = self._playback
        t_ns = playback.begin_ns + nanoseconds_of('start_s', start_s)
        # The length in seconds may be rounded up.
        if not playback.begin_ns <= t_ns <= playback.end_ns + MICROSECOND:
            length_s = (playback.end_ns - playback.begin_ns) / SECOND
            raise InputError(
                'start_s is outside of the scenario',
                f'start_s is {start_s:g}, expected 0 to {length_s:g}: seconds after begin',
            )
        self._clear()
        # A jump is shown before its pictures: time passes that nobody sees.
        self._carry_out(self._playback.seek(t_ns))
        self._carry_out(self._playback.advance())
        if self._pipeline is not None:
            self._carry_out(self._playback.look())
        return self._observe((), {})

    def step(
        self,
        action: Action | None = None,
        duration_s: float = 0.1,
    ) -> Observation:
        """
        Drive for a time, and return what is seen at its end.

        A command counts from the position on: (speed, steering angle) with ego_source ackermann,
        (speed, yaw rate) with twist, or a record of `nurec_ros.driving`. A pose, T_map_rig as a
        Pose or a matrix (4, 4), is where the ego is at the end of the step. None: no new input.
        InputError for what cannot be used; nothing has moved then.
        """
        self._check_open()
        duration_ns = nanoseconds_of('duration_s', duration_s)
        if duration_ns <= 0:
            raise InputError(
                'duration_s is too short',
                f'duration_s is {duration_s:g}, expected at least a microsecond',
            )
        playback = self._playback
        self._clear()
        if action is not None:
            end_ns = min(playback.position_ns + duration_ns, playback.end_ns)
            taken = input_of(action, self.action, end_ns)
            effects, _, _ = playback.put(taken)
            self._carry_out(effects)
        step = Step(duration_ns)
        self._carry_out(playback.step(step))
        if step.error is not None:
            raise step.error
        # Nothing else keeps it from moving: it has its duration, and waits for no input.
        assert step.state is not None
        told = step.state.ego
        return self._observe(told.collisions if told is not None else (), step.failed_images)

    def close(self) -> None:
        """Leave the server; nothing else can be done with it then."""
        self._closed = True
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Inside.

    def _check_open(self) -> None:
        if self._closed:
            raise NurecError('this Environment is closed; expected a new one to be made')

    def _new_playback(self) -> Playback:
        values, scenario = Values(self._settings), self.scenario
        return Playback(
            *self._range_ns,
            values.schedule(scenario, self.cameras, self.lidars, self._range_ns),
            scenario=scenario.sequence_id,
            active_ids=scenario.tracks.active_ids,
            audiences=lambda: dict.fromkeys((*self.cameras, *self.lidars), (1,)),
            lockstep=True,
            quiet_ns=0,
            ego=self._watch,
        )

    def _carry_out(self, effects: list[Effect]) -> None:
        waiting = list(effects)
        while waiting:
            effect = waiting.pop(0)
            if isinstance(effect, Render):
                waiting += self._render(effect)

    def _render(self, order: Render) -> list[Effect]:
        pipeline = self._pipeline
        assert pipeline is not None  # without one there is no camera to render
        ego = None if self._watch.ego.is_recorded else self._watch.ego
        # The first picture waits for the server; later ones tell why they are missing.
        done: Future[None] = pipeline.submit(
            order.frames, keep=True, fail_if_down=order.fail_if_down, ego=ego
        )
        limit_s = self._settings.first_render_timeout_s + self._settings.render_timeout_s
        try:
            # Not result(), whose TimeoutError is another one before Python 3.11.
            came = done in wait([done], limit_s).done
        except BaseException:
            self._give_up(order)
            raise
        if not came:
            status = pipeline.status()
            self._give_up(order)
            raise RenderError(
                f'no picture within {limit_s:g} s: {status.last_error or status.server}'
            )
        done.result()
        for frame in order.frames:
            reason = self._failures.get((frame.name, frame.t_ns))
            if reason is not None:
                self._playback.frame_lost(frame, reason)
        return order.when_out() if order.when_out is not None else []

    def _give_up(self, order: Render) -> None:
        """Let frames go that do not come, so that the next step or reset asks anew."""
        if self._pipeline is not None:
            self._pipeline.discard()
        if order.when_out is not None:
            order.when_out()

    def _deliver(self, item: Frame | Cloud | Failure) -> None:
        with self._lock:
            if isinstance(item, Failure):
                self._failures[item.camera, item.t_ns] = str(item.error)
            elif isinstance(item, Cloud):
                _put(self._clouds, item.lidar, PointCloud(item.lidar, item.t_ns, item))
            else:
                image = Image(item.camera, item.t_ns, item.data, item.encoding, item)
                _put(self._images, item.camera, image)

    def _clear(self) -> None:
        with self._lock:
            self._images, self._clouds, self._failures = {}, {}, {}

    def _observe(self, met: tuple[str, ...], failed: Mapping[str, str]) -> Observation:
        playback, ego = self._playback, self._watch.ego
        t_ns = playback.position_ns
        why = self._watch.stopped_by or ('the end' if playback.done else '')
        with self._lock:
            images, clouds = dict(self._images), dict(self._clouds)
            lost = dict(failed) or {name: why for (name, _), why in self._failures.items()}
        return Observation(
            t_ns=t_ns,
            seconds=(t_ns - playback.begin_ns) / SECOND,
            images=images,
            clouds=clouds,
            failed_images=lost,
            pose=ego.pose(t_ns),
            twist=ego.velocity(t_ns),
            deviation=ego.deviation(t_ns),
            collisions=met,
            done=bool(why),
            why=why,
            _scenario=self.scenario,
        )


def _put(newest: dict[str, _Seen], name: str, item: _Seen) -> None:
    """Keep the newest of a sensor."""
    before = newest.get(name)
    if before is None or before.t_ns <= item.t_ns:
        newest[name] = item


def _settings(named: Mapping[str, Any]) -> Settings:
    """Return the parameters, checked; ConfigurationError for unknown and wrong ones."""
    specs = {spec.name: spec for spec in TABLE if spec.name not in (*NOT_HERE, 'usdz_path')}
    unknown = sorted(set(named) - set(specs))
    if unknown:
        raise ConfigurationError(
            f'{", ".join(unknown)}: no parameter of an environment; those are {", ".join(specs)}'
        )
    values: dict[str, Value] = {
        name: convert(specs[name], name, value) for name, value in named.items()
    }
    if values['ego_source'] not in SOURCES:
        raise ConfigurationError(
            f"ego_source is '{values['ego_source']}', which an environment does not have; "
            f'expected one of {", ".join(SOURCES)}'
        )
    return replace(Settings(), **values)  # type: ignore[arg-type]
