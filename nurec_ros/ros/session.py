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
Everything that belongs to one loaded scenario, so that a load swaps one object for another.

A session holds the clock, the schedule, the render pipeline and the cameras' publishers. It
moves nothing by itself: the player asks it to go on, and publishes what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future as ThreadFuture
from dataclasses import replace
from typing import Any

from nurec_ros.playback.clock import Advance, PlaybackClock
from nurec_ros.playback.schedule import camera_times, Due, Schedule
from nurec_ros.rendering.images import decode_rgb
from nurec_ros.rendering.pipeline import Failure, Frame, RenderPipeline
from nurec_ros.ros.frames import FrameNames
from nurec_ros.ros.parameters import Parameters, render_options
from nurec_ros.ros.pictures import Pictures
from nurec_ros.ros.publishers.cameras import CameraPublisher
from nurec_ros.ros.reading import Order, Reading
from rclpy.exceptions import InvalidHandle

Log = Callable[[str, str], None]


class Session:
    """
    One scenario at play.

    Used by the executor's thread alone, but for `_deliver`, which the pipeline's threads call.
    """

    def __init__(
        self,
        node: Any,
        parameters: Parameters,
        frames: FrameNames,
        reading: Reading,
        order: Order,
        post: Callable[[Callable[[], None]], None],
        log: Log,
    ) -> None:
        """Set up without waiting for anything; the cameras' parameters are declared already."""
        self.scenario = reading.scenario
        self.cameras = reading.cameras
        self.clock = PlaybackClock(
            reading.begin_ns, reading.end_ns, rate=parameters.rate, loop=parameters.loop
        )
        # Due frames that were dropped before the pipeline saw them; and how many of all dropped
        # ones fell to a jump of the clock and not to a slow renderer.
        self.outrun: dict[str, int] = dict.fromkeys(self.cameras, 0)
        self.jumped_over: dict[str, int] = dict.fromkeys(self.cameras, 0)
        # The scenario time that was played so far, without jumps and ticks.
        self.played_ns = 0
        self._parameters = parameters
        self._frame_ends = {
            name: self.scenario.cameras[name].frame_times_ns[:, 1] for name in self.cameras
        }
        self.schedule = self._scheduled()
        self._lockstep = parameters.mode == 'lockstep'
        self._post = post
        # What lockstep waits for, and who is to be told when that is over.
        self._held: set[ThreadFuture[None]] = set()
        self.on_released: Callable[[], None] = lambda: None
        # Called in a thread of the pipeline's.
        self.on_failure: Callable[[Failure], None] = lambda failure: None
        self.pictures = Pictures(self._render_position, post)
        self.pictures.owe(self.cameras)
        self._listened: tuple[str, ...] = ()
        # The address and the scene that were asked for when the load began, the rest as it is now.
        options = replace(
            render_options(parameters),
            server=order.server,
            scene_id=order.scene_id,
            scene_url=order.scene_url,
        )
        self.pipeline = RenderPipeline(
            self.scenario, options, self._deliver, mode=parameters.mode, log=log
        )
        self._rendered_so_far = self._rendered()
        self._models = {name: self.pipeline.output_model(name) for name in self.cameras}
        self.outputs: dict[str, CameraPublisher] = {}
        try:
            for name in self.cameras:
                self.outputs[name] = CameraPublisher(node, frames, name, options.image_format)
                self.outputs[name].calibration(self._models[name])
        except BaseException:
            self.destroy_publishers()
            raise

    def start(self) -> None:
        """Begin to look for the render server."""
        self.pipeline.start()

    # Who listens.

    def look_around(self) -> None:
        """Find out who listens to which camera."""
        audiences = {name: output.audience for name, output in self.outputs.items()}
        self.pictures.count(audiences)
        if self._parameters.always_render:
            self._listened = self.cameras
        else:
            self._listened = tuple(name for name, numbers in audiences.items() if any(numbers))

    @property
    def listened(self) -> tuple[str, ...]:
        """Give the cameras that somebody listened to when the session last looked around."""
        return self._listened

    @property
    def picture_owed(self) -> bool:
        """Say whether a camera that somebody listens to has no picture of the position yet."""
        return bool(self.pictures.ready(self._listened))

    def make_pictures(self) -> None:
        """Ask for the pictures that are owed."""
        self.pictures.make(self._listened)

    # Time.

    @property
    def active_ids(self) -> tuple[str, ...]:
        """Give the ids of the tracks that are there at the position."""
        return self.scenario.tracks.at(self.clock.position_ns).ids

    def advance(self) -> Advance:
        """Let the clock follow the wall; in lockstep not beyond the next frame that is due."""
        limit = None
        if self._lockstep and self._listened:
            if self._held:
                limit = self.clock.position_ns
            else:
                limit = self.schedule.next_after(self.clock.passed_ns, self._listened)
        advance = self.clock.advance(limit)
        self.played_ns += advance.until_ns - advance.after_ns
        return advance

    def due(self, advance: Advance) -> list[Due]:
        """
        List what is to be rendered of a span.

        In real time that is the newest frame of each camera: of those that one span passes over
        the older ones are late already, and counted as dropped.
        """
        due = self.schedule.due(advance.after_ns, advance.until_ns, self._listened)
        if self._lockstep:
            return due
        newest = {item.name: item for item in due}
        for item in due:
            if newest[item.name] is not item:
                self.outrun[item.name] += 1
        return sorted(newest.values(), key=lambda item: (item.t_ns, item.name))

    def drop(self, advance: Advance) -> None:
        """Count what a span made due as dropped: the clock starts over, and nobody waits."""
        for item in self.all_due(advance):
            self.outrun[item.name] += 1
            self.jumped_over[item.name] += 1

    def all_due(self, advance: Advance) -> list[Due]:
        """List every frame of a span, of the cameras that somebody listens to."""
        return self.schedule.due(advance.after_ns, advance.until_ns, self._listened)

    @property
    def waiting(self) -> bool:
        """Say whether lockstep holds the clock."""
        return bool(self._held)

    # Frames.

    def render(self, due: list[Due]) -> None:
        """Ask for the frames that the passing of time made due."""
        if not due:
            return
        if not self._lockstep:
            self.pipeline.submit(due)
            return
        future = self.pipeline.submit(due, keep=True)
        self._held.add(future)
        future.add_done_callback(lambda done: self._post(lambda: self._release(done)))

    def _release(self, future: ThreadFuture[None]) -> None:
        self._held.discard(future)
        if not self._held:
            self.on_released()

    def render_at_once(self, due: list[Due]) -> ThreadFuture[None]:
        """Ask for frames none of which is dropped, and which fail where there is no server."""
        return self.pipeline.submit(due, keep=True, fail_if_down=True)

    def _render_position(self, cameras: tuple[str, ...]) -> ThreadFuture[None]:
        t_ns = self.clock.position_ns
        return self.pipeline.submit([Due(name, t_ns) for name in cameras], keep=True)

    def _deliver(self, item: Frame | Failure) -> None:
        """Publish a frame, in a thread of the pipeline's; failures are counted there."""
        if isinstance(item, Failure):
            self.on_failure(item)
            return
        output = self.outputs[item.camera]
        try:
            output.publish(item, self._models[item.camera], lambda: decode_rgb(item))
        except InvalidHandle:
            # Another scenario took over while the frame was on its way; its topics are gone.
            return

    # Changes while running.

    def go_on_from_here(self) -> None:
        """Do not count the wall time that passed while a jump waited to be shown."""
        if self.clock.is_playing and not self.clock.done:
            self.clock.stop()
            self.clock.play()

    def jumped_back(self) -> None:
        """Forget the frames that are on their way: their stamps are in the future now."""
        before = {name: self.pipeline.camera_status(name).dropped for name in self.cameras}
        self.pipeline.discard()
        for name, dropped in before.items():
            self.jumped_over[name] += self.pipeline.camera_status(name).dropped - dropped

    def apply(self, changed: Mapping[str, object]) -> None:
        """Take changed parameters, by name."""
        if 'rate' in changed:
            self.clock.set_rate(self._parameters.rate)
        if 'loop' in changed:
            self.clock.loop = self._parameters.loop
        if any(name == 'camera_rate' or name.endswith('.rate') for name in changed):
            self.schedule = self._scheduled()
        rendered = self._rendered()
        if rendered != self._rendered_so_far:
            self._rendered_so_far = rendered
            self.pipeline.update(**rendered)
            if not self.clock.is_playing:
                self.pictures.owe(self.cameras)

    def _rendered(self) -> dict[str, object]:
        """Give the options that change the pictures, as the parameters have them now."""
        return {
            'resolution_scale': self._parameters.resolution_scale,
            'camera_scales': self._parameters.camera_scales(),
            'send_tracks': self._parameters.send_tracks,
            'rig_offset': self._parameters.rig_offset,
        }

    def _scheduled(self) -> Schedule:
        times = {}
        for name, ends in self._frame_ends.items():
            rate = self._parameters.camera(name).rate
            if rate is None:
                rate = self._parameters.camera_rate
            times[name] = camera_times(ends, self.clock.begin_ns, self.clock.end_ns, rate)
        return Schedule(times)

    # The end.

    def destroy_publishers(self) -> None:
        """Remove the cameras' topics; in the executor's thread."""
        for output in self.outputs.values():
            output.destroy()

    def close(self, timeout_s: float = 0.3) -> None:
        """Cancel what is under way and leave the server; takes at most `timeout_s`."""
        self.pipeline.close(timeout_s)
