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
r"""
Start the player; where asked, a preview server to render for it, and rviz2.

    ros2 launch nurec_ros nurec.launch.py usdz_path:=FILE preview:=true rviz:=true autoplay:=true

`ros2 launch nurec_ros nurec.launch.py --show-args` lists the arguments. When the player ends, all
of the launch ends, with exit code 1 if the player's own was another than 0.
"""

import os
from pathlib import Path
import socket
import tempfile

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
)
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage
import yaml

PACKAGE = 'nurec_ros'
DEFAULT_NAME = 'nurec'
# Beside this file's folder both in share/nurec_ros and in the source tree.
CONFIG = Path(__file__).resolve().parent.parent / 'config'

# What people write for this machine.
HERE = ('', 'localhost', '127.0.0.1', '::1', '0.0.0.0', '::')

SHM = '/dev/shm'
# The profile's segment is 32 MiB, and whoever else runs on this machine needs some as well.
SHM_NEEDED = 64 * 2**20
# Up to Jazzy, Fast DDS reads the first of these alone; from Kilted on it warns of it.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
WITH_FIRST = ('humble', 'iron', 'jazzy')


def a_string(text):
    """Keep what was typed, also where it looks like a number."""
    return text


def a_path(text):
    """Make a path absolute; no shell expands the tilde behind `:=`."""
    return os.path.abspath(os.path.expanduser(text))


def a_number(text):
    """Read a number, always as a double."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'{text!r} is not a number') from None


def a_flag(text):
    """Read what YAML takes for a boolean, and 1 and 0."""
    if text.strip().lower() in ('true', 'yes', 'on', '1'):
        return True
    if text.strip().lower() in ('false', 'no', 'off', '0'):
        return False
    raise ValueError(f'{text!r} is neither true nor false')


def names(text):
    """Read names separated by commas, or a YAML list of them; none means all, as `['']` does."""
    if text.strip().startswith('['):
        try:
            # The base loader leaves every scalar a string.
            found = yaml.load(text, Loader=yaml.BaseLoader)
        except yaml.YAMLError:
            found = None
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise ValueError(f'{text!r} is not a list of names')
    else:
        found = text.split(',')
    return [name.strip() for name in found if name.strip()] or ['']


# The arguments that become parameters of the player, and how their text is read. Empty text
# leaves a parameter to params_file, else to the player's default.
PARAMETERS = {
    'usdz_path': (a_path, 'The scenario, a NuRec USDZ file'),
    'server': (a_string, 'HOST:PORT of the render server'),
    'cameras': (names, 'The cameras to render, as a,b or [a, b]'),
    'resolution_scale': (a_number, "Size of the images as a share of the calibration's"),
    'rate': (a_number, 'Scenario seconds per wall second'),
    'autoplay': (a_flag, 'true: play as soon as the scenario is loaded'),
    'loop': (a_flag, 'true: start over when the end is reached'),
    'mode': (a_string, 'realtime: late frames are dropped; lockstep: the clock waits for them'),
}
LEFT = "Empty: what params_file says, else the player's default."

# The other arguments: default and description.
OTHERS = {
    'params_file': ('', 'A YAML file of parameters; arguments given here go before it.'),
    'namespace': ('', 'Namespace of the player.'),
    'name': (DEFAULT_NAME, "Name of the player's node."),
    'preview': (
        'false',
        (
            'true: start a preview server on this machine too, which draws without a GPU, and '
            'have the player use it. Draws the argument usdz_path (one in params_file alone is '
            'not seen here); listens on the port of the argument server, else on a free one.'
        ),
    ),
    'rviz': ('false', "true: start rviz2 too, on the player's topics and clock."),
    'use_shm_profile': (
        'true',
        (
            'true: give the player, where it runs on Fast DDS, the shared memory that images need '
            f'(config/fastdds_shm.xml); left out where {SHM} is too small, and where '
            f'{" or ".join(PROFILE_VARIABLES)} is set.'
        ),
    ),
    'log_level': (
        '',
        'debug, info, warn, error or fatal, or LOGGER:=LEVEL such as nurec:=debug. Empty: info.',
    ),
}


def generate_launch_description():
    """Declare the arguments, and start what they ask for once they are known."""
    arguments = [
        DeclareLaunchArgument(argument, default_value='', description=f'{description}. {LEFT}')
        for argument, (_, description) in PARAMETERS.items()
    ]
    arguments += [
        DeclareLaunchArgument(argument, default_value=default, description=description)
        for argument, (default, description) in OTHERS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])


def start(context):
    """Give the actions that the arguments ask for."""
    given = {
        argument: LaunchConfiguration(argument).perform(context).strip()
        for argument in (*PARAMETERS, *OTHERS)
    }
    parameters = {
        argument: read(argument, convert, given[argument])
        for argument, (convert, _) in PARAMETERS.items()
        if given[argument]
    }
    flags = {
        argument: read(argument, a_flag, given[argument] or OTHERS[argument][0])
        for argument in ('preview', 'rviz', 'use_shm_profile')
    }
    name = given['name'] or DEFAULT_NAME
    actions = []
    if flags['preview']:
        usdz_path, port = parameters.get('usdz_path'), preview_port(given['server'])
        if usdz_path is None:
            raise ValueError(
                'preview:=true draws the argument usdz_path, which is not given (one in '
                'params_file reaches the player alone)'
            )
        parameters['server'] = f'127.0.0.1:{port}'
        if is_elsewhere(given['server']):
            actions.append(
                LogInfo(
                    msg=f'[WARNING] preview:=true: images come from {parameters["server"]}, drawn '
                    f'on this machine, and not from server:={given["server"]}'
                )
            )
        actions.append(preview_server(usdz_path, port))
    environment, remark = shm_profile() if flags['use_shm_profile'] else ({}, '')
    if remark:
        actions.append(LogInfo(msg=remark))
    actions.append(player(name, given, parameters, environment))
    if flags['rviz']:
        # What PushRosNamespace has set, where this file is included in a group.
        outer = context.launch_configurations.get('ros_namespace', '')
        actions.append(rviz(full_name(outer, given['namespace'], name)))
    return actions


def read(argument, convert, text):
    """Convert an argument's text; errors say which argument it was."""
    try:
        return convert(text)
    except ValueError as error:
        raise ValueError(f'{argument}: {error}') from None


def player(name, given, parameters, environment):
    """Give the player's node, which takes the whole launch with it when it ends."""
    sources = []
    if given['params_file']:
        params_file = a_path(given['params_file'])
        # launch_ros would only warn, and the player play something else than what was meant.
        if not os.path.isfile(params_file):
            raise ValueError(f'params_file: {params_file} is not a file')
        sources.append(params_file)
    if parameters:
        sources.append(parameters)
    return Node(
        package=PACKAGE,
        executable='nurec_player',
        # Both are always given: launch_ros keys the parameters by the full name then, which in
        # ROS goes before what a params_file says under a wildcard or the same name.
        name=name,
        namespace=given['namespace'],
        parameters=sources,
        additional_env=environment,
        ros_arguments=['--log-level', given['log_level']] if given['log_level'] else [],
        output='screen',
        on_exit=lambda event, context: end(event, context, 'the player'),
    )


def preview_server(usdz_path, port):
    """Give the preview server; it is no node, so launch_ros's Node would confuse it."""
    return ExecuteProcess(
        cmd=[
            ExecutableInPackage(package=PACKAGE, executable='nurec_preview'),
            '--usdz',
            usdz_path,
            '--port',
            str(port),
        ],
        name='nurec_preview',
        output='screen',
        on_exit=lambda event, context: end(event, context, 'the preview server'),
    )


def end(event, context, who):
    """
    End the launch because one of its processes ended.

    An exception is how `ros2 launch` comes to an exit code other than 0.
    """
    if context.is_shutdown:
        return None
    reason = f'{who} ended with exit code {event.returncode}'
    if event.returncode != 0:
        raise RuntimeError(reason)
    return EmitEvent(event=Shutdown(reason=reason))


def preview_port(server):
    """Give the port that `server` names, else one that is free now."""
    if not server:
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            return probe.getsockname()[1]
    _, _, port = server.rpartition(':')
    if ',' in server or not port.isdigit():
        raise ValueError(f'server: preview:=true needs one HOST:PORT, not {server!r}')
    return int(port)


def is_elsewhere(server):
    """Say whether `server`, HOST:PORT or empty, names another machine than this one."""
    host = server.rpartition(':')[0].strip('[]').lower()
    return host not in HERE and host != socket.gethostname().lower()


def shm_profile():
    """Give the environment that selects the profile, and a remark where it is left out."""
    if any(os.environ.get(variable) for variable in PROFILE_VARIABLES):
        return {}, ''
    profile = CONFIG / 'fastdds_shm.xml'
    try:
        found = os.statvfs(SHM)
    except OSError:
        return {}, f'[WARNING] use_shm_profile is left out: there is no {SHM} here'
    free = found.f_bavail * found.f_frsize
    if free < SHM_NEEDED:
        return {}, (
            f'[WARNING] use_shm_profile is left out: {SHM} has {free // 2**20} MiB free and it '
            f'takes {SHM_NEEDED // 2**20}; images of more than 0.5 MB may get lost. '
            'In a container, start it with --shm-size=256m or --ipc=host'
        )
    variable = PROFILE_VARIABLES[os.environ.get('ROS_DISTRO') not in WITH_FIRST]
    return {variable: str(profile)}, ''


def full_name(*parts):
    """Join namespaces and a name as ROS does: one that begins with a slash starts anew."""
    joined = ''
    for part in parts:
        joined = part.rstrip('/') if part.startswith('/') else f'{joined}/{part}'.rstrip('/')
    return joined


def rviz(player_name):
    """Give rviz2 with our configuration, its topics those of the player of that full name."""
    config = CONFIG / 'nurec.rviz'
    if player_name != f'/{DEFAULT_NAME}':
        # Remapping would leave rviz2 showing names that do not exist.
        text = config.read_text().replace(f'/{DEFAULT_NAME}/', f'{player_name}/')
        with tempfile.NamedTemporaryFile(
            'w', prefix='nurec_', suffix='.rviz', delete=False
        ) as copy:
            copy.write(text)
        config = copy.name
    return Node(
        package='rviz2',
        executable='rviz2',
        name='nurec_rviz',
        namespace='',
        arguments=['-d', str(config)],
        parameters=[{'use_sim_time': True}],
        output='screen',
    )
