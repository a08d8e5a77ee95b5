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
Time the preview's pictures against the straightforward way to draw the same geometry.

Run: `python bench/bench_preview.py`. The straightforward way is numpy on whole images: each frame
the rays of all pixels, their points on the ground with a grid computed there, and every box by
the slab test for each pixel, nearest kept. One core for both.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
import sys
import tempfile
import time

import cv2
import numpy as np
from nurec_ros.example import write_example
from nurec_ros.palette import colour_of
from nurec_ros.preview.lidar import DEVICES
from nurec_ros.preview.scene import SceneRenderer
from nurec_ros.scenario import Camera, Scenario

FRAMES = 12


def straightforward(scenario: Scenario, camera: Camera, size: tuple[int, int], t_ns: int) -> None:
    """Draw sky, ground with grid, and boxes, pixel by pixel in numpy."""
    width, height = size
    assert camera.model is not None
    native_w, native_h = camera.model.resolution
    u, v = np.meshgrid(
        (np.arange(width) + 0.5) * native_w / width - 0.5,
        (np.arange(height) + 0.5) * native_h / height - 0.5,
    )
    T = scenario.ego.at(t_ns) @ camera.T_rig_camera
    rays = camera.model.unproject(np.stack([u.ravel(), v.ravel()], axis=1))[0] @ T[:3, :3].T
    picture = np.empty((len(rays), 3))
    up = np.clip(rays[:, 2:], 0.0, 1.0)
    picture[:] = (200.0, 214.0, 223.0) - up * (140.0, 100.0, 30.0)
    below = rays[:, 2] < 0.0
    reach = -(T[2, 3] - scenario.ego.at(t_ns)[2, 3]) / rays[below, 2]
    ground = T[:2, 3] + rays[below, :2] * reach[:, np.newaxis]
    lines = np.abs(ground - np.rint(ground)).min(axis=1) < 0.02
    shade = np.where(lines, 130.0, 90.0)[:, np.newaxis]
    fog = np.exp(-((reach / 170.0) ** 2))[:, np.newaxis]
    picture[below] = shade * fog + np.array([203.0, 214.0, 223.0]) * (1.0 - fog)
    nearest = np.full(len(rays), np.inf)
    active = scenario.tracks.at(t_ns)
    for label, dims, pose in zip(active.labels, active.dims, active.poses, strict=True):
        origin = pose[:3, :3].T @ (T[:3, 3] - pose[:3, 3])
        along = rays @ pose[:3, :3]
        with np.errstate(divide='ignore', invalid='ignore'):
            first, second = ((side * dims / 2 - origin) / along for side in (-1.0, 1.0))
        enters, leaves = np.minimum(first, second), np.maximum(first, second)
        near, far = enters.max(axis=1), leaves.min(axis=1)
        hit = (near < far) & (near > 0.0) & (near < nearest)
        nearest[hit] = near[hit]
        axis = enters[hit].argmax(axis=1)
        picture[hit] = np.array(colour_of(label)) * (0.6 + 0.2 * axis[:, np.newaxis])
    picture[np.isnan(picture)] = 0.0
    picture.reshape(height, width, 3).astype(np.uint8)


def ours(
    renderer: SceneRenderer,
    scenario: Scenario,
    camera: Camera,
    size: tuple[int, int],
    frame: np.ndarray,
) -> np.ndarray:
    """Draw one recorded frame with its rolling shutter."""
    assert camera.model is not None
    start, end = (scenario.ego.at(int(t)) @ camera.T_rig_camera for t in frame)
    return renderer.render(
        camera.model,
        *size,
        start_ns=int(frame[0]),
        end_ns=int(frame[1]),
        T_map_camera_start=start,
        T_map_camera_end=end,
        caption=camera.name,
    )


def seconds(function: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    begin = time.process_time()
    function()
    return time.process_time() - begin


def spins(renderer: SceneRenderer, scenario: Scenario) -> None:
    """Print the time of a lidar's spin, 64 rows of 900 columns, from the roof."""
    T_rig_lidar = np.eye(4)
    T_rig_lidar[:3, 3] = 1.2, 0.0, 1.95
    for name, device in zip(('PANDAR128', 'AT128'), DEVICES.values(), strict=True):
        times = np.linspace(scenario.start_ns, scenario.end_ns - 10**8, FRAMES).astype(np.int64)
        took = [
            seconds(
                partial(
                    renderer.spin,
                    device,
                    (64, 900),
                    end_ns=t + 10**8,
                    T_map_sensor_start=scenario.ego.at(t) @ T_rig_lidar,
                    T_map_sensor_end=scenario.ego.at(t + 10**8) @ T_rig_lidar,
                )
            )
            for t in times.tolist()
        ]
        print(f'{name:28s} {"64x900":>10s} {"":8s} {np.mean(took[1:]) * 1e3:6.1f}ms')


def main() -> None:
    """Print a table of milliseconds of processor time per picture."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = sys.argv[1] if len(sys.argv) > 1 else write_example(Path(folder) / 'street.usdz')
        scenario = Scenario.load(path)
    renderer = SceneRenderer(scenario)
    cameras = [camera for camera in scenario.cameras.values() if len(camera.frame_times_ns)]
    frame = cameras[0].frame_times_ns[len(cameras[0].frame_times_ns) // 2]
    first = seconds(lambda: ours(renderer, scenario, cameras[0], (480, 270), frame))
    print(f'{scenario.scene_id}: {len(scenario.tracks)} tracks; first picture {first:.2f} s')
    print(f'{"camera":28s} {"size":>10s} {"cold":>8s} {"ours":>8s} {"numpy":>9s} {"ratio":>7s}')
    for size in ((480, 270), (1920, 1080)):
        total = 0.0
        for camera in cameras:
            times = camera.frame_times_ns
            middle = len(times) // 2
            frames = times[slice(middle, middle + FRAMES)]
            cold = seconds(partial(ours, renderer, scenario, camera, size, frames[0]))
            warm = [
                seconds(partial(ours, renderer, scenario, camera, size, frame)) for frame in frames
            ]
            mean = float(np.mean(warm))
            total += mean
            line = f'{camera.name:28s} {size[0]:5d}x{size[1]:<4d} {cold * 1e3:6.1f}ms '
            line += f'{mean * 1e3:6.1f}ms'
            # Half a minute for a large picture: once is enough.
            if size[0] == 480 or camera is cameras[0]:
                plain = seconds(
                    partial(straightforward, scenario, camera, size, int(frames[0, 1]))
                )
                line += f' {plain * 1e3:7.1f}ms {plain / mean:6.1f}x'
            print(line)
        if size[0] == 480:
            spins(renderer, scenario)
            load = 10.0 * total
            print(f'{len(cameras)} cameras at 480x270, 10 Hz each: {100 * load:.0f} % of one core')


if __name__ == '__main__':
    main()
