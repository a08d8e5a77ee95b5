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
"""The layers: what may import what (docs/architecture.md)."""

import ast
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
import subprocess
import sys

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'nurec_ros'
PURE = (
    'errors',
    'summary',
    'poses',
    'settings',
    'setting_values',
    'scenario',
    'playback',
    'driving',
    'rendering',
    'preview',
    'example',
    'probe',
    'control',
)

# Each folder and the folders of ours that it may import.
MAY_IMPORT = {
    'scenario': set(),
    'playback': set(),
    'driving': {'scenario', 'playback'},
    'rendering': {'scenario'},
    'preview': {'scenario', 'rendering'},
    'example': set(),
    'probe': {'scenario', 'rendering'},
    'control': set(),
    'ros': {'scenario', 'playback', 'driving', 'rendering', 'control'},
}

BLOCKER = """
import importlib.abc, importlib, pkgutil, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.split('.')[0]
        blocked = top in ('rclpy', 'std_srvs', 'tf2_ros', 'launch', 'launch_ros')
        if blocked or top.endswith(('_msgs', '_interfaces')):
            raise ImportError(f'{name} is blocked')

sys.meta_path.insert(0, Blocker())
import nurec_ros
count = 0
for top in %r:
    module = importlib.import_module(f'nurec_ros.{top}')
    for found in pkgutil.walk_packages(getattr(module, '__path__', []), f'nurec_ros.{top}.'):
        importlib.import_module(found.name)
        count += 1
print(count)
"""


def test_pure_folders_import_without_ros():
    done = subprocess.run(
        [sys.executable, '-c', BLOCKER % (PURE,)],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


ROS = pytest.mark.skipif(find_spec('rclpy') is None, reason='needs rclpy')
STARTS = ['environment', 'preview.scene', 'probe.stages', 'example.writer']
WITH_ROS = [pytest.param(name, marks=ROS) for name in ('ros.player_node', 'export.run')]


@pytest.mark.parametrize('start', [*STARTS, *WITH_ROS])
def test_what_few_ask_for_is_not_imported_at_every_start(start):
    """Scipy alone would double the time until a command begins."""
    code = f'import nurec_ros.{start}, sys; sys.exit("scipy" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], cwd=PACKAGE.parent, check=False)
    assert done.returncode == 0


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize('folder', MAY_IMPORT)
def test_folder_imports_only_what_lies_above_it(folder):
    for path in sorted((PACKAGE / folder).rglob('*.py')):
        ours = {
            name.split('.')[1]
            for name in _imports(path)
            if name.startswith('nurec_ros.') and (PACKAGE / name.split('.')[1]).is_dir()
        }
        assert ours - {folder} <= MAY_IMPORT[folder], path


def test_ros_parses_neither_json_files_nor_protobuf():
    for path in sorted((PACKAGE / 'ros').rglob('*.py')):
        names = set(_imports(path))
        assert not {name for name in names if 'protos' in name or name.startswith('google')}, path


def test_no_two_modules_and_no_two_classes_share_a_name():
    modules, classes = defaultdict(list), defaultdict(list)
    for path in sorted(PACKAGE.rglob('*.py')):
        if path.name == '__init__.py' or path.name.endswith('_pb2.py'):
            continue
        modules[path.stem].append(path)
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(path)
    assert len(modules) > 100
    assert {name: paths for name, paths in modules.items() if len(paths) > 1} == {}
    assert {name: paths for name, paths in classes.items() if len(paths) > 1} == {}
