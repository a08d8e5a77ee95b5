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
"""The recipe of docs/export.md, as it stands there, but for the port and the paths of commands."""

from __future__ import annotations

from collections import Counter
import json
import os
from pathlib import Path
import re
import shlex
import subprocess
import sys
from test.export.test_export_bags import messages
from test.support.ports import claim_port

ROOT = Path(__file__).resolve().parents[2]


def test_the_recipe_makes_what_it_promises(tmp_path: Path):
    text = (ROOT / 'docs' / 'export.md').read_text()
    found = re.search(r'<!-- recipe -->\n```bash\n(.*?)```', text, re.DOTALL)
    assert found
    commands = re.sub(
        r'^nurec_(\w+)',
        lambda match: f'{shlex.quote(sys.executable)} -m nurec_ros.cli.{match[1]}',
        found[1].replace('46435', str(claim_port())),
        flags=re.MULTILINE,
    )
    done = subprocess.run(
        ['bash', '-euc', commands],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / 'bags' / 'export.json').read_text())['scenarios']
    assert [entry['file'] for entry in summary] == ['one.usdz', 'two.usdz']
    for entry in summary:
        assert (entry['complete'], entry['missing']) == (True, [])
        pictures = list((tmp_path / 'images' / entry['bag']).glob('*/*.jpg'))
        clouds = list((tmp_path / 'images' / entry['bag']).glob('*/*.bin'))
        # Two cameras at begin and every half second, a lidar every second.
        assert (len(pictures), len(clouds)) == (10, 3)
        assert entry['frames'] == 13
        topics = Counter(topic for topic, _, _ in messages(tmp_path / 'bags' / entry['bag']))
        assert topics['/nurec/camera_rear_left_70fov/image_raw/compressed'] == 5
        assert topics['/nurec/map'] == 1
