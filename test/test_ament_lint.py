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
"""ROS's own linters over the whole tree, as `colcon test` runs them, where they are installed."""

from pathlib import Path
import subprocess
import sys
import urllib.request

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = 'http://download.ros.org/schema/package_format3.xsd'
FOLDERS = ('nurec_ros', 'test', 'launch', 'bench')


def _sources():
    """Return every Python file of ours; generated ones follow their generator's style."""
    found = [ROOT / 'setup.py']
    for folder in FOLDERS:
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
