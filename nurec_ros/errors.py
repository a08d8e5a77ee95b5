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
"""
The package's errors: one base, one class for each thing that the user can act on.

And what makes texts out of files fit for a message: one line, printable, not too long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class NurecError(Exception):
    """Base of every error that this package raises on purpose."""


class ScenarioError(NurecError):
    """A scenario archive that cannot be used; names file, member and key."""


class RenderError(NurecError):
    """A frame, or a whole server, that could not be had; names the cause and its remedy."""


class ConfigurationError(NurecError):
    """A parameter or an option that cannot be honoured; names it and the allowed values."""


def shortened(text: str, longest: int = 60) -> str:
    """Return the text, cut where it is too long."""
    return text if len(text) <= longest else text[: longest - 1] + '…'


def one_line(text: str) -> str:
    """Return the text with everything escaped that breaks lines or that cannot be encoded."""
    if text.isprintable():
        return text
    return ''.join(
        char if char.isprintable() else char.encode('unicode_escape').decode('ascii')
        for char in text
    )


def counted(number: int, one: str, many: str = '') -> str:
    """Return the number with its noun, `many` where adding an s does not do."""
    return f'{number} {one if number == 1 else many or one + "s"}'


class UnforeseenError(NurecError):
    """
    An exception that nobody foresaw, with what was being done; `__cause__` is the exception.

    It is an error of ours: whoever answers with it logs the traceback as well.
    """

    def __init__(self, doing: str, error: BaseException) -> None:
        text = ' '.join(str(error).split())
        super().__init__(f'{doing}: {type(error).__name__}' + (f': {text}' if text else ''))


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Turn whatever is raised inside, and is no NurecError, into an UnforeseenError."""
    try:
        yield
    except NurecError:
        raise
    except Exception as error:
        raise UnforeseenError(f'unforeseen error while {what}', error) from error
