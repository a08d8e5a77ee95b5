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
"""Messages that are missing, or that the protobuf runtime refuses: one sentence, no traceback."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
import sys

import nurec_ros
import pytest

# What Humble's protoc 3.12 writes of a field, and runtimes from 4 on refuse.
OLD = """
from google.protobuf import descriptor as _descriptor
_descriptor.FieldDescriptor(
    name='x', full_name='x', index=0, number=1, type=9, cpp_type=9, label=1,
    has_default_value=False, default_value='', message_type=None, enum_type=None,
    containing_type=None, is_extension=False, extension_scope=None)
"""
# What generators newer than the runtime write.
NEW = """
class VersionError(Exception):
    pass
raise VersionError('Detected incompatible versions: gencode 99.1 runtime 7.3. See the web.')
"""
REMEDY = 'build nurec_ros again on this machine (`colcon build`, or `make setup`)'


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    """Return a copy of the package, to be spoiled."""
    folder = tmp_path_factory.mktemp('copy')
    source = Path(nurec_ros.__file__).parent
    shutil.copytree(source, folder / 'nurec_ros', ignore=shutil.ignore_patterns('__pycache__'))
    yield folder
    shutil.rmtree(folder)


def run(folder, command, *arguments, **environment):
    return subprocess.run(
        [sys.executable, '-B', '-m', f'nurec_ros.cli.{command}', *arguments],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ('command', 'code', 'spoiled', 'sentence'),
    [
        ('preview', 1, '', f'the protobuf messages are not generated: {REMEDY}'),
        ('player', 1, OLD, '(TypeError: Descriptors cannot be created directly): ' + REMEDY),
        (
            'probe',
            2,
            NEW,
            '(VersionError: Detected incompatible versions: gencode 99.1 runtime 7.3): ',
        ),
    ],
    ids=['missing', 'old', 'new'],
)
def test_one_line(copy, command, code, spoiled, sentence):
    if command == 'player':
        pytest.importorskip('rclpy')
    generated = copy / 'nurec_ros' / 'rendering' / 'protos' / 'common_pb2.py'
    whole = generated.read_text()
    try:
        if spoiled:
            generated.write_text(whole + spoiled)
        else:
            generated.unlink()
        arguments = () if command == 'player' else ('--usdz', 'none.usdz')
        ended = run(copy, command, *arguments)
    finally:
        generated.write_text(whole)
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.count('\n') == 1, ended.stderr
    assert ended.stderr.startswith(f'nurec_{command}: ')
    assert sentence in ended.stderr


def test_implementation_that_the_runtime_does_not_have_is_named(copy):
    ended = run(
        copy, 'preview', '--usdz', 'none.usdz', PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION='rust'
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count('\n') == 1, ended.stderr
    assert "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION is 'rust'" in ended.stderr
    assert 'unset it' in ended.stderr


def test_without_protobuf(copy):
    (copy / 'google').mkdir()
    try:
        (copy / 'google' / '__init__.py').touch()
        ended = run(copy, 'preview', '--usdz', 'none.usdz')
    finally:
        shutil.rmtree(copy / 'google')
    assert ended.returncode == 1, ended.stderr
    assert 'protobuf is not installed' in ended.stderr
