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
from test.launch.conftest import LAUNCH_FILE, OURS, standins_for

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
    arguments = [('namespace', 'inner'), ('name', 'second'), ('rate', '3'), ('rviz', 'true')]
    ours = IncludeLaunchDescription(
        PythonLaunchDescriptionSource({file!r}), launch_arguments=arguments
    )
    group = [PushRosNamespace('outer'), SetParameter('tick_us', 7), ours]
    return LaunchDescription([GroupAction(group)])
"""

PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
PREVIEWED = ('preview:=true', 'usdz_path:=street.usdz')
ALL = (*PREVIEWED, 'rviz:=true', 'drive:=follow')


def params_file(folder, **by_key):
    """Write a YAML file of parameters, keyed as given; keywords cannot hold slashes."""
    keys = {'wildcard': '/**', 'name': 'nurec', 'full_name': '/nurec', 'under_ns': '/ns/nurec'}
    path = folder / 'params.yaml'
    content = {keys[key]: {'ros__parameters': values} for key, values in by_key.items()}
    path.write_text(yaml.safe_dump(content))
    return path


def profiles_of(report):
    """Return the profiles of shared memory that a process was given, by environment variables."""
    return {report['environment'][name] for name in PROFILES if name in report['environment']}


def test_nothing_given_sets_nothing_but_the_shm_profile(launched):
    run = launched()
    report = run.report('nurec_player')
    assert report['node'] == '/nurec'
    assert report['parameters'] == {}
    assert '--log-level' not in report['arguments']
    # Where /dev/shm is too small, the launch has said so.
    profile = str(ROOT / 'config' / 'fastdds_shm.xml')
    assert profiles_of(report) == {profile} or 'use_shm_profile is left out' in run.output


def test_everything_given(launched, tmp_path):
    """What looks like a number stays text."""
    (tmp_path / '1234').touch()
    run = launched(
        'usdz_path:=1234',
        'server:=46435',
        'cameras:=[0012, true]',
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
        'use_shm_profile:=false',
    )
    report = run.report('nurec_player')
    assert report['node'] == '/fleet/second'
    assert report['parameters'] == {
        'usdz_path': str(tmp_path / '1234'),
        'server': '46435',
        'cameras': ['0012', 'true'],
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
    assert profiles_of(report) == set()


@pytest.mark.parametrize('key', ['wildcard', 'name', 'full_name'])
def test_arguments_go_before_the_params_file(launched, tmp_path, key):
    path = params_file(tmp_path, **{key: {'rate': 0.5, 'loop': True, 'tick_us': 5}})
    run = launched(f'params_file:={path}', 'rate:=2')
    expected = {'rate': 2.0, 'loop': True, 'tick_us': 5}
    assert run.report('nurec_player')['parameters'] == expected


def test_arguments_go_before_the_params_file_under_a_namespace(launched, tmp_path):
    params_file(tmp_path, wildcard={'rate': 0.1}, under_ns={'rate': 0.5, 'tick_us': 5})
    run = launched('params_file:=params.yaml', 'rate:=2', 'namespace:=/ns')
    assert run.report('nurec_player')['parameters'] == {'rate': 2.0, 'tick_us': 5}


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
        (['server:=a:1,b:2'], "server: preview:=true needs one HOST:PORT, not 'a:1,b:2'"),
        (['name:=my-player'], '/my-player: Invalid node name: node name must not contain'),
        (['drive:=fast'], "drive: 'fast' is neither follow nor teleop"),
        (['namespace:=1st'], '/1st/nurec: Invalid namespace: namespace must not have a token'),
    ],
)
def test_wrong_arguments_are_one_line_and_start_nothing(launched, words, sentence):
    launched(*ALL, *words).refused(sentence)


def test_preview_of_a_params_file_is_refused_with_the_reason(launched, tmp_path):
    path = params_file(tmp_path, wildcard={'usdz_path': 'a.usdz'})
    run = launched('preview:=true', f'params_file:={path}')
    run.refused('one in params_file reaches the player alone')


@pytest.mark.parametrize(
    ('executables', 'words', 'sentence'),
    [
        ({'nurec_ros': OURS}, ALL, 'rviz2 is not installed (apt install ros-$ROS_DISTRO-rviz2, o'),
        ({'nurec_ros': OURS, 'rviz2': ()}, ALL, 'rviz2 is not installed'),
        (
            {'nurec_ros': ('nurec_player', 'nurec_follow'), 'rviz2': ('rviz2',)},
            *(ALL, 'nurec_preview is not installed (build the workspace again)'),
        ),
        (
            {'nurec_ros': ('nurec_player', 'nurec_preview'), 'rviz2': ('rviz2',)},
            *(ALL, 'nurec_follow is not installed (build the workspace again)'),
        ),
        (
            {'nurec_ros': ('nurec_preview',), 'rviz2': ('rviz2',)},
            *(ALL, 'nurec_player is not installed (build the workspace and source its setup fil'),
        ),
        ({'rviz2': ('rviz2',)}, ALL, 'nurec_player is not installed'),
        (
            {'nurec_ros': OURS},
            ['drive:=teleop'],
            'teleop_twist_keyboard is not installed (apt install ros-$ROS_DISTRO-teleop-twist',
        ),
    ],
    ids=['rviz2', "rviz2's executable", 'preview', 'follow', 'player', 'nurec_ros', 'keyboard'],
)
def test_what_is_not_installed_is_said_and_nothing_is_started(
    launch_file, tmp_path, executables, words, sentence
):
    prefix = standins_for(tmp_path / 'prefix', executables)
    # Alone, so that none of a distribution is found in its place.
    launch_file(prefix, *words, AMENT_PREFIX_PATH=str(prefix)).refused(sentence)


def test_preview_draws_for_the_player_on_one_port(launched, tmp_path):
    run = launched(*PREVIEWED)
    preview, player = run.report('nurec_preview'), run.report('nurec_player')
    flag, path, port_flag, port = preview['arguments']
    assert (flag, path, port_flag) == ('--usdz', str(tmp_path / 'street.usdz'), '--port')
    assert 1024 <= int(port) < 65536
    assert player['parameters'] == {'usdz_path': path, 'server': f'127.0.0.1:{port}'}
    # The profile is the player's alone, and nobody drives unless asked.
    assert profiles_of(preview) == set()
    assert 'nurec_follow' not in run.output
    assert run.interrupt() == 0
    assert 'Traceback' not in run.output
    assert 'process has died' not in run.output


@pytest.mark.parametrize(('server', 'is_said'), [('localhost', False), ('gpu', True)])
def test_preview_on_the_port_of_server(launched, server, is_said):
    run = launched(*PREVIEWED, f'server:={server}:50051')
    assert run.report('nurec_preview')['arguments'][2:] == ['--port', '50051']
    assert run.report('nurec_player')['parameters']['server'] == '127.0.0.1:50051'
    sentence = 'images come from 127.0.0.1:50051, drawn on this machine, and not from server:=gpu'
    assert (sentence in run.output) == ('[WARNING] preview' in run.output) == is_said


def test_rviz_shows_the_player(launched):
    run = launched('rviz:=true')
    report = run.report('rviz2')
    assert report['node'] == '/nurec_rviz'
    assert report['arguments'][:2] == ['-d', str(ROOT / 'config' / 'nurec.rviz')]
    assert report['parameters'] == {'use_sim_time': True}
    # The player makes the time, it does not follow it.
    assert 'use_sim_time' not in run.report('nurec_player')['parameters']
    assert profiles_of(report) == set()


def test_inclusion_in_a_group_of_somebody_elses(launch_file, standins, tmp_path):
    """Take the group's namespace and parameters, in rviz's topics too."""
    stack = tmp_path / 'stack.launch.py'
    stack.write_text(STACK.format(file=str(LAUNCH_FILE)))
    run = launch_file(standins, file=stack)
    player = run.report('nurec_player')
    assert player['node'] == '/outer/inner/second'
    assert player['parameters'] == {'tick_us': 7, 'rate': 3.0}
    flag, path = run.report('rviz2')['arguments'][:2]
    assert flag == '-d'
    ours, theirs = (ROOT / 'config' / 'nurec.rviz').read_text(), Path(path).read_text()
    assert '/nurec/' in ours
    assert '/nurec/' not in theirs
    assert theirs.replace('/outer/inner/second/', '/nurec/') == ours
    Path(path).unlink()


def test_the_follower_drives_the_player(launched, tmp_path):
    path = params_file(tmp_path, wildcard={'wheelbase_m': 3.1, 'ego_source': 'pose'})
    run = launched('drive:=follow', 'namespace:=fleet', 'name:=second', f'params_file:={path}')
    follower, player = run.report('nurec_follow'), run.report('nurec_player')
    assert follower['node'] == '/fleet/second_follow'
    assert follower['parameters']['player'] == player['node'] == '/fleet/second'
    # Both of one length.
    assert follower['parameters']['wheelbase_m'] == player['parameters']['wheelbase_m'] == 3.1
    assert player['parameters']['ego_source'] == 'ackermann'


@pytest.fixture
def terminal(tmp_path):
    """Return a PATH on which `xterm` is a script that says how it was called, and runs that."""
    script = tmp_path / 'bin' / 'xterm'
    script.parent.mkdir()
    script.write_text('#!/bin/sh\necho "xterm $1 $2 $3"\nshift 3\nexec "$@"\n')
    script.chmod(0o755)
    return f'{script.parent}{os.pathsep}{os.environ["PATH"]}'


def test_the_keyboard_has_a_window_of_its_own(launched, terminal):
    run = launched('drive:=teleop', 'namespace:=fleet', PATH=terminal, DISPLAY=':7')
    keyboard, player = run.report('teleop_twist_keyboard'), run.report('nurec_player')
    # What publishes Twist, for a player that takes it.
    assert player['parameters'] == {'ego_source': 'twist', 'cmd_vel_stamped': False}
    assert 'cmd_vel:=/fleet/nurec/cmd_vel' in keyboard['arguments']
    assert 'xterm -T teleop_twist_keyboard -e' in run.output
    assert '[WARNING] drive' not in run.output


@pytest.mark.parametrize(
    ('environment', 'reason'),
    [
        ({'PATH': '/nowhere', 'DISPLAY': ':7'}, '(xterm is not installed)'),
        ({'DISPLAY': ''}, '(DISPLAY is not set)'),
    ],
)
def test_without_a_window_the_command_is_told(launched, terminal, environment, reason):
    run = launched('drive:=teleop', **{'PATH': terminal, **environment})
    assert run.report('nurec_player')['parameters']['ego_source'] == 'twist'
    command = 'teleop_twist_keyboard --ros-args -r cmd_vel:=/nurec/cmd_vel'
    said = run.output.splitlines()
    (line,) = (line for line in said if 'no window for the keyboard' in line)
    assert reason in line
    assert command in line


@pytest.mark.parametrize(
    ('name', 'code', 'said', 'others'),
    [
        ('nurec_player', 0, '', ['nurec_preview', 'rviz2']),
        ('nurec_player', 3, 'the player ended with exit code 3', ['nurec_preview', 'rviz2']),
        # Rather than play on without pictures that were asked for.
        ('nurec_preview', 70, 'the preview server ended with exit code 70', ['nurec_player']),
    ],
)
def test_the_launch_ends_with_player_and_preview_server(launched, name, code, said, others):
    """Show the exit code, and end what was started beside it."""
    asked = {'STANDIN_EXIT': f'{name}:{code}', 'STANDIN_AFTER': ' '.join(others)}
    run = launched(*PREVIEWED, f'rviz:={"rviz2" in others}', **asked)
    assert run.end() == bool(code)
    assert said in run.output
    assert not code or f'exit code {code}, cmd' in run.output
    for other in others:
        assert f'[INFO] [{other}-' in run.output
        assert f'[ERROR] [{other}-' not in run.output
