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
A whole session: a player in its own process, a render server, and a client that records.

`run` plays it and gives what was recorded, what the client did and was told, and the truth about
the scenarios.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from pathlib import Path
from test.ros.session.recording import Act, Entry, LATCHED, Recorder, Recording, RELIABLE
from test.ros.session.scenarios import build, CROSS, Truth
from test.support.domain import claim_domain
from test.support.player_bench import Bench, FRONT, REAR, SECOND, serve
import time
from typing import Any

import cv2
import numpy as np
import pytest

SCALE = 0.1
DEPTH = 1000

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
    return {
        f'/nurec/{camera}/{name}': offer
        for camera in cameras
        for name, offer in CAMERA_TOPICS.items()
    }


TOPICS = COMMON_TOPICS | camera_topics(FRONT, REAR, CROSS)
# On a busy machine it takes longer than ten messages of /clock until DDS has handed them over, and
# a session that is checked message by message must not miss any.
DEPTHS = {f'qos_overrides.{name}.publisher.depth': DEPTH for name in TOPICS}


class Client:
    """Steers the player, waits for what is recorded, and keeps a log of it."""

    def __init__(self, bench: Bench, recorder: Recorder) -> None:
        self.acts: list[Act] = []
        self._bench = bench
        self._recorder = recorder
        # Each jump shows the path twice, and so does the start.
        self._paths = 0

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition is true, and take what comes."""

        def looked() -> object:
            self._recorder.take()
            return condition()

        self._bench.until(looked, what)

    @contextlib.contextmanager
    def _logged(self, name: str) -> Iterator[list[Any]]:
        answer: list[Any] = [None]
        called_ns = time.time_ns()
        yield answer
        self.acts.append(Act(name, called_ns, time.time_ns(), answer[0]))

    # What it does.

    def _does(self, name: str, function: Callable[..., object], *words: Any) -> None:
        with self._logged(name) as answer:
            answer[0] = function(*words)

    def trigger(self, name: str) -> None:
        """Call a Trigger service that must succeed."""
        self._does(name, self._bench.trigger, name)

    def refused(self, name: str) -> None:
        """Call a Trigger service that must refuse."""
        self._does(f'{name} refused', self._bench.refusal, name)

    def call(self, service_type: type, name: str, request: Any = None) -> None:
        self._does(name, self._bench.call, service_type, name, request)

    def seek(self, t_ns: int) -> None:
        """Seek, and wait until the clock is there; the answer that is kept is the moment."""
        called_ns = time.time_ns()
        with self._logged('seek') as answer:
            self._bench.seek(t_ns)
            answer[0] = t_ns

        def there() -> bool:
            clocks = self._since(called_ns, '/clock')
            return any(0 <= one.stamp_ns - t_ns < SECOND for one in clocks)

        self.until(there, f'clock at {t_ns}')

    def configure(self, **values: Any) -> None:
        with self._logged('configure'):
            assert all(result.successful for result in self._bench.configure(**values))

    def loop(self, end_ns: int) -> None:
        self._recorder.take()
        before_ns = max(end_ns - SECOND // 5, self._clock_ns)
        with self._logged('loop'):
            self.until(lambda: self._clock_ns < before_ns, 'the start over')

    def interrupt(self) -> int:
        """End the player, and take the rest."""
        self._recorder.look()
        with self._logged('interrupt') as answer:
            answer[0] = code = self._bench.player.interrupt()
            self._bench.listener.until(lambda: self._recorder.ended, 'the end of all topics')
        return code

    # What it waits for.

    @property
    def _clock_ns(self) -> int:
        return self._recorder.topics['/clock'][-1].stamp_ns

    def _since(self, moment_ns: int, topic: str) -> list[Entry]:
        """Return what was sent on a topic after a moment of the wall."""
        return [one for one in self._recorder.topics[topic][-100:] if one.sent_ns > moment_ns]

    def passes(self, t_ns: int) -> None:
        """Wait until the clock shows a moment, or a later one."""
        self.until(lambda: self._clock_ns >= t_ns, f'the clock at {t_ns}')

    def runs(self, seconds: float) -> None:
        """Wait until the clock has run on for some scenario seconds, and has told it often."""
        self._recorder.take()
        before_ns = self._clock_ns
        self.recorded({'/clock': 30})
        self.passes(before_ns + round(seconds * SECOND))

    def done(self) -> None:
        """Wait until the position is the end."""
        self.until(lambda: self._bench.state['done'], 'the end')

    def recorded(self, more: dict[str, int]) -> None:
        """Wait until there are so many messages of topics that are sent from now on."""
        now_ns = time.time_ns()
        self.until(
            lambda: all(len(self._since(now_ns, name)) >= count for name, count in more.items()),
            f'{more} more',
        )

    def filmed(self, *cameras: str) -> None:
        """Wait for a few pictures of cameras while the clock runs; a busy machine drops many."""
        self.recorded(dict.fromkeys(camera_topics(*cameras), 6))

    def settled(self) -> None:
        """Wait until both showings of a jump back, or of a scenario, are recorded."""
        self._paths += 2
        paths = self._recorder.topics['/nurec/path']
        self.until(lambda: len(paths) >= self._paths, f'{self._paths} paths')

    def rests(self) -> None:
        """Wait for what a halted player repeats, and for a state that tells nothing new."""
        self._recorder.look()
        repeated = ('/tf', '/nurec/odom', '/nurec/tracks', '/nurec/objects')
        self.recorded(dict.fromkeys(repeated, 2) | {'/nurec/state': 1})

    @contextlib.contextmanager
    def pictures(self, *cameras: str) -> Iterator[None]:
        """
        Wait at the end for a picture of the position, recorded on all topics of cameras.

        Then all before it is recorded, too: DDS may send a message again only seconds later, but
        keeps the order; with its publisher it is lost.
        """
        before_ns = time.time_ns()

        def came() -> bool:
            return all(
                self._clock_ns in [one.stamp_ns for one in self._since(before_ns, name)]
                for name in camera_topics(*cameras)
            )

        with self._logged('pictures') as answer:
            yield
            self.until(came, f'pictures of {cameras}')
            answer[0] = cameras


def perform(client: Client, truths: tuple[Truth, Truth, Truth], folder: Path) -> None:
    """Do everything that a player can be asked for."""
    from rosbag2_interfaces.srv import Pause, PlayNext, Resume, SetRate, TogglePaused

    first, second, third = truths
    begin_ns, end_ns = first.begin_ns, first.end_ns

    def at(seconds: float) -> int:
        return begin_ns + round(seconds * 1e6) * 1000

    client.settled()
    client.rests()
    client.trigger('play')
    client.passes(at(0.9))
    client.trigger('stop')
    client.rests()
    for _ in range(3):
        client.trigger('tick')
    with client.pictures(FRONT, REAR):
        client.seek(at(12.2))
    client.trigger('play')
    client.filmed(FRONT, REAR)
    # Farther back than a buffer of tf2 remembers.
    client.seek(at(1.0))
    client.call(SetRate, 'set_rate', SetRate.Request(rate=2.0))
    client.runs(1.0)
    client.settled()
    client.seek(at(0.8))
    client.configure(rate=0.5)
    client.runs(0.15)
    client.settled()
    client.call(SetRate, 'set_rate', SetRate.Request(rate=1.0))
    with client.pictures(FRONT, REAR):
        client.trigger('reset')
        client.settled()
    client.rests()
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
    client.passes(second.begin_ns + SECOND // 2)
    client.filmed(FRONT, CROSS)
    client.configure(usdz_path=str(third.path))
    client.trigger('stop')
    with client.pictures(FRONT, CROSS):
        client.seek(second.end_ns - SECOND)
    with client.pictures(REAR):
        client.trigger('load')
        client.settled()
        client.rests()
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


@contextlib.contextmanager
def recorded_player(
    folder: Path, topics: dict[str, tuple[str, bool]], parameters: dict[str, Any]
) -> Iterator[tuple[Bench, Recorder]]:
    """Start a player in a domain of its own, with who records these topics from its start on."""
    import rclpy
    from rclpy.node import Node
    from rclpy.subscription import Subscription

    if not hasattr(Subscription, 'CallbackType'):
        pytest.skip('this rclpy does not tell when a message was sent')
    context = rclpy.Context()
    rclpy.init(args=['test'], context=context, domain_id=claim_domain())
    # Before anybody publishes: nothing is missed but what is sent before the two have met.
    node = Node('recorder', context=context)
    recorder = Recorder(node, topics)
    bench = Bench(folder, context, parameters, quick=True)
    try:
        yield bench, recorder
    finally:
        bench.close()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def run(folder: Path) -> Recording:
    truths = build(folder)
    with serve(*(one.path for one in truths), render=picture) as server:
        parameters = {
            'usdz_path': truths[0].path,
            'server': server.address,
            'resolution_scale': SCALE,
            **DEPTHS,
        }
        with recorded_player(folder, TOPICS, parameters) as (bench, recorder):
            client = Client(bench, recorder)
            bench.ready()
            wanted = COMMON_TOPICS | camera_topics(FRONT, REAR)
            client.until(lambda: all(recorder.topics[name] for name in wanted), 'all topics')
            perform(client, truths, folder)
            code, output = client.interrupt(), bench.player.output
    return Recording(recorder, truths, client.acts, code, output)
