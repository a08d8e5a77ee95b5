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
"""What an export is asked for: mistakes, topics, parameters, progress, and the docs' recipe."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
import fcntl
import os
from pathlib import Path
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from test.export.conftest import entries_of, info, messages, read
from test.support.archives import CAMERAS
from test.support.ports import claim_port

from nurec_ros.cli.export import _progress, LINE_EVERY_S
from nurec_ros.errors import ConfigurationError
from nurec_ros.export.wishes import read_overrides
from nurec_ros.scenario import Scenario
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ('code', 'options', 'words'),
    [
        # Whatever the files hold.
        (2, ['-p', 'resolution_scal:=1'], "do you mean 'resolution_scale'"),
        (
            *(2, ['-p', 'cameras:=[,]']),
            '-p cameras:=[,]: the value is no YAML, expected a list of strings such',
        ),
        (2, ['-p', 'resolution_scale:=7'], "parameter 'resolution_scale' is 7"),
        (2, ['-p', 'nonsense'], 'expected name:=value'),
        (2, ['-p', 'map_frame:=base_link'], "both name the frame 'base_link'"),
        # By what a file holds.
        (1, ['--cameras', 'none'], "parameter 'cameras' names 'none'"),
        (1, ['--start', '100'], 'leave nothing of the scenario'),
        (1, ['-p', 'rear.rate:=5'], "'rear.…' is for a sensor that"),
        (
            *(1, ['-p', f'{CAMERAS[0]}.device:=at128']),
            f"no parameter '{CAMERAS[0]}.device', expected one of ",
        ),
        (1, ['--topics', '/tf', '/nope'], "--topics '/nope' is no topic of "),
        (
            *(1, ['--topics', f'~/{CAMERAS[1]}/*', '--cameras', CAMERAS[0]]),
            'expected some of /clock, ',
        ),
        # By what is installed.
        (1, ['--video'], 'needs av, which is not installed: pip install av'),
        (
            *(1, ['--ray', 'auto']),
            "needs ray, which is not installed: pip install 'nurec_ros[cluster]'",
        ),
        # The map and lidars of other scenarios, with nothing beside them.
        (
            *(1, ['--topics', '~/map', '~/*/points']),
            'drive.usdz has no topic of --topics ~/map ~/*/points',
        ),
    ],
)
def test_a_mistake_is_one_sentence(export, capsys, tmp_path, monkeypatch, code, options, words):
    """Beside those in `test_command_style.py`."""
    for name in ('av', 'ray'):
        monkeypatch.setitem(sys.modules, name, None)
    export(options=options, ends=code)
    printed = capsys.readouterr().err
    assert words in printed
    assert 'Traceback' not in printed
    # Nothing was begun.
    assert not (tmp_path / 'out' / 'drive').exists()


def test_a_topic_that_nothing_has_is_told_with_those_there_are(export, exported, capsys):
    """As a bag without --topics has them, with the decoded images that it leaves out."""
    topics = info(exported / 'drive')['topics_with_message_count']
    there = {topic['topic_metadata']['name'] for topic in topics}
    there |= {f'/nurec/{camera}/image_raw' for camera in CAMERAS}
    export(options=['--topics', '~/trakcs'], ends=1)
    named = capsys.readouterr().err.strip().partition("'~/trakcs' is no topic of ")[2]
    assert set(named.partition('; expected some of ')[2].split(', ')) == there


def test_a_topic_of_other_scenarios_is_one_that_this_may_lack(export, usdz):
    """A map and lidars are not in every file."""
    assert not Scenario.load(usdz).lidars
    assert Scenario.load(usdz).road_map is None
    out = export(options=['--topics', '~/map', '~/*/points', '/tf'])
    assert {topic for topic, _, _ in messages(out / 'drive')} == {'/tf'}


def test_neither_a_broken_file_nor_a_mistyped_one_stops_the_others(export, tmp_path, usdz, capsys):
    bad, lost = tmp_path / 'bad.usdz', tmp_path / 'lost.usdz'
    bad.write_bytes(b'no zip')
    out = export(files=[lost, bad, usdz], options=['--topics', '/tf'], ends=3)
    entries = entries_of(out)
    complete = [(bag, entry['complete']) for bag, entry in entries.items()]
    assert complete == [('bad', False), ('drive', True), ('lost', False)]
    told, errors = capsys.readouterr()
    assert f'{lost}: there is no such file' in entries['lost']['error']
    for path in (bad, lost):
        error = entries[path.stem]['error']
        assert str(path) in error
        # The reason once, when it was found.
        assert (errors + told).count(error) == 1
        assert f'{path.name}: not exported\n' in told
    assert messages(out / 'drive')


# --- parameters ----------------------------------------------------------------------------------


def test_the_shipped_parameters_are_taken(export, tmp_path):
    from nav_msgs.msg import Odometry

    path = tmp_path / 'own.yaml'
    text = (ROOT / 'config' / 'nurec.yaml').read_text()
    path.write_text(text + '\nnurec:\n  ros__parameters:\n    base_frame: car\n')
    out = export(options=['--params-file', path, '--topics', '~/odom'])
    assert read(out / 'drive', '/nurec/odom', Odometry)[0][1].child_frame_id == 'car'


def test_a_parameters_file_is_read_as_rclpy_reads_it(tmp_path):
    path = tmp_path / 'own.yaml'
    path.write_text(
        '/**:\n  ros__parameters: {rate: 2.0, hfov_deg: 60, map_frame: world}\n'
        'other:\n  ros__parameters: {map_frame: elsewhere}\n'
        '/me:\n  ros__parameters:\n    map_frame: mine\n    camera_rat: 5\n'
        '    front: {rate: 4}\n    qos_overrides: {/tf: {publisher: {depth: 7}}}\n'
    )
    found, unknown = read_overrides(['hfov_deg:=70'], [path], 'me')
    assert found.table == {'map_frame': 'mine', 'hfov_deg': 70.0}
    assert found.sensors == {'front': {'rate': 4.0}}
    assert unknown == [
        f"{path}: parameter 'camera_rat' is unknown; do you mean 'camera_rate'?",
    ]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a: [', 'is no YAML'),
        ('[1, 2]', 'expected a mapping of nodes to ros__parameters'),
        ('me: 5', 'me has no ros__parameters'),
        ('me: {parameters: {}}', 'me has no ros__parameters'),
    ],
)
def test_a_parameters_file_of_another_kind_is_named(tmp_path, text, words):
    path = tmp_path / 'own.yaml'
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_overrides([], [path], 'me')
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)


# --- progress ------------------------------------------------------------------------------------


@pytest.mark.parametrize(('rows', 'columns'), [(0, 0), (24, 0), (0, 60), (24, 60)])
def test_a_terminal_of_any_size_has_a_bar(monkeypatch, rows, columns):
    """A new one knows none: serial lines, containers, `script`."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('4H', rows, columns, 0, 0))
    with os.fdopen(slave, 'w') as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, 'stderr', terminal)
        progress = _progress()
        progress.begin('drive', 8)
        progress.frame(4)
        progress.end()
    shown = b''
    # What a pty holds comes piece by piece, and then an error.
    with suppress(OSError):
        while piece := os.read(master, 65536):
            shown += piece
    os.close(master)
    last = shown.decode().rstrip().rpartition('\r')[2]
    assert re.match(r'drive: +50%\|.* 4/8 ', last)
    assert len(last) <= (columns or 80)


def test_lines_without_a_terminal(monkeypatch, capsys):
    """Nothing is divided by what has not come yet, for however long."""
    now = [100.0]
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    progress = _progress()
    progress.begin('drive', 8)
    # Of a cluster whose servers are away.
    for _ in range(3):
        progress.frame(0)
        now[0] += 2 * LINE_EVERY_S
        progress.frame(0)
    progress.frame(2)
    progress.frame(2)
    now[0] += LINE_EVERY_S
    progress.frame(0)
    progress.end()
    assert capsys.readouterr().err.splitlines() == [
        'drive: 8 frames to render',
        'drive: 2 of 8 frames, 0.0 frames/s, 180 s left',
        'drive: 4 of 8 frames, 0.1 frames/s, 70 s left',
    ]


# --- the recipe ----------------------------------------------------------------------------------


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
    entries = entries_of(tmp_path / 'bags')
    assert [entry['file'] for entry in entries.values()] == ['one.usdz', 'two.usdz']
    for bag, entry in entries.items():
        pictures = list((tmp_path / 'images' / bag).glob('*/*.jpg'))
        clouds = list((tmp_path / 'images' / bag).glob('*/*.bin'))
        # Two cameras at begin and every half second, a lidar every second.
        counts = (len(pictures), len(clouds), entry['frames'])
        assert (entry['complete'], entry['missing'], *counts) == (True, [], 10, 3, 13)
        topics = Counter(topic for topic, _, _ in messages(tmp_path / 'bags' / bag))
        assert topics['/nurec/camera_rear_left_70fov/image_raw/compressed'] == 5
        assert topics['/nurec/map'] == 1
