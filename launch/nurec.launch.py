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
Start the player; where asked, a preview server to render for it, rviz2, and who drives the ego.

    ros2 launch nurec_ros nurec.launch.py usdz_path:=FILE preview:=true rviz:=true autoplay:=true

`ros2 launch nurec_ros nurec.launch.py --show-args` lists the arguments. When the player ends, all
of the launch ends, with exit code 1 if the player's own was another than 0.

What the arguments ask for is looked up before anything is started: where an action fails, launch
leaves behind the processes that the actions before it were about to start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import os
from pathlib import Path
import shutil
import socket
import tempfile
from typing import Any, TypeVar

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
)
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration, SubstitutionFailure
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage
from rclpy.exceptions import NameValidationException
from rclpy.validate_namespace import validate_namespace
from rclpy.validate_node_name import validate_node_name
import yaml

Read = TypeVar('Read')

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
# Somebody else's choice, which a profile would go before.
TRANSPORTS_VARIABLE = 'FASTDDS_BUILTIN_TRANSPORTS'

# What the player is told for each driver that `drive` may name.
DRIVERS: dict[str, dict[str, object]] = {
    'follow': {'ego_source': 'ackermann'},
    # It publishes Twist unless told otherwise.
    'teleop': {'ego_source': 'twist', 'cmd_vel_stamped': False},
}
TELEOP = 'teleop_twist_keyboard'
# What a launch starts gets no keys from the launch's own terminal.
TERMINAL = 'xterm'

# What Docker and Podman leave in their containers.
CONTAINER_MARKS = ('/.dockerenv', '/run/.containerenv')
MOUNTS = '/proc/self/mounts'
NETWORK = '/sys/class/net'


def a_path(text: str) -> str:
    """Make a path absolute; no shell expands the tilde behind `:=`."""
    return os.path.abspath(os.path.expanduser(text))


def a_number(text: str) -> float:
    """Read a number, always as a double."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'{text!r} is not a number') from None


def a_flag(text: str) -> bool:
    """Read what YAML takes for a boolean, and 1 and 0."""
    if text.strip().lower() in ('true', 'yes', 'on', '1'):
        return True
    if text.strip().lower() in ('false', 'no', 'off', '0'):
        return False
    raise ValueError(f'{text!r} is neither true nor false')


def names(text: str) -> list[str]:
    """Read names separated by commas, or a YAML list of them; without text all, as `['']`."""
    if text.strip().startswith('['):
        try:
            # The base loader leaves every scalar a string.
            found = yaml.load(text, Loader=yaml.BaseLoader)
        except yaml.YAMLError:
            found = None
        usable = isinstance(found, list) and all(isinstance(name, str) for name in found)
    else:
        found = text.split(',')
        usable = not text.strip() or any(name.strip() for name in found)
    if not usable:
        raise ValueError(f'{text!r} is not a list of names, expected a,b or [a, b]')
    return [name.strip() for name in found if name.strip()] or ['']


# The arguments that become parameters of the player, and how their text is read: str keeps what
# was typed, also where it looks like a number. Empty text leaves a parameter to params_file, else
# to the player's default.
PARAMETERS: dict[str, tuple[Callable[[str], object], str]] = {
    'usdz_path': (a_path, 'The scenario, a NuRec USDZ file'),
    'server': (str, 'HOST:PORT of the render server'),
    'cameras': (names, 'The cameras to render, as a,b or [a, b]'),
    'lidars': (names, 'The lidars to render, as a,b or [a, b]; none: none of them'),
    'resolution_scale': (a_number, "Size of the images as a share of the calibration's"),
    'rate': (a_number, 'Scenario seconds per wall second'),
    'autoplay': (a_flag, 'true: play as soon as the scenario is loaded'),
    'loop': (a_flag, 'true: start over when the end is reached'),
    'mode': (str, 'realtime: late frames are dropped; lockstep: the clock waits for them'),
    'publish_clock': (a_flag, 'false: somebody else publishes /clock'),
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
    'drive': (
        '',
        (
            'follow: start nurec_follow too, which drives the ego along the recorded path, '
            'offset_m beside it. teleop: start teleop_twist_keyboard too, in a window of its own. '
            f'{LEFT}'
        ),
    ),
    'use_shm_profile': (
        'true',
        (
            'true: give the player, where it runs on Fast DDS, the shared memory that images need '
            f'(config/fastdds_shm.xml); left out where {SHM} is too small, and where '
            f'{", ".join(PROFILE_VARIABLES)} or {TRANSPORTS_VARIABLE} is set.'
        ),
    ),
    'log_level': (
        '',
        'debug, info, warn, error or fatal, or LOGGER:=LEVEL such as nurec:=debug. Empty: info.',
    ),
}


def generate_launch_description() -> LaunchDescription:
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


def start(context: LaunchContext) -> list[Action]:
    """Return the actions that the arguments ask for."""
    given = {
        argument: LaunchConfiguration(argument).perform(context).strip()
        for argument in (*PARAMETERS, *OTHERS)
    }
    parameters: dict[str, Any] = {
        argument: read(argument, convert, given[argument])
        for argument, (convert, _) in PARAMETERS.items()
        if given[argument]
    }
    flags = {
        argument: read(argument, a_flag, given[argument] or OTHERS[argument][0])
        for argument in ('preview', 'rviz', 'use_shm_profile')
    }
    drive = given['drive']
    if drive and drive not in DRIVERS:
        raise ValueError(f'drive: {drive!r} is neither {" nor ".join(DRIVERS)}')
    name = given['name'] or DEFAULT_NAME
    # What PushRosNamespace has set, where this file is included in a group.
    outer = context.launch_configurations.get('ros_namespace', '')
    player_name = full_name(outer, given['namespace'], name)
    usdz_path = parameters.get('usdz_path')
    params_file = a_path(given['params_file']) if given['params_file'] else ''

    look_up_executables(context, flags, drive)
    check_names(name, player_name)
    # launch_ros would only warn, and the player play something else than what was meant.
    for argument, path in (('params_file', params_file), ('usdz_path', usdz_path)):
        if path and not os.path.isfile(path):
            raise ValueError(f'{argument}: {path} is not a file')

    remarks, actions = [container_remark()], []
    if flags['preview']:
        port = preview_port(given['server'])
        if usdz_path is None:
            raise ValueError(
                'preview:=true draws the argument usdz_path, which is not given (one in '
                'params_file reaches the player alone)'
            )
        parameters['server'] = f'127.0.0.1:{port}'
        if is_elsewhere(given['server']):
            remarks.append(
                f'preview:=true: images come from {parameters["server"]}, drawn on this machine, '
                f'and not from server:={given["server"]}'
            )
        actions.append(preview_server(usdz_path, port))
    parameters.update(DRIVERS.get(drive, {}))
    environment, remark = shm_profile() if flags['use_shm_profile'] else ({}, '')
    remarks.append(remark)
    sources = [source for source in (params_file, parameters) if source]
    level = ['--log-level', given['log_level']] if given['log_level'] else []
    options = {'parameters': sources, 'additional_env': environment, 'ros_arguments': level}
    actions.append(ours('nurec_player', 'the player', name, given['namespace'], **options))
    if flags['rviz']:
        actions.append(rviz(player_name))
    if drive == 'follow':
        # The wheelbase may stand in the file, under a wildcard or the follower's own name.
        options = {'parameters': [*filter(None, [params_file]), {'player': player_name}]}
        names_of = (f'{name}_follow', given['namespace'])
        actions.append(ours('nurec_follow', 'the follower', *names_of, **options))
    elif drive == 'teleop':
        actions.append(teleop(f'{player_name}/cmd_vel'))
    return [*(LogInfo(msg=f'[WARNING] {remark}') for remark in remarks if remark), *actions]


def look_up_executables(context: LaunchContext, flags: Mapping[str, bool], drive: str) -> None:
    """Fail where an executable that the arguments ask for is not installed."""
    again = 'build the workspace again'
    needed = (
        (True, PACKAGE, 'nurec_player', 'build the workspace and source its setup file'),
        (flags['preview'], PACKAGE, 'nurec_preview', again),
        (flags['rviz'], 'rviz2', 'rviz2', 'apt install ros-$ROS_DISTRO-rviz2, or rviz:=false'),
        (drive == 'follow', PACKAGE, 'nurec_follow', again),
        (drive == 'teleop', TELEOP, TELEOP, 'apt install ros-$ROS_DISTRO-teleop-twist-keyboard'),
    )
    for _, package, executable, remedy in (row for row in needed if row[0]):
        lookup = ExecutableInPackage(package=package, executable=executable)
        try:
            lookup.perform(context)
        # KeyError is the base of ament_index's PackageNotFoundError.
        except (KeyError, SubstitutionFailure):
            raise ValueError(f'{executable} is not installed ({remedy})') from None


def check_names(name: str, player_name: str) -> None:
    """Fail where the node's name or namespace is not a legal one."""
    try:
        validate_node_name(name)
        validate_namespace(player_name.rpartition('/')[0] or '/')
    except NameValidationException as error:
        # The first line is the reason, the others point into the text.
        raise ValueError(f'{player_name}: {str(error).splitlines()[0].rstrip(":")}') from None


def read(argument: str, convert: Callable[[str], Read], text: str) -> Read:
    """Convert an argument's text; errors say which argument it was."""
    try:
        return convert(text)
    except ValueError as error:
        raise ValueError(f'{argument}: {error}') from None


def ours(executable: str, who: str, name: str, namespace: str, /, **options: Any) -> Node:
    """
    Return a node of this package, which takes the whole launch with it when it ends.

    Name and namespace are always given: launch_ros keys the parameters by the full name then,
    which in ROS goes before what a params_file says under a wildcard or the same name.
    """
    return Node(
        package=PACKAGE,
        executable=executable,
        name=name,
        namespace=namespace,
        output='screen',
        on_exit=lambda event, context: end(event, context, who),
        **options,
    )


def preview_server(usdz_path: str, port: int) -> ExecuteProcess:
    """Return the preview server; it is no node, so launch_ros's Node would confuse it."""
    executable = ExecutableInPackage(package=PACKAGE, executable='nurec_preview')
    return ExecuteProcess(
        cmd=[executable, '--usdz', usdz_path, '--port', str(port)],
        name='nurec_preview',
        output='screen',
        on_exit=lambda event, context: end(event, context, 'the preview server'),
    )


def teleop(topic: str) -> Action:
    """Return what starts the keyboard in a window, or says how where there can be none."""
    lacking = [] if shutil.which(TERMINAL) else [f'{TERMINAL} is not installed']
    lacking += [] if os.environ.get('DISPLAY') else ['DISPLAY is not set']
    if lacking:
        command = f'ros2 run {TELEOP} {TELEOP} --ros-args -r cmd_vel:={topic}'
        reason = f'drive:=teleop has no window for the keyboard here ({", ".join(lacking)})'
        return LogInfo(msg=f'[WARNING] {reason}: run it in another terminal: {command}')
    return Node(
        package=TELEOP,
        executable=TELEOP,
        namespace='',
        remappings=[('cmd_vel', topic)],
        prefix=f'{TERMINAL} -T {TELEOP} -e',
        output='screen',
    )


def end(event: Any, context: LaunchContext, who: str) -> EmitEvent | None:
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


def preview_port(server: str) -> int:
    """Return the port that `server` names, else one that is free now."""
    if not server:
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            return int(probe.getsockname()[1])
    _, _, port = server.rpartition(':')
    if ',' in server or not port.isdigit():
        raise ValueError(f'server: preview:=true needs one HOST:PORT, not {server!r}')
    return int(port)


def is_elsewhere(server: str) -> bool:
    """Return whether `server`, HOST:PORT or empty, names another machine than this one."""
    host = server.rpartition(':')[0].strip('[]').lower()
    return host not in HERE and host != socket.gethostname().lower()


def shm_profile() -> tuple[dict[str, str], str]:
    """Return the environment that selects the profile, and a remark where it is left out."""
    if any(os.environ.get(variable) for variable in (*PROFILE_VARIABLES, TRANSPORTS_VARIABLE)):
        return {}, ''
    profile = CONFIG / 'fastdds_shm.xml'
    try:
        found = os.statvfs(SHM)
    except OSError:
        return {}, f'use_shm_profile is left out: there is no {SHM} here'
    free = found.f_bavail * found.f_frsize
    if free < SHM_NEEDED:
        return {}, (
            f'use_shm_profile is left out: {SHM} has {free // 2**20} MiB free and it '
            f'takes {SHM_NEEDED // 2**20}; images of more than 0.5 MB may get lost. '
            'In a container, start it with --shm-size=256m or --ipc=host'
        )
    variable = PROFILE_VARIABLES[os.environ.get('ROS_DISTRO') not in WITH_FIRST]
    return {variable: str(profile)}, ''


def container_remark() -> str:
    """
    Return a remark where nodes outside of this container would see topics without messages.

    Fast DDS takes those who have the same network interfaces for neighbours on one machine, and
    hands them messages through a /dev/shm that need not be the same.
    """
    middleware = os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
    if 'fastrtps' not in middleware or os.environ.get(TRANSPORTS_VARIABLE):
        return ''
    if not any(os.path.exists(mark) for mark in CONTAINER_MARKS):
        return ''
    # A container's own network has virtual interfaces alone.
    shares_network = any(Path(NETWORK).glob('*/device'))
    try:
        mounts = [line.split() for line in Path(MOUNTS).read_text().splitlines()]
    except OSError:
        return ''
    # What is mounted last is what is seen; a container's own has this name, the host's is tmpfs.
    sources = [mount[0] for mount in mounts if mount[1] == SHM]
    if not shares_network or not sources or sources[-1] != 'shm':
        return ''
    return (
        f"this container shares the host's network and not its {SHM}: nodes outside of it list "
        'the topics and receive no message. Start it with --net=host --ipc=host and as the same '
        f'user as those nodes, or set {TRANSPORTS_VARIABLE}=UDPv4 in it'
    )


def full_name(*parts: str) -> str:
    """Join namespaces and a name as ROS does: one that begins with a slash starts anew."""
    joined = ''
    for part in parts:
        joined = part.rstrip('/') if part.startswith('/') else f'{joined}/{part}'.rstrip('/')
    return joined


def rviz(player_name: str) -> Node:
    """Return rviz2 with our configuration, its topics those of the player of that full name."""
    config = str(CONFIG / 'nurec.rviz')
    if player_name != f'/{DEFAULT_NAME}':
        # Remapping would leave rviz2 showing names that do not exist.
        text = Path(config).read_text().replace(f'/{DEFAULT_NAME}/', f'{player_name}/')
        handle, config = tempfile.mkstemp(prefix='nurec_', suffix='.rviz')
        with open(handle, 'w') as copy:
            copy.write(text)
    return Node(
        package='rviz2',
        executable='rviz2',
        name='nurec_rviz',
        namespace='',
        arguments=['-d', config],
        parameters=[{'use_sim_time': True}],
        output='screen',
    )
