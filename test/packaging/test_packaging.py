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

from nurec_ros import __version__
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOS = 'nurec_ros/rendering/protos'
COMMANDS = {
    *('nurec_player', 'nurec_preview', 'nurec_probe', 'nurec_example', 'nurec_demo'),
    *('nurec_info', 'nurec_export', 'nurec_control', 'nurec_follow', 'nurec_autoware'),
}


def _environment(**changes):
    """Return the environment for another Python: without what the ROS wheels' hook leaves."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ('_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'LD_LIBRARY_PATH', 'PYTHONPATH')
    }
    return {**environment, **changes}


def _output(command, cwd, **changes):
    """Return what a command printed, which has to end with 0."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=_environment(**changes),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """Copy what git tracks: a bare clone, nothing generated."""
    if importlib.util.find_spec('grpc_tools') is None:
        pytest.skip('grpcio-tools is not installed')
    if not (ROOT / '.git').exists():
        pytest.skip('not a git checkout')
    listed = subprocess.check_output(['git', 'ls-files', '-z'], cwd=ROOT, text=True)
    target = tmp_path_factory.mktemp('source') / 'nurec_ros'
    for name in filter(None, listed.split('\0')):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    assert not list(target.rglob('*_pb2.py')), 'nothing generated is committed'
    return target


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
# A generator that writes nothing but one code.
GENERATOR = """
from pathlib import Path
import sys
target = sys.argv[2].partition('=')[2]
for proto in (word for word in sys.argv if word.endswith('.proto')):
    path = Path(target, proto[:-6] + '_pb2.py')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text({code!r})
"""
# One process has imported setuptools for all builds, each of which is a fork of it: the wheel, as
# pip calls for it, and metadata and a build by generators in the folders that are given.
BUILDS = """
import os, runpy, sys
from pathlib import Path
from setuptools import build_meta

def fork(folder, *command):
    if os.fork():
        return os.wait()[1]
    os.dup2(os.open(f'{folder}/log', os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(1, 2)
    if not command:
        build_meta.build_wheel(folder)
        sys.exit()
    os.environ['PYTHONPATH'] = folder
    sys.argv = ['setup.py', '--quiet', *command, folder]
    runpy.run_path('setup.py', run_name='__main__')
    sys.exit()

wheel, broken, *folders = sys.argv[1:]
log = Path(wheel, 'log')
assert fork(wheel) == 0, log.read_text()
for folder in folders:
    assert fork(folder, 'egg_info', '--egg-base') == 0, Path(folder, 'log').read_text()
print(os.waitstatus_to_exitcode(fork(broken, 'build', '--build-base')))
"""


@pytest.fixture(scope='module')
def built(source, tmp_path_factory):
    """Return the wheel, a folder for each generator, that of a broken one, and its exit code."""
    # What BUILDS calls, without pip's four processes.
    assert 'build-backend = "setuptools.build_meta"' in (source / 'pyproject.toml').read_text()
    top = tmp_path_factory.mktemp('built')
    codes = {version: code for version, (code, _) in GENERATED.items()}
    codes['broken'] = "raise TypeError('Descriptors cannot be …')"
    (top / 'wheel').mkdir()
    for version, code in codes.items():
        tools = top / version / 'grpc_tools'
        tools.mkdir(parents=True)
        (tools / '__init__.py').touch()
        (tools / 'protoc.py').write_text(GENERATOR.format(code=code))
    folders = [top / version for version in ('wheel', 'broken', *GENERATED)]
    exit_code = int(_output([sys.executable, '-c', BUILDS, *folders], source))
    (path,) = (top / 'wheel').glob('*.whl')
    return path, top, exit_code


@pytest.fixture(scope='module')
def wheel(built):
    with zipfile.ZipFile(built[0]) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _member(wheel, ending):
    (name,) = (name for name in wheel if name.endswith(ending))
    return wheel[name].decode()


@pytest.fixture(scope='module')
def metadata(wheel):
    return email.message_from_string(_member(wheel, 'METADATA'))


def test_wheel_holds_messages_markers_and_every_data_file(wheel):
    for stem in ('common', 'sensorsim', 'health'):
        assert f'{PROTOS}/{stem}_pb2.py' in wheel
        assert f'{PROTOS}/{stem}.proto' in wheel
    assert 'nurec_ros/py.typed' in wheel
    assert not [name for name in wheel if name.startswith(('test/', 'bench/', 'interfaces/'))]
    assert _member(wheel, 'share/ament_index/resource_index/packages/nurec_ros') == ''
    assert '<build_type>ament_python' in _member(wheel, 'share/nurec_ros/package.xml')
    for folder in ('launch', 'config'):
        expected = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        parts = [name.rpartition(f'/share/nurec_ros/{folder}/') for name in wheel]
        assert {file for _, found, file in parts if found} == expected != set()


def test_wheel_names_every_command_and_each_has_a_main(wheel):
    parser = configparser.ConfigParser()
    parser.read_string(_member(wheel, 'entry_points.txt'))
    scripts = dict(parser['console_scripts'])
    assert set(scripts) == COMMANDS
    for target in scripts.values():
        module, function = target.split(':')
        code = wheel[module.replace('.', '/') + '.py'].decode()
        assert re.search(rf'^(def {function}\(|{function} = )', code, re.M)


def test_wheel_asks_for_a_runtime_that_accepts_the_generated_files(wheel, metadata):
    """And for no ROS package."""
    code = wheel[f'{PROTOS}/sensorsim_pb2.py'].decode()
    ((version, major),) = re.findall(r'# Protobuf Python Version: ((\d+)\S+)', code)
    required = [line for line in metadata.get_all('Requires-Dist') if 'extra ==' not in line]
    wanted = {re.split(r'[^\w-]', line)[0]: line for line in required}
    runtimes = wanted['protobuf'].removeprefix('protobuf').split(',')
    assert set(runtimes) == {f'>={version}', f'<{int(major) + 2}'}
    assert not [name for name in wanted if name.startswith(('ros-', 'rclpy'))]
    assert {'numpy', 'scipy', 'grpcio'} <= set(wanted)


def test_runtimes_that_an_older_generator_fits(built):
    found = {}
    for version in GENERATED:
        text = (built[1] / version / 'nurec_ros.egg-info' / 'requires.txt').read_text()
        (wanted,) = (line for line in text.splitlines() if line.startswith('protobuf'))
        found[version] = set(wanted.removeprefix('protobuf').split(','))
    assert found == {version: expected for version, (_, expected) in GENERATED.items()}


def test_messages_that_the_runtime_cannot_load_stop_the_build(built):
    """Say it in one sentence where it can be mended, not with a traceback at the first start."""
    _, top, exit_code = built
    assert exit_code == 1
    said = (top / 'broken' / 'log').read_text()
    assert 'do not load with the protobuf runtime of' in said
    assert 'TypeError: Descriptors cannot be …' in said
    assert 'python3-grpc-tools, python3-protobuf' in said
    assert 'pip install --upgrade protobuf grpcio-tools' in said


def test_installed_wheel_imports_and_its_messages_work(built, wheel, tmp_path):
    target = tmp_path / 'site'
    # What installing a wheel is, where all of it is for one folder (PEP 427).
    assert 'Root-Is-Purelib: true' in _member(wheel, '.dist-info/WHEEL')
    shutil.unpack_archive(built[0], target, 'zip')
    code = (
        'import nurec_ros; from nurec_ros.rendering.protos import sensorsim_pb2 as pb;'
        'print(nurec_ros.__file__);'
        'print(pb.RGBRenderRequest(resolution_w=480).SerializeToString().hex())'
    )
    file, encoded = _output([sys.executable, '-c', code], tmp_path, PYTHONPATH=str(target)).split()
    assert Path(file).is_relative_to(target)
    # Field 3, varint: tag 0x18; 480 = 0xe0 0x03.
    assert encoded == '18e003'


@pytest.mark.parametrize('options', [[], ['--symlink-install']], ids=['copy', 'symlink'])
def test_colcon_builds_a_package_that_runs(source, tmp_path, options):
    pytest.importorskip('colcon_ros', reason='colcon with its ROS extensions is not installed')
    shutil.copytree(source, tmp_path / 'src' / 'nurec_ros')
    with (tmp_path / 'src' / 'nurec_ros' / 'setup.cfg').open('a') as file:
        # Bytecode of all modules, of which four are imported, takes as long as the rest.
        file.write('\n[install_lib]\ncompile=0\n')
    prefix = tmp_path / 'install' / 'nurec_ros'
    code = (
        'import nurec_ros; from nurec_ros.rendering.protos import sensorsim_pb2;'
        'print(nurec_ros.__file__)'
    )
    python = sys.executable
    script = (
        f'{python} -m colcon build {" ".join(options)} >said 2>&1 || {{ cat said; exit 1; }}\n'
        f'. install/setup.sh && cd / && {python} -c "{code}" && '
        f'{prefix}/lib/nurec_ros/nurec_preview --version'
    )
    path = f'{Path(python).parent}:{os.environ["PATH"]}'
    file, version = _output(['sh', '-c', script], tmp_path, PATH=path).splitlines()
    assert Path(file).is_relative_to(tmp_path)
    assert version.endswith(__version__)
    assert {path.name for path in (prefix / 'lib' / 'nurec_ros').iterdir()} >= COMMANDS
    share = prefix / 'share'
    assert (share / 'ament_index/resource_index/packages/nurec_ros').exists()
    assert (share / 'nurec_ros/launch/nurec.launch.py').exists()
    assert (share / 'nurec_ros/config/nurec.yaml').exists()


def test_package_xml_and_the_wheel_tell_the_same(metadata):
    manifest = ET.parse(ROOT / 'package.xml').getroot()
    maintainer = manifest.find('maintainer')
    assert metadata['Version'] == manifest.findtext('version') == __version__
    assert metadata['Summary'] == manifest.findtext('description')
    assert manifest.findtext('license') in (metadata['License'], metadata['License-Expression'])
    assert metadata['Maintainer'] == maintainer.text
    assert metadata['Maintainer-email'] == maintainer.get('email')
    urls = {line.lower() for line in metadata.get_all('Project-URL')}
    assert urls == {f'{url.get("type")}, {url.text}' for url in manifest.iter('url')}
    assert {'website', 'repository', 'bugtracker'} == {url.split(',')[0] for url in urls}
    pythons = [text[-4:] for text in metadata.get_all('Classifier') if ':: Python :: 3.' in text]
    assert pythons == ['3.10', '3.11', '3.12', '3.13']
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


def _made(folder, *words, **environment):
    """Return the words that `make demo` runs its command with."""
    command = folder / 'bin' / 'nurec_demo'
    command.parent.mkdir(exist_ok=True)
    command.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    command.chmod(0o755)
    # Whatever is installed or not: it is about the words.
    installed = [f'--old-file={folder}/{stamp}' for stamp in ('.demo', '.interfaces')]
    command = ['make', '--no-print-directory', *installed, 'demo', f'VENV={folder}', *words]
    said = subprocess.check_output(command, cwd=ROOT, env={**os.environ, **environment}, text=True)
    return said.splitlines()


@pytest.mark.skipif(shutil.which('make') is None, reason='needs make')
def test_what_is_typed_reaches_the_demo(tmp_path):
    for name in ("it's.usdz", 'a "b" `c` d.usdz', 'a $HOME $(b) $$ \\ #c.usdz'):
        assert _made(tmp_path, USDZ=name) == ['--usdz', name]
        assert _made(tmp_path, f'USDZ={name}', USDZ='other') == ['--usdz', name]
    assert _made(tmp_path, USDZ='') == _made(tmp_path, 'USDZ=', 'DRIVE=0') == []
    assert _made(tmp_path, 'DRIVE=') == []
    assert _made(tmp_path, 'DRIVE=1') == ['--drive']
    assert _made(tmp_path, 'DRIVE=1', USDZ='a.usdz') == ['--usdz', 'a.usdz', '--drive']
