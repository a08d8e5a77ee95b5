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
"""The sources: what may import what (docs/architecture.md), names, and ROS's own linters."""

import ast
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
import subprocess
import sys
import urllib.request

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'nurec_ros'
PURE = (
    'environment',
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
    'control': {'playback'},
    'ros': {'scenario', 'playback', 'driving', 'rendering', 'control'},
}

# Scipy would double the time until these begin; few of their users need it.
LIGHT = ('environment', 'preview.scene', 'probe.stages', 'example.writer')
LIGHT_WITH_ROS = ('ros.player_node', 'export.run')

START = """
import importlib, sys

def start(modules):
    for name in modules:
        importlib.import_module('nurec_ros.' + name)
        if 'scipy' in sys.modules:
            sys.exit(name + ' imports scipy')
"""

BLOCKED = """
import importlib.abc, pkgutil

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.split('.')[0]
        blocked = top in ('rclpy', 'std_srvs', 'tf2_ros', 'launch', 'launch_ros')
        if blocked or top.endswith(('_msgs', '_interfaces')):
            raise ImportError(f'{name} is blocked')

sys.meta_path.insert(0, Blocker())
"""

ALL = """
count = 0
for top in %r:
    module = importlib.import_module(f'nurec_ros.{top}')
    for found in pkgutil.walk_packages(getattr(module, '__path__', []), f'nurec_ros.{top}.'):
        importlib.import_module(found.name)
        count += 1
print(count)
"""


def _printed(code):
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pure_folders_import_without_ros_and_starts_without_scipy():
    assert int(_printed(f'{START}{BLOCKED}start({LIGHT}){ALL % (PURE,)}')) > 20


@pytest.mark.skipif(find_spec('rclpy') is None, reason='needs rclpy')
def test_starts_with_ros_import_no_scipy():
    _printed(f'{START}start({LIGHT_WITH_ROS})')


def _statements(node):
    """Yield all statements; expressions, which hold none, are most of a tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield child
            yield from _statements(child)


@pytest.fixture(scope='module')
def modules():
    """Return names imported, classes, and names given at the top, by the path of the module."""
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        if path.name.endswith('_pb2.py'):
            continue
        imports, classes = set(), []
        tree = ast.parse(path.read_text(encoding='utf-8'))
        for node in _statements(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                imports.add(node.module)
            elif isinstance(node, ast.Import):
                imports.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ClassDef):
                classes.append(node.name)
        given = (target for one in tree.body for target in getattr(one, 'targets', ()))
        names = Counter(target.id for target in given if isinstance(target, ast.Name))
        found[path] = imports, classes, names
    return found


@pytest.mark.parametrize('folder', MAY_IMPORT)
def test_folder_imports_only_what_lies_above_it(modules, folder):
    of_folder = [path for path in modules if PACKAGE / folder in path.parents]
    assert len(of_folder) > 2
    for path in of_folder:
        names = (name.split('.') for name in modules[path][0])
        ours = {name[1] for name in names if name[0] == 'nurec_ros' and len(name) > 1}
        assert {name for name in ours if (PACKAGE / name).is_dir()} <= {
            folder,
            *MAY_IMPORT[folder],
        }, path


def test_ros_parses_neither_json_files_nor_protobuf(modules):
    for path, (names, _, _) in modules.items():
        if PACKAGE / 'ros' in path.parents:
            assert not [name for name in names if 'protos' in name or name.startswith('google')]


def test_no_two_modules_and_no_two_classes_share_a_name(modules):
    paths = [path for path in modules if path.name != '__init__.py']
    assert len(paths) > 70
    names = Counter(path.stem for path in paths)
    assert [name for name, count in names.items() if count > 1] == []
    classes = Counter(name for path in paths for name in modules[path][1])
    assert [name for name, count in classes.items() if count > 1] == []


def test_no_module_gives_one_name_to_two_things(modules):
    """No linter sees a constant that a second one of its name replaces."""
    for path, (_, _, names) in modules.items():
        assert [name for name, count in names.items() if count > 1] == [], path


# ROS's linters, as `colcon test` runs them, where they are installed.

SCHEMA = 'http://download.ros.org/schema/package_format3.xsd'


def _sources():
    """Return every Python file of ours; generated ones follow their generator's style."""
    found = [ROOT / 'setup.py']
    for folder in ('nurec_ros', 'test', 'launch', 'bench'):
        found += sorted((ROOT / folder).rglob('*.py'))
    return [str(path) for path in found if not path.name.endswith('_pb2.py')]


def _lint(linter, paths):
    """Run a linter in a process of its own: it may fork, which threads of other tests forbid."""
    pytest.importorskip(f'{linter}.main', reason=f'{linter} is not installed')
    done = subprocess.run(
        [sys.executable, '-m', f'{linter}.main', *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.linter
@pytest.mark.parametrize('linter', ['ament_flake8', 'ament_pep257', 'ament_copyright'])
def test_sources(linter):
    _lint(linter, _sources())


@pytest.mark.linter
def test_xmllint():
    pytest.importorskip('ament_xmllint.main', reason='ament_xmllint is not installed')
    try:
        # The schema that package.xml names, and that xmllint loads.
        urllib.request.urlopen(SCHEMA, timeout=10).close()
    except OSError as error:
        pytest.skip(f'{SCHEMA} is out of reach: {error}')
    paths = [ROOT / 'package.xml', *sorted((ROOT / 'interfaces').glob('*/package.xml'))]
    _lint('ament_xmllint', [str(path) for path in paths])


def test_every_source_begins_with_the_licence():
    """Hold where ament_copyright is not installed."""
    for path in _sources():
        lines = Path(path).read_text().splitlines()
        assert lines[0].startswith('# Copyright '), path
        assert lines[2].startswith('# Licensed under the Apache License, Version 2.0'), path
