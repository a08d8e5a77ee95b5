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
The drive as the demo's own node sees it: waits for the player, plays to the end, records it all.

Everything is asked of ROS. The executor is spun in this thread, a message at a time, so that a
signal or a child's end is noticed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import shutil
import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
from numpy.typing import NDArray
from nurec_ros.demo.recording import (
    Diagnostics,
    fields_of,
    last_due,
    PLAYER,
    Recorder,
    rendering,
    skipped_text,
    Topic,
)
from nurec_ros.demo.resources import DemoError
from nurec_ros.playback import camera_times
from nurec_ros.ros.conversions import time_of
from nurec_ros.ros.names import topic_names
from nurec_ros.scenario import Scenario
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.publisher import Publisher
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from tqdm import tqdm

READY_S = 90.0
# Beyond what the player waits for the first frame of a scene, for which servers compile.
COMPILING_S = 330.0
ANSWER_S = 10.0
# So long the position may stand still while playing.
STALL_S = 60.0
# After the end the queues are emptied: so long at least, so long at most.
DRAIN_S, MOST_DRAIN_S = 1.0, 10.0
SPIN_S = 0.05
REST_S = 0.02
# Every so many steps the topics are looked through again.
LOOK_EVERY = 10
# Of the speed asked for: at most so much faster does the clock run between two pictures.
HURRY = 10.0
MOST_RATE = 100.0
PACE_EVERY_S = 1.0
# What is waited for is said after so long (a start takes some seconds, several on a slow machine),
# and again where it has changed: less and less often, since a text may count the seconds.
SAID_AFTER_S, SAID_AGAIN_S, MOST_SAID_AGAIN_S = 10.0, 5.0, 40.0
MOST_COLUMNS = 100
BAR = '{desc} {percentage:3.0f}% |{bar}| {n:.1f} / {total:.1f} s{postfix}'

# By sensor, when it is due, ns.
Times = Mapping[str, NDArray[np.int64]]
# Says how far it is.
Report = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Played:
    """What was recorded, over how much time of the wall and of the scenario, and what to add."""

    topics: tuple[Topic, ...]
    wall_s: float
    scenario_s: float
    remarks: tuple[str, ...]

    @property
    def speed(self) -> float:
        """Return the scenario seconds a second."""
        return self.scenario_s / max(self.wall_s, 1e-9)


def record_drive(
    recording: Path,
    check: Callable[[], None],
    scenario: Scenario,
    cameras: Sequence[str],
    rates_hz: tuple[float, float],
    say: Callable[[str], object],
    drive: Callable[[Watch, Report], Sequence[str]],
) -> Played:
    """
    Wait for the player, drive to the end, record everything; `say` is told what it waits for.

    rates_hz: those of cameras and lidars that the player, in lockstep, was given, 0 for the
    recorded times. `drive` goes to the end, reports how far it is, and returns what to add.
    Raise DemoError where the player does not get ready, refuses, or stands still while playing.
    """
    tokens = topic_names(scenario.sensors)
    names = [tokens[camera] for camera in cameras]
    lidars = [tokens[lidar] for lidar in scenario.lidars]
    with Watch(recording, check) as watch:
        watch.wait_ready(names, READY_S, say)
        recorder = watch.recorder
        first_us = watch.state['current_time_us']
        recorder.measuring = True
        began = time.monotonic()
        progress = PlayProgress(watch.state['duration_s'], say, terminal=sys.stderr.isatty())

        def report() -> None:
            images = sum(watch.image_count(name) for name in names)
            note = f'{images} images, {watch.state["active_tracks"]} tracks'
            progress.show(watch.state['seconds_since_start'], note)

        try:
            added = drive(watch, report)
        finally:
            progress.close()
        wall_s = time.monotonic() - began
        span_ns = first_us * 1000, watch.state['current_time_us'] * 1000
        scenario_s = (span_ns[1] - span_ns[0]) / 1e9
        image_hz, cloud_hz = rates_hz
        images = {
            tokens[name]: camera_times(
                scenario.cameras[name].frame_times_ns[:, 1], *span_ns, image_hz
            )
            for name in cameras
        }
        clouds = {
            tokens[name]: camera_times(lidar.spin_times_ns[:, 1], *span_ns, cloud_hz)
            for name, lidar in scenario.lidars.items()
        }
        # On a busy machine the news of the end overtakes images, which belong to the drive too.
        watch.settle(images, clouds)
        recorder.measuring = False
        remarks = [*added, *rendering(watch.diagnostics, names)]
        remarks += rendering(watch.diagnostics, lidars, 'clouds')
        remarks += skipped_text(recorder.skipped)
    return Played(tuple(recorder.topics.values()), wall_s, scenario_s, tuple(remarks))


def play_to_the_end(watch: Watch, report: Report, speed: float) -> Sequence[str]:
    """Play to the end, at a speed where the pictures allow it; return nothing to add."""
    watch.call('play')
    last_us, moved = watch.state['current_time_us'], time.monotonic()
    paced_us, paced = last_us, moved
    while not watch.state['done']:
        watch.step()
        now_us, now = watch.state['current_time_us'], time.monotonic()
        if now_us != last_us:
            last_us, moved = now_us, now
            report()
            if now - paced >= PACE_EVERY_S:
                passed_s = (now_us - paced_us) / 1e6
                watch.set_rate(pace(speed, watch.state['speed'], now - paced, passed_s))
                paced_us, paced = now_us, now
        elif now - moved > STALL_S:
            message = f'the player has stood still at {last_us} us for {STALL_S:g} s'
            raise DemoError(message)
    return ()


def pace(speed: float, rate: float, wall_s: float, scenario_s: float) -> float:
    """
    Return the rate at which the player in lockstep gets to a speed, pictures waited for.

    rate: the one that it had while scenario_s passed in wall_s.
    """
    waited = wall_s / scenario_s - 1.0 / rate
    return min(MOST_RATE, speed / max(1.0 - waited * speed, 1.0 / HURRY))


class Watch:
    """
    A node that records all topics and knows the player's state; a context manager.

    `check` is called all the while, and raises where it makes no sense to go on.
    """

    def __init__(self, recording: Path, check: Callable[[], None]) -> None:
        self.state: dict[str, Any] = {}
        self.diagnostics: dict[str, tuple[str, dict[str, str]]] = {}
        # The newest message, as it came.
        self.odometry = b''
        self._check = check
        self._steps = 0
        self._context = rclpy.Context()
        # This process handles its own signals.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node(
            'nurec_demo', context=self._context, start_parameter_services=False
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._clients = {
            name: self._node.create_client(Trigger, f'{PLAYER}/{name}')
            for name in ('play', 'tick')
        }
        self._set = self._node.create_client(SetParameters, f'{PLAYER}/set_parameters')
        listeners = {
            f'{PLAYER}/state': self._on_state,
            f'{PLAYER}/odom': self._on_odometry,
            '/diagnostics': self._on_diagnostics,
        }
        self.recorder = Recorder(self._node, recording, listeners)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the recording and leave ROS."""
        try:
            self.recorder.close()
        finally:
            self._executor.shutdown(timeout_sec=1.0)
            self._node.destroy_node()
            rclpy.try_shutdown(context=self._context)

    def step(self, rest_s: float = REST_S) -> None:
        """Take what has arrived, at most for a twentieth of a second."""
        if self._steps % LOOK_EVERY == 0:
            self._check()
            self.recorder.look()
        self._steps += 1
        self._executor.spin_once(timeout_sec=SPIN_S)
        self.recorder.take()
        # Else it would wake for each message by itself.
        time.sleep(rest_s)

    def image_count(self, camera: str) -> int:
        """Return how many images of a camera have come."""
        return self._count(f'{PLAYER}/{camera}/image_raw/compressed')

    def _count(self, name: str) -> int:
        topic = self.recorder.topics.get(name)
        return 0 if topic is None else topic.count

    def wait_ready(
        self, cameras: Sequence[str], timeout_s: float, say: Callable[[str], object]
    ) -> None:
        """
        Wait until the player answers, and an image of each camera and a transform are here.

        A server that may be compiling is given more than `timeout_s`.
        """
        patience = Patience(say)
        began = time.monotonic()
        while missing := self._missing(cameras):
            limit_s = COMPILING_S if may_be_compiling(self.diagnostics) else timeout_s
            if time.monotonic() - began > limit_s:
                raise DemoError(f'{missing} after {limit_s:g} s')
            patience.note(missing)
            self.step()

    def _missing(self, cameras: Sequence[str]) -> str:
        """Return what is not there yet, '' where all is."""
        if not self.state.get('scenario'):
            return f'the player says nothing on {PLAYER}/state'
        if not self._clients['play'].service_is_ready():
            return f'the player has no service {PLAYER}/play'
        silent = [camera for camera in cameras if not self.image_count(camera)]
        if not silent:
            return '' if self._count('/tf') else 'nothing on /tf'
        renderer = next(
            (text for name, (text, _) in self.diagnostics.items() if name.endswith(': renderer')),
            'nothing',
        )
        return f'no image of {", ".join(silent)} (the player says of the renderer: {renderer})'

    def publisher(self, message_type: type, name: str) -> Publisher:
        """Return a publisher to one of the player's inputs."""
        return self._node.create_publisher(message_type, f'{PLAYER}/{name}', 10)

    def call(self, name: str, limit_s: float = ANSWER_S, rest_s: float = REST_S) -> None:
        """Call `~/play` or `~/tick`, whose answer is the state; DemoError where there is none."""
        future = self._clients[name].call_async(Trigger.Request())
        deadline = time.monotonic() + limit_s
        while not future.done():
            if time.monotonic() > deadline:
                raise DemoError(f'{PLAYER}/{name} did not answer in {limit_s:g} s')
            self.step(rest_s)
        answer = future.result()
        if not answer.success:
            raise DemoError(f'{PLAYER}/{name} refused: {answer.message}')
        self.state = json.loads(answer.message)

    def set_rate(self, rate: float) -> None:
        """Set the parameter `rate`, without waiting for it."""
        value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=rate)
        request = SetParameters.Request(parameters=[Parameter(name='rate', value=value)])
        self._set.call_async(request)

    def settle(self, images: Times, clouds: Times) -> None:
        """
        Take what is still on its way: for a moment, and on until nothing is left waiting.

        The last transforms are waited for, and the last image and cloud that are due: what a busy
        machine loses is sent again, but where nothing follows it, only when the publisher's next
        heartbeat (every 3 s) is missed.
        """
        drain(
            lambda timeout_s: self._executor.spin_once(timeout_sec=timeout_s),
            lambda: sum(topic.count for topic in self.recorder.topics.values()),
            lambda: self._is_complete(images, clouds),
        )

    def _is_complete(self, images: Times, clouds: Times) -> bool:
        for times, topic in (images, 'image_raw/compressed'), (clouds, 'points'):
            last = last_due(times, self.diagnostics)
            if not self.recorder.has({f'{PLAYER}/{s}/{topic}': t for s, t in last.items()}):
                return False
        last = deserialize_message(self.recorder.topics['/tf'].last, TFMessage)
        newest_ns = max((time_of(one.header.stamp) for one in last.transforms), default=0)
        return newest_ns // 1000 >= int(self.state['current_time_us'])

    def _on_state(self, data: bytes) -> None:
        status = deserialize_message(data, DiagnosticStatus)
        self.state = {key: json.loads(value) for key, value in fields_of(status).items()}

    def _on_odometry(self, data: bytes) -> None:
        self.odometry = data

    def _on_diagnostics(self, data: bytes) -> None:
        for status in deserialize_message(data, DiagnosticArray).status:
            self.diagnostics[status.name] = (status.message, fields_of(status))


def may_be_compiling(diagnostics: Diagnostics) -> bool:
    """Return whether the player has a server, and no error of it."""
    return any(
        values.get('connected') == 'true' and not values.get('last_error')
        for name, (_, values) in diagnostics.items()
        if name.endswith(': renderer')
    )


def drain(
    spin: Callable[[float], None],
    count: Callable[[], int],
    is_complete: Callable[[], bool],
    now: Callable[[], float] = time.monotonic,
) -> None:
    """
    Take messages one by one until DRAIN_S have passed and none is waiting, at most MOST_DRAIN_S.

    `spin` takes a message, waiting so many seconds for one; `count` says how many have come,
    `is_complete` whether the last one has.
    """
    began = now()
    while now() - began < MOST_DRAIN_S:
        before = count()
        # The player goes on publishing: only a look without waiting tells that the queue is empty.
        spin(0.0)
        if count() > before:
            continue
        if now() - began >= DRAIN_S and is_complete():
            break
        spin(SPIN_S)


class Patience:
    """Says what is being waited for: not at once, not too often, and not the same thing twice."""

    def __init__(
        self, say: Callable[[str], object], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._now = now
        self._next = now() + SAID_AFTER_S
        self._pause_s = SAID_AGAIN_S
        self._said = ''

    def note(self, reason: str) -> None:
        """Say the reason, if it is time to say something and there is something new."""
        if self._now() >= self._next and reason != self._said:
            self._say(f'waiting: {reason}')
            self._said = reason
            self._next = self._now() + self._pause_s
            self._pause_s = min(2 * self._pause_s, MOST_SAID_AGAIN_S)


class PlayProgress:
    """A bar on stderr for a terminal; else a line at each quarter, so that logs stay readable."""

    QUARTERS = 4

    def __init__(self, total_s: float, say: Callable[[str], object], *, terminal: bool) -> None:
        self._total = max(total_s, 1e-9)
        self._say = say
        self._quarter = 0
        self._bar = tqdm(
            total=round(self._total, 1),
            desc='playing',
            bar_format=BAR,
            # A terminal that does not know its size (in CI, say) would get no bar at all.
            ncols=min(MOST_COLUMNS, shutil.get_terminal_size().columns or MOST_COLUMNS),
            nrows=24,
            disable=not terminal,
        )

    def show(self, seconds: float, note: str) -> None:
        """Say that `seconds` of the scenario have passed."""
        self._bar.n = round(min(seconds, self._total), 1)
        self._bar.set_postfix_str(note)
        quarter = int(self.QUARTERS * seconds / self._total + 1e-6)
        if self._bar.disable and quarter > self._quarter:
            self._quarter = quarter
            percent = int(100 * min(seconds / self._total, 1.0) + 1e-6)
            self._say(f'playing {percent:3d} %: {seconds:.1f} s, {note}')

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
