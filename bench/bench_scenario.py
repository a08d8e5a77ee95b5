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
Scenario reader beside the straightforward way, both sides in one run.

    python bench/bench_scenario.py [--large]

The straightforward way is what one writes first: the standard library's json, one 4x4 matrix and
one scipy Rotation per pose, a linear search and one scipy Slerp per track. --large puts 2 GB of
neural volume into the archive, which neither side should notice.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import json
import math
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any
import zipfile

import numpy as np
from nurec_ros.scenario import Scenario, Tracks, Trajectory
from nurec_ros.scenario.trajectory import PoseTable
from scipy.spatial.transform import Rotation, Slerp

START_US = 27_567_868_848
DURATION_S = 20.0
CAMERAS = 6


def about_z(angles: np.ndarray) -> Rotation:
    """Return rotations about z."""
    return Rotation.from_rotvec(np.multiply.outer(angles, [0.0, 0.0, 1.0]))


def write_archive(path: Path, tracks: int = 1000, poses: int = 60, volume_mib: int = 64) -> None:
    """Write a scenario of 20 s: tracks at 10 Hz, ego at 100 Hz, six cameras at 30 Hz."""
    random = np.random.default_rng(1)
    identity = np.eye(4).tolist()
    seconds = np.arange(0.0, DURATION_S + 1e-9, 0.01)
    ego = np.tile(np.eye(4), (len(seconds), 1, 1))
    ego[:, :3, :3] = about_z(0.07 * seconds).as_matrix()
    ego[:, 0, 3], ego[:, 1, 3] = 11.0 * seconds, 0.3 * seconds**2
    frames = (START_US + np.arange(0.0, DURATION_S, 1 / 30) * 1e6).astype(int)
    parameters = {
        'resolution': [1920, 1080],
        'shutter_type': 'ROLLING_TOP_TO_BOTTOM',
        'external_distortion_parameters': None,
        'principal_point': [958.0, 752.0],
        'reference_poly': 'ANGLE_TO_PIXELDIST',
        'pixeldist_to_angle_poly': [],
        'angle_to_pixeldist_poly': [0.0, 945.1, -14.9, 35.6, -77.3, 32.0],
        'max_angle': 1.35,
        'linear_cde': [1.0, 0.0, 0.0],
    }
    names = [f'camera_{i}@bench' for i in range(CAMERAS)]
    rig = {
        'T_world_base': identity,
        'world_to_nre': {'matrix': identity},
        'camera_calibrations': {
            name: {
                'logical_sensor_name': name.split('@')[0],
                'T_sensor_rig': identity,
                'camera_model': {'type': 'ftheta', 'parameters': parameters},
            }
            for name in names
        },
        'lidar_calibrations': {},
        'rig_trajectories': [
            {
                'sequence_id': 'bench',
                'rig_bbox': None,
                'T_rig_worlds': ego.tolist(),
                'T_rig_world_timestamps_us': (START_US + seconds * 1e6).astype(int).tolist(),
                'cameras_frame_timestamps_us': {
                    name: np.stack([frames, frames + 27_000], axis=1).tolist() for name in names
                },
            }
        ],
    }
    document: dict[str, Any] = {
        'tracks_id': [str(i) for i in range(tracks)],
        'tracks_poses': [],
        'tracks_timestamps_us': [],
        'tracks_label_class': ['automobile'] * tracks,
        'tracks_flags': ['DYNAMIC|CONTROLLABLE'] * tracks,
    }
    for _ in range(tracks):
        first = random.uniform(0.0, DURATION_S - poses * 0.1)
        times = first + np.arange(poses) * 0.1
        position = random.uniform(-80, 80, 3) + times[:, None] * random.uniform(-10, 10, 3)
        rotation = about_z(random.uniform(-3, 3) + 0.2 * times).as_quat()
        document['tracks_poses'].append(np.hstack([position, rotation]).tolist())
        document['tracks_timestamps_us'].append((START_US + times * 1e6).astype(int).tolist())
    cuboids = {'cuboids_dims': random.uniform(1, 5, (tracks, 3)).tolist()}
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('default.usda', '#usda 1.0\n')
        with archive.open('volume.nurec', 'w', force_zip64=True) as volume:
            for _ in range(volume_mib):
                volume.write(bytes(1 << 20))
        archive.writestr('rig_trajectories.json', json.dumps(rig))
        archive.writestr(
            'sequence_tracks.json',
            json.dumps({'chunk': {'tracks_data': document, 'cuboidtracks_data': cuboids}}),
        )
        archive.writestr(
            'data_info.json',
            json.dumps(
                {
                    'sequence_id': 'bench',
                    'pose-range': {
                        'start-timestamp_us': START_US,
                        'end-timestamp_us': START_US + round(DURATION_S * 1e6),
                        'num-poses': len(seconds),
                    },
                }
            ),
        )
        archive.writestr('metadata.yaml', 'scene_id: bench\n')


class Straightforward:
    """The reader that one writes first."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            rig = json.loads(archive.read('rig_trajectories.json'))
            tracks = json.loads(archive.read('sequence_tracks.json'))
            json.loads(archive.read('data_info.json'))
        entry = rig['rig_trajectories'][0]
        self.ego = [
            (stamp * 1000, np.array(matrix), Rotation.from_matrix(np.array(matrix)[:3, :3]))
            for stamp, matrix in zip(
                entry['T_rig_world_timestamps_us'], entry['T_rig_worlds'], strict=True
            )
        ]
        self.frames = {
            name: [(start * 1000, end * 1000) for start, end in frames]
            for name, frames in entry['cameras_frame_timestamps_us'].items()
        }
        self.tracks = []
        for chunk in tracks.values():
            data = chunk['tracks_data']
            for name, poses, times in zip(
                data['tracks_id'], data['tracks_poses'], data['tracks_timestamps_us'], strict=True
            ):
                samples = []
                for pose in poses:
                    rotation = Rotation.from_quat(pose[3:])
                    matrix = np.eye(4)
                    matrix[:3, :3] = rotation.as_matrix()
                    matrix[:3, 3] = pose[:3]
                    samples.append((matrix, rotation))
                self.tracks.append((name, [t * 1000 for t in times], samples))

    def at(self, t_ns: int) -> tuple[list[str], list[Any]]:
        """Return the active tracks' ids and poses."""
        ids, poses = [], []
        for name, times, samples in self.tracks:
            for i in range(len(times) - 1):
                if times[i] <= t_ns <= times[i + 1]:
                    break
            else:
                continue
            share = (t_ns - times[i]) / (times[i + 1] - times[i])
            (before, first), (after, second) = samples[i], samples[i + 1]
            both = Rotation.concatenate([first, second])
            matrix = np.eye(4)
            matrix[:3, :3] = Slerp([0.0, 1.0], both)(share).as_matrix()
            matrix[:3, 3] = (1 - share) * before[:3, 3] + share * after[:3, 3]
            ids.append(name)
            poses.append(matrix)
        return ids, poses


def synthetic_tracks(count: int, active: int) -> Tracks:
    """Return tracks of 60 poses over a time so long that about `active` of them exist at once."""
    random = np.random.default_rng(2)
    poses, step_ns = 60, 100_000_000
    life_ns = (poses - 1) * step_ns
    span_ns = max(life_ns * count // active - life_ns, 1)
    starts = random.integers(0, span_ns, count)
    times = (starts[:, None] + np.arange(poses) * step_ns).ravel()
    rotations = about_z(random.uniform(-3, 3, len(times))).as_quat()
    return Tracks(
        ids=tuple(map(str, range(count))),
        labels=('automobile',) * count,
        dims=np.ones((count, 3)),
        flags=(frozenset({'DYNAMIC'}),) * count,
        samples=PoseTable(times, random.uniform(-80, 80, (len(times), 3)), rotations),
        counts=np.full(count, poses),
    )


def best_of(function: Callable[[], object], runs: int) -> float:
    """Return the shortest time of a call in seconds."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def per_call(function: Callable[[int], object], moments: list[int]) -> float:
    """Return the median time of a call over many moments in seconds."""
    times = []
    for moment in moments:
        begin = time.perf_counter()
        function(moment)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


# The kernel's own high-water mark; getrusage hands down the parent's.
_MEMORY = """
import sys
sys.path.insert(0, {root!r})
import numpy, {imports}

def peak():
    with open('/proc/self/status') as status:
        return next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))

before = peak()
{code}
print((peak() - before) * 1024 / 1e6)
"""


def peak_memory(imports: str, code: str) -> float:
    """Return how far a fresh process's peak memory, MB, rises over its imports (Linux)."""
    root = str(Path(__file__).resolve().parent.parent)
    program = _MEMORY.format(root=root, imports=imports, code=code)
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, check=True)
    return float(done.stdout)


def row(what: str, ours: str, theirs: str = '', ratio: str = '', wanted: str = '') -> None:
    """Print a line of the table."""
    print(f'{what:<44} {ours:>12} {theirs:>16} {ratio:>8}  {wanted}')


def bench_load(folder: Path, volume_mib: int) -> None:
    """Compare loading, in time and memory."""
    path = folder / 'bench.usdz'
    write_archive(path, volume_mib=volume_mib)
    print(f'archive: {path.stat().st_size / 1e6:.0f} MB, 1000 tracks, 60,000 poses, 6 cameras')
    ours = best_of(lambda: Scenario.load(path), 5)
    theirs = best_of(lambda: Straightforward(path), 2)
    row('load', f'{ours * 1e3:.0f} ms', f'{theirs * 1e3:.0f} ms', f'{theirs / ours:.1f}', '>= 5')
    memory = peak_memory(
        'nurec_ros.scenario', f'scenario = nurec_ros.scenario.Scenario.load({str(path)!r})'
    )
    row('load, memory over imports', f'{memory:.0f} MB', '', '', '<= 100 MB')

    scenario, straightforward = Scenario.load(path), Straightforward(path)
    moments = np.random.default_rng(3).integers(scenario.start_ns, scenario.end_ns, 200).tolist()
    ours = per_call(scenario.tracks.at, moments)
    theirs = per_call(straightforward.at, moments[:10])
    active = np.mean([len(scenario.tracks.at(moment)) for moment in moments])
    row(
        f'tracks.at, 1000 tracks, {active:.0f} active',
        f'{ours * 1e6:.0f} us',
        f'{theirs * 1e6:.0f} us',
        f'{theirs / ours:.0f}',
        '>= 100',
    )


def bench_growth() -> None:
    """Show that tracks.at costs by the active tracks, not by all."""
    for count in (100, 1_000, 10_000, 100_000):
        active = min(300, count // 2)
        begin = time.perf_counter()
        tracks = synthetic_tracks(count, active)
        build = time.perf_counter() - begin
        low, high = int(tracks.start_ns.min()), int(tracks.end_ns.max())
        moments = np.random.default_rng(4).integers(low, high, 300).tolist()
        mean = float(np.mean([len(tracks.at(moment)) for moment in moments]))
        cost = per_call(tracks.at, moments)
        row(
            f'tracks.at, {count:,} tracks, {mean:.0f} active',
            f'{cost * 1e6:.0f} us',
            f'(built {build:.2f} s)',
            f'{cost * 1e9 / max(mean, 1):.0f}',
            'ns per active track',
        )
    for active in (10, 100, 1_000):
        tracks = synthetic_tracks(10_000, active)
        low, high = int(tracks.start_ns.min()), int(tracks.end_ns.max())
        moments = np.random.default_rng(5).integers(low, high, 300).tolist()
        cost = per_call(tracks.at, moments)
        row(f'tracks.at, 10,000 tracks, {active:,} active', f'{cost * 1e6:.0f} us')


class Lifetimes:
    """Which tracks exist, as a simulator's backend asks: each one's lifetime is looked at."""

    def __init__(self, tracks: Tracks) -> None:
        self.tracks = list(
            zip(tracks.ids, tracks.start_ns.tolist(), tracks.end_ns.tolist(), strict=True)
        )

    def active_ids(self, t_ns: int) -> list[str]:
        """Return the ids of the tracks that exist at a time."""
        return [name for name, start, end in self.tracks if start <= t_ns <= end]


def bench_active_ids() -> None:
    """Ask who exists, at random times and at those of a clock of 100 Hz."""
    tracks = synthetic_tracks(150, 60)
    lifetimes = Lifetimes(tracks)
    low, high = int(tracks.start_ns.min()), int(tracks.end_ns.max())
    asked = {
        'random times': np.random.default_rng(7).integers(low, high, 2000).tolist(),
        'a clock of 100 Hz': list(range(low, high, 10_000_000)),
    }
    for what, times in asked.items():
        ours, theirs = per_call(tracks.active_ids, times), per_call(lifetimes.active_ids, times)
        row(
            f'tracks.active_ids, 150 tracks, {what}',
            f'{ours * 1e6:.2f} us',
            f'{theirs * 1e6:.2f} us',
            f'{theirs / ours:.1f}',
            '> 1',
        )


def bench_ego() -> None:
    """Ask for a million poses in one call, and for one."""
    count = 2001
    times = np.arange(count) * 10_000_000
    seconds = times * 1e-9
    positions = np.stack([11 * seconds, 0.3 * seconds**2, 0 * seconds], axis=1)
    rotations = about_z(0.07 * seconds)
    ego = Trajectory(PoseTable(times, positions, rotations.as_quat()))
    asked = np.random.default_rng(6).integers(0, times[-1], 1_000_000)
    ours = best_of(lambda: ego.at(asked), 3)

    def scipy_way() -> Any:
        matrices = np.empty((len(asked), 4, 4))
        matrices[:] = np.eye(4)
        matrices[:, :3, :3] = Slerp(times * 1e-9, rotations)(asked * 1e-9).as_matrix()
        for axis in range(3):
            matrices[:, axis, 3] = np.interp(asked, times, positions[:, axis])
        return matrices

    theirs = best_of(scipy_way, 2)
    row(
        'ego.at(1,000,000 times), beside scipy',
        f'{ours * 1e3:.0f} ms',
        f'{theirs * 1e3:.0f} ms',
        f'{theirs / ours:.1f}',
    )
    row('ego.at(one time)', f'{per_call(ego.at, asked[:2000].tolist()) * 1e6:.0f} us')
    one = per_call(ego.velocity, asked[:2000].tolist())
    row('ego.velocity(one time)', f'{one * 1e6:.0f} us')


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--large', action='store_true', help='an archive of 2 GB')
    large = parser.parse_args().large
    row('', 'nurec_ros', 'straightforward', 'ratio', 'wanted')
    with tempfile.TemporaryDirectory() as folder:
        bench_load(Path(folder), math.ceil(2e9 / (1 << 20)) if large else 64)
    bench_growth()
    bench_active_ids()
    bench_ego()


if __name__ == '__main__':
    main()
