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
The demo from end to end: example, preview server, player, recording, pictures, table.

Everything is bounded in time, and whatever happens no child process is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nurec_ros.demo.resources import Child, Children, command, DemoError, Files, free_domain
from nurec_ros.errors import ConfigurationError
from nurec_ros.scenario import Scenario
from nurec_ros.summary import way_of

if TYPE_CHECKING:
    from nurec_ros.demo.recording import Topic

PREVIEW_S = 60.0
HEADINGS = ('topic', 'type', 'messages', 'Hz wall', 'Hz scenario')
LOOPBACK = '127.0.0.1'
MOST_WORKERS = 4


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; no `usdz`, `server` and `domain_id` mean own ones."""

    usdz: str | None = None
    output: str = 'demo'
    rate: float = 1.0
    cameras: tuple[str, ...] = ()
    camera_rate: float = 10.0
    lidar_rate: float = 2.0
    resolution_scale: float = 0.25
    server: str = ''
    drive: bool = False
    domain_id: int | None = None


def run(
    options: Options,
    say: Callable[[str], object] = print,
    check: Callable[[], None] = lambda: None,
    noted: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """
    Show the demo; `say` takes the lines for the screen.

    check: raises to end it; noted: a context in which signals are left to `check`, because what
    is raised in a destructor of ROS's is lost.

    Raise NurecError where something fails; DemoError names the piece and quotes its last lines.
    """
    files = Files(Path(options.output))
    usdz, scenario, cameras = prepared(options, files, say)
    drive = None
    if options.drive:
        from nurec_ros.demo.driver import choose_offset, driver

        choice = choose_offset(scenario)
        say(f'driver: {choice.text}')
        drive = driver(scenario, choice.offset_m, options.rate)
    chosen = free_domain() if options.domain_id is None else nullcontext(options.domain_id)
    with chosen as domain, files.new_recording() as recording:
        os.environ.update(ros_environment(domain))
        with Children(files.folder, os.environ) as children:
            preview = None if options.server else start_preview(children, usdz)
            # These take their second while the preview server takes its own.
            from nurec_ros.demo import overview, play  # noqa: F401

            server = options.server
            if preview is not None:
                server = preview.wait_for(r'^serving on (\S+)', PREVIEW_S)[1]
            say(f'render server: {server}')
            children.start('player', player_command(options, usdz, server, cameras))
            say(f'player: node /nurec, ROS_DOMAIN_ID={domain} on this machine alone')

            def check_all() -> None:
                check()
                children.check()

            rates_hz = options.camera_rate, options.lidar_rate
            with noted():
                drive = drive or partial(play.play_to_the_end, speed=options.rate)
                played = play.record_drive(
                    recording, check_all, scenario, cameras, rates_hz, say, drive
                )
            codes = children.end()
    say(f'played in {played.wall_s:.1f} s, {speed_text(played.speed, options.rate)}')
    draw(files, scenario, usdz)
    rows = topic_rows(played.topics, wall_s=played.wall_s, scenario_s=played.scenario_s)
    left = {
        files.contact_sheet: 'what each camera saw',
        files.overview: 'the drive from above',
        files.recording: 'rosbag2 folder: ros2 bag play, Foxglove (its .mcap), rosbags',
    }
    if not options.usdz:
        left[files.example] = 'the scenario that was generated'
    for line in ('', table(rows), '', *played.remarks, '', file_lines(left)):
        say(line)
    failed = [f'{name} ended with exit code {code}' for name, code in codes.items() if code != 0]
    if failed:
        raise DemoError(', '.join(failed))


def prepared(
    options: Options, files: Files, say: Callable[[str], object]
) -> tuple[Path, Scenario, tuple[str, ...]]:
    """
    Return file, scenario and cameras to play, once the folder is ready.

    Nothing is made, and nothing replaced, for a file that cannot be played.
    """
    if options.usdz:
        usdz = Path(options.usdz)
    else:
        from nurec_ros.example import write_example

        files.prepare()
        usdz = write_example(files.example)
        say(f'scenario: {usdz} (generated)')
    usdz = usdz.resolve()
    scenario = Scenario.load(usdz)
    cameras = chosen_cameras(scenario, options.cameras)
    if options.usdz:
        files.prepare()
        say(f'scenario: {options.usdz}')
    return usdz, scenario, cameras


def chosen_cameras(scenario: Scenario, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the cameras to subscribe to; ConfigurationError for a name not in the file."""
    known = [name for name, camera in scenario.cameras.items() if camera.renderable]
    for name in wanted:
        if name not in known:
            message = f'no camera is called {name!r}; there are {", ".join(known) or "none"}'
            raise ConfigurationError(message)
    return wanted or tuple(known)


def ros_environment(domain: int) -> dict[str, str]:
    """Keep ROS to a domain of its own on this machine, in each distribution's words."""
    return {
        'ROS_DOMAIN_ID': str(domain),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_LOCALHOST_ONLY': '1',  # before Iron
    }


def start_preview(children: Children, usdz: Path) -> Child:
    """Start the preview server, to draw as many pictures at once as there are processors."""
    arguments = ['--usdz', str(usdz), '--host', LOOPBACK, '--port', '0']
    workers = ['--max-workers', str(min(os.cpu_count() or 1, MOST_WORKERS))]
    return children.start('preview', [*command('preview'), *arguments, *workers])


def player_command(
    options: Options, usdz: Path, server: str, cameras: tuple[str, ...]
) -> list[str]:
    """Return the player's command line."""
    parameters: Mapping[str, object] = {
        'usdz_path': quoted(usdz),
        'server': server,
        # No picture is lost, however slow the machine is.
        'mode': 'lockstep',
        # The preview server draws those of a batch one after another.
        'batch': 'auto' if options.server else 'never',
        'rate': float(options.rate),
        # Enough for the plot, and half of what recording costs on a slow machine.
        'clock_rate': 50.0,
        'marker_rate': 5.0,
        'camera_rate': float(options.camera_rate),
        'lidar_rate': float(options.lidar_rate),
        'resolution_scale': float(options.resolution_scale),
        'cameras': '[' + ', '.join(map(quoted, cameras)) + ']',
    }
    if options.drive:
        from nurec_ros.demo.driver import PARAMETERS

        parameters = {**parameters, **PARAMETERS}
    pairs = [part for name, value in parameters.items() for part in ('-p', f'{name}:={value}')]
    return [*command('player'), '--ros-args', *pairs]


def quoted(value: object) -> str:
    """Write text so that YAML, which values of parameters are read as, gives it back as it is."""
    doubled = str(value).replace("'", "''")
    return f"'{doubled}'"


def draw(files: Files, scenario: Scenario, usdz: Path) -> None:
    """
    Draw both pictures from the recording.

    How long the drive is comes from the scenario: under load the last messages may be missing.
    """
    from nurec_ros.demo.drawing import draw_contact_sheet, moments, write_png
    from nurec_ros.demo.overview import draw_overview
    from nurec_ros.demo.recording import read_drive
    from nurec_ros.ros.names import topic_names

    begin_ns, end_ns = scenario.start_ns, scenario.end_ns
    shown = moments(begin_ns, end_ns)
    drive = read_drive(files.recording, shown)
    if not len(drive.odometry_ns):
        message = f'{files.recording} holds no odometry of the player'
        raise DemoError(message)
    length_m, _ = way_of(scenario)
    seconds = (end_ns - begin_ns) / 1e9
    about = f'{usdz.name}: {seconds:.1f} s, {length_m:.0f} m, {len(drive.road_users)} road users'
    # In the scenario's order, by the topics' names.
    tokens = topic_names(scenario.cameras)
    images = {name: drive.images[tokens[name]] for name in tokens if tokens[name] in drive.images}
    sheet = draw_contact_sheet(
        images,
        shown,
        begin_ns=begin_ns,
        title=scenario.sequence_id,
        subtitle=f'{about}; images and clouds as they came over ROS',
        clouds=drive.clouds,
        ego_box=drive.ego_box,
    )
    write_png(str(files.contact_sheet), sheet)
    lanes = () if scenario.road_map is None else scenario.road_map.boundaries
    overview = draw_overview(
        drive,
        title=scenario.sequence_id,
        subtitle=f'{about}; boxes at {seconds / 2:.1f} s, as they came over ROS',
        lanes=lanes,
        span_ns=(begin_ns, end_ns),
    )
    write_png(str(files.overview), overview)


# What is said at the end.


def speed_text(speed: float, wanted: float) -> str:
    """Return how fast it was played, against the speed asked for."""
    if speed > 0.98 * wanted:
        return 'as fast as asked for, waiting for every picture (lockstep)'
    return (
        f'{speed:.2f} times real time where {wanted:g} was asked for: the clock waited for every '
        'picture (lockstep)'
    )


def rate_text(count: int, seconds: float) -> str:
    """Return a rate for people; '-' for what came once or twice, or over no time at all."""
    if count < 3 or seconds <= 0:
        return '-'
    rate = count / seconds
    return f'{rate:.0f}' if rate >= 99.5 else f'{rate:.1f}'


def topic_rows(
    topics: Iterable[Topic], *, wall_s: float, scenario_s: float
) -> list[tuple[str, ...]]:
    """Return one row for each topic, by name; the rates are those of the measured stretch."""
    return [
        (
            topic.name,
            topic.kind.replace('/msg/', '/'),
            str(topic.count),
            rate_text(topic.measured, wall_s),
            rate_text(topic.measured, scenario_s),
        )
        for topic in sorted(topics, key=lambda topic: topic.name)
    ]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out in columns, the first two to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    layout = '  '.join(f'{{:{"<" if k < 2 else ">"}{width}}}' for k, width in enumerate(widths))
    rule = ['-' * width for width in widths]
    return '\n'.join(layout.format(*row).rstrip() for row in (HEADINGS, rule, *rows))


def file_lines(entries: Mapping[Path, str]) -> str:
    """Name the files that exist, with their sizes and what they are for."""
    there = {path: text for path, text in entries.items() if path.exists()}
    width = max((len(str(path)) for path in there), default=0)
    return '\n'.join(
        f'  {str(path).ljust(width)}  {size_text(path):>8}  {text}' for path, text in there.items()
    )


def size_text(path: Path) -> str:
    """Return a file's size, or that of all files in a folder."""
    files = [path] if path.is_file() else [p for p in path.rglob('*') if p.is_file()]
    size = sum(file.stat().st_size for file in files)
    return f'{size / 1e6:.1f} MB' if size >= 1e5 else f'{size / 1e3:.1f} kB'
