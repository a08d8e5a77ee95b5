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
"""The programs of docs/driving.md as they stand there, and the names in its commands."""

import inspect
from itertools import pairwise
from pathlib import Path
import re
import shlex
import subprocess
import sys
from test.rendering.fake_server import FakeServer, picture
from test.support.domain import claim_domain
from test.support.process import Process
from types import SimpleNamespace

import numpy as np
from nurec_ros import Environment
from nurec_ros.cli.example import main as write
from nurec_ros.scenario import Scenario
from nurec_ros.setting_values import convert
from nurec_ros.settings import TABLE
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs' / 'driving.md').read_text()
# What each program is known by.
PROGRAMS = ('rclpy.init', 'policy(seen.images', 'gymnasium.Env', 'PurePursuit')
SPEED, YAW_RATE = 4.0, 0.2


def blocks(language):
    return re.findall(rf'^```{language}\n(.*?)^```', TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope='module')
def usdz(tmp_path_factory):
    path = tmp_path_factory.mktemp('street') / 'drive.usdz'
    assert write([str(path), '--duration', '2', '--road-users', '0']) == 0
    return path


@pytest.fixture(scope='module')
def server(usdz):
    with FakeServer(picture, scenes=[Scenario.load(usdz).scene_id]) as running:
        yield running


@pytest.fixture
def run(usdz, server, monkeypatch):
    """Return a function that runs a program where the drive lies, and returns its names."""

    def execute(mark, **names):
        monkeypatch.chdir(usdz.parent)
        (text,) = (block for block in blocks('python') if mark in block)
        text = text.replace('localhost:46435', server.address)
        exec(compile(text, f'docs/driving.md ({mark})', 'exec'), names)
        return names

    return execute


def test_every_program_is_run_here():
    found = [sum(mark in block for mark in PROGRAMS) for block in blocks('python')]
    assert found == [1] * len(PROGRAMS)


def test_the_loop_over_ros(usdz, server, tmp_path, monkeypatch):
    """Compare with the same drive in an environment, which the printed numbers tell."""
    pytest.importorskip('rclpy')
    monkeypatch.setenv('ROS_DOMAIN_ID', str(claim_domain()))
    name, *words = next(one for one in commands() if 'ego_wait_s:=5.0' in one)
    assert name == 'nurec_player'
    words = [word.replace('drive.usdz', str(usdz)) for word in words]
    words += ['-p', f'server:={server.address}']
    player = Process('nurec_ros.cli.player', words, tmp_path / 'player.txt')
    (text,) = (block for block in blocks('python') if 'rclpy.init' in block)
    policy = f'def policy(images):\n    return {SPEED}, {YAW_RATE}\n\n\n'
    done = subprocess.run(
        [sys.executable, '-c', policy + text],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    player.end()
    assert done.returncode == 0, done.stderr + player.output
    with Environment(usdz, '', ego_source='twist') as environment:
        seen, truth = environment.reset(), []
        while not seen.done:
            seen = environment.step((SPEED, YAW_RATE))
            truth.append(f'{seen.deviation.lateral_m} []')
    assert len(truth) > 15
    assert done.stdout.splitlines() == truth


def test_the_loop_without_ros(run, capsys):
    seen = []

    def policy(rgb):
        seen.append((rgb.ndim, rgb.shape[2], rgb.dtype))
        return SPEED, 0.0

    run('policy(seen.images', policy=policy)
    assert len(seen) > 15
    assert set(seen) == {(3, 3, np.dtype(np.uint8))}
    assert re.fullmatch(r'the end Deviation\(.*\) \(\)\n', capsys.readouterr().out)


def test_the_follower_drives_beside_the_path(run, capsys):
    names = run('PurePursuit')
    assert names['seen'].why == 'the end'
    # Two seconds are too short to get there.
    assert 0.3 < names['seen'].deviation.lateral_m < 1.8
    assert 'lateral_m' in capsys.readouterr().out


@pytest.fixture
def check_env(monkeypatch):
    """Return gymnasium's check; where it is not installed, have what the program uses of it."""
    try:
        from gymnasium.utils.env_checker import check_env
    except ImportError:
        env = type('Env', (), {'reset': lambda self, *, seed=None, options=None: None})
        spaces = SimpleNamespace(Box=lambda *values: values)
        package = SimpleNamespace(Env=env, spaces=spaces)
        monkeypatch.setitem(sys.modules, 'gymnasium', package)
        return None
    return lambda drive: check_env(drive, skip_render_check=True)


def test_the_gymnasium_environment(check_env, run, usdz, server):
    drive = run('gymnasium.Env')['NurecEnv'](str(usdz), server.address)
    if check_env:
        check_env(drive)
    rgb, _ = drive.reset(seed=3)
    assert (rgb.ndim, rgb.dtype) == (3, np.uint8)
    # To the end, and far off the path.
    for action, ended, least in (
        ([SPEED, 0.0], (False, True), 15),
        ([15.0, 0.5], (True, False), 1),
    ):
        drive.reset()
        steps, over = 0, (False, False)
        while not any(over):
            rgb, reward, *over, _ = drive.step(np.float32(action))
            steps += 1
        assert tuple(over) == ended
        assert steps > least
        assert isinstance(reward, float)
    assert 'max_deviation_m' in drive.seen.why
    drive.inside.close()


def commands():
    """Yield the words of each command line."""
    for block in blocks('bash'):
        for line in block.replace('\\\n', ' ').splitlines():
            yield shlex.split(line)


def test_the_parameters_of_commands_are_there():
    pytest.importorskip('rclpy')
    from nurec_ros.ros import tool_nodes

    known = {'nurec_player': TABLE, 'nurec_follow': tool_nodes.FOLLOWER_SPECS}
    known['nurec_autoware'] = tool_nodes.ADAPTER_SPECS
    met = set()
    for words in commands():
        program = next((word for word in words if word in known), None)
        if program is None:
            # Of others only what is passed to them is known: topics, below.
            assert words[0] == 'ros2', words
            continue
        met.add(program)
        assert words[: words.index(program)] in ([], ['ros2', 'run', 'nurec_ros'])
        specs = {spec.name: spec for spec in known[program]}
        given = [word for flag, word in pairwise(words) if flag == '-p']
        for name, value in (word.split(':=', 1) for word in given):
            convert(specs[name], name, yaml.safe_load(value))
    assert met == set(known)


def test_the_arguments_of_the_launch_file_are_there():
    text = (ROOT / 'launch' / 'nurec.launch.py').read_text()
    (words,) = (words for words in commands() if 'nurec.launch.py' in words)
    given = [word.split(':=')[0] for word in words if ':=' in word]
    assert given
    assert [name for name in given if f"'{name}': " not in text] == []


def test_the_topics_are_there():
    source = '\n'.join(path.read_text() for path in (ROOT / 'nurec_ros' / 'ros').glob('*.py'))
    offered = set(re.findall(r"['/](?:~/)?(\w+)'", source))
    named = set(re.findall(r'(?:~|/nurec)/(?:<\w+>/|camera_\w+/)?(\w+)', TEXT))
    assert {'cmd_vel', 'ackermann_cmd', 'odom', 'points', 'driven_path'} <= named
    assert named - offered == set()


def test_the_fields_of_autowares_commands_are_those_that_are_passed_on():
    pytest.importorskip('rclpy')
    from nurec_ros.ros.tool_nodes import ADAPTER_SPECS, drive_of

    row = next(line for line in TEXT.splitlines() if 'autoware_control_msgs/Control |' in line)
    topic, how = row.split(' | ')
    assert str({spec.name: spec.default for spec in ADAPTER_SPECS}['control_topic']) in topic
    fields = set(re.findall(r'`([\w.]+)`', how)) - {'nurec_autoware'}
    assert len(fields) == 6
    source = inspect.getsource(drive_of)
    assert [field for field in fields if f'.{field.split(".")[-1]}' not in source] == []
