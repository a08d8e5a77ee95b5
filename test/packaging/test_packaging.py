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
"""What pip and colcon install: the messages generated, the data files in their places."""

import configparser
import email
import importlib.util
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
from test.conftest import LONG
import xml.etree.ElementTree as ET
import zipfile

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOS = 'nurec_ros/rendering/protos'
COMMANDS = {
    *('nurec_player', 'nurec_preview', 'nurec_probe', 'nurec_example', 'nurec_demo'),
    *('nurec_info', 'nurec_export', 'nurec_control', 'nurec_follow', 'nurec_autoware'),
}


def _environment(**changes):
    """
    Return the environment for another Python: without what the ROS wheels' hook leaves.

    Nothing here needs the network, so pip does not look for a newer one of itself either.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ('_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'LD_LIBRARY_PATH', 'PYTHONPATH')
    }
    return {**environment, 'PIP_NO_INDEX': '1', **changes}


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """Copy what git tracks: a bare clone, nothing generated."""
    if importlib.util.find_spec('grpc_tools') is None:
        pytest.skip('grpcio-tools is not installed')
    if not (ROOT / '.git').exists():
        pytest.skip('not a git checkout')
    listed = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=ROOT, check=True, capture_output=True, text=True
    )
    target = tmp_path_factory.mktemp('source') / 'nurec_ros'
    for name in filter(None, listed.stdout.split('\0')):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    assert not list(target.rglob('*_pb2.py')), 'nothing generated is committed'
    return target


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    # What pip calls, without pip's four processes.
    assert 'build-backend = "setuptools.build_meta"' in (source / 'pyproject.toml').read_text()
    code = f'from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})'
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=source,
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob('*.whl')
    with zipfile.ZipFile(path) as archive:
        yield {name: archive.read(name) for name in archive.namelist()} | {'': str(path).encode()}


def _member(wheel, ending):
    (name,) = (name for name in wheel if name.endswith(ending))
    return wheel[name].decode()


def test_wheel_holds_the_generated_messages_and_the_marker(wheel):
    for stem in ('common', 'sensorsim', 'health'):
        assert f'{PROTOS}/{stem}_pb2.py' in wheel
        assert f'{PROTOS}/{stem}.proto' in wheel
    assert 'nurec_ros/py.typed' in wheel
    assert not [name for name in wheel if name.startswith(('test/', 'bench/', 'interfaces/'))]


@pytest.mark.parametrize('folder', ['launch', 'config'])
def test_wheel_holds_every_data_file(wheel, folder):
    expected = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
    found = {name.rsplit('/', 1)[1] for name in wheel if f'/share/nurec_ros/{folder}/' in name}
    assert found == expected
    assert expected


def test_wheel_holds_the_ament_marker_and_package_xml(wheel):
    assert _member(wheel, 'share/ament_index/resource_index/packages/nurec_ros') == ''
    assert '<build_type>ament_python' in _member(wheel, 'share/nurec_ros/package.xml')


def test_wheel_names_every_command_and_each_has_a_main(wheel):
    parser = configparser.ConfigParser()
    parser.read_string(_member(wheel, 'entry_points.txt'))
    scripts = dict(parser['console_scripts'])
    assert set(scripts) == COMMANDS
    for target in scripts.values():
        module, function = target.split(':')
        assert re.search(
            rf'^(def {function}\(|{function} = )',
            wheel[module.replace('.', '/') + '.py'].decode(),
            re.M,
        )


def test_wheel_asks_for_a_runtime_that_accepts_the_generated_files(wheel):
    """Read the generator's version from the generated code, and the requirement from METADATA."""
    code = wheel[f'{PROTOS}/sensorsim_pb2.py'].decode()
    named = re.search(r'# Protobuf Python Version: ((\d+)\S+)', code)
    wanted = re.search(r'^Requires-Dist: protobuf(\S+)$', _member(wheel, 'METADATA'), re.M)
    assert named is not None
    assert wanted is not None
    following = int(named.group(2)) + 2
    assert set(wanted.group(1).split(',')) == {f'>={named.group(1)}', f'<{following}'}


# What generators of several times write, and the runtimes that take it.
SERIALIZED = "DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile(b'')\n"
BUILDER = '_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())\n'
NAMED = """_runtime_version.ValidateProtobufRuntimeVersion(
    _runtime_version.Domain.PUBLIC,
    5,
    29,
    0,
    '',
    'common.proto'
)
"""
GENERATED = {
    '5.29.0': (NAMED + SERIALIZED + BUILDER, {'>=5.29.0', '<7'}),
    '3.20 to 5.26': (SERIALIZED + BUILDER, {'>=3.20'}),
    '3.19': (SERIALIZED, {'>=3.19'}),
    # Humble's. Runtimes from 4 on say "Descriptors cannot be created directly".
    '3.12': ("DESCRIPTOR = _descriptor.FileDescriptor(name='common.proto')\n", {'>=3.12', '<4'}),
}


def _with_generator(source, tmp_path, code):
    """Return the environment in which a generator writes nothing but this code."""
    (tmp_path / 'grpc_tools').mkdir()
    (tmp_path / 'grpc_tools' / '__init__.py').touch()
    (tmp_path / 'grpc_tools' / 'protoc.py').write_text(
        'from pathlib import Path\nimport sys\n'
        "target = sys.argv[2].partition('=')[2]\n"
        "for proto in (word for word in sys.argv if word.endswith('.proto')):\n"
        "    path = Path(target, proto[:-6] + '_pb2.py')\n"
        '    path.parent.mkdir(parents=True, exist_ok=True)\n'
        f'    path.write_text({code!r})\n'
    )
    return _environment(PYTHONPATH=str(tmp_path))


# One process has imported setuptools for all generators, each of which is seen by a fork of it.
EACH_GENERATOR = """
import os, runpy, sys
import setuptools
for folder in sys.argv[1:]:
    if not os.fork():
        os.environ['PYTHONPATH'] = folder
        sys.argv = ['setup.py', '--quiet', 'egg_info', '--egg-base', folder]
        runpy.run_path('setup.py', run_name='__main__')
        sys.exit()
    assert os.wait()[1] == 0, folder
"""


def test_runtimes_that_an_older_generator_fits(source, tmp_path):
    folders = [tmp_path / version for version in GENERATED]
    for folder, (code, _) in zip(folders, GENERATED.values(), strict=True):
        folder.mkdir()
        _with_generator(source, folder, code)
    subprocess.run(
        [sys.executable, '-c', EACH_GENERATOR, *map(str, folders)],
        cwd=source,
        env=_environment(),
        check=True,
        capture_output=True,
    )
    found = {}
    for folder in folders:
        requirements = (folder / 'nurec_ros.egg-info' / 'requires.txt').read_text().splitlines()
        (wanted,) = (line for line in requirements if line.startswith('protobuf'))
        found[folder.name] = set(wanted.removeprefix('protobuf').split(','))
    assert found == {version: expected for version, (_, expected) in GENERATED.items()}


def test_messages_that_the_runtime_cannot_load_stop_the_build(source, tmp_path):
    """Say it in one sentence where it can be mended, not with a traceback at the first start."""
    environment = _with_generator(source, tmp_path, "raise TypeError('Descriptors cannot be …')")
    command = [sys.executable, 'setup.py', '--quiet', 'build', '--build-base', str(tmp_path / 'b')]
    done = subprocess.run(
        command, cwd=source, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert 'do not load with the protobuf runtime of' in done.stderr
    assert 'TypeError: Descriptors cannot be …' in done.stderr
    assert 'python3-grpc-tools, python3-protobuf' in done.stderr
    assert 'pip install --upgrade protobuf grpcio-tools' in done.stderr


def test_requirements_hold_no_ros_package(wheel):
    pattern = r'^Requires-Dist: ([\w-]+).*?(extra.*)?$'
    required = re.findall(pattern, _member(wheel, 'METADATA'), re.M)
    plain = {name for name, extra in required if not extra}
    assert not {name for name in plain if name.startswith(('ros-', 'rclpy'))}
    assert {'numpy', 'scipy', 'grpcio', 'protobuf'} <= plain


def test_installed_wheel_imports_and_its_messages_work(wheel, tmp_path):
    target = tmp_path / 'site'
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-compile']
    command += ['--target', str(target), wheel[''].decode()]
    subprocess.run(command, check=True, env=_environment(), capture_output=True)
    code = (
        'import nurec_ros; from nurec_ros.rendering.protos import sensorsim_pb2 as pb;'
        'print(nurec_ros.__file__);'
        'print(pb.RGBRenderRequest(resolution_w=480).SerializeToString().hex())'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env=_environment(PYTHONPATH=str(target)),
        check=True,
        capture_output=True,
        text=True,
    )
    file, encoded = done.stdout.split()
    assert Path(file).is_relative_to(target)
    # Field 3, varint: tag 0x18; 480 = 0xe0 0x03.
    assert encoded == '18e003'


@pytest.mark.parametrize('options', [[], ['--symlink-install']], ids=['copy', 'symlink'])
def test_colcon_builds_a_package_that_runs(source, tmp_path, options):
    pytest.importorskip('colcon_ros', reason='colcon with its ROS extensions is not installed')
    (tmp_path / 'src').mkdir()
    shutil.copytree(source, tmp_path / 'src' / 'nurec_ros')
    with (tmp_path / 'src' / 'nurec_ros' / 'setup.cfg').open('a') as file:
        # Bytecode of all modules, of which four are imported, takes as long as the rest.
        file.write('\n[install_lib]\ncompile=0\n')
    command = [sys.executable, '-m', 'colcon', 'build', *options]
    environment = _environment(PATH=f'{Path(sys.executable).parent}:{os.environ["PATH"]}')
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    prefix = tmp_path / 'install' / 'nurec_ros'
    assert {path.name for path in (prefix / 'lib' / 'nurec_ros').iterdir()} >= COMMANDS
    share = prefix / 'share'
    assert (share / 'ament_index/resource_index/packages/nurec_ros').exists()
    assert (share / 'nurec_ros/launch/nurec.launch.py').exists()
    assert (share / 'nurec_ros/config/nurec.yaml').exists()
    code = (
        'import nurec_ros; from nurec_ros.rendering.protos import sensorsim_pb2;'
        'print(nurec_ros.__file__)'
    )
    script = (
        f'. {tmp_path}/install/setup.sh && {sys.executable} -c "{code}" && '
        f'{prefix}/lib/nurec_ros/nurec_preview --version'
    )
    run = subprocess.run(
        ['sh', '-c', script], cwd='/', env=environment, capture_output=True, text=True, check=True
    )
    file, version = run.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path)
    assert re.search(r'\d+\.\d+\.\d+', version)


def test_package_xml_and_the_wheel_tell_the_same(wheel):
    from nurec_ros import __version__

    manifest = ET.parse(ROOT / 'package.xml').getroot()
    metadata = email.message_from_string(_member(wheel, 'METADATA'))
    maintainer = manifest.find('maintainer')
    assert metadata['Version'] == manifest.findtext('version') == __version__
    assert metadata['Summary'] == manifest.findtext('description')
    assert manifest.findtext('license') in (metadata['License'], metadata['License-Expression'])
    assert metadata['Maintainer'] == maintainer.text
    assert metadata['Maintainer-email'] == maintainer.get('email')
    urls = {line.lower() for line in metadata.get_all('Project-URL')}
    assert urls == {f'{url.get("type")}, {url.text}' for url in manifest.iter('url')}
    assert {'website', 'repository', 'bugtracker'} == {url.split(',')[0] for url in urls}
    pythons = [text for text in metadata.get_all('Classifier') if ':: Python :: 3.' in text]
    assert pythons == [
        f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12, 13)
    ]
    assert metadata['Requires-Python'] == '>=3.10'


def test_what_is_begun_first_is_there():
    assert not [name for name in LONG if not (ROOT / 'test' / name).exists()]


def test_package_xml_names_every_ros_package_that_is_imported():
    """A missing exec_depend shows only on somebody else's machine."""
    pattern = re.compile(
        r'^\s*(?:from|import) +((?:rclpy|launch|\w+_msgs|\w+_interfaces|std_srvs|tf2_ros|'
        r'ament_index_python|launch_ros)\b)',
        re.M,
    )
    imported = {
        name
        for folder in ('nurec_ros', 'launch')
        for path in (ROOT / folder).rglob('*.py')
        for name in pattern.findall(path.read_text())
    }
    declared = {node.text for node in ET.parse(ROOT / 'package.xml').getroot().iter('exec_depend')}
    # Autoware's messages come with Autoware; the adapter says so where they are missing.
    assert imported - {'autoware_control_msgs'} <= declared
    assert 'rclpy' in imported
