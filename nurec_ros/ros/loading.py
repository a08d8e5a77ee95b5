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
A load: reading a file, checking what was asked against it, and making all that belongs to it.

The first two run in a thread beside the executor and touch neither node nor network, so that the
old scenario plays on, and stays when something fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
import threading

from nurec_ros.driving.watch import EgoWatch
from nurec_ros.errors import ConfigurationError, doing, NurecError
from nurec_ros.playback.clock import Due, Schedule
from nurec_ros.playback.effects import Render
from nurec_ros.playback.playback import Playback
from nurec_ros.playback.waiting import QUIET_NS
from nurec_ros.rendering.frames import Cloud, Failure, Frame
from nurec_ros.rendering.pipeline import RenderPipeline
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.ros.names import frame_names, topic_names
from nurec_ros.ros.outlet import Outlet
from nurec_ros.ros.sensor_topics import calibration, CameraTopics, LidarTopic
from nurec_ros.ros.topics import Prepared
from nurec_ros.scenario import Scenario
from nurec_ros.setting_values import chosen_names
from nurec_ros.settings import Settings, Values

Log = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class ReadScenario:
    """
    A scenario that was read and found to fit what was asked for.

    `asked` are the parameters as they were when the load began. `cameras` are the logical names
    of those to render, in the file's order, and so are `lidars`; `begin_ns` and `end_ns` bound the
    playback.
    """

    asked: Settings
    scenario: Scenario
    cameras: tuple[str, ...]
    begin_ns: int
    end_ns: int
    lidars: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    prepared: Prepared | None = None


def read(asked: Settings) -> ReadScenario:
    """
    Read the file of `usdz_path` and check the other parameters against it.

    ScenarioError where the file cannot be used, ConfigurationError where the parameters do not
    fit it: unknown cameras, or offsets that leave nothing of the range.
    """
    if not asked.usdz_path:
        raise ConfigurationError("parameter 'usdz_path' is empty; expected the path of a USDZ")
    with doing(f'reading {asked.usdz_path}'):
        scenario = Scenario.load(
            Path(asked.usdz_path).expanduser(),
            min_track_lifetime_s=asked.min_track_lifetime_s,
            smooth_track_height=asked.smooth_track_height,
        )
    begin_ns, end_ns = asked.range_ns(scenario)
    with doing(f'preparing the cameras of {asked.usdz_path}'):
        chosen = choose(scenario.cameras, asked.cameras, 'camera')
        # A camera that has a problem was warned about by the scenario; asked for by name, it
        # deserves a word of its own.
        silent = tuple(name for name in chosen if not scenario.cameras[name].renderable)
        warnings = scenario.warnings + tuple(
            f"camera '{name}' cannot be rendered: {scenario.cameras[name].problem}"
            for name in silent
            if any(asked.cameras)
        )
        cameras = tuple(name for name in chosen if name not in silent)
        for name in cameras:
            # A fit takes a moment, and models keep what they found: not in the executor's time.
            model = scenario.cameras[name].model
            if model is not None:
                calibration(model)
    lidars = choose(scenario.lidars, asked.lidars, 'lidar')
    with doing(f'preparing the topics of {asked.usdz_path}'):
        prepared = Prepared.of(asked, scenario)
    return ReadScenario(asked, scenario, cameras, begin_ns, end_ns, lidars, warnings, prepared)


def choose(known: Collection[str], wanted: Iterable[str], noun: str) -> tuple[str, ...]:
    """Return the wanted sensors, by their names or by the tokens that they have in topics."""
    return chosen_names(
        known, wanted, noun, tokens=topic_names(known), called=f"parameter '{noun}s'"
    )


class Loaded:
    """
    Everything that belongs to one loaded scenario, so that a load swaps one object for another.

    Belongs to the executor's thread, except for the delivery of frames. `on_lost` gets each frame
    that is not published, and why, in a thread of the pipeline's.
    """

    def __init__(
        self,
        outlet: Outlet,
        read_scenario: ReadScenario,
        values: Values,
        *,
        on_lost: Callable[[Loaded, Due, Exception], None],
        log: Log,
        after: Loaded | None = None,
    ) -> None:
        """Make and start everything; whatever fails, nothing stays behind."""
        asked = self.asked = read_scenario.asked
        self.scenario = read_scenario.scenario
        self.cameras = read_scenario.cameras
        self._on_lost = on_lost
        self.lidars = read_scenario.lidars
        # By sensor, frames that the renderer had and that a jump made worthless.
        self.discarded: dict[str, int] = dict.fromkeys((*self.cameras, *self.lidars), 0)
        self._range_ns = read_scenario.begin_ns, read_scenario.end_ns
        self.watch = EgoWatch.of(self.scenario, self._range_ns[0], values.settings)
        self.playback: Playback
        self.topics: dict[str, CameraTopics] = {}
        self.clouds: dict[str, LidarTopic] = {}
        self.options = self._options(values)
        with doing(f'making the render pipeline of {asked.usdz_path}'):
            self.pipeline = RenderPipeline(self.scenario, self.options, self._deliver, log=log)
        try:
            self._make_topics(outlet, values.settings)
            with doing(f'making the playback of {asked.usdz_path}'):
                self.playback = self._new_playback(values, after)
            self.update_driving(values.settings)
            with doing(f'starting the render pipeline of {asked.usdz_path}'):
                self.pipeline.start()
        except BaseException:
            self.destroy_topics()
            self.pipeline.close(0.0)
            raise

    def _make_topics(self, outlet: Outlet, settings: Settings) -> None:
        with doing(f'making the topics of the cameras of {self.asked.usdz_path}'):
            frames = frame_names(settings, self.scenario.sensors)
            for name in self.cameras:
                self.topics[name] = CameraTopics(
                    outlet,
                    frames,
                    name,
                    self.pipeline.output_model(name),
                    self.options.image_format,
                )
        with doing(f'making the topics of the lidars of {self.asked.usdz_path}'):
            for name in self.lidars:
                self.clouds[name] = LidarTopic(
                    outlet, frames, self.scenario.lidars[name], settings.lidar_layout
                )

    def _new_playback(self, values: Values, after: Loaded | None) -> Playback:
        settings = values.settings
        return Playback(
            *self._range_ns,
            self.schedule(values),
            scenario=self.scenario.sequence_id,
            active_ids=self.scenario.tracks.active_ids,
            audiences=self._audiences,
            delivering=lambda: self.pipeline.delivering,
            rate=settings.rate,
            loop=settings.loop,
            lockstep=settings.mode == 'lockstep',
            always_render=settings.always_render,
            quiet_ns=QUIET_NS if settings.publish_tf else 0,
            ego=self.watch,
            after=after.playback if after is not None else None,
        )

    def _options(self, values: Values) -> RenderOptions:
        """Return the options: address and scene as they were when the load began."""
        return replace(
            RenderOptions.of(values),
            server=self.asked.server,
            scene_id=self.asked.scene_id,
            scene_url=self.asked.scene_url,
        )

    def update_driving(self, settings: Settings) -> None:
        """Take what may change of driving at run time, but for the source."""
        self.watch.update(settings)
        self.playback.ego_wait_ns = round(settings.ego_wait_s * 1e9)

    def submit(self, order: Render, out: Callable[[], None]) -> None:
        """
        Have frames rendered, from where the ego is now known to have been.

        Where they are waited for, `out` is called, in any thread, once they are out or lost.
        """
        ego = None if self.watch.ego.is_recorded else self.watch.ego
        keep = order.when_out is not None
        try:
            future = self.pipeline.submit(
                order.frames, keep=keep, fail_if_down=order.fail_if_down, ego=ego
            )
        except Exception:
            # Nobody is to wait for frames that were never asked for.
            out()
            raise
        if keep:
            future.add_done_callback(lambda _: out())

    def _audiences(self) -> dict[str, tuple[int, ...]]:
        return {name: one.audience for name, one in self._sensor_topics()}

    def _sensor_topics(self) -> Iterator[tuple[str, CameraTopics | LidarTopic]]:
        yield from self.topics.items()
        yield from self.clouds.items()

    def schedule(self, values: Values) -> Schedule:
        return values.schedule(self.scenario, self.cameras, self.lidars, self._range_ns)

    def update(self, values: Values, changed: Collection[str]) -> None:
        """Take run-time changes of the parameters, but for who drives and how fast time runs."""
        self._update_rendering(values)
        self.update_driving(values.settings)
        self.playback.course.set_loop(values.settings.loop)
        self.playback.always_render = values.settings.always_render
        rates = ('camera_rate', 'lidar_rate')
        if any(name in rates or name.endswith('.rate') for name in changed):
            self.playback.course.schedule = self.schedule(values)

    def _update_rendering(self, values: Values) -> None:
        """Take changes of what is rendered; the halted moment is owed anew then."""
        options = self._options(values)
        if options == self.options:
            return
        self.pipeline.update(options)
        self.options = options
        self.playback.owe_stills()

    def discard(self) -> None:
        """Give up the frames that are on their way: their stamps are in the future now."""
        before = {name: self.pipeline.camera_status(name).dropped for name in self.discarded}
        self.pipeline.discard()
        for name, dropped in before.items():
            self.discarded[name] += self.pipeline.camera_status(name).dropped - dropped

    def _deliver(self, item: Frame | Cloud | Failure) -> None:
        """Publish a frame, in a thread of the pipeline's; failures are counted there."""
        frame = Due(item.lidar if isinstance(item, Cloud) else item.camera, item.t_ns)
        if isinstance(item, Failure):
            self._on_lost(self, frame, item.error)
            return
        try:
            if isinstance(item, Cloud):
                self.clouds[item.lidar].publish(item)
            else:
                self.topics[item.camera].publish(item)
        except Exception as error:
            self._on_lost(self, frame, error)
            # The pipeline logs what is wrong with a picture.
            if isinstance(error, NurecError):
                raise

    def destroy_topics(self) -> None:
        """Take the sensors' topics away; in the executor's thread."""
        for _, topics in self._sensor_topics():
            topics.destroy()

    def close(self, timeout_s: float = 0.3) -> None:
        """Cancel what is under way and leave the server; takes at most `timeout_s`."""
        self.pipeline.close(timeout_s)

    def close_beside(self) -> None:
        """Close without waiting for it."""
        try:
            threading.Thread(target=self.close, name='nurec-close', daemon=True).start()
        except RuntimeError:  # no more threads
            self.close(0.0)
