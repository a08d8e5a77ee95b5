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
"""The overview: the drive from above, with lanes, the ego's path and everybody on the street."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
import math

import cv2
import numpy as np
from numpy.typing import NDArray
from nurec_ros.demo.drawing import (
    BOLD,
    disc,
    GREY,
    Image,
    INK,
    mixed,
    outline,
    PAPER,
    Points,
    polygon,
    polyline,
    Pose2D,
    put_text,
    Rgb,
    text_width,
    tick_labels,
    tick_seconds,
)
from nurec_ros.palette import colour_of
from nurec_ros.poses import Pose
from nurec_ros.scenario import Scenario
from nurec_ros.summary import view_edges

# Drawn twice as large and averaged down: thin lines at any angle stay even.
OVERSAMPLING = 2
WIDTH, LEAST_HEIGHT, MOST_HEIGHT = 1800, 520, 1250
AROUND = 32.0  # metres of surroundings of the path
GRID = 20.0
MARGIN = 28
TITLE = 84
LEGEND_LINE = 30
LANE: Rgb = (196, 200, 205)
GRID_COLOUR: Rgb = (238, 238, 236)
EGO: Rgb = (20, 24, 30)
RECORDED: Rgb = (222, 92, 30)
VIEW: Rgb = (86, 140, 196)
# The ego at begin and end; of those who stand only a share of their colour is left.
GHOST = mixed(EGO, PAPER, 0.55)
STANDING = 0.45
VIEW_REACH = 18.0  # m
STANDS = 0.5  # m; who moved less has stood
STEP_NS = 100_000_000  # of a drive that was not recorded

# What is drawn.


@dataclass(slots=True)
class RoadUser:
    """
    One road user as its markers showed it: times (K,) ns, in the map x, y and yaw (K, 3).

    `size` is length and width in metres.
    """

    label: str
    size: tuple[float, float]
    times_ns: list[int] = field(default_factory=list)
    poses: list[Pose2D] = field(default_factory=list)

    def array(self) -> NDArray[np.float64]:
        """Return x, y and yaw of each pose, (K, 3)."""
        return np.array(self.poses)

    @property
    def moved(self) -> float:
        """Return how far (m) it came from where it was first seen."""
        poses = self.array()
        return float(np.linalg.norm(poses[:, :2] - poses[0, :2], axis=1).max())


@dataclass(slots=True)
class Drive:
    """
    A recorded drive: the path's times (N,) ns and x, y, yaw (N, 3), and those of the odometry.

    `ego_box` is centre x, centre y, length, width in the base frame; `images` per camera the stamp
    (ns) and bytes of each, `clouds` likewise per lidar with points (K, 3) on the rig;
    `road_users` are by namespace and marker id; `is_driven`: the odometry need not be the path's.
    """

    path_ns: NDArray[np.int64]
    path: NDArray[np.float64]
    odometry_ns: NDArray[np.int64]
    odometry: NDArray[np.float64]
    ego_box: tuple[float, float, float, float] | None
    road_users: dict[tuple[str, int], RoadUser]
    images: dict[str, list[tuple[int, bytes]]]
    clouds: dict[str, list[tuple[int, Points]]] = field(default_factory=dict)
    is_driven: bool = False


# How.


@dataclass(frozen=True, slots=True)
class View:
    """From metres in the map to pixels of the large picture; `turned` by a quarter to the left."""

    left: float
    top: float
    scale: float
    offset: tuple[float, float]
    turned: bool

    def __call__(self, points: Points) -> Points:
        """Return pixels (N, 2) of points (N, 2 or more)."""
        flat = turn(np.asarray(points, dtype=np.float64)[:, :2], turned=self.turned)
        x = (flat[:, 0] - self.left) * self.scale + self.offset[0]
        y = (self.top - flat[:, 1]) * self.scale + self.offset[1]
        return np.column_stack([x, y])


def turn(points: Points, *, turned: bool) -> Points:
    """Turn points (N, 2) by a quarter to the right, where a drive is longer along y than x."""
    return np.column_stack([points[:, 1], -points[:, 0]]) if turned else points


def draw_overview(
    drive: Drive,
    *,
    title: str,
    subtitle: str = '',
    span_ns: tuple[int, int],
    lanes: Sequence[Points] = (),
    views: Sequence[tuple[float, float]] = (),
) -> Image:
    """
    Draw the drive; boxes of who moves stand where they were at the middle of it.

    `span_ns` is the drive's begin and end. `views` are the yaws (rad, from the ego's x axis) of
    the left and right edge of what cameras see; they are drawn from the ego at the middle.
    """
    users = list(drive.road_users.values())
    legend = _legend(users, drive)
    view, size = _fit(drive, len(legend))
    k = OVERSAMPLING
    image = np.full((size[1] * k, size[0] * k, 3), PAPER, dtype=np.uint8)

    map_end = (size[1] - len(legend) * LEGEND_LINE - MARGIN) * k
    _draw_map(image[:map_end], drive, view, lanes, span_ns, views)
    image[: TITLE * k] = PAPER
    put_text(image, title, (MARGIN * k, 42 * k), size=26 * k, weight=BOLD)
    put_text(image, subtitle, (MARGIN * k, 69 * k), size=17 * k, colour=GREY)
    _draw_scale(image, view, size, len(legend))
    for number, line in enumerate(legend):
        _draw_legend_line(image, line, size[1] - MARGIN + (number - len(legend) + 1) * LEGEND_LINE)
    small: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small


def _fit(drive: Drive, legend_lines: int) -> tuple[View, tuple[int, int]]:
    """Choose scale and size so that the path and its surroundings fill the picture."""
    points = np.vstack([drive.path[:, :2], drive.odometry[:, :2]])
    extent = np.ptp(points, axis=0)
    turned = bool(extent[1] > extent[0])
    points = turn(points, turned=turned)
    low, high = points.min(axis=0) - AROUND, points.max(axis=0) + AROUND
    span = high - low
    scale = min((WIDTH - 2 * MARGIN) / span[0], MOST_HEIGHT / span[1])
    map_height = int(max(LEAST_HEIGHT, span[1] * scale))
    height = TITLE + map_height + MARGIN + legend_lines * LEGEND_LINE
    # What is left over goes to both sides alike.
    spare = np.array([WIDTH - span[0] * scale, map_height - span[1] * scale]) / 2
    k = OVERSAMPLING
    offset = (float(spare[0]) * k, float(TITLE + spare[1]) * k)
    return View(float(low[0]), float(high[1]), scale * k, offset, turned), (WIDTH, height)


def _draw_map(
    image: Image,
    drive: Drive,
    view: View,
    lanes: Sequence[Points],
    span_ns: tuple[int, int],
    views: Sequence[tuple[float, float]],
) -> None:
    k = OVERSAMPLING
    middle_ns = sum(span_ns) // 2
    _draw_grid(image, view)
    for lane in lanes:
        polyline(image, view(lane), LANE, 1 * k)
    users = sorted(drive.road_users.values(), key=lambda way: way.moved)
    for edges in views:
        _draw_view(image, view, _odometry_at(drive, middle_ns), edges)
    for way in users:
        if way.moved < STANDS:
            _draw_box(image, view, way, way.poses[-1], _standing(way.label))
    for way in users:
        if way.moved >= STANDS and len(way.poses) > 1:
            pale = mixed(colour_of(way.label), PAPER, 0.35)
            polyline(image, view(way.array()), pale, round(1.5 * k))
    recorded = RECORDED if drive.is_driven else GHOST
    polyline(image, view(drive.path), recorded, 3 * k)
    polyline(image, view(drive.odometry), EGO, 4 * k)
    if drive.is_driven and drive.ego_box is not None:
        ghost = _pose_of(drive.path_ns, drive.path, middle_ns)
        polyline(image, view(outline(ghost, drive.ego_box)), RECORDED, 2 * k, closed=True)
    _draw_ego(image, drive, view, span_ns, GHOST)
    for way in users:
        pose = _pose_at(way, middle_ns)
        if way.moved >= STANDS and pose is not None:
            _draw_box(image, view, way, pose, colour_of(way.label))
    _draw_ego(image, drive, view, (middle_ns,), EGO)
    _draw_ticks(image, drive, view, span_ns)


def _draw_grid(image: Image, view: View) -> None:
    """Draw a line every 20 m of both axes of the map."""
    reach = max(image.shape[:2]) / view.scale + 2 * GRID
    middle = np.array([view.left, view.top])
    first = np.floor(middle / GRID) * GRID
    count = math.ceil(reach / GRID) + 1
    untilted = View(view.left, view.top, view.scale, view.offset, turned=False)
    for number in range(-count, count + 1):
        for axis in (0, 1):
            ends = np.array([[0.0, 0.0], [0.0, 0.0]])
            ends[:, axis] = first[axis] + number * GRID
            ends[:, 1 - axis] = middle[1 - axis] + np.array([-reach, reach])
            polyline(image, untilted(ends), GRID_COLOUR, OVERSAMPLING)


def _standing(label: str) -> Rgb:
    return mixed(colour_of(label), PAPER, STANDING)


def _edge(colour: Rgb) -> Rgb:
    return mixed(colour, INK, 0.35)


def _draw_box(image: Image, view: View, way: RoadUser, pose: Sequence[float], colour: Rgb) -> None:
    corners = view(outline(pose, (0.0, 0.0, *way.size)))
    polygon(image, corners, colour)
    polyline(image, corners, _edge(colour), OVERSAMPLING, closed=True)
    if way.moved >= STANDS:
        _draw_nose(image, corners, mixed(colour, PAPER, 0.75))


def _draw_nose(image: Image, corners: Points, colour: Rgb) -> None:
    """Mark the front of a box with a triangle."""
    front, rear = corners[:2].mean(axis=0), corners[2:].mean(axis=0)
    width, length = np.hypot(*(corners[0] - corners[1])), np.hypot(*(front - rear))
    depth = 0.9 * float(width) / max(1e-9, float(length))
    back = front + (rear - front) * min(1.0, depth)
    across = (corners[0] - corners[1]) * 0.32
    tip = front + (rear - front) * 0.08
    polygon(image, np.array([tip, back + across, back - across]), colour)


def _draw_ego(
    image: Image, drive: Drive, view: View, times_ns: Sequence[int], colour: Rgb
) -> None:
    """Draw the ego's box at some moments, where the recording holds it."""
    if drive.ego_box is None:
        return
    for t_ns in times_ns:
        corners = view(outline(_odometry_at(drive, t_ns), drive.ego_box))
        polygon(image, corners, colour)
        polyline(image, corners, EGO, OVERSAMPLING, closed=True)
        _draw_nose(image, corners, (255, 255, 255))


def _draw_view(image: Image, view: View, ego: Pose2D, edges: tuple[float, float]) -> None:
    """Draw what a camera sees, as a sector about the ego."""
    x, y, yaw = ego
    angles = yaw + np.linspace(*edges, 33)
    arc = np.column_stack([x + VIEW_REACH * np.cos(angles), y + VIEW_REACH * np.sin(angles)])
    polyline(image, view(np.vstack([[x, y], arc])), VIEW, OVERSAMPLING, closed=True)


def _draw_ticks(image: Image, drive: Drive, view: View, span_ns: tuple[int, int]) -> None:
    """Mark the ego's path every 5 s and at its end."""
    k = OVERSAMPLING
    begin_ns, end_ns = span_ns
    seconds = tick_seconds((end_ns - begin_ns) / 1e9)

    def pose_at(second: float) -> Pose2D:
        return _odometry_at(drive, begin_ns + round(second * 1e9))

    for second in seconds:
        place = view(np.array([pose_at(second)]))[0]
        disc(image, place, 6 * k, PAPER)
        disc(image, place, 4 * k, EGO)
    size = 17 * k
    for label in tick_labels(seconds, pose_at, view, size):
        # A pale ground below it, so that it reads over anything.
        left, top, right, bottom = label.ground
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        polygon(image, corners, PAPER)
        put_text(image, label.text, label.place, size=size, weight=BOLD, colour=EGO)


def _odometry_at(drive: Drive, t_ns: int) -> Pose2D:
    return _pose_of(drive.odometry_ns, drive.odometry, t_ns)


def _pose_of(times_ns: NDArray[np.int64], poses: Points, t_ns: int) -> Pose2D:
    """Return of poses at times the one that is nearest to a moment."""
    x, y, yaw = (float(value) for value in poses[int(np.argmin(np.abs(times_ns - t_ns)))])
    return x, y, yaw


def _pose_at(way: RoadUser, t_ns: int) -> Pose2D | None:
    """Return where a road user was at a moment, None where it was not there."""
    times = np.array(way.times_ns)
    index = int(np.argmin(np.abs(times - t_ns)))
    return way.poses[index] if abs(int(times[index]) - t_ns) < 500_000_000 else None


def _draw_scale(image: Image, view: View, size: tuple[int, int], legend_lines: int) -> None:
    """Draw a bar of a round length, and where x and y of the map point."""
    k = OVERSAMPLING
    length = next((m for m in (100, 50, 20, 10) if m * view.scale <= 240 * k), 10)
    right, y = (size[0] - MARGIN) * k, 52 * k
    left = right - length * view.scale
    bar = np.array([[left, y - 5 * k], [left, y], [right, y], [right, y - 5 * k]])
    polyline(image, bar, INK, 2 * k)
    text = f'{length} m'
    middle = (left + right - text_width(text, size=17 * k)) / 2
    put_text(image, text, (middle, y - 8 * k), size=17 * k)
    origin = np.array([left - 62 * k, y + 6 * k])
    for axis, name in ((np.array([[1.0, 0.0]]), 'x'), (np.array([[0.0, 1.0]]), 'y')):
        way = turn(axis, turned=view.turned)[0] * [1, -1] * 30 * k
        polyline(image, np.array([origin, origin + way]), INK, 2 * k)
        put_text(image, name, tuple(origin + way * 1.25 + [-4 * k, 4 * k]), size=16 * k)


@dataclass(frozen=True, slots=True)
class Entry:
    """A text of the legend and the square before it, with an edge where what it shows has one."""

    text: str
    colour: Rgb
    edge: Rgb | None = None

    @property
    def width(self) -> int:
        """Return how much of a line (px) it takes."""
        return 22 + text_width(self.text, size=17) + 26


def _legend(users: Sequence[RoadUser], drive: Drive) -> list[list[Entry]]:
    """Return the legend's lines: the ego, each class with its number, and what paler ones are."""
    entries = [Entry('ego', EGO)]
    if drive.is_driven:
        entries = [Entry('ego, as driven', EGO), Entry('ego, as recorded', RECORDED)]
    if drive.ego_box is not None:
        entries.append(Entry('ego at begin and end', GHOST, EGO))
    counts = Counter(way.label for way in users)
    entries += [Entry(f'{one} {count}', colour_of(one)) for one, count in counts.most_common()]
    standing = Counter(way.label for way in users if way.moved < STANDS)
    for label, _ in standing.most_common(1):
        pale = _standing(label)
        entries.append(Entry('paler: standing', pale, _edge(pale)))
    lines: list[list[Entry]] = [[]]
    x = MARGIN
    for entry in entries:
        if x + entry.width > WIDTH - MARGIN and lines[-1]:
            lines.append([])
            x = MARGIN
        lines[-1].append(entry)
        x += entry.width
    return lines


def _draw_legend_line(image: Image, line: Sequence[Entry], y: int) -> None:
    k, x = OVERSAMPLING, MARGIN
    for entry in line:
        top, bottom = (y - 13) * k, y * k
        corners = np.array(
            [[x * k, top], [(x + 14) * k, top], [(x + 14) * k, bottom], [x * k, bottom]],
            dtype=np.float64,
        )
        polygon(image, corners, entry.colour)
        if entry.edge is not None:
            polyline(image, corners, entry.edge, k, closed=True)
        put_text(image, entry.text, ((x + 22) * k, y * k), size=17 * k)
        x += entry.width


# The drive of a scenario, from its file alone.


def draw_scenario(scenario: Scenario) -> Image:
    """Draw path, tracks, lanes and what the cameras see at the middle of the drive."""
    begin_ns, end_ns = scenario.start_ns, scenario.end_ns
    times = np.unique(np.append(np.arange(begin_ns, end_ns, STEP_NS), end_ns))
    box = scenario.rig_bbox
    drive = Drive(
        path_ns=scenario.ego.times_ns,
        path=np.array(_flat(scenario.ego.pose(scenario.ego.times_ns))),
        odometry_ns=times,
        odometry=np.array(_flat(scenario.ego.pose(times))),
        ego_box=None if box is None else (*box.centre[:2].tolist(), box.length, box.width),
        road_users={('', index): _user(scenario, index) for index in range(len(scenario.tracks))},
        images={},
    )
    edges = (view_edges(camera) for camera in scenario.cameras.values())
    seconds = (end_ns - begin_ns) / 1e9
    return draw_overview(
        drive,
        title=scenario.sequence_id,
        subtitle=f'{scenario.path.name}: {seconds:.1f} s, {len(scenario.tracks)} road users, '
        f'{len(scenario.cameras)} cameras; boxes and views at {seconds / 2:.1f} s',
        lanes=() if scenario.road_map is None else scenario.road_map.boundaries,
        span_ns=(begin_ns, end_ns),
        views=[edge for edge in edges if edge is not None],
    )


def _user(scenario: Scenario, index: int) -> RoadUser:
    tracks = scenario.tracks
    way = tracks.trajectory(index)
    times = np.unique(np.append(np.arange(way.start_ns, way.end_ns, STEP_NS), way.end_ns))
    length, width = (float(side) for side in tracks.dims[index][:2])
    label = tracks.labels[index]
    return RoadUser(label, (length, width), times.tolist(), _flat(way.pose(times)))


def _flat(poses: Pose) -> list[Pose2D]:
    """Return x, y and yaw of poses (N,)."""
    x, y, z, w = poses.quaternion.T
    yaw = np.arctan2(2 * (x * y + w * z), 1 - 2 * (y**2 + z**2))
    rows = np.column_stack([poses.position[:, :2], yaw]).tolist()
    return [(float(row[0]), float(row[1]), float(row[2])) for row in rows]
