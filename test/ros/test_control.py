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
"""The remote control as a user has it: a terminal, keys, a player of its own process."""

import os
import queue
import signal
import subprocess
import sys
from test.ros.pseudo_terminal import PseudoTerminal
from test.support.archives import build_archive, START_US
from test.support.player_bench import frame_ends, FRONT, NOWHERE, running_player, state_of
from test.support.waiting import until
import time

from diagnostic_msgs.msg import DiagnosticStatus
from nurec_ros.cli import control
from nurec_ros.control.remote import PlayerCall, Remote
from nurec_ros.control.terminal import HELP
from nurec_ros.ros import tool_nodes
import pytest

CONTROL = 'nurec_ros.cli.control'
LOOKS = 'looking for /nurec|there is no player /nurec'
NODE = ['--node', 'car/second']


def test_keys_steer_a_player_that_may_end_and_return(tmp_path, listener):
    folder = tmp_path / 'other'
    folder.mkdir()
    parameters = {'usdz_path': build_archive(tmp_path, duration_s=60.0), 'server': NOWHERE}
    rules = ('-r', '__node:=second', '-r', '__ns:=/car')
    states = listener.listen(DiagnosticStatus, '/car/second/state', latched=True)

    def told(**expected):
        def fits():
            player.alive()
            return states and expected.items() <= state_of(states[-1]).items()

        listener.until(fits, str(expected))

    with PseudoTerminal(tmp_path, CONTROL, NODE) as terminal:
        terminal.shows('there is no player /car/second')
        with running_player(tmp_path, parameters, *rules, report_s=0.2) as player:
            with PseudoTerminal(folder, CONTROL) as other:
                other.shows(r'there is /car/second \(--node\)')
                other.press(b'\x04')
                assert other.ended() == 0
            told(is_playing=False)
            terminal.shows(r'halted +0\.00/60\.00 s  ─+  x1  \d+ road users  ')
            # The server is nowhere.
            terminal.shows('cannot reach 127.0.0.1:1')
            assert terminal.mode() != terminal.before
            terminal.press(b'\x1b[C')
            told(current_time_us=frame_ends(FRONT)[0] // 1000, is_playing=False)
            terminal.shows(r'halted +0\.05/60\.00 s')
            terminal.press(b'5')
            told(current_time_us=START_US + 30_000_000)
            terminal.shows(r'halted +30\.00/60\.00 s')
            terminal.press(b'\x1b[1;2C')
            told(current_time_us=START_US + 31_000_000)
            # Keys faster than the answers.
            terminal.press(b'\x1b[1;2D\x1b[1;2D\x1b[D')
            told(current_time_us=START_US + 24_000_000)
            terminal.press(b'\x1b[A')
            told(speed=1.1)
            terminal.shows(r'  x1\.1  ')
            terminal.press(b'\x1b[B')
            told(speed=1.0)
            terminal.press(b' ')
            told(is_playing=True)
            terminal.shows(r'playing +2[4-9]\.\d\d/60\.00 s')
            terminal.press(b'\x1b[C')
            terminal.shows('it plays: halt it first')
            terminal.press(b' ')
            told(is_playing=False)
            terminal.press(b'r')
            told(current_time_us=START_US, is_playing=False)
            terminal.shows(r'halted +0\.00/60\.00 s')
            terminal.press(b'w')
            terminal.shows('renderer: cannot reach 127.0.0.1:1[^\r]+\r\n')
            terminal.press(b'?')
            terminal.shows('these keys')
            on_a_pipe_it_prints_lines_until_nobody_reads()
            player.interrupt()
            terminal.shows('there is no player /car/second')
        with running_player(tmp_path, parameters, *rules, report_s=0.2):
            terminal.press(b'')
            terminal.shows(r'halted +0\.00')
            terminal.press(b'5')
            terminal.shows(r'halted +30\.00')
        terminal.press(b'q')
        left_as_it_was(terminal, 0)
        assert terminal.text.endswith('\r\n\x1b[?25h')


def on_a_pipe_it_prints_lines_until_nobody_reads():
    with subprocess.Popen(
        [sys.executable, '-m', CONTROL, *NODE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONIOENCODING': 'utf-8'},
        encoding='utf-8',
    ) as process:
        lines = [process.stdout.readline()]
        while not lines[-1].startswith('halted'):
            assert lines[-1], process.stderr.read()
            lines.append(process.stdout.readline())
        assert '  x1  ' in lines[-1]
        assert not any('\x1b' in line or '\r' in line for line in lines)
        assert process.stdout.readline().startswith('halted')
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr.read() == ''


def left_as_it_was(terminal, code):
    assert terminal.ended() == code
    assert terminal.mode() == terminal.before
    assert '\x1b[?25h' in terminal.text
    assert 'Traceback' not in terminal.text


@pytest.mark.parametrize(
    ('end', 'code'),
    [
        (lambda terminal: terminal.press(b'\x03'), 130),
        (lambda terminal: terminal.signal(signal.SIGQUIT), 131),
    ],
    ids=['ctrl-c', 'sigquit'],
)
def test_the_terminal_is_left_as_it_was(end, code, tmp_path):
    with PseudoTerminal(tmp_path, CONTROL) as terminal:
        terminal.shows(LOOKS)
        assert terminal.mode() != terminal.before
        end(terminal)
        left_as_it_was(terminal, code)


def test_an_exception_leaves_the_terminal_as_it_was_and_one_line(tmp_path):
    with PseudoTerminal(tmp_path, CONTROL, failing='_press') as terminal:
        terminal.shows(LOOKS)
        terminal.press(b'x')
        left_as_it_was(terminal, 1)
    last = terminal.text.splitlines()[-1]
    assert 'nurec_control: unforeseen ZeroDivisionError' in last


def test_a_stop_gives_the_terminal_back_until_it_goes_on(tmp_path):
    with PseudoTerminal(tmp_path, CONTROL) as terminal:
        terminal.shows(LOOKS)
        taken = terminal.mode()
        assert taken != terminal.before
        for stop in (
            lambda: terminal.press(b'\x1a'),
            lambda: terminal.signal(signal.SIGTSTP),
            # This one cannot be noticed: it is the shell that sets the terminal then.
            lambda: terminal.signal(signal.SIGSTOP),
        ):
            terminal.press(b'')
            stop()
            terminal.until(terminal.stopped, 'the stop')
            if terminal.mode() == taken:
                terminal.set_mode(terminal.before)
            assert terminal.mode() == terminal.before
            terminal.press(b'')
            terminal.signal(signal.SIGCONT)
            terminal.until(lambda: terminal.mode() == taken, 'the terminal taken')
            terminal.shows('there is no player')
        terminal.signal(signal.SIGTERM)
        left_as_it_was(terminal, 143)


def test_what_a_player_does_not_offer_is_answered_at_once(monkeypatch, ros_environment):
    monkeypatch.setattr(tool_nodes, 'rosbag2', None)
    remote, calls = Remote('/nurec'), queue.Queue()
    link = tool_nodes.PlayerLink('/nurec', remote, calls.put)
    try:
        answers = []
        monkeypatch.setattr(remote, 'answered', lambda *answer: answers.append(answer[1:3]))
        for name in ('seek', 'play'):
            link.send(PlayerCall(name))
        until(lambda: calls.get()() or len(answers) == 2, 'the answers')
        assert answers == [
            (False, 'seek needs rosbag2_interfaces, which is not installed here'),
            (False, '/nurec offers no service play now'),
        ]
    finally:
        link.close()


def test_a_player_that_is_killed_within_a_next_frame_leaves_the_key_to_the_next(
    tmp_path, ros_environment
):
    parameters = {'usdz_path': build_archive(tmp_path, duration_s=60.0), 'server': NOWHERE}
    remote, calls = Remote('/nurec'), queue.Queue()
    link = tool_nodes.PlayerLink('/nurec', remote, calls.put)

    def position_us():
        while not calls.empty():
            calls.get()()
        return remote.view(0.0).position_us

    def press():
        position_us()
        call = remote.press(Remote.next_frame, time.monotonic())
        link.send(call)
        return call

    def steps():
        press()
        return position_us() > START_US

    try:
        with running_player(tmp_path, parameters) as player:
            until(steps, 'a step')
            player.send_signal(signal.SIGSTOP)
            until(lambda: press() is None, 'a call that waits')
            player.send_signal(signal.SIGKILL)
        with running_player(tmp_path, parameters):
            until(lambda: position_us() == START_US, 'the next player')
            until(steps, 'its step')
    finally:
        link.close()


def test_the_help_names_every_key_and_a_root_is_no_name_of_a_node(capsys):
    text = control.parser().format_help()
    assert HELP in text
    assert 'exit codes: 0 left with q' in text
    with pytest.raises(SystemExit) as end:
        control.parser().parse_args(['--node', '/'])
    assert end.value.code == 2
    assert "'/' is not the name of a node" in capsys.readouterr().err
