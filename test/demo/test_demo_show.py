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
"""The whole demo in a process of its own, with real player and preview server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
from test.demo.conftest import own_domain
from test.rendering.fake_server import FakeServer, Gate

import cv2
import numpy as np
import nurec_ros
from nurec_ros.demo.drawing import NIGHT
from nurec_ros.demo.resources import command, DemoError
from nurec_ros.demo.show import (
    chosen_cameras,
    Options,
    player_command,
)
from nurec_ros.demo.show import run as run_demo
from nurec_ros.errors import ScenarioError
from nurec_ros.example import write_example
from nurec_ros.scenario import Scenario
import pytest
from rosbags.highlevel import AnyReader
import yaml

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = ('camera_front_wide_120fov', 'camera_rear_left_70fov')
POINTS = '/nurec/lidar_gt_top_p128/points'
PICTURES = f'/nurec/{CAMERAS[0]}/image_raw/compressed'
# Nothing here takes long; what hangs ends with the test.
TIMEOUT_S = 300


def environment() -> dict[str, str]:
    found = {**os.environ, 'PYTHONPATH': str(ROOT)}
    # The demo takes a domain of its own.
    for name in ('ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY'):
        found.pop(name, None)
    return found


def demo(*arguments: object) -> list[str]:
    return [sys.executable, '-m', 'nurec_ros.cli.demo', *map(str, arguments)]


def processes_that_name(text: object) -> dict[int, str]:
    """Return the command lines, by process id, that hold a text."""
    found = {}
    for entry in Path('/proc').iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / 'cmdline').read_bytes().replace(b'\0', b' ')
        except OSError:
            continue
        # Anybody's, and cut off anywhere.
        line = words.decode(errors='replace')
        if str(text) in line:
            found[int(entry.name)] = line
    return found


@contextmanager
def started(*arguments: object, code: str = '') -> Iterator[subprocess.Popen[str]]:
    """Yield a demo that runs, or what runs a code instead of the module."""
    command = demo(*arguments)
    if code:
        command[1:3] = '-c', code
    with subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_line(begin: str, process: subprocess.Popen[str]) -> None:
    """Wait until a demo says a line."""
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(begin):
            return
    pytest.fail(f'no {begin!r} in {said}: {process.stderr.read()}')


@pytest.fixture(scope='module')
def shown(street: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return the folder that a demo of two cameras filled, and what it said."""
    folder = tmp_path_factory.mktemp('shown') / 'demo'
    # Faster than a busy machine draws: it has to wait.
    choices = ('--rate', 5, '--resolution-scale', 0.125, '--cameras', ','.join(CAMERAS))
    with started('--usdz', street, '--output', folder, *choices) as process:
        said, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, said + errors
    assert 'Traceback' not in errors
    return folder, said


def test_everything_is_left_in_the_folder(shown):
    folder, said = shown
    results = ('contact_sheet.png', 'overview.png', 'recording')
    assert {path.name for path in folder.iterdir()} == {*results, 'player.log', 'preview.log'}
    for name in results:
        assert str(folder / name) in said
    assert 'Traceback' not in said
    assert 'playing 100 %' in said
    assert not processes_that_name(folder.parent)


def test_the_table_counts_what_the_recording_holds(shown):
    folder, said = shown
    with AnyReader([folder / 'recording']) as reader:
        counts = Counter(connection.topic for connection, _, _ in reader.messages())
    lines = [line.split() for line in said.splitlines() if line.startswith('/')]
    table = {line[0]: line[1:] for line in lines if len(line) == 5}
    expected = {'/clock', '/tf', '/tf_static', '/diagnostics'}
    expected |= {f'/nurec/{name}' for name in ('odom', 'path', 'ego', 'tracks', 'state')}
    expected |= {f'/nurec/{camera}/camera_info' for camera in CAMERAS} | {POINTS}
    expected |= {f'/nurec/{camera}/image_raw/compressed' for camera in CAMERAS}
    assert expected <= set(table)
    # Of some there may be none.
    assert Counter({topic: int(row[1]) for topic, row in table.items()}) == counts
    assert table['/nurec/odom'][0] == 'nav_msgs/Odometry'
    for camera in CAMERAS:
        row = table[f'/nurec/{camera}/image_raw/compressed']
        assert float(row[3]) == pytest.approx(10.0, abs=0.8)


def test_every_picture_that_is_due_is_recorded_with_a_transform_of_its_moment(shown, street):
    folder, said = shown
    stamps: dict[str, set[int]] = {'tf': set()}
    with AnyReader([folder / 'recording']) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            if connection.topic == '/tf':
                stamps['tf'] |= {
                    t.header.stamp.sec * 10**9 + t.header.stamp.nanosec for t in message.transforms
                }
            elif connection.topic.endswith(('/compressed', '/points')):
                stamp = message.header.stamp
                stamps.setdefault(connection.topic, set()).add(stamp.sec * 10**9 + stamp.nanosec)
    assert len(stamps) == 4
    tf = stamps.pop('tf')
    scenario = Scenario.load(street)
    for topic, came in stamps.items():
        step_ns = 500_000_000 if topic == POINTS else 100_000_000
        assert came == set(range(scenario.start_ns, scenario.end_ns + 1, step_ns)), topic
        assert came <= tf
    for what, count in (('images', 2 * len(stamps[PICTURES])), ('clouds', len(stamps[POINTS]))):
        found = re.search(rf'^{what}: (\d+) came of (\d+) that were due$', said, re.M)
        assert found
        shown, due = map(int, found.groups())
        # The frame of the halted start once more, for whom the player found later.
        assert count <= shown == due


def test_pictures_show_something(shown):
    folder, _ = shown
    sheet = cv2.imread(str(folder / 'contact_sheet.png'))
    assert sheet is not None
    assert sheet.shape[1] > 1500
    cells = sheet[130:330, 30:1900].reshape(-1, 3)
    assert len(np.unique(cells, axis=0)) > 500, 'a street has many colours'
    # The last row is the lidar's: points of the street on a dark ground, in each cell.
    row = sheet[-238:-22, 22:-22]
    for cell in np.split(row[:, : 5 * 390 - 6], [390, 780, 1170, 1560], axis=1):
        ground = np.all(cell[:, :384] == NIGHT[::-1], axis=2)
        assert 0.02 < 1 - ground.mean() < 0.6
    overview = cv2.imread(str(folder / 'overview.png'))
    assert overview.shape[1] == 1800


def test_one_line_and_1_for_what_cannot_be_used(tmp_path: Path, street: Path, capsys):
    from nurec_ros.cli.demo import main

    broken = tmp_path / 'broken.usdz'
    broken.write_bytes(b'no zip')
    cases = [
        (('--usdz', tmp_path / 'none.usdz'), 'none.usdz'),
        (('--usdz', broken), 'broken.usdz'),
        (('--usdz', street, '--cameras', 'nose'), "no camera is called 'nose'; there are camera_"),
    ]
    for arguments, reason in cases:
        assert main([*map(str, arguments), '--output', str(tmp_path / 'demo')]) == 1
        errors = capsys.readouterr().err
        assert reason in errors
        assert len(errors.splitlines()) == 1
    assert main(['--usdz', str(street), '--output', str(broken)]) == 1
    assert re.fullmatch(r'nurec_demo: cannot use .*broken.usdz: .*\n', capsys.readouterr().err)


def test_the_player_refusing_is_quoted(tmp_path: Path, street: Path, monkeypatch):
    """It refuses what the command would have refused before."""
    own_domain(monkeypatch)
    with pytest.raises(DemoError, match='player ended with exit code 1') as caught:
        run_demo(Options(usdz=str(street), output=str(tmp_path / 'demo'), server='no port'))
    assert 'expected HOST:PORT' in str(caught.value)
    assert not processes_that_name(tmp_path / 'demo')


def test_a_player_that_dies_is_named(tmp_path: Path, street: Path, monkeypatch):
    """It is killed while the demo plays, in the middle of a picture."""
    scenario, output = Scenario.load(street), tmp_path / 'demo'
    # The last quarter never comes.
    gate = Gate(lambda request: request.frame_end_us > scenario.start_ns // 1000 + 1_400_000)

    def say(line: str) -> None:
        if line.startswith('playing '):
            (player,) = processes_that_name(street)
            os.kill(player, signal.SIGKILL)

    own_domain(monkeypatch)
    with FakeServer(gate, scenes=[scenario.scene_id]) as server:
        places = {'usdz': str(street), 'output': str(output), 'server': server.address}
        options = Options(**places, cameras=CAMERAS[:1], resolution_scale=0.02)
        with pytest.raises(DemoError, match='player ended with signal SIGKILL') as caught:
            run_demo(options, say)
    log = (output / 'player.log').read_text().splitlines()
    assert log[-1] in str(caught.value), 'the end of its log'
    assert not processes_that_name(street)


def end_by(numbers: tuple[int, ...], process: subprocess.Popen[str], folder: Path) -> int:
    """Return the exit code after signals; all is over then, and no log has more than its lines."""
    for number in numbers:
        process.send_signal(number)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert errors.splitlines()[-1] == 'nurec_demo: interrupted'
    assert 'Traceback' not in errors
    assert not processes_that_name(folder)
    assert {path.suffix for path in (folder / 'demo').iterdir()} == {'.log'}
    for log in (folder / 'demo').glob('*.log'):
        assert 'Traceback' not in log.read_text()
    return process.returncode


# Of two that come at once the system hands on the lower one first.


def test_the_first_signal_ends_everything(tmp_path: Path):
    # By its folder its processes are told from others.
    place = tmp_path / 'street.usdz'
    street = write_example(place, duration_s=20.0, road_users=2, has_map=False)
    small = ('--cameras', CAMERAS[1], '--camera-rate', 2, '--resolution-scale', 0.05)
    with started('--usdz', street, '--output', tmp_path / 'demo', *small) as process:
        # Whichever quarter is told first on a busy machine.
        wait_for_line('playing ', process)
        assert end_by((signal.SIGINT, signal.SIGTERM), process, tmp_path) == 130


def test_a_silent_server_is_said_while_waiting(street: Path, tmp_path: Path):
    arguments = ('--usdz', street, '--output', tmp_path / 'demo', '--server', '127.0.0.1:9')
    # Without patience.
    imports = 'import nurec_ros.demo.play as play, nurec_ros.cli.demo as demo'
    code = f'{imports}; play.SAID_AFTER_S = play.SAID_AGAIN_S = 0; exit(demo.main())'
    with started(*arguments, '--cameras', CAMERAS[0], code=code) as process:
        # The player runs then: a Python that only begins takes no signal well.
        wait_for_line('waiting: no image', process)
        assert end_by((signal.SIGHUP, signal.SIGINT), process, tmp_path) == 129


def test_the_player_is_told_what_was_chosen():
    """Any name reaches it, read as YAML, which ROS takes parameters for."""
    odd = Path('/a b/it\'s: $x # "quoted" [1].usdz')
    options = Options(rate=2, camera_rate=0, lidar_rate=0, resolution_scale=0.5)
    line = player_command(options, odd, '127.0.0.1:9', ("it's", 'b'))
    assert line[0] == sys.executable
    assert line[3] == '--ros-args'
    assert set(line[4::2]) == {'-p'}
    pairs = dict(pair.split(':=', 1) for pair in line[5::2])
    assert {name: yaml.safe_load(value) for name, value in pairs.items()} == {
        'usdz_path': str(odd),
        'server': '127.0.0.1:9',
        'mode': 'lockstep',
        'batch': 'never',
        'clock_rate': 50.0,
        'marker_rate': 5.0,
        'rate': 2.0,
        'camera_rate': 0.0,
        'lidar_rate': 0.0,
        'resolution_scale': 0.5,
        'cameras': ["it's", 'b'],
    }


def test_all_cameras_are_chosen_unless_some_are_named(street: Path):
    scenario = Scenario.load(street)
    assert chosen_cameras(scenario, ()) == tuple(scenario.cameras)
    assert chosen_cameras(scenario, CAMERAS) == CAMERAS


def test_a_missing_file_costs_no_earlier_result(tmp_path: Path):
    """Find a typing mistake before anything is removed."""
    earlier = tmp_path / 'contact_sheet.png'
    earlier.write_bytes(b'earlier')
    with pytest.raises(ScenarioError, match='no such file'):
        run_demo(Options(usdz=str(tmp_path / 'typo.usdz'), output=str(tmp_path)))
    assert earlier.read_bytes() == b'earlier'


def test_a_folder_named_as_the_package_does_not_hide_it(tmp_path: Path):
    """Start a command where a clone of this repository lies in the working directory."""
    (tmp_path / 'nurec_ros').mkdir()
    environment = {**os.environ, 'PYTHONPATH': str(Path(nurec_ros.__file__).parents[1])}
    done = subprocess.run(
        [*command('preview'), '--version'],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert nurec_ros.__version__ in done.stdout


DOMAINS = "--domain-id: '{}', expected a number from 0 to 232"


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        *((f'--domain-id={domain}', DOMAINS.format(domain)) for domain in ('233', '-1', 'x')),
        ('--rate=0', "--rate: '0', expected a number from 0.01 to 100"),
        ('--rate=nan', "--rate: 'nan', expected a number from 0.01 to 100"),
        ('--lidar-rate=1001', "--lidar-rate: '1001', expected a number from 0 to 1000"),
        ('--camera-rate=-1', "--camera-rate: '-1', expected a number from 0 to 1000"),
        ('--resolution-scale=x', "--resolution-scale: 'x', expected a number from 0.01 to 2"),
        ('--usdz=', '--usdz: the path is empty'),
        ('--output=', '--output: the path is empty'),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_started(words, reason, capsys):
    from nurec_ros.cli.demo import main

    with pytest.raises(SystemExit) as caught:
        main([words])
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err
