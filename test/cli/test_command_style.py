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
"""All commands alike: help, version, words, exit codes, and a signal as early as can be."""

from __future__ import annotations

from argparse import Action
from collections.abc import Callable
from importlib import import_module
import importlib.util
from pathlib import Path
import re
import shlex
import signal
import subprocess
import sys

from nurec_ros import __version__
from nurec_ros.cli import drivers
from nurec_ros.cli.options import Parser, SHARED, split_ros_arguments
import pytest

ROOT = Path(__file__).resolve().parents[2]
HAS_ROS = importlib.util.find_spec('rclpy') is not None
COMMANDS = (
    *('player', 'preview', 'probe', 'example', 'demo', 'info', 'export', 'control', 'follow'),
    'autoware',
)
# Where each one's options are explained.
PAGES = {
    'preview': 'preview.md',
    'probe': 'probe.md',
    'demo': 'demo.md',
    'info': 'export.md',
    'export': 'export.md',
    'control': 'control.md',
}


class Parsed(BaseException):
    """What a command line was read as; ends the command."""


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch):
    """Return a function that has a command read its arguments, and do nothing."""
    real = Parser.parse_args

    def parse_args(parser, *arguments):
        raise Parsed(parser, real(parser, *arguments))

    monkeypatch.setattr(Parser, 'parse_args', parse_args)

    def call(name: str, *arguments: str):
        with pytest.raises(Parsed) as caught:
            run(name, *arguments)
        return caught.value.args

    return call


def run(name: str, *arguments: str) -> int:
    """Run a command in this process; return its exit code."""
    return place(name)(list(arguments))


def place(name: str) -> Callable[[list[str]], int]:
    """Return the function that a command begins in."""
    if name in ('follow', 'autoware'):
        return getattr(drivers, name)
    return import_module(f'nurec_ros.cli.{name}').main


def options(parser: Parser) -> dict[str, Action]:
    return {flag: action for action in parser._actions for flag in action.option_strings}


REQUIRED = {
    'preview': ['--usdz', 'x'],
    'probe': ['--usdz', 'x'],
    'info': ['x'],
    'export': ['x', '--output', 'y'],
}


@pytest.mark.parametrize('name', COMMANDS)
def test_help_has_examples_that_can_be_typed_and_says_what_exit_codes_mean(name, parse, capsys):
    with pytest.raises(SystemExit) as end:
        run(name, '--help')
    assert end.value.code == 0
    text, errors = capsys.readouterr()
    assert errors == ''
    assert text.startswith(f'usage: nurec_{name} ')
    assert re.search(r'^exit codes: 0 .*, 2 .*', text, re.MULTILINE | re.DOTALL)
    # The words of the two drivers stand side by side.
    assert {'follow': 'pure pursuit', 'autoware': 'autoware_control_msgs'}.get(name, '') in text
    examples = re.search(r'^examples:\n((?:  .*\n)+)', text, re.MULTILINE)
    assert examples
    for line in examples[1].splitlines():
        words = shlex.split(re.split(r' \||   +\(', line)[0])
        assert words[0] == f'nurec_{name}'
        parse(name, *words[1:])


@pytest.mark.parametrize('name', COMMANDS)
def test_the_version_and_an_option_that_it_does_not_have(name, capsys):
    with pytest.raises(SystemExit) as end:
        run(name, '--version')
    assert (end.value.code, capsys.readouterr().out) == (0, f'nurec_{name} {__version__}\n')
    with pytest.raises(SystemExit) as end:
        run(name, *REQUIRED.get(name, []), '--no-such-thing')
    out, errors = capsys.readouterr()
    assert (end.value.code, out) == (2, '')
    assert errors.startswith(f'usage: nurec_{name} ')
    assert '--no-such-thing' in errors.splitlines()[-1]


def test_one_thing_has_one_word_in_all_of_them(parse):
    """Options of the same name take and say the same, down to the letter that stands for it."""
    found: dict[str, dict[str, Action]] = {}
    for name in COMMANDS:
        parser, _ = parse(name, *REQUIRED.get(name, []))
        for flag, action in options(parser).items():
            found.setdefault(flag, {})[name] = action
    several = {flag: actions for flag, actions in found.items() if len(actions) > 1}
    assert {'--server', '--output', '--cameras', '--usdz', '--resolution-scale'} <= set(several)
    for flag, actions in several.items():
        assert len({action.metavar for action in actions.values()}) == 1, (flag, actions)
    for flag in ('--cameras', '--resolution-scale'):
        for action in several[flag].values():
            assert action.type is SHARED[flag]['type'], flag
    _, read = parse('demo', '--cameras', 'front, rear')
    assert read.cameras == ('front', 'rear')


@pytest.mark.parametrize('name', PAGES)
def test_its_page_names_every_option(name, parse):
    text = (ROOT / 'docs' / PAGES[name]).read_text()
    parser, _ = parse(name, *REQUIRED.get(name, []))
    for flag in options(parser):
        if flag.startswith('--') and flag not in ('--help', '--param', '--version'):
            assert flag in text, flag


def test_arguments_of_ros_are_parted():
    ros = ['--ros-args', '-p', 'x:=1']
    assert split_ros_arguments([]) == ([], [])
    assert split_ros_arguments(['a', *ros]) == (['a'], ros)
    assert split_ros_arguments([*ros, '--', 'b']) == (['b'], [*ros, '--'])


# Those that say so where there is none.
NEED_ROS = ('player', 'follow', 'export', 'demo', 'control')
# As a user types them: exit code, and words of the one sentence on stderr.
MISTAKES = [
    ('preview', ['--usdz', 'none.usdz'], 1, 'none.usdz'),
    ('example', ['no/folder.usdz'], 1, 'no/folder.usdz cannot be written: there is no folder'),
    ('info', ['none.usdz'], 1, 'none.usdz'),
    ('player', ['--ros-args', '-p', 'usdz_path:=none.usdz'], 1, 'none.usdz'),
    (
        *('player', ['--ros-args', '--foo'], 1),
        '--ros-args does not know --foo; after it come -p NAME:=VALUE, ',
    ),
    (
        *('player', ['--ros-args', '-p', 'server:=[::1]:46435'], 1),
        'if it is a text, quote it for YAML: -p "server:=\'[::1]:46435\'"',
    ),
    # As is recommended.
    (
        *('player', ['--ros-args', '-p', "server:='[::1]:46435'", '-p', 'usdz_path:=none.usdz']),
        *(1, 'none.usdz'),
    ),
    (
        *('player', ['--ros-args', '-p', 'cameras:=[,]'], 1),
        'a list is written -p "cameras:=[a, b]"',
    ),
    ('follow', ['--ros-args', '--foo'], 1, '--ros-args does not know --foo; after it come'),
    ('export', ['none.usdz', '--output', 'bags'], 1, 'none.usdz: there is no such file'),
    ('demo', ['--usdz', 'none.usdz'], 1, 'none.usdz'),
    ('control', ['--node', 'a b'], 2, "'a b' is not the name of a node"),
    ('control', ['--ros-args', '-r', 'x'], 1, 'remap'),
    ('export', ['x', '--output', 'y', '--wait', '-1'], 2, "'-1', expected a number from 0 to"),
    ('export', ['x', '--output', 'y', '-p', 'loop:=true'], 2, '-p loop: not in an export'),
    ('export', ['x', '--output', 'y', '--server', 'z'], 2, "--server is 'z', expected HOST:PORT"),
    ('export', ['x', '--output', 'y', '--params-file', 'z'], 1, 'cannot read z'),
    ('export', ['x', 'y/x', '--output', 'z'], 2, 'would both be written into z/x'),
    (
        'export',
        ['x', 'y', '--output', 'z', '--ego', 'e'],
        2,
        '--ego: is for one scenario, found 2',
    ),
    ('demo', ['--server', 'z'], 2, "--server is 'z', expected HOST:PORT"),
    ('example', ['--duration', '0'], 2, '--duration'),
    ('info', ['a', 'b', '--plot', 'x.png'], 2, '--plot: draws one scenario, found 2'),
    ('info', ['a', '--plot', 'x.jpg'], 2, 'x.jpg does not end in .png'),
    ('info', ['.'], 1, 'there is no .usdz file in .'),
    ('preview', ['--usdz', 'x', '--port', '70000'], 2, "'70000', expected a number from 0 to 65"),
    ('probe', ['--usdz', 'x', '--resolution-scale', '3'], 2, "'3', expected a number from 0.01"),
    ('demo', ['--rate', 'fast'], 2, "'fast', expected a number from 0.01 to 100"),
]


@pytest.mark.parametrize(('name', 'arguments', 'code', 'words'), MISTAKES)
def test_a_mistake_is_one_sentence(name, arguments, code, words, capsys, monkeypatch, tmp_path):
    if name in NEED_ROS and not HAS_ROS and code == 1:
        pytest.skip('needs rclpy')
    monkeypatch.chdir(tmp_path)
    # It ends its process at once, which is the tests' own here.
    monkeypatch.setattr('nurec_ros.cli.control.leave', sys.exit)
    ended: object
    try:
        ended = run(name, *arguments)
    except SystemExit as end:
        ended = end.code
    out, errors = capsys.readouterr()
    assert (ended, out) == (code, '')
    last = errors.splitlines()[-1]
    assert last.startswith(f'nurec_{name}: ')
    assert words in last
    said = [line for line in errors.splitlines() if not line.startswith('[INFO]')]
    assert code == 2 or said == [last]


EARLY = """
import os, sys
class Early:
    def find_spec(self, name, path=None, target=None):
        if name.startswith('nurec_ros.cli.') and name != 'nurec_ros.cli.entry':
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Early())
from nurec_ros.cli.entry import {name}
sys.exit({name}())
"""


@pytest.mark.parametrize('name', COMMANDS)
def test_a_signal_before_its_imports_ends_it_in_its_own_words(name):
    number = signal.SIGINT if COMMANDS.index(name) % 2 else signal.SIGTERM
    done = subprocess.run(
        [sys.executable, '-c', EARLY.format(name=name, number=int(number))],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    serves = name in ('player', 'preview', 'follow', 'autoware')
    expected = (0, '') if serves else (128 + number, f'nurec_{name}: interrupted\n')
    assert (done.returncode, done.stderr) == expected


CHECKED = """
import os, signal, sys
from nurec_ros.cli import command
def check(*_):
    os.kill(os.getpid(), signal.SIGINT)
    print('checked')
command.check_limits = check
sys.exit(command.run_command('it', lambda _: print('worked')))
"""


def test_a_signal_waits_for_the_check_of_threads():
    words = [sys.executable, '-c', CHECKED]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (130, 'checked\n')
