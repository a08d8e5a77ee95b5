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
What the launch file starts, with stand-ins for the executables.

Real launches, and real ROS nodes that say which parameters reached them.
"""

import os
from pathlib import Path
from test.launch.conftest import LAUNCH_FILE, make_prefix

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

# A stack of somebody's, which includes ours under a namespace and sets something for all nodes.
STACK = """
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetParameter


def generate_launch_description():
    arguments = [('namespace', 'inner'), ('rate', '3'), ('rviz', 'true')]
    ours = IncludeLaunchDescription(
        PythonLaunchDescriptionSource({file!r}), launch_arguments=arguments
    )
    group = [PushRosNamespace('outer'), SetParameter('tick_us', 7), ours]
    return LaunchDescription([GroupAction(group)])
"""

PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


def params_file(folder, **by_key):
    """Write a YAML file of parameters, keyed as given; keywords cannot hold slashes."""
    keys = {'wildcard': '/**', 'name': 'nurec', 'full_name': '/nurec', 'under_ns': '/ns/nurec'}
    path = folder / 'params.yaml'
    content = {keys[key]: {'ros__parameters': values} for key, values in by_key.items()}
    path.write_text(yaml.safe_dump(content))
    return path


def test_nothing_given_sets_nothing(launch_file, standins):
    run = launch_file(standins)
    report = run.report('nurec_player')
    assert report['node'] == '/nurec'
    assert report['parameters'] == {}
    assert '--log-level' not in report['arguments']
    assert run.interrupt() == 0


def test_everything_given(launch_file, standins, tmp_path):
    run = launch_file(
        standins,
        'usdz_path:=street.usdz',
        'server:=gpu:46435',
        'cameras:=front,rear',
        'lidars:=none',
        'resolution_scale:=1',
        'rate:=2',
        'autoplay:=true',
        'loop:=1',
        'mode:=lockstep',
        'publish_clock:=false',
        'namespace:=fleet',
        'name:=second',
        'log_level:=second:=debug',
    )
    report = run.report('nurec_player')
    assert report['node'] == '/fleet/second'
    assert report['parameters'] == {
        'usdz_path': str(tmp_path / 'street.usdz'),
        'server': 'gpu:46435',
        'cameras': ['front', 'rear'],
        'lidars': ['none'],
        'resolution_scale': 1.0,
        'rate': 2.0,
        'autoplay': True,
        'loop': True,
        'mode': 'lockstep',
        'publish_clock': False,
    }
    assert isinstance(report['parameters']['rate'], float)
    arguments = report['arguments']
    assert arguments[arguments.index('--log-level') + 1] == 'second:=debug'
    assert run.interrupt() == 0


def test_what_looks_like_a_number_stays_text(launch_file, standins, tmp_path):
    (tmp_path / '1234').touch()
    run = launch_file(standins, 'usdz_path:=1234', 'cameras:=[0012, true]', 'server:=46435')
    assert run.report('nurec_player')['parameters'] == {
        'usdz_path': str(tmp_path / '1234'),
        'cameras': ['0012', 'true'],
        'server': '46435',
    }
    assert run.interrupt() == 0


@pytest.mark.parametrize('key', ['wildcard', 'name', 'full_name'])
def test_arguments_go_before_the_params_file(launch_file, standins, tmp_path, key):
    path = params_file(tmp_path, **{key: {'rate': 0.5, 'loop': True, 'tick_us': 5}})
    run = launch_file(standins, f'params_file:={path}', 'rate:=2')
    expected = {'rate': 2.0, 'loop': True, 'tick_us': 5}
    assert run.report('nurec_player')['parameters'] == expected
    assert run.interrupt() == 0


def test_arguments_go_before_the_params_file_under_a_namespace(launch_file, standins, tmp_path):
    path = params_file(tmp_path, wildcard={'rate': 0.1}, under_ns={'rate': 0.5, 'tick_us': 5})
    run = launch_file(standins, 'params_file:=params.yaml', 'rate:=2', 'namespace:=/ns')
    assert path.is_file()
    assert run.report('nurec_player')['parameters'] == {'rate': 2.0, 'tick_us': 5}
    assert run.interrupt() == 0


ALL = ('preview:=true', 'rviz:=true', 'usdz_path:=street.usdz', 'drive:=follow')
OURS = ['nurec_player', 'nurec_preview', 'nurec_follow']


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['rate:=fast'], "rate: 'fast' is not a number"),
        (['loop:=maybe'], "loop: 'maybe' is neither true nor false"),
        (['rviz:=maybe'], "rviz: 'maybe' is neither true nor false"),
        (['cameras:=[a'], "cameras: '[a' is not a list of names"),
        (['params_file:=/nowhere/p.yaml'], 'params_file: /nowhere/p.yaml is not a file'),
        (['usdz_path:=/nowhere/a.usdz'], 'usdz_path: /nowhere/a.usdz is not a file'),
        (['usdz_path:='], 'preview:=true draws the argument usdz_path, which is not given'),
        (
            ['server:=a:1,b:2'],
            "server: preview:=true needs one HOST:PORT, not 'a:1,b:2'",
        ),
        (['name:=my-player'], '/my-player: Invalid node name: node name must not contain'),
        (['drive:=fast'], "drive: 'fast' is neither follow nor teleop"),
        (['namespace:=1st'], '/1st/nurec: Invalid namespace: namespace must not have a token'),
    ],
)
def test_wrong_arguments_are_one_line_and_start_nothing(launch_file, standins, words, sentence):
    run = launch_file(standins, *ALL, *words)
    assert run.end() == 1
    assert sentence in run.output
    assert 'Traceback' not in run.output
    assert run.left() == []
    assert list(run.folder.glob('*.json')) == []


@pytest.mark.parametrize(
    ('executables', 'sentence'),
    [
        ({'nurec_ros': OURS}, 'rviz2 is not installed (apt install ros-$ROS_DISTRO-rviz2, or '),
        ({'nurec_ros': OURS, 'rviz2': []}, 'rviz2 is not installed'),
        (
            {'nurec_ros': ['nurec_player', 'nurec_follow'], 'rviz2': ['rviz2']},
            'nurec_preview is not installed (build the workspace again)',
        ),
        (
            {'nurec_ros': ['nurec_player', 'nurec_preview'], 'rviz2': ['rviz2']},
            'nurec_follow is not installed (build the workspace again)',
        ),
        (
            {'nurec_ros': ['nurec_preview'], 'rviz2': ['rviz2']},
            'nurec_player is not installed (build the workspace and source its setup file)',
        ),
        ({'rviz2': ['rviz2']}, 'nurec_player is not installed'),
    ],
    ids=['rviz2', "rviz2's executable", 'preview', 'follow', 'player', 'nurec_ros'],
)
def test_what_is_not_installed_is_said_and_nothing_is_started(
    launch_file, tmp_path, executables, sentence
):
    """Look for the process that an action before the failing one would have left."""
    script = Path(__file__).with_name('standin.py')
    packages = {package: dict.fromkeys(names, script) for package, names in executables.items()}
    prefix = make_prefix(tmp_path / 'prefix', packages)
    # Alone, so that none of a distribution is found in its place.
    run = launch_file(prefix, *ALL, AMENT_PREFIX_PATH=str(prefix))
    assert run.end() == 1
    assert sentence in run.output
    assert 'Traceback' not in run.output
    assert run.left() == []
    assert list(run.folder.glob('*.json')) == []


def test_preview_draws_for_the_player_on_one_port(launch_file, standins, tmp_path):
    run = launch_file(standins, 'preview:=true', 'usdz_path:=street.usdz')
    preview, player = run.report('nurec_preview'), run.report('nurec_player')
    flag, path, port_flag, port = preview['arguments']
    assert (flag, path, port_flag) == ('--usdz', str(tmp_path / 'street.usdz'), '--port')
    assert 1024 <= int(port) < 65536
    assert player['parameters'] == {'usdz_path': path, 'server': f'127.0.0.1:{port}'}
    # The profile is the player's alone, and nobody drives unless asked.
    assert [variable in preview['environment'] for variable in PROFILES] == [False, False]
    assert 'nurec_follow' not in run.output
    assert run.interrupt() == 0
    assert 'Traceback' not in run.output
    assert 'process has died' not in run.output


def test_preview_on_the_port_of_server(launch_file, standins):
    run = launch_file(
        standins, 'preview:=true', 'usdz_path:=street.usdz', 'server:=localhost:50051'
    )
    assert run.report('nurec_preview')['arguments'][2:] == ['--port', '50051']
    assert run.report('nurec_player')['parameters']['server'] == '127.0.0.1:50051'
    assert '[WARNING] preview' not in run.output
    assert run.interrupt() == 0


def test_preview_instead_of_another_machine_is_said(launch_file, standins):
    run = launch_file(standins, 'preview:=true', 'usdz_path:=street.usdz', 'server:=gpu:50051')
    run.report('nurec_preview')
    assert run.report('nurec_player')['parameters']['server'] == '127.0.0.1:50051'
    sentence = 'images come from 127.0.0.1:50051, drawn on this machine, and not from server:=gpu'
    assert sentence in run.output
    assert run.interrupt() == 0


def test_preview_of_a_params_file_is_refused_with_the_reason(launch_file, standins, tmp_path):
    path = params_file(tmp_path, wildcard={'usdz_path': 'a.usdz'})
    run = launch_file(standins, 'preview:=true', f'params_file:={path}')
    assert run.end() == 1
    assert 'one in params_file reaches the player alone' in run.output


def test_shm_profile_reaches_the_player(launch_file, standins):
    run = launch_file(standins)
    environment = run.report('nurec_player')['environment']
    profile = str(ROOT / 'config' / 'fastdds_shm.xml')
    found = {environment.get(variable) for variable in PROFILES}
    # Where /dev/shm is too small, the launch has said so.
    assert found == {profile, None} or 'use_shm_profile is left out' in run.output
    assert run.interrupt() == 0


def test_shm_profile_is_not_forced_on_anybody(launch_file, standins):
    run = launch_file(standins, 'use_shm_profile:=false')
    environment = run.report('nurec_player')['environment']
    assert [variable in environment for variable in PROFILES] == [False, False]
    assert run.interrupt() == 0


def test_rviz_shows_the_player(launch_file, standins):
    run = launch_file(standins, 'rviz:=true')
    report = run.report('rviz2')
    assert report['node'] == '/nurec_rviz'
    assert report['arguments'][:2] == ['-d', str(ROOT / 'config' / 'nurec.rviz')]
    assert report['parameters'] == {'use_sim_time': True}
    # The player makes the time, it does not follow it.
    assert 'use_sim_time' not in run.report('nurec_player')['parameters']
    assert [variable in report['environment'] for variable in PROFILES] == [False, False]
    assert run.interrupt() == 0


def test_rviz_shows_a_player_of_another_name(launch_file, standins):
    run = launch_file(standins, 'rviz:=true', 'namespace:=fleet', 'name:=second')
    run.report('nurec_player')
    flag, path = run.report('rviz2')['arguments'][:2]
    assert flag == '-d'
    ours = (ROOT / 'config' / 'nurec.rviz').read_text()
    theirs = Path(path).read_text()
    assert '/nurec/' in ours
    assert '/nurec/' not in theirs
    assert theirs.replace('/fleet/second/', '/nurec/') == ours
    Path(path).unlink()
    assert run.interrupt() == 0


def test_the_follower_drives_the_player(launch_file, standins, tmp_path):
    path = params_file(tmp_path, wildcard={'wheelbase_m': 3.1, 'ego_source': 'pose'})
    run = launch_file(
        standins, 'drive:=follow', 'namespace:=fleet', 'name:=second', f'params_file:={path}'
    )
    follower, player = run.report('nurec_follow'), run.report('nurec_player')
    assert follower['node'] == '/fleet/second_follow'
    assert follower['parameters']['player'] == player['node'] == '/fleet/second'
    # Both of one length.
    assert follower['parameters']['wheelbase_m'] == player['parameters']['wheelbase_m'] == 3.1
    assert player['parameters']['ego_source'] == 'ackermann'
    assert run.interrupt() == 0


@pytest.fixture
def terminal(tmp_path):
    """Return a PATH on which `xterm` is a script that says how it was called, and runs that."""
    script = tmp_path / 'bin' / 'xterm'
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho "xterm $1 $2 $3"\nshift 3\nexec "$@"\n')
    script.chmod(0o755)
    return f'{script.parent}{os.pathsep}{os.environ["PATH"]}'


def test_the_keyboard_has_a_window_of_its_own(launch_file, standins, terminal):
    run = launch_file(standins, 'drive:=teleop', 'namespace:=fleet', PATH=terminal, DISPLAY=':7')
    keyboard, player = run.report('teleop_twist_keyboard'), run.report('nurec_player')
    # What publishes Twist, for a player that takes it.
    assert player['parameters'] == {'ego_source': 'twist', 'cmd_vel_stamped': False}
    assert 'cmd_vel:=/fleet/nurec/cmd_vel' in keyboard['arguments']
    assert 'xterm -T teleop_twist_keyboard -e' in run.output
    assert '[WARNING] drive' not in run.output
    assert run.interrupt() == 0


@pytest.mark.parametrize(
    ('environment', 'reason'),
    [
        ({'PATH': '/nowhere', 'DISPLAY': ':7'}, '(xterm is not installed)'),
        ({'DISPLAY': ''}, '(DISPLAY is not set)'),
    ],
)
def test_without_a_window_the_command_is_told(
    launch_file, standins, terminal, environment, reason
):
    run = launch_file(standins, 'drive:=teleop', **{'PATH': terminal, **environment})
    assert run.report('nurec_player')['parameters']['ego_source'] == 'twist'
    command = 'teleop_twist_keyboard --ros-args -r cmd_vel:=/nurec/cmd_vel'
    lines = [line for line in run.output.splitlines() if 'no window for the keyboard' in line]
    assert len(lines) == 1
    assert reason in lines[0]
    assert command in lines[0]
    assert run.interrupt() == 0


def test_a_keyboard_that_is_not_installed_is_said_and_nothing_is_started(launch_file, tmp_path):
    script = Path(__file__).with_name('standin.py')
    prefix = make_prefix(tmp_path / 'prefix', {'nurec_ros': dict.fromkeys(OURS, script)})
    run = launch_file(prefix, 'drive:=teleop', AMENT_PREFIX_PATH=str(prefix))
    assert run.end() == 1
    sentence = 'teleop_twist_keyboard is not installed (apt install ros-$ROS_DISTRO-teleop-twist'
    assert sentence in run.output
    assert 'Traceback' not in run.output
    assert list(run.folder.glob('*.json')) == []


def test_inclusion_in_a_group_of_somebody_elses(launch_file, standins, tmp_path):
    """Take the group's namespace and parameters, in rviz's topics too."""
    stack = tmp_path / 'stack.launch.py'
    stack.write_text(STACK.format(file=str(LAUNCH_FILE)))
    run = launch_file(standins, file=stack)
    player = run.report('nurec_player')
    assert player['node'] == '/outer/inner/nurec'
    assert player['parameters'] == {'tick_us': 7, 'rate': 3.0}
    config = Path(run.report('rviz2')['arguments'][1])
    assert '/outer/inner/nurec/tracks' in config.read_text()
    config.unlink()
    assert run.interrupt() == 0


@pytest.mark.parametrize('code', [0, 1, 3])
def test_the_launch_ends_with_the_player(launch_file, standins, code):
    """Show the player's exit code, and end what was started beside it."""
    run = launch_file(
        standins,
        'preview:=true',
        'usdz_path:=street.usdz',
        'rviz:=true',
        STANDIN_EXIT=f'nurec_player:{code}',
        STANDIN_AFTER='nurec_preview rviz2',
    )
    assert run.end() == (0 if code == 0 else 1)
    if code != 0:
        assert f'the player ended with exit code {code}' in run.output
        assert f'exit code {code}, cmd' in run.output
    for name in ('nurec_preview', 'rviz2'):
        assert f'[INFO] [{name}-' in run.output
        assert f'[ERROR] [{name}-' not in run.output


def test_the_launch_ends_with_the_preview_server(launch_file, standins):
    """End, rather than play on without pictures that were asked for."""
    run = launch_file(
        standins,
        'preview:=true',
        'usdz_path:=street.usdz',
        STANDIN_EXIT='nurec_preview:70',
        STANDIN_AFTER='nurec_player',
    )
    assert run.end() == 1
    assert 'the preview server ended with exit code 70' in run.output
    assert '[ERROR] [nurec_player-' not in run.output
