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

import importlib
from importlib.abc import Loader
from importlib.util import spec_from_loader
import os
from pathlib import Path
import shutil
import subprocess
import sys

from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import protos
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


PROTOS = Path(protos.__file__).parent


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    """Return a copy of the package with what is compiled of it, to be spoiled."""
    folder = tmp_path_factory.mktemp('copy')
    shutil.copytree(PROTOS.parents[1], folder / 'nurec_ros')
    yield folder
    shutil.rmtree(folder)


def run(folder, command, *arguments, **environment):
    inherited = {name: text for name, text in os.environ.items() if 'BYTECODE' not in name}
    return subprocess.run(
        [sys.executable, '-m', f'nurec_ros.cli.{command}', *arguments],
        cwd=folder,
        env={**inherited, 'PYTHONPATH': str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_command_says_it_in_one_line(copy):
    generated = copy / 'nurec_ros' / 'rendering' / 'protos' / 'common_pb2.py'
    generated.write_text((PROTOS / 'common_pb2.py').read_text() + NEW)
    ended = run(copy, 'probe', '--usdz', 'none.usdz')
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count('\n') == 1, ended.stderr
    assert ended.stderr.startswith('nurec_probe: ')
    words = 'Detected incompatible versions: gencode 99.1 runtime 7.3'
    assert f'(VersionError: {words}): {REMEDY}' in ended.stderr


class Spoiled(Loader):
    """Finds one module, which holds some text."""

    def __init__(self, name, text):
        self._name, self._text = name, text

    def find_spec(self, name, path=None, target=None):
        return spec_from_loader(name, self) if name == self._name else None

    def exec_module(self, module):
        exec(self._text, vars(module))


def imported_anew(monkeypatch, missing='', *, spoiled=''):
    """Import protobuf and the messages once more, one module missing or holding another text."""
    for name in list(sys.modules):
        if name.startswith(('google.protobuf', protos.__name__)):
            monkeypatch.delitem(sys.modules, name)
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    if spoiled:
        finder = Spoiled(f'{protos.__name__}.common_pb2', spoiled)
        monkeypatch.setattr(sys, 'meta_path', [finder, *sys.meta_path])
    with pytest.raises(ConfigurationError) as caught:
        importlib.import_module(protos.__name__)
    return str(caught.value)


def test_messages_of_an_older_generator(monkeypatch):
    said = imported_anew(monkeypatch, spoiled=OLD)
    assert '(TypeError: Descriptors cannot be created directly): ' + REMEDY in said


def test_implementation_that_the_runtime_does_not_have_is_named(monkeypatch):
    monkeypatch.setenv('PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION', 'rust')
    said = imported_anew(monkeypatch)
    assert said.startswith("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION is 'rust' in the environment")
    assert said.endswith(': unset it')


def test_messages_that_were_not_generated(monkeypatch):
    said = imported_anew(monkeypatch, f'{protos.__name__}.common_pb2')
    assert said == f'the protobuf messages are not generated: {REMEDY}'


@pytest.mark.parametrize('missing', ['google', 'google.protobuf'])
def test_without_protobuf(monkeypatch, missing):
    said = imported_anew(monkeypatch, missing)
    assert said.startswith('protobuf is not installed: ')
    assert said.endswith(REMEDY)
