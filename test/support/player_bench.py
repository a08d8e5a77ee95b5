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
"""A running player with a client and a render server, for tests of what it does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
import json
from pathlib import Path
from test.rendering.fake_server import FakeServer
from test.support.archives import CAMERAS, rig_document, SEQUENCE_ID, START_US
from test.support.listener import Listener
from test.support.process import Process
from typing import Any
import zipfile

import numpy as np
from numpy.typing import NDArray
import pytest
from scipy.spatial.transform import Rotation

# A port that nobody listens on: the player goes on without pictures.
NOWHERE = '127.0.0.1:1'
MS = 1_000_000
SECOND = 1000 * MS
# Those of the archive that `build_archive` writes where it is not told otherwise.
BEGIN_NS = START_US * 1000
END_NS = BEGIN_NS + 2 * SECOND
FRONT, REAR = CAMERAS


def frame_ends(camera: str, after_ns: int = 0, until_ns: int = END_NS) -> list[int]:
    """Return the ends of the exposures of that archive's camera in (after, until], in ns."""
    (trajectory,) = rig_document()['rig_trajectories']
    times_us = trajectory['cameras_frame_timestamps_us'][f'{camera}@{SEQUENCE_ID}']
    return [1000 * end for _, end in times_us if after_ns < 1000 * end <= until_ns]


def stamp_ns(message: Any) -> int:
    """Return the time of a message, of its header or of its clock, in nanoseconds."""
    stamp = message.clock if hasattr(message, 'clock') else message.header.stamp
    return int(stamp.sec * SECOND + stamp.nanosec)


def matrix_of(message: Any) -> NDArray[np.float64]:
    """Return a Transform or a Pose as a matrix (4, 4), by scipy."""
    if hasattr(message, 'orientation'):
        at, to = message.position, message.orientation
    else:
        at, to = message.translation, message.rotation
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([to.x, to.y, to.z, to.w]).as_matrix()
    T[:3, 3] = at.x, at.y, at.z
    return T


def running_player(
    folder: Path,
    parameters: Mapping[str, Any] | None = None,
    *rules: object,
    report_s: float = 1.0,
) -> Process:
    """
    Start the command `nurec_player`; its output goes to a file in `folder`.

    `parameters` are given as on the command line, `rules` are further ROS arguments. It reports
    every `report_s` seconds.
    """
    words = [f'{name}:={value}' for name, value in (parameters or {}).items()]
    arguments = ['--ros-args', *(part for word in words for part in ('-p', word)), *rules]
    output = folder / 'player_output.txt'
    before = partial(_report_every, report_s)
    return Process('nurec_ros.cli.player', arguments, output, before=before)


def _report_every(seconds: float) -> None:
    from nurec_ros.ros import player_node

    player_node.REPORT_PERIOD_S = seconds


class PlayerClient:
    """
    Calls a player, and hears its clock, its state and its reports; `quick` is that of Listener.

    Ends with `close`.
    """

    def __init__(self, context: Any, *, name: str = '/nurec', quick: bool = False) -> None:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
        from rosgraph_msgs.msg import Clock

        self.listener = Listener(context, quick=quick)
        self.clocks = self.listen(Clock, '/clock')
        self.reports = self.listen(DiagnosticArray, '/diagnostics')
        self.states = self.listener.listen(DiagnosticStatus, f'{name}/state', latched=True)
        self.name = name
        self._clients: dict[str, Any] = {}
        self._parsed: tuple[Any, dict[str, Any]] = (None, {})

    def alive(self) -> bool:
        """Return True while the player lives; its end fails the test."""
        return True

    def listen(self, message_type: type, topic: str, *, latched: bool = False) -> list[Any]:
        """Subscribe; `~/…` is the player's own namespace. Gives the list of what comes."""
        return self.listener.listen(message_type, self._name_of(topic), latched=latched)

    def hear(self, message_type: type, topic: str, *, latched: bool = False) -> list[Any]:
        """Subscribe like `listen`, and wait for the first message."""
        messages = self.listen(message_type, topic, latched=latched)
        self.until(lambda: messages, f'a message of {topic}')
        return messages

    def infos_of(self, camera: str = FRONT) -> list[Any]:
        """Subscribe to a camera's camera_info, and wait for its first picture."""
        from sensor_msgs.msg import CameraInfo

        return self.hear(CameraInfo, f'~/{camera}/camera_info')

    def listen_sent(
        self, message_type: type, topic: str, *, latched: bool = False
    ) -> list[tuple[int, Any]]:
        """Subscribe like `listen`; each message comes with when it was sent, in ns."""
        return self.listener.listen_sent(message_type, self._name_of(topic), latched=latched)

    def _name_of(self, topic: str) -> str:
        return self.name + topic[1:] if topic.startswith('~') else topic

    def until(self, condition: Any, what: str = 'what was waited for') -> Any:
        """Wait until a condition is true, while the player lives."""
        return self.listener.until(lambda: self.alive() and condition(), what)

    def spin(self, messages: list[Any], count: int) -> list[Any]:
        """Wait for `count` more messages, and give them."""
        before = len(messages)
        self.until(lambda: len(messages) >= before + count, f'{count} more messages')
        return messages[before:]

    # Services.

    def call(self, service_type: Any, name: str, request: Any = None) -> Any:
        """Call `~/name` and return the answer."""
        future = self.start_call(service_type, name, request)
        self.listener.until(lambda: future.done() or not self.alive(), f'the answer of {name}')
        return future.result()

    def start_call(self, service_type: Any, name: str, request: Any = None) -> Any:
        """Call `~/name`, and give the future of its answer."""
        if name not in self._clients:
            self._clients[name] = self.listener.client(
                service_type, f'{self.name}/{name}', self.alive
            )
        return self._clients[name].call_async(
            service_type.Request() if request is None else request
        )

    def trigger(self, name: str) -> dict[str, Any]:
        """Call a Trigger service that must succeed; give its message, which is a line of JSON."""
        from std_srvs.srv import Trigger

        answer = self.call(Trigger, name)
        assert answer.success, answer.message
        assert '\n' not in answer.message
        message = json.loads(answer.message)
        assert isinstance(message, dict)
        return message

    def refusal(self, name: str) -> str:
        """Call a Trigger service that must refuse; give the reason."""
        from std_srvs.srv import Trigger

        answer = self.call(Trigger, name)
        assert not answer.success, answer.message
        return str(answer.message)

    def seek(self, t_ns: int) -> None:
        from builtin_interfaces.msg import Time
        from rosbag2_interfaces.srv import Seek

        seconds, nanoseconds = divmod(t_ns, SECOND)
        request = Seek.Request(time=Time(sec=seconds, nanosec=nanoseconds))
        assert self.call(Seek, 'seek', request).success

    def configure(self, **values: Any) -> list[Any]:
        """Set parameters; give the results. A double underscore stands for a dot."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        request = SetParameters.Request(
            parameters=[
                Parameter(key.replace('__', '.'), value=value).to_parameter_msg()
                for key, value in values.items()
            ]
        )
        return list(self.call(SetParameters, 'set_parameters', request).results)

    def load(self, **values: Any) -> dict[str, Any]:
        """Set parameters and load, which must succeed; give the state."""
        self.configure(**values)
        return self.trigger('load')

    def ticked(self, messages: list[Any], tick_us: int, count: int) -> list[int]:
        """Tick, and return the stamps of `count` messages later than begin, in ns after it."""
        self.configure(tick_us=tick_us)
        self.trigger('tick')

        def stamps() -> list[int]:
            return [stamp - BEGIN_NS for stamp in map(stamp_ns, messages) if stamp > BEGIN_NS]

        self.until(lambda: len(stamps()) >= count, f'{count} messages')
        return stamps()

    def play_out(self, rate: float) -> None:
        """Play to the end."""
        self.configure(rate=rate)
        self.trigger('play')
        self.until(lambda: self.state['done'], 'the end')

    def get(self, name: str) -> Any:
        from rcl_interfaces.srv import GetParameters
        from rclpy.parameter import parameter_value_to_python

        answer = self.call(GetParameters, 'get_parameters', GetParameters.Request(names=[name]))
        return parameter_value_to_python(answer.values[0])

    # What it shows.

    @property
    def state(self) -> dict[str, Any]:
        """Return the last state, its values parsed."""
        if self.states[-1] is not self._parsed[0]:
            self._parsed = self.states[-1], state_of(self.states[-1])
        return dict(self._parsed[1])

    @property
    def clock_ns(self) -> int:
        """Return what /clock said last."""
        return stamp_ns(self.clocks[-1])

    def status(self, part: str) -> Any:
        """Return the newest status of a part in /diagnostics; one that says nothing before any."""
        from diagnostic_msgs.msg import DiagnosticStatus

        statuses = (one for report in reversed(self.reports) for one in report.status)
        found = (one for one in statuses if one.name.endswith(f': {part}'))
        return next(found, DiagnosticStatus(level=DiagnosticStatus.STALE))

    def told(self, part: str) -> dict[str, str]:
        """Return the values of that status."""
        return {one.key: one.value for one in self.status(part).values}

    def stands(self, t_ns: int) -> None:
        """Wait until /clock shows a moment."""
        self.until(lambda: self.clocks and self.clock_ns == t_ns, f'the clock at {t_ns}')

    def passes(self, t_ns: int) -> None:
        """Wait until /clock shows a moment or a later one."""
        self.until(lambda: self.clocks and self.clock_ns >= t_ns, f'the clock at {t_ns}')

    def topics(self) -> set[str]:
        """Return what the player publishes, as far as the client knows; nothing before it does."""
        node = self.listener.node
        namespace, _, name = self.name.rpartition('/')
        if (name, namespace or '/') not in node.get_node_names_and_namespaces():
            return set()
        found = node.get_publisher_names_and_types_by_node(name, namespace or '/')
        return {topic for topic, _ in found}

    def matched(self, topic: str, count: int = 1) -> None:
        """Wait until a topic has `count` publishers, as far as the client knows."""
        name = self._name_of(topic)
        self.until(
            lambda: self.listener.node.count_publishers(name) >= count, f'a publisher of {name}'
        )

    def close(self) -> None:
        self.listener.close()


class Bench(PlayerClient):
    """
    A player in its own process, and its client.

    `parameters`, `rules` and `report_s` are those of running_player.
    """

    def __init__(
        self,
        folder: Path,
        context: Any,
        parameters: Mapping[str, Any] | None = None,
        *rules: object,
        name: str = '/nurec',
        quick: bool = False,
        report_s: float = 1.0,
    ) -> None:
        super().__init__(context, name=name, quick=quick)
        self.domain = context.get_domain_id()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('ROS_DOMAIN_ID', str(self.domain))
            self.player = running_player(folder, parameters, *rules, report_s=report_s)

    def alive(self) -> bool:
        return self.player.alive()

    def ready(self) -> Bench:
        """Wait until the player shows its first moment."""
        self.until(lambda: self.states and self.clocks, 'the first state and clock')
        return self

    def close(self) -> None:
        self.player.end()
        super().close()


def state_of(message: Any) -> dict[str, Any]:
    """Return the values of a state message, parsed."""
    return {value.key: json.loads(value.value) for value in message.values}


def serve(*paths: Path, **options: Any) -> FakeServer:
    """Start a render server that has the scenes of these files, and answers at once."""
    return FakeServer(scenes=[_scene_id(path) for path in paths], **options)


def _scene_id(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        return str(json.loads(archive.read('data_info.json'))['sequence_id'])
