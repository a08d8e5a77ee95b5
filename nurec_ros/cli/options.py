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
"""The commands' options: one look of help, one word for one thing, one way to refuse."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
import sys
from typing import Any, Protocol, TypeVar

from nurec_ros import __version__
from nurec_ros.errors import ConfigurationError

# What a command needs beside the package's own requirements, and where it comes from.
REMEDIES = {
    'rclpy': 'source a ROS 2 distribution, or run `make setup`',
    'rosbags': "pip install 'nurec_ros[export]'",
    'ackermann_msgs': 'apt install ros-$ROS_DISTRO-ackermann-msgs, or run `make setup`',
    'ray': "pip install 'nurec_ros[cluster]'",
    'av': 'pip install av',
}

_Number = TypeVar('_Number', int, float)


class _Writable(Protocol):
    """What argparse prints to."""

    def write(self, text: str, /) -> object: ...


class Parser(argparse.ArgumentParser):
    """
    The command line of a command: its help has examples, and says what exit codes mean.

    Help and version need nobody who reads; before 3.11 argparse fails then.
    """

    def __init__(
        self,
        name: str,
        description: str,
        *,
        examples: str,
        codes: str,
        more: str = '',
        usage: str | None = None,
    ) -> None:
        """Take examples a line each, exit codes as '0 …, 1 …', and `more` to stand before both."""
        parts = (more.strip(), f'examples:\n{_indented(examples)}', f'exit codes: {codes}')
        super().__init__(
            prog=name,
            description=description,
            epilog='\n\n'.join(part for part in parts if part),
            usage=usage,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument('--version', action='version', version=f'%(prog)s {__version__}')

    def add(self, *flags: str, **details: Any) -> None:
        """Add an option; one that several commands have looks alike in all of them."""
        known = SHARED.get(flags[0], {})
        self.add_argument(*flags, **{**known, **details})

    def _print_message(self, message: str, file: _Writable | None = None) -> None:
        with suppress(OSError):
            super()._print_message(message, file)


def _indented(text: str) -> str:
    return '\n'.join(f'  {line.strip()}' for line in text.strip().splitlines())


def split_ros_arguments(arguments: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """
    Return the command's own arguments, and those between `--ros-args` and `--` or the end.

    None: what was typed.
    """
    own: list[str] = []
    ros: list[str] = []
    current = own
    for argument in sys.argv[1:] if arguments is None else arguments:
        if argument == '--ros-args':
            current = ros
        if current is ros and argument == '--':
            ros.append(argument)
            current = own
            continue
        current.append(argument)
    return own, ros


def ros_arguments(
    name: str, description: str, arguments: Sequence[str] | None, **texts: str
) -> list[str]:
    """Return the arguments of a command that takes none of its own but those of ROS's."""
    own, ros = split_ros_arguments(arguments)
    usage = '%(prog)s [--help] [--version] [--ros-args ...]'
    Parser(name, description, usage=usage, **texts).parse_args(own)
    return ros


def need(*modules: str) -> None:
    """Raise ConfigurationError where a module is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise ConfigurationError(f'needs {module}, which is not installed: {REMEDIES[module]}')


# What options take.


def check_server(command: argparse.ArgumentParser, text: str) -> None:
    """Have a command refuse a --server that is no list of addresses."""
    from nurec_ros.rendering.address import addresses

    try:
        addresses(text)
    except ConfigurationError as error:
        # It begins with the parameter's name, which is the option's.
        command.error(f'argument --{error}')


def number(
    least: float, most: float, kind: Callable[[str], _Number], unit: str = ''
) -> Callable[[str], _Number]:
    """Return what reads a number within limits."""

    def read(text: str) -> _Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            expected = f'a number from {least:g} to {most:g}{unit}'
            raise argparse.ArgumentTypeError(f'{text!r}, expected {expected}')
        return value

    return read


def seconds(least: float = 0.0) -> Callable[[str], float]:
    """Return what reads a number of seconds, up to a day."""
    return number(least, 86_400.0, float, ' s')


def path(text: str) -> str:
    """Read a path, which `--usdz "$FILE"` leaves empty where there is no FILE."""
    if not text:
        raise argparse.ArgumentTypeError('the path is empty')
    return text


def names(text: str) -> tuple[str, ...]:
    """Read names with commas between them; empty text holds none."""
    found = tuple(name for part in text.split(',') if (name := part.strip()))
    if text.strip() and not found:
        raise argparse.ArgumentTypeError(f'{text!r} holds no name, expected names such as a,b')
    return found


def pair(words: str, example: str) -> Callable[[str], tuple[int, int]]:
    """Return what reads two whole numbers with a colon, or an x, between them."""

    def read(text: str) -> tuple[int, int]:
        first, _, second = text.replace('x', ':').partition(':')
        try:
            return int(first), int(second)
        except ValueError:
            expected = f'{words}, two whole numbers such as {example}'
            raise argparse.ArgumentTypeError(f'{text!r}, expected {expected}') from None

    return read


SHARED: Mapping[str, Mapping[str, Any]] = {
    '--server': {'metavar': 'HOST:PORT[,…]', 'help': 'render servers (%(default)s)'},
    '--cameras': {
        'type': names,
        'default': (),
        'metavar': 'A,B',
        'help': 'these cameras only (all)',
    },
    '--lidars': {
        'type': names,
        'default': (),
        'metavar': 'A,B',
        'help': 'these lidars only; the word none for none (all)',
    },
    '--resolution-scale': {
        'type': number(0.01, 2.0, float),
        'metavar': 'S',
        'help': "size of images, as a share of the calibration's (%(default)s)",
    },
    '--output': {'metavar': 'DIR'},
    '--usdz': {'metavar': 'FILE'},
    '--json': {'action': 'store_true'},
}
