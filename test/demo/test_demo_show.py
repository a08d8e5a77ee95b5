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
from collections.abc import Callable
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
from test.demo.conftest import own_domain
from test.rendering.fake_server import FakeServer, Gate
from threading import Timer

import cv2
import numpy as np
import nurec_ros
from nurec_ros.demo.drawing import NIGHT
from nurec_ros.demo.resources import command, DemoError
from nurec_ros.demo.show import chosen_cameras, Options, player_command, run
from nurec_ros.scenario import Scenario
import pytest
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from tf2_msgs.msg import TFMessage
import yaml

ROOT = Path(__file__).resolve().parents[2]
CAMERAS = ('camera_front_wide_120fov', 'camera_rear_left_70fov')
POINTS = '/nurec/lidar_gt_top_p128/points'
PICTURES = [f'/nurec/{camera}/image_raw/compressed' for camera in CAMERAS]


def processes_that_name(text: object) -> list[int]:
    """Return the processes whose command lines hold a text."""
    found = []
    for entry in Path('/proc').glob('[0-9]*'):
        try:
            words = (entry / 'cmdline').read_bytes().replace(b'\0', b' ')
        except OSError:
            continue
        # Anybody's, and cut off anywhere.
        if str(text) in words.decode(errors='replace'):
            found.append(int(entry.name))
    return found


def demo(*arguments: object, heard: Callable[[subprocess.Popen[str], str], object] = print):
    """Run the command; return its exit code and what it said. `heard` takes it and each line."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    # The demo takes a domain of its own.
    for name in ('ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY'):
        environment.pop(name, None)
    with subprocess.Popen(
        [sys.executable, '-m', 'nurec_ros.cli.demo', *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        # What hangs ends with the test.
        hangs = Timer(300, process.kill)
        hangs.start()
        said = []
        for line in process.stdout:
            said.append(line)
            heard(process, line)
        hangs.cancel()
    return process.returncode, ''.join(said)


@pytest.fixture(scope='module')
def shown(street: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return the folder that a demo of two cameras filled, its words, and the bag's messages."""
    folder = tmp_path_factory.mktemp('shown') / 'demo'
    # Faster than a busy machine draws: it has to wait.
    choices = ('--rate', 5, '--resolution-scale', 0.125, '--cameras', ','.join(CAMERAS))
    code, said = demo('--usdz', street, '--output', folder, *choices)
    assert code == 0, said
    messages: dict[str, list[bytes]] = {}
    with AnyReader([folder / 'recording']) as reader:
        for connection, _, data in reader.messages():
            messages.setdefault(connection.topic, []).append(data)
    return folder, said, messages


def test_everything_is_left_in_the_folder(shown):
    folder, said, _ = shown
    results = ('contact_sheet.png', 'overview.png', 'recording')
    assert {path.name for path in folder.iterdir()} == {*results, 'player.log', 'preview.log'}
    for name in results:
        assert str(folder / name) in said
    assert 'Traceback' not in said
    assert 'playing 100 %' in said
    assert not processes_that_name(folder.parent)


def test_the_table_counts_what_the_recording_holds(shown):
    _, said, messages = shown
    lines = [line.split() for line in said.splitlines() if line.startswith('/')]
    table = {line[0]: line[1:] for line in lines if len(line) == 5}
    expected = {'/clock', '/tf', '/tf_static', '/diagnostics', POINTS, *PICTURES}
    expected |= {f'/nurec/{name}' for name in ('odom', 'path', 'ego', 'tracks', 'state')}
    expected |= {f'/nurec/{camera}/camera_info' for camera in CAMERAS}
    assert expected <= set(table)
    # Of some there may be none.
    counts = Counter({topic: len(some) for topic, some in messages.items()})
    assert Counter({topic: int(row[1]) for topic, row in table.items()}) == counts
    assert table['/nurec/odom'][0] == 'nav_msgs/Odometry'
    for topic in PICTURES:
        assert float(table[topic][3]) == pytest.approx(10.0, abs=0.8)


def test_every_picture_that_is_due_is_recorded_with_a_transform_of_its_moment(shown, street):
    _, said, messages = shown
    scenario = Scenario.load(street)
    tf = {
        one.header.stamp.sec * 10**9 + one.header.stamp.nanosec
        for data in messages['/tf']
        for one in deserialize_message(data, TFMessage).transforms
    }
    for topic, step_ns in ((POINTS, 500_000_000), *((one, 100_000_000) for one in PICTURES)):
        # CDR of a message with a header: its stamp is behind the first four bytes.
        stamps = [np.frombuffer(data, '<u4', 2, offset=4).tolist() for data in messages[topic]]
        came = {second * 10**9 + nanosecond for second, nanosecond in stamps}
        assert came == set(range(scenario.start_ns, scenario.end_ns + 1, step_ns)), topic
        assert came <= tf
    for what, count in (('images', 2 * 21), ('clouds', 5)):
        found = re.search(rf'^{what}: (\d+) came of (\d+) that were due$', said, re.M)
        assert found
        shown, due = map(int, found.groups())
        # The frame of the halted start once more, for whom the player found later.
        assert count <= shown == due


def test_pictures_show_something(shown):
    folder, *_ = shown
    sheet = cv2.imread(str(folder / 'contact_sheet.png'))
    assert sheet is not None
    assert sheet.shape[1] > 1500
    cells = sheet[130:330, 30:1900].astype(np.uint32) @ [1, 256, 65536]
    assert len(np.unique(cells)) > 500, 'a street has many colours'
    # The last row is the lidar's: points of the street on a dark ground, in each cell.
    row = sheet[-238:-22, 22:-22]
    for cell in np.split(row[:, : 5 * 390 - 6], [390, 780, 1170, 1560], axis=1):
        ground = np.all(cell[:, :384] == NIGHT[::-1], axis=2)
        assert 0.02 < 1 - ground.mean() < 0.6
    assert cv2.imread(str(folder / 'overview.png')).shape[1] == 1800


def held(scenario: Scenario) -> Gate:
    """Return a renderer whose pictures of the last quarter never come."""
    return Gate(lambda request: request.frame_end_us > scenario.start_ns // 1000 + 1_400_000)


def test_a_player_that_dies_is_named(tmp_path: Path, street: Path, monkeypatch):
    """It is killed while the demo plays, in the middle of a picture."""
    scenario, output = Scenario.load(street), tmp_path / 'demo'

    def say(line: str) -> None:
        if line.startswith('playing '):
            (player,) = processes_that_name(street)
            os.kill(player, signal.SIGKILL)

    own_domain(monkeypatch)
    with FakeServer(held(scenario), scenes=[scenario.scene_id]) as server:
        places = {'usdz': str(street), 'output': str(output), 'server': server.address}
        options = Options(**places, cameras=CAMERAS[:1], resolution_scale=0.02)
        with pytest.raises(DemoError, match='player ended with signal SIGKILL') as caught:
            run(options, say)
    log = (output / 'player.log').read_text().splitlines()
    assert log[-1] in str(caught.value), 'the end of its log'
    assert not processes_that_name(street)


def test_one_of_several_signals_ends_everything(street: Path, tmp_path: Path):
    scenario, folder = Scenario.load(street), tmp_path / 'demo'
    several = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)

    def signals(process: subprocess.Popen[str], line: str) -> None:
        if line.startswith('playing '):
            for number in several:
                process.send_signal(number)

    with FakeServer(held(scenario), scenes=[scenario.scene_id]) as server:
        small = ('--cameras', CAMERAS[1], '--resolution-scale', 0.02, '--server', server.address)
        code, said = demo('--usdz', street, '--output', folder, *small, heard=signals)
    # Any thread may take one: which comes first is the kernel's affair.
    assert code in {128 + number for number in several}
    assert said.splitlines()[-1] == 'nurec_demo: interrupted'
    # By its folder its processes are told from others.
    assert not processes_that_name(folder)
    (log,) = folder.iterdir()
    assert 'Traceback' not in said + log.read_text()


def test_one_line_and_1_for_what_cannot_be_used(tmp_path: Path, street: Path, capsys):
    """A typing mistake is found before anything of an earlier demo's is removed."""
    from nurec_ros.cli.demo import main

    broken, earlier = tmp_path / 'broken.usdz', tmp_path / 'demo' / 'contact_sheet.png'
    broken.write_bytes(b'no zip')
    earlier.parent.mkdir()
    earlier.touch()
    cases = [
        (tmp_path / 'typo.usdz', '--output', tmp_path / 'demo', 'no such file'),
        (broken, '--output', tmp_path / 'demo', 'broken.usdz'),
        (street, '--output', broken, f'cannot use {broken}: '),
        (street, '--cameras', 'nose', "no camera is called 'nose'; there are camera_"),
    ]
    for usdz, option, value, reason in cases:
        assert main(['--usdz', str(usdz), option, str(value)]) == 1
        assert re.fullmatch(rf'nurec_demo: .*{reason}.*\n', capsys.readouterr().err)
    assert earlier.exists()


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


def test_a_folder_named_as_the_package_does_not_hide_it(tmp_path: Path):
    """Start a command where a clone of this repository lies in the working directory."""
    (tmp_path / 'nurec_ros').mkdir()
    words = [*command('preview'), '--version']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    said = subprocess.check_output(words, cwd=tmp_path, env=environment, text=True)
    assert nurec_ros.__version__ in said


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        ('--domain-id=233', "--domain-id: '233', expected a number from 0 to 232"),
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
