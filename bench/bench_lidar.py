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
Clouds of a large lidar beside six cameras, and what the way of a cloud costs.

Flow: 10 clouds a second of 230,000 points and 10 pictures a second of each of six cameras, with
config/fastdds_shm.xml, to a subscriber in another process. The player, which has them from a
render server that answers at once, alternates with a bare node that publishes the same bytes from
a timer. Goal: of clouds the player gets through at least 0.8 of what the bare node does, in the
median of five alternations.

Parts: processor time of the steps that a cloud takes: its check, and its message in both layouts.

Idle: processor time of playing where nobody subscribes to a lidar, with a lidar in the file and
without, against the player of a checkout that knows none, one after the other in turn; for each
message of the clock, because a player that gets less of a busy machine ticks less often. Goal: not
more, within the 5 % by which equal players differ. The last commit before lidars is e29bc60:

    git worktree add ../old e29bc60
    cd ../old && python -m grpc_tools.protoc -I. --python_out=. nurec_ros/rendering/protos/*.proto
    cd -
    python bench/bench_lidar.py idle --old ../old

    python bench/bench_lidar.py [parts] [flow] [idle] [--seconds 8] [--rounds 5] [--layout xyzi]
        [--code FOLDER] [--old FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import contextlib
from functools import partial
import json
import os
from pathlib import Path
import signal
import sys
import tempfile
import time
from typing import Any
import zipfile

import numpy as np
from player_parts import cpu_s, player, process, ROOT, START_S, wait_until_it_plays

POINTS = 230_000
HERTZ = 10.0
SIZE = (480, 270)
GOAL, GOAL_IDLE = 0.8, 1.05
PROFILE = ROOT / 'config' / 'fastdds_shm.xml'
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


def cloud() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return points about a sensor, column after column of 128 rows, and intensities."""
    rng = np.random.default_rng(1)
    columns = -(-POINTS // 128)
    elevation = np.tile(np.radians(np.linspace(14.4, -25.0, 128)), columns)[:POINTS]
    elevation += rng.normal(0.0, 1e-4, POINTS)
    azimuth = np.repeat(np.linspace(np.pi, -np.pi, columns), 128)[:POINTS]
    flat, up = np.cos(elevation), np.sin(elevation)
    ways = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), up], axis=1)
    points = ways * rng.uniform(2.0, 150.0, (POINTS, 1))
    return points.astype('<f4'), rng.random(POINTS).astype('<f4')


def picture() -> bytes:
    """Return a JPEG of the size that is asked for."""
    import cv2

    noise = np.random.default_rng(1).integers(0, 256, (27, 48, 3), np.uint8)
    found: bytes = cv2.imencode('.jpg', cv2.resize(noise, SIZE))[1].tobytes()
    return found


# --- the other processes -------------------------------------------------------------------------


def play_server(scene: str) -> None:
    """Answer every request at once."""
    from test.rendering.fake_server import FakeServer

    from nurec_ros.rendering.protos import sensorsim_pb2

    points, intensities = cloud()
    reply = sensorsim_pb2.LidarRenderReturn(
        num_points=POINTS,
        point_xyzs_buffer=points.tobytes(),
        point_intensities_buffer=intensities.tobytes(),
    ).SerializeToString()
    jpeg = picture()
    with FakeServer(lambda *_: jpeg, scenes=[scene]) as server:
        server.spin = lambda *_: reply
        print(server.address, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def play_bare(lidar: str, *cameras: str) -> None:
    """Publish the same bytes from a timer, and nothing else."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.node import Node
    from sensor_msgs.msg import CompressedImage, PointCloud2

    rclpy.init()
    node = Node('bare')
    images = [
        node.create_publisher(CompressedImage, f'/nurec/{name}/image_raw/compressed', 10)
        for name in cameras
    ]
    clouds = node.create_publisher(PointCloud2, f'/nurec/{lidar}/points', 10)
    image = CompressedImage(format='rgb8; jpeg compressed bgr8')
    image.data.frombytes(picture())
    message = PointCloud2(height=1, width=POINTS, point_step=16, row_step=16 * POINTS)
    message.data.frombytes(np.column_stack(cloud()).astype('<f4').tobytes())

    def tick() -> None:
        for publisher in images:
            publisher.publish(image)
        clouds.publish(message)

    node.create_timer(1.0 / HERTZ, tick)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


def play_subscriber(seconds: float, lidar: str, *cameras: str) -> None:
    """Count what comes for a time, from the first cloud on; print it."""
    import rclpy
    from rclpy.node import Node
    from sensor_msgs.msg import CompressedImage, PointCloud2

    rclpy.init()
    node = Node('subscriber')
    counts = {'clouds': 0, 'images': 0}

    def count(kind: str) -> Callable[[bytes], None]:
        def add(_: bytes) -> None:
            counts[kind] += 1

        return add

    add_image = count('images')
    for name in cameras:
        topic = f'/nurec/{name}/image_raw/compressed'
        node.create_subscription(CompressedImage, topic, add_image, 10, raw=True)
    points = f'/nurec/{lidar}/points'
    node.create_subscription(PointCloud2, points, count('clouds'), 10, raw=True)

    def spin(until: Callable[[], bool], longest_s: float) -> float:
        began = time.monotonic()
        while not until() and time.monotonic() - began < longest_s:
            rclpy.spin_once(node, timeout_sec=0.1)
        return time.monotonic() - began

    spin(lambda: counts['clouds'] > 0, START_S)
    # Not the first seconds, in which all start.
    spin(lambda: False, 2.0)
    print('begin', flush=True)
    before = dict(counts)
    took = spin(lambda: False, seconds)
    result = {kind: (counts[kind] - before[kind]) / took for kind in counts}
    print(json.dumps(result), flush=True)


def role(*words: object, quiet: bool = True) -> contextlib.AbstractContextManager[Any]:
    """Run this file in another role."""
    return process(sys.executable, __file__, *map(str, words), quiet=quiet)


# --- the parent ----------------------------------------------------------------------------------


def measure_flow(arguments: argparse.Namespace, folder: Path) -> None:
    """Alternate the player and the bare node; print what came through."""
    from nurec_ros.example import write_example
    from nurec_ros.scenario import Scenario

    usdz = write_example(folder / 'street.usdz')
    scenario = Scenario.load(usdz)
    (lidar, *_), cameras = scenario.lidars, list(scenario.cameras)[:6]
    rates = {'camera_rate': HERTZ, 'lidar_rate': HERTZ, 'lidar_layout': arguments.layout}
    print(f'{len(cameras)} cameras and {lidar}, {POINTS} points as {arguments.layout}\n')
    print(f'{"":8}{"clouds/s":>10}{"images/s":>10}{"of a core":>11}')
    ratios = []
    with role('server', scenario.scene_id, quiet=False) as server:
        address = server.stdout.readline().strip()
        for _ in range(arguments.rounds):
            came = {}
            for name in ('player', 'bare'):
                if name == 'player':
                    child = player(usdz, address, arguments.code, **rates)
                else:
                    child = role('bare', lidar, *cameras)
                counting = role('subscriber', arguments.seconds, lidar, *cameras, quiet=False)
                with child as sending, counting as subscriber:
                    subscriber.stdout.readline()
                    used, began = cpu_s(sending.pid), time.monotonic()
                    came[name] = json.loads(subscriber.stdout.readline())
                    used = (cpu_s(sending.pid) - used) / (time.monotonic() - began)
                figures = came[name]
                print(f'{name:8}{figures["clouds"]:10.2f}{figures["images"]:10.1f}{used:11.0%}')
            ratios.append(came['player']['clouds'] / max(came['bare']['clouds'], 1e-9))
    median = float(np.median(ratios))
    print(f'\nratios {", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))}; median {median:.2f}')
    print(f'goal {GOAL:g}:', 'met' if median >= GOAL else 'MISSED')


def measure_idle(arguments: argparse.Namespace, folder: Path) -> None:
    """Alternate two checkouts and two files; print what their players take of a processor."""
    from nurec_ros.example import write_example

    full = write_example(folder / 'lidar.usdz')
    files = {'no lidar': without_lidars(full, folder / 'none.usdz'), 'a lidar': full}
    codes = {'old': arguments.old, 'new': arguments.code}
    costs: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.rounds):
        for which, code in codes.items():
            for name, usdz in files.items():
                with player(usdz, 'localhost:1', code) as child:
                    wait_until_it_plays()
                    cost = tick_ms(child.pid, arguments.seconds)
                    costs.setdefault((which, name), []).append(cost)
    medians = {key: float(np.median(found)) for key, found in costs.items()}
    rounds = f'median of {arguments.rounds}, ms of a processor for a message of the clock'
    print(f'{"":14}{"old":>10}{"new":>10}{"ratio":>8}   {rounds}')
    for name in files:
        old, new = medians['old', name], medians['new', name]
        print(f'{name:14}{old:10.3f}{new:10.3f}{judged(new / old)}')
    more = medians['new', 'a lidar'] / medians['new', 'no lidar']
    print(f'new, a lidar against none{"":9}{judged(more)}')


def tick_ms(pid: int, seconds: float) -> float:
    """Return the processor time that a player uses in a while, for each message of its clock."""
    import rclpy
    from rclpy.node import Node
    from rosgraph_msgs.msg import Clock

    rclpy.init()
    node = Node('ticks')
    ticks: list[bytes] = []
    node.create_subscription(Clock, '/clock', ticks.append, 1000, raw=True)
    while not ticks:
        rclpy.spin_once(node, timeout_sec=0.1)
    used, before, began = cpu_s(pid), len(ticks), time.monotonic()
    while time.monotonic() - began < seconds:
        rclpy.spin_once(node, timeout_sec=0.1)
    cost = 1e3 * (cpu_s(pid) - used) / (len(ticks) - before)
    node.destroy_node()
    rclpy.shutdown()
    return cost


def judged(ratio: float) -> str:
    """Return a ratio and whether it is one of the goal."""
    return f'{ratio:8.2f}   goal {GOAL_IDLE:g}: {"met" if ratio <= GOAL_IDLE else "MISSED"}'


def without_lidars(usdz: Path, path: Path) -> Path:
    """Write the archive again, with a rig that has no lidar."""
    rig = 'rig_trajectories.json'
    with zipfile.ZipFile(usdz) as source, zipfile.ZipFile(path, 'w') as target:
        for member in source.infolist():
            data = source.read(member)
            if member.filename.endswith(rig):
                document = json.loads(data)
                document['lidar_calibrations'] = {}
                for drive in document['rig_trajectories']:
                    drive['lidars_frame_timestamps_us'] = {}
                data = json.dumps(document).encode()
            target.writestr(member, data)
    return path


class Nowhere:
    """An outlet, and its one topic, whose subscriber takes no time."""

    name, subscribers, topic = '/nurec', 1, ''

    def advertise(self, *_: object) -> Nowhere:
        """Return the topic."""
        return self

    def publish(self, _: object) -> None:
        """Take a message."""

    def flush(self, _: float) -> None:
        """Wait for nobody."""

    def destroy(self) -> None:
        """Leave nothing."""


def measure_parts() -> None:
    """Print what the steps of a cloud's way take of a processor."""
    from nurec_ros.rendering.frames import check_cloud, Cloud
    from nurec_ros.rendering.protos import sensorsim_pb2
    from nurec_ros.ros.names import frame_names
    from nurec_ros.ros.sensor_topics import channels_of, LidarTopic
    from nurec_ros.scenario import Lidar
    from nurec_ros.scenario.rig import SpinningLidar
    from nurec_ros.settings import Settings

    points, intensities = cloud()
    elevations = np.radians(np.linspace(14.4, -25.0, 128))
    reply = sensorsim_pb2.LidarRenderReturn(
        num_points=POINTS,
        point_xyzs_buffer=points.tobytes(),
        point_intensities_buffer=intensities.tobytes(),
    )

    def nearest() -> None:
        off = np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1]))
        for part in np.array_split(off, 50):
            np.abs(part[:, np.newaxis] - elevations).argmin(axis=1)

    model = SpinningLidar(10.0, 'cw', elevations, np.zeros(1), np.zeros(128))
    lidar = Lidar('top', np.eye(4), model, np.empty((0, 2), dtype=np.int64))
    frames = frame_names(Settings(), ['top'])
    spin = Cloud('top', 10**9, points, intensities, 0.0)
    channels = channels_of(elevations)
    rows: list[tuple[str, Callable[[], object]]] = [
        ('the reply checked', lambda: check_cloud(reply)),
        ('channels', lambda: channels(points)),
        ('channels, each row looked at', nearest),
    ]
    for layout in ('xyzi', 'xyzirc'):
        topic = LidarTopic(Nowhere(), frames, lidar, layout)
        rows.append((f'the message, {layout}', partial(topic.publish, spin)))
    packed = np.column_stack([points, intensities]).tobytes()
    rows.append(('one copy of as many bytes', lambda: bytearray(packed)))
    for name, function in rows:
        took = []
        for _ in range(9):
            began = time.process_time()
            function()
            took.append(time.process_time() - began)
        print(f'{name:32}{1e3 * float(np.median(took)):8.2f} ms')


def main() -> None:
    """Run the measurements, or one of the roles."""
    # Python has a package called test as well.
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ['server']:
        play_server(sys.argv[2])
        return
    if sys.argv[1:2] == ['bare']:
        play_bare(*sys.argv[2:])
        return
    if sys.argv[1:2] == ['subscriber']:
        play_subscriber(float(sys.argv[2]), *sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('parts', nargs='*', choices=('parts', 'flow', 'idle', []), metavar='PART')
    parser.add_argument('--seconds', type=float, default=8.0)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--layout', choices=('xyzi', 'xyzirc'), default='xyzi')
    parser.add_argument('--code', type=Path, default=ROOT)
    parser.add_argument('--old', type=Path, help='for idle: a checkout of e29bc60, see this file')
    arguments = parser.parse_args()
    if 'idle' in arguments.parts and arguments.old is None:
        parser.error(
            'idle needs --old, a checkout of e29bc60; the beginning of this file says how'
        )
    from test.support.domain import claim_domain

    os.environ['ROS_DOMAIN_ID'] = str(claim_domain())
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
    os.environ.update(dict.fromkeys(PROFILE_VARIABLES, str(PROFILE)))
    for part in arguments.parts or ('parts', 'flow'):
        print(f'\n# {part}; load {os.getloadavg()[0]:.1f}\n')
        if part == 'parts':
            measure_parts()
            continue
        measure = measure_flow if part == 'flow' else measure_idle
        with tempfile.TemporaryDirectory() as folder:
            measure(arguments, Path(folder))


if __name__ == '__main__':
    main()
