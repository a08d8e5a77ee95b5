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
A whole session: a player and a recorder in their own processes, a render server and a client.

`run` plays it and gives what a test needs: the recording's folder, what the client did and was
told, and the truth about the scenarios.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
import json
from pathlib import Path
from test.ros.session.scenarios import build, CROSS, FRONT, REAR, SECOND, Truth
from test.support.domain import claim_domain
from test.support.player_bench import Bench, serve, stamp_ns
from test.support.process import Process
from test.support.waiting import until
import time
from typing import Any

import cv2
import numpy as np
import pytest

SCALE = 0.1
TICK_NS = 100_000_000
DEPTH = 1000

RELIABLE, LATCHED = False, True
# What the contract's table of topics says: type, and whether late joiners get the last message.
COMMON_TOPICS = {
    '/clock': ('rosgraph_msgs/msg/Clock', RELIABLE),
    '/tf': ('tf2_msgs/msg/TFMessage', RELIABLE),
    '/tf_static': ('tf2_msgs/msg/TFMessage', LATCHED),
    '/diagnostics': ('diagnostic_msgs/msg/DiagnosticArray', RELIABLE),
    '/nurec/odom': ('nav_msgs/msg/Odometry', RELIABLE),
    '/nurec/path': ('nav_msgs/msg/Path', LATCHED),
    '/nurec/ego': ('visualization_msgs/msg/MarkerArray', LATCHED),
    '/nurec/tracks': ('visualization_msgs/msg/MarkerArray', RELIABLE),
    '/nurec/objects': ('vision_msgs/msg/Detection3DArray', RELIABLE),
    '/nurec/state': ('diagnostic_msgs/msg/DiagnosticStatus', LATCHED),
}
CAMERA_TOPICS = {
    'image_raw': ('sensor_msgs/msg/Image', RELIABLE),
    'image_raw/compressed': ('sensor_msgs/msg/CompressedImage', RELIABLE),
    'camera_info': ('sensor_msgs/msg/CameraInfo', RELIABLE),
}


def camera_topics(*cameras: str) -> dict[str, tuple[str, bool]]:
    """Return the topics of cameras."""
    return {
        f'/nurec/{camera}/{name}': offer
        for camera in cameras
        for name, offer in CAMERA_TOPICS.items()
    }


TOPICS = COMMON_TOPICS | camera_topics(FRONT, REAR, CROSS)


def depths() -> dict[str, int]:
    """
    Return overrides that let publishers keep what the recorder has not got yet.

    On a busy machine it may not run for longer than ten messages of /clock take, and a session
    that is checked message by message must not miss any.
    """
    return {f'qos_overrides.{name}.publisher.depth': DEPTH for name in TOPICS}


@dataclass(frozen=True)
class Act:
    """Something that the client did: between which moments of the wall, and what it was told."""

    name: str
    called_ns: int
    answered_ns: int
    answer: Any = None


@dataclass(frozen=True)
class Session:
    """What was left of a session."""

    bag: Path
    truths: tuple[Truth, Truth, Truth]
    acts: tuple[Act, ...]
    unexpected: dict[str, list[str]]
    exit_code: int
    output: str

    def named(self, name: str) -> list[Act]:
        """Return the acts of a name."""
        return [act for act in self.acts if act.name == name]


class Client:
    """Steers the player, waits for what the recorder has, and keeps a log of it."""

    def __init__(self, bench: Bench, counts: Path) -> None:
        from sensor_msgs.msg import CompressedImage

        self.acts: list[Act] = []
        self._bench = bench
        self._path = counts
        self._read: tuple[tuple[int, int], Any] = ((0, 0), None)
        self._images = {
            camera: bench.listen(CompressedImage, f'~/{camera}/image_raw/compressed')
            for camera in (FRONT, REAR, CROSS)
        }
        # Each jump shows the path twice, and so does the start.
        self._paths = 0

    @contextlib.contextmanager
    def _logged(self, name: str) -> Iterator[list[Any]]:
        answer: list[Any] = [None]
        called_ns = time.time_ns()
        yield answer
        self.acts.append(Act(name, called_ns, time.time_ns(), answer[0]))

    # What it does.

    def trigger(self, name: str) -> None:
        """Call a Trigger service that must succeed."""
        with self._logged(name) as answer:
            answer[0] = self._bench.trigger(name)

    def refused(self, name: str) -> None:
        """Call a Trigger service that must refuse."""
        with self._logged(f'{name} refused') as answer:
            answer[0] = self._bench.refusal(name)

    def seek(self, t_ns: int) -> None:
        """Seek, and wait until the clock is there; the answer that is kept is the moment."""
        before = len(self._bench.clocks)
        with self._logged('seek') as answer:
            self._bench.seek(t_ns)
            answer[0] = t_ns

        def there() -> bool:
            return any(0 <= stamp_ns(one) - t_ns < SECOND for one in self._bench.clocks[before:])

        self._bench.until(there, f'clock at {t_ns}')

    def set_rate(self, rate: float) -> None:
        """Set the rate by its service."""
        from rosbag2_interfaces.srv import SetRate

        with self._logged('rate') as answer:
            assert self._bench.call(SetRate, 'set_rate', SetRate.Request(rate=rate)).success
            answer[0] = rate

    def call(self, service_type: type, name: str) -> None:
        """Call a service of rosbag2's."""
        with self._logged(name) as answer:
            answer[0] = self._bench.call(service_type, name)

    def configure(self, **values: Any) -> None:
        """Set parameters, which must succeed."""
        with self._logged('configure') as answer:
            assert all(result.successful for result in self._bench.configure(**values))
            answer[0] = values

    def loop(self, end_ns: int) -> None:
        """Let the clock start over."""
        before_ns = max(end_ns - SECOND // 5, self._bench.clock_ns)
        with self._logged('loop'):
            self._bench.until(lambda: self._bench.clock_ns < before_ns, 'the start over')

    # What it waits for.

    def _told(self) -> Any:
        """Return what the recorder told last; it writes a new file each time."""
        found = self._path.stat()
        written = found.st_ino, found.st_mtime_ns
        if written != self._read[0]:
            self._read = written, json.loads(self._path.read_text())
        return self._read[1]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many messages of each topic the recorder has."""
        return dict(self._told()['counts'])

    def sent_since(self, moment_ns: int) -> dict[str, int]:
        """Return how many, up to ten, it has of those sent after a moment of the wall."""
        last = self._told()['last']
        return {name: sum(one > moment_ns for one in times) for name, times in last.items()}

    @property
    def listens(self) -> bool:
        """Return whether the pictures of the start have come here, too."""
        return all(self._images[camera] for camera in (FRONT, REAR))

    def passes(self, t_ns: int) -> None:
        """Wait until the clock shows a moment, or a later one."""
        self._bench.passes(t_ns)

    def runs(self, seconds: float) -> None:
        """Wait until the clock has run on for some scenario seconds, and has told it often."""
        before_ns = self._bench.clock_ns
        self._bench.spin(self._bench.clocks, 30)
        self.passes(before_ns + round(seconds * SECOND))

    def done(self) -> None:
        """Wait until the position is the end."""
        self._bench.until(lambda: self._bench.state['done'], 'the end')

    def recorded(self, more: dict[str, int]) -> None:
        """Wait until the recorder has so many messages of topics that are sent from now on."""
        now_ns = time.time_ns()

        def enough() -> bool:
            sent = self.sent_since(now_ns)
            return all(sent[name] >= count for name, count in more.items())

        self._bench.until(enough, f'the recorder has {more} more')

    def filmed(self, *cameras: str) -> None:
        """Wait for a few pictures of cameras while the clock runs; a busy machine drops many."""
        self.recorded(dict.fromkeys(camera_topics(*cameras), 8))

    def settled(self) -> None:
        """Wait until the recorder has both showings of a jump back, or of a scenario."""
        self._paths += 2
        self._bench.until(
            lambda: self.counts['/nurec/path'] >= self._paths, f'{self._paths} paths are recorded'
        )

    def started(self) -> None:
        """Wait until both showings of a scenario are recorded, and the player is at rest."""
        self.settled()
        self.repeated()

    def repeated(self) -> None:
        """Wait for a few repetitions of a halted player's."""
        self.recorded({'/nurec/tracks': 3, '/nurec/objects': 3})

    @contextlib.contextmanager
    def pictures(self, *cameras: str) -> Iterator[None]:
        """
        Wait at the end for a picture of the position, recorded on all topics of cameras.

        Then all before it is recorded, too: DDS may send a message again only seconds later, but
        keeps the order; with its publisher it is lost.
        """
        before_ns = time.time_ns()

        def came() -> bool:
            now_ns, sent = self._bench.clock_ns, self.sent_since(before_ns)
            recorded = all(sent[name] for name in camera_topics(*cameras))
            return recorded and all(
                any(stamp_ns(image) == now_ns for image in self._images[camera])
                for camera in cameras
            )

        with self._logged('pictures') as answer:
            for camera in cameras:
                self._images[camera].clear()
            yield
            self._bench.until(came, f'pictures of {cameras}')
            answer[0] = cameras


def perform(client: Client, truths: tuple[Truth, Truth, Truth], folder: Path) -> None:
    """Do everything that a player can be asked for."""
    from rosbag2_interfaces.srv import Pause, PlayNext, Resume, TogglePaused

    first, second, third = truths
    begin_ns, end_ns = first.begin_ns, first.end_ns

    def at(seconds: float) -> int:
        return begin_ns + round(seconds * 1e6) * 1000

    client.started()
    client.trigger('play')
    client.passes(at(1.4))
    client.trigger('stop')
    client.repeated()
    for _ in range(3):
        client.trigger('tick')
    with client.pictures(FRONT, REAR):
        client.seek(at(9.2))
    client.trigger('play')
    client.passes(at(9.9))
    client.filmed(FRONT, REAR)
    client.seek(at(1.0))
    client.settled()
    client.set_rate(2.0)
    client.runs(1.0)
    client.configure(rate=0.5)
    client.runs(0.15)
    client.set_rate(1.0)
    with client.pictures(FRONT, REAR):
        client.trigger('reset')
        client.settled()
    client.seek(at(1.45))
    client.trigger('tick')
    client.seek(at(4.1))
    with client.pictures(FRONT, REAR):
        client.seek(at(1.1))
        client.settled()
    client.seek(end_ns - 300_000_000)
    client.trigger('play')
    client.done()
    # Beyond the end, where it stays.
    client.trigger('tick')
    client.trigger('play')
    client.settled()
    client.configure(loop=True)
    client.seek(end_ns - 300_000_000)
    client.loop(end_ns)
    client.settled()
    client.configure(loop=False)
    client.call(Pause, 'pause')
    client.repeated()
    for _ in range(3):
        client.call(PlayNext, 'play_next')
    client.call(Resume, 'resume')
    client.call(TogglePaused, 'toggle_paused')
    (folder / 'broken.usdz').write_bytes(b'not a zip')
    client.configure(usdz_path=str(folder / 'broken.usdz'))
    client.refused('load')
    client.configure(usdz_path=str(second.path))
    with client.pictures(FRONT, REAR):
        client.seek(at(5.0))
    client.trigger('play')
    with client.pictures(FRONT, CROSS):
        client.trigger('load')
        client.settled()
    client.trigger('play')
    client.passes(second.begin_ns + SECOND)
    client.filmed(FRONT, CROSS)
    client.configure(usdz_path=str(third.path))
    client.trigger('stop')
    with client.pictures(FRONT, CROSS):
        client.seek(second.end_ns - SECOND)
    with client.pictures(REAR):
        client.trigger('load')
        client.started()
    client.trigger('play')
    client.done()
    with client.pictures(REAR):
        client.seek(third.end_ns)
    client.recorded({'/diagnostics': 1, '/nurec/state': 1})


def picture(request: Any, _context: Any) -> bytes:
    """Return a JPEG: columns get redder and rows greener, and it is as blue as it is late."""
    bgr = np.empty((request.resolution_h, request.resolution_w, 3), dtype=np.uint8)
    bgr[..., 0] = request.frame_end_us // 10_000 % 256
    bgr[..., 1] = np.linspace(0, 255, request.resolution_h)[:, None]
    bgr[..., 2] = np.linspace(0, 255, request.resolution_w)
    return cv2.imencode('.jpg', bgr)[1].tobytes()


def run(folder: Path) -> Session:
    """Play the session; everything it leaves is in `folder`."""
    import rclpy

    truths = build(folder)
    domain = claim_domain()
    context = rclpy.Context()
    rclpy.init(args=['test'], context=context, domain_id=domain)
    (folder / 'topics.json').write_text(json.dumps(TOPICS))
    children, bench = contextlib.ExitStack(), None
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('ROS_DOMAIN_ID', str(domain))
            server = children.enter_context(serve(*(one.path for one in truths), render=picture))
            recorder = Process(
                'test.ros.session.recorder',
                [folder / 'bag', folder / 'topics.json'],
                folder / 'recorder.log',
            )
            children.callback(recorder.end)
            until(lambda: recorder.alive() and (folder / 'counts.json').exists(), 'the recorder')
            parameters = {
                'usdz_path': truths[0].path,
                'server': server.address,
                'resolution_scale': SCALE,
                **depths(),
            }
            bench = Bench(folder, context, parameters)
        client = Client(bench, folder / 'counts.json')
        bench.ready()
        wanted = COMMON_TOPICS | camera_topics(FRONT, REAR)
        bench.until(
            lambda: all(client.counts[name] for name in wanted) and client.listens, 'all topics'
        )
        perform(client, truths, folder)
        called_ns = time.time_ns()
        exit_code = bench.player.interrupt()
        client.acts.append(Act('interrupt', called_ns, time.time_ns(), exit_code))
        output = bench.player.output
        assert recorder.interrupt() == 0, recorder.output
    finally:
        if bench is not None:
            bench.close()
        children.close()
        rclpy.try_shutdown(context=context)
    unexpected = json.loads((folder / 'unexpected.json').read_text())
    return Session(folder / 'bag', truths, tuple(client.acts), unexpected, exit_code, output)
