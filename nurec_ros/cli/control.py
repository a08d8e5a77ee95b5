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
"""`nurec_control`: the remote control of a player, in a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
import contextlib
from queue import Empty, SimpleQueue
import re
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from nurec_ros.cli.command import can_print, leave, run_command, say, Signals
from nurec_ros.cli.options import Parser, split_ros_arguments
from nurec_ros.control.remote import Remote
from nurec_ros.control.terminal import (
    COMMANDS,
    compose,
    HELP,
    LEAVE,
    MARKS,
    printable,
    Terminal,
    usable,
)

if TYPE_CHECKING:
    from nurec_ros.ros.tool_nodes import PlayerLink

EXAMPLES = """
nurec_control
nurec_control --node /second
nurec_control | tee drive.log          (no terminal: a line each second)
"""
CODES = '0 left with q, 1 it cannot start, 2 wrong arguments, 130 after Ctrl-C'

# Without these its middleware would not start.
THREADS = 16
MEGABYTES = 256

LINE_S = 1.0
PLAYING_S = 0.1
# The bytes of one key come at once; by then it was the key Escape alone.
ESCAPE_S = 0.05

NODE = re.compile(r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)


def parser() -> Parser:
    """Return the command line's description."""
    result = Parser(
        'nurec_control',
        'Steer a running nurec_player from a terminal, and see how it does.',
        more=f'keys:\n{HELP}',
        examples=EXAMPLES,
        codes=CODES,
        usage='%(prog)s [--help] [--version] [--node NAME] [--ros-args ...]',
    )
    result.add(
        '--node',
        type=_node,
        default='/nurec',
        metavar='NAME',
        help='full name of the player (%(default)s)',
    )
    return result


def _node(text: str) -> str:
    if not NODE.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not the name of a node, such as /nurec or /car/nurec'
        )
    return f'/{text.lstrip("/")}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Steer the player until the user leaves; return the process' exit code."""
    # A terminal that closes, or Ctrl-\\, must find it as it was as well.
    signals = Signals(signal.SIGHUP, signal.SIGQUIT)

    def work(_: Signals) -> int:
        own, ros = split_ros_arguments(arguments)
        _run(parser().parse_args(own).node, ros, signals)
        return 0

    code = run_command(
        'nurec_control', work, signals=signals, threads=THREADS, megabytes=MEGABYTES
    )
    # Threads of the middleware may still be at work.
    leave(code)


def _run(player: str, ros_arguments: Sequence[str], signals: Signals) -> None:
    from nurec_ros.ros.tool_nodes import PlayerLink

    # From here on the loops look, so that the terminal is never left half way.
    signals.interrupt_no_more()
    with Inbox() as inbox:
        remote = Remote(player)
        link = PlayerLink(player, remote, inbox.post, ros_arguments)
        try:
            if usable():
                _steer(remote, link, inbox, signals)
            else:
                _print_lines(remote, inbox, signals)
        finally:
            link.close()
    signals.check()


def _print_lines(remote: Remote, inbox: Inbox, signals: Signals) -> None:
    """Print a line each second, for as long as somebody reads."""
    unicode = can_print(''.join(MARKS))
    next_s = time.monotonic() + LINE_S
    while not signals.came:
        inbox.wait(max(next_s - time.monotonic(), 0.0))
        if time.monotonic() >= next_s:
            next_s += LINE_S
            if say(compose(remote.view(time.monotonic()), unicode=unicode)) is not None:
                return


def _steer(remote: Remote, link: PlayerLink, inbox: Inbox, signals: Signals) -> None:
    """Read keys and show the line until the user leaves."""
    stops = _Stops()
    with Terminal() as terminal:
        terminal.tell(HELP)
        leaves = False
        while not (leaves or signals.came or terminal.gone):
            leaves = not _turn(remote, link, inbox, terminal, stops)


def _turn(
    remote: Remote, link: PlayerLink, inbox: Inbox, terminal: Terminal, stops: _Stops
) -> bool:
    """Show, wait, and do what came; return False when the user leaves."""
    terminal.follow()
    now_s = time.monotonic()
    view = remote.view(now_s)
    terminal.show(compose(view, terminal.columns, unicode=can_print(''.join(MARKS))))
    playing = view.state is not None and view.state.is_playing
    wait_s = ESCAPE_S if terminal.keys.pending else PLAYING_S if playing else LINE_S
    ready = inbox.wait(wait_s, terminal.fileno if terminal.taken else None)
    if stops.asked:
        stops.asked = False
        terminal.stop()
    elif stops.continued:
        # After a SIGSTOP the shell has had the terminal, and set it its own way.
        stops.continued = False
        terminal.take()
    elif ready:
        keys = terminal.read()
        return keys is not None and all(_press(key, remote, link, terminal) for key in keys)
    elif terminal.keys.pending and time.monotonic() - now_s >= ESCAPE_S:
        terminal.keys.give_up()
    return True


def _press(key: str, remote: Remote, link: PlayerLink, terminal: Terminal) -> bool:
    """Do what a key is for; return False where that is to leave."""
    if key == '?':
        terminal.tell(HELP)
    elif key == 'w':
        wrong = remote.view(time.monotonic()).wrong
        terminal.tell('\n'.join(printable(str(one)) for one in wrong) or 'nothing is wrong')
    elif key in COMMANDS:
        link.send(remote.press(COMMANDS[key], time.monotonic()))
    return key not in LEAVE


class _Stops:
    """Notes Ctrl-Z, unless the shell that started this has no jobs, and that it goes on."""

    def __init__(self) -> None:
        self.asked = False
        self.continued = False
        if signal.getsignal(signal.SIGTSTP) != signal.SIG_IGN:
            signal.signal(signal.SIGTSTP, self._note)
        signal.signal(signal.SIGCONT, self._note)
        # It need only wake the loop.
        signal.signal(signal.SIGWINCH, self._note)

    def _note(self, number: int, _: object) -> None:
        self.asked |= number == signal.SIGTSTP
        self.continued |= number == signal.SIGCONT


class Inbox:
    """What other threads leave for the main one, which waits for it, for keys and for signals."""

    def __enter__(self) -> Inbox:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # Python's handlers run in the main thread, which sleeps in `wait`.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` made in the main thread; from any thread."""
        self._calls.put(call)
        # Full of what wakes it already.
        with contextlib.suppress(BlockingIOError):
            self._writer.send(b'\0')

    def wait(self, timeout_s: float, descriptor: int | None = None) -> bool:
        """Wait, make the calls that came, and return whether the descriptor can be read."""
        watched = [self._reader.fileno(), *([] if descriptor is None else [descriptor])]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if self._reader.fileno() in ready:
            self._reader.recv(4096)
        # Only what is there now: keys must get their turn.
        for _ in range(self._calls.qsize()):
            try:
                call = self._calls.get_nowait()
            except Empty:
                break
            call()
        return descriptor in ready


if __name__ == '__main__':
    sys.exit(main())
