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
"""What the launch file declares, how it reads its arguments, and what it decides on its own."""

from pathlib import Path
from types import SimpleNamespace

from nurec_ros.settings import TABLE
import pytest

ROOT = Path(__file__).resolve().parents[2]

TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
ARGUMENTS = {
    *('usdz_path', 'server', 'cameras', 'lidars', 'resolution_scale', 'rate', 'autoplay', 'loop'),
    *('mode', 'publish_clock', 'namespace', 'name', 'params_file', 'preview', 'rviz', 'drive'),
    *('use_shm_profile', 'log_level'),
}


def test_arguments_are_declared_and_described(launch_module):
    """Show what `ros2 launch … --show-args` would list."""
    description = launch_module.generate_launch_description()
    declared = {argument.name: argument for argument in description.get_launch_arguments()}
    assert set(declared) == ARGUMENTS
    for argument in declared.values():
        assert len(argument.description) > 15, argument.name
        assert argument.description.endswith('.'), argument.name
        # Nothing is required: an idle player is a fine thing to start.
        assert argument.default_value is not None, argument.name


def test_parameters_are_read_as_the_table_has_them(launch_module):
    """Compare name and kind of every argument that becomes a parameter."""
    kinds = {
        launch_module.a_number: 'double',
        launch_module.a_flag: 'bool',
        str: 'string',
        launch_module.a_path: 'string',
        launch_module.names: 'string_array',
    }
    table = {spec.name: spec for spec in TABLE}
    for name, (convert, _) in launch_module.PARAMETERS.items():
        assert kinds[convert] == table[name].kind, name


def test_choices_are_described(launch_module):
    for spec in TABLE:
        if spec.choices and spec.name in launch_module.PARAMETERS:
            _, description = launch_module.PARAMETERS[spec.name]
            assert all(choice in description for choice in spec.choices), spec.name


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a', ['a']),
        ('a,b', ['a', 'b']),
        (' a , b ,', ['a', 'b']),
        ('[a, b]', ['a', 'b']),
        ('["a b", \'c\']', ['a b', 'c']),
        ('[0012, true, 1.5, null]', ['0012', 'true', '1.5', 'null']),
        ('0012,7', ['0012', '7']),
        ('[]', ['']),
        ("['']", ['']),
        ('', ['']),
    ],
)
def test_names(launch_module, text, expected):
    assert launch_module.names(text) == expected


@pytest.mark.parametrize('text', ['[a', '[[a], b]', '[{a: b}]', '[,]', ',', ' , ,'])
def test_what_is_no_list_of_names(launch_module, text):
    with pytest.raises(ValueError, match='is not a list of names'):
        launch_module.names(text)


def test_flags(launch_module):
    for text in ('true', 'True', 'TRUE', 'yes', 'on', '1', ' true '):
        assert launch_module.a_flag(text) is True
    for text in ('false', 'False', 'no', 'off', '0'):
        assert launch_module.a_flag(text) is False
    for text in ('2', 'yess', 'none', ''):
        with pytest.raises(ValueError, match='is neither true nor false'):
            launch_module.a_flag(text)


def test_numbers_are_doubles(launch_module):
    for text, expected in (('2', 2.0), ('0.5', 0.5), ('1e1', 10.0), ('-3', -3.0)):
        value = launch_module.a_number(text)
        assert isinstance(value, float)
        assert value == expected
    with pytest.raises(ValueError, match="'fast' is not a number"):
        launch_module.a_number('fast')


def test_paths_become_absolute(launch_module, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', '/home/somebody')
    monkeypatch.chdir(tmp_path)
    assert launch_module.a_path('~/a.usdz') == '/home/somebody/a.usdz'
    assert launch_module.a_path('b/../a.usdz') == str(tmp_path / 'a.usdz')
    assert launch_module.a_path('/x/a.usdz') == '/x/a.usdz'


@pytest.mark.parametrize(
    ('parts', 'expected'),
    [
        (('', '', 'nurec'), '/nurec'),
        (('', '/', 'nurec'), '/nurec'),
        (('', 'a', 'nurec'), '/a/nurec'),
        (('', '/a/b/', 'nurec'), '/a/b/nurec'),
        (('/outer', '', 'nurec'), '/outer/nurec'),
        (('/outer', 'a', 'nurec'), '/outer/a/nurec'),
        (('outer', 'a', 'nurec'), '/outer/a/nurec'),
        (('/outer', '/a', 'nurec'), '/a/nurec'),
    ],
)
def test_full_name(launch_module, parts, expected):
    assert launch_module.full_name(*parts) == expected


def test_preview_port_of_the_server(launch_module):
    assert launch_module.preview_port('localhost:50051') == 50051
    assert launch_module.preview_port('[::1]:50052') == 50052
    for server in ('localhost', 'a:1,b:2', 'localhost:', 'localhost:http'):
        with pytest.raises(ValueError, match='needs one HOST:PORT'):
            launch_module.preview_port(server)


def test_servers_elsewhere(launch_module):
    for server in ('', 'localhost:1', 'LOCALHOST:1', '127.0.0.1:1', '[::1]:1', '0.0.0.0:1'):
        assert not launch_module.is_elsewhere(server), server
    for server in ('gpu:1', '10.0.0.7:1', '[fe80::1]:1'):
        assert launch_module.is_elsewhere(server), server


def test_preview_ports_are_free_ones(launch_module):
    ports = {launch_module.preview_port('') for _ in range(5)}
    assert all(1024 <= port < 65536 for port in ports)


def disk(free):
    """Return what statvfs says of a file system with so many bytes free."""
    return lambda _: SimpleNamespace(f_bavail=free // 4096, f_frsize=4096)


@pytest.fixture
def no_profile_set(launch_module, monkeypatch):
    """Take away what the machine's own environment may say."""
    for variable in (*launch_module.PROFILE_VARIABLES, launch_module.TRANSPORTS_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ('distribution', 'reads'),
    [('humble', 'RTPS'), ('jazzy', 'RTPS'), ('kilted', 'DDS'), ('rolling', 'DDS'), ('', 'DDS')],
)
@pytest.mark.usefixtures('no_profile_set')
def test_shm_profile_is_selected_where_there_is_room(
    launch_module, monkeypatch, distribution, reads
):
    """Set the one variable that this distribution reads without complaint."""
    monkeypatch.setenv('ROS_DISTRO', distribution)
    monkeypatch.setattr(launch_module.os, 'statvfs', disk(64 * 2**20))
    environment, remark = launch_module.shm_profile()
    assert remark == ''
    profile = ROOT / 'config' / 'fastdds_shm.xml'
    assert environment == {f'FAST{reads}_DEFAULT_PROFILES_FILE': str(profile)}
    assert profile.is_file()


@pytest.mark.parametrize(
    ('shm', 'free', 'words'),
    [
        (
            '/dev/shm',
            64 * 2**20 - 4096,
            ('/dev/shm has 63 MiB free and it takes 64', '--shm-size'),
        ),
        ('/nowhere/shm', None, ('there is no /nowhere/shm here',)),
    ],
)
@pytest.mark.usefixtures('no_profile_set')
def test_shm_profile_is_left_out_with_a_warning_where_there_is_not(
    launch_module, monkeypatch, shm, free, words
):
    monkeypatch.setattr(launch_module, 'SHM', shm)
    if free:
        monkeypatch.setattr(launch_module.os, 'statvfs', disk(free))
    environment, remark = launch_module.shm_profile()
    assert environment == {}
    assert all(word in remark for word in words)


@pytest.mark.usefixtures('no_profile_set')
def test_a_choice_of_the_users_own_stays(launch_module, monkeypatch):
    for variable in (
        'FASTRTPS_DEFAULT_PROFILES_FILE',
        'FASTDDS_DEFAULT_PROFILES_FILE',
        TRANSPORTS,
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, 'mine')
            assert launch_module.shm_profile() == ({}, '')


@pytest.fixture
def container(launch_module, monkeypatch, tmp_path):
    """Return a function that lays out a machine as files: a mark, interfaces, and mounts."""
    for variable in ('RMW_IMPLEMENTATION', launch_module.TRANSPORTS_VARIABLE):
        monkeypatch.delenv(variable, raising=False)

    def make(mark=True, interfaces=('lo', 'eth0/device', 'docker0'), shm=('shm',)):
        if mark:
            (tmp_path / 'mark').touch()
        for interface in interfaces:
            (tmp_path / 'net' / interface).mkdir(parents=True)
        mounts = ''.join(f'{source} /dev/shm tmpfs rw,nosuid 0 0\n' for source in shm)
        (tmp_path / 'mounts').write_text(f'proc /proc proc rw 0 0\n{mounts}')
        monkeypatch.setattr(launch_module, 'CONTAINER_MARKS', (str(tmp_path / 'mark'),))
        monkeypatch.setattr(launch_module, 'NETWORK', str(tmp_path / 'net'))
        monkeypatch.setattr(launch_module, 'MOUNTS', str(tmp_path / 'mounts'))

    return make


def test_a_container_with_the_hosts_network_and_shared_memory_of_its_own(launch_module, container):
    container()
    remark = launch_module.container_remark()
    assert 'list the topics and receive no message' in remark
    assert '--net=host --ipc=host' in remark
    assert 'FASTDDS_BUILTIN_TRANSPORTS=UDPv4' in remark


@pytest.mark.parametrize(
    'layout',
    [
        {'mark': False},
        {'interfaces': ('lo', 'eth0')},
        {'shm': ('tmpfs',)},
        {'shm': ('shm', 'tmpfs')},
        {'shm': ()},
    ],
    ids=['no container', 'own network', '--ipc=host', 'mounted over', 'no /dev/shm'],
)
def test_everywhere_else_there_is_no_remark(launch_module, container, layout):
    container(**layout)
    assert launch_module.container_remark() == ''


@pytest.mark.parametrize(
    ('variable', 'value'), [(TRANSPORTS, 'UDPv4'), ('RMW_IMPLEMENTATION', 'rmw_cyclonedds_cpp')]
)
def test_without_shared_memory_there_is_no_remark(
    launch_module, container, monkeypatch, variable, value
):
    container()
    monkeypatch.setenv(variable, value)
    assert launch_module.container_remark() == ''
