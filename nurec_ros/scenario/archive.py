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
Single members of a USDZ, read without extracting the archive.

A USDZ is an ordinary zip. Only the members that are asked for are read, in pieces, and never more
than a stated number of bytes: an archive of gigabytes costs no more than its few JSON members,
and one made to exhaust memory is refused. The JSON in them is parsed here as well: what that will
cost is estimated first, since it is up to a hundred times the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import io
import json
from pathlib import Path, PurePosixPath
import stat
import struct
from typing import Any, IO
import zipfile
import zlib

import numpy as np
from nurec_ros.errors import one_line, ScenarioError, shortened

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

RIG = 'rig_trajectories.json'
TRACKS = 'sequence_tracks.json'
DATA_INFO = 'data_info.json'
METADATA = 'metadata.yaml'
ROAD_MAP = 'map.xodr'

MEBIBYTE = 1 << 20
# Largest sizes read, unpacked. Real files hold 1 to 10 MB of JSON and some kB of YAML.
LARGEST_MEMBER: Mapping[str, int] = {
    RIG: 256 * MEBIBYTE,
    TRACKS: 256 * MEBIBYTE,
    DATA_INFO: 1 * MEBIBYTE,
    METADATA: MEBIBYTE // 8,
    ROAD_MAP: 32 * MEBIBYTE,
}
# Largest list of members: some 150,000 names. Real archives have fewer than 100.
LARGEST_DIRECTORY = 16 * MEBIBYTE

_PIECE = MEBIBYTE
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_ZIP_START = b'PK\x03\x04'

# What zipfile and zlib raise for damaged archives; the last four come out of header fields that
# make no sense.
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    OverflowError,
    struct.error,
)


def refusal(path: Path, text: str) -> ScenarioError:
    """Return the error that refuses a file: its path and what is wrong with it."""
    return ScenarioError(one_line(f'{path}: {text}'))


class MemberError(Exception):
    """A member that cannot be used; the text says why and names neither file nor member."""


class Archive:
    """
    The members of one archive, open for reading; a context manager.

    `folder` is '' or the sub-folder that holds the scenario ('name/'): one is used only where
    there is no rig_trajectories.json at the top.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open_file(self.path)
        try:
            self._zip = _open_zip(self.path, self._file)
            self._members = {_plain_name(info.filename): info for info in self._zip.infolist()}
            self.folder = self._find_folder()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, member: str) -> bool:
        return self.folder + member in self._members

    def name(self, member: str) -> str:
        return self.folder + member

    def read(self, member: str) -> bytes:
        """Return the member's bytes; raises MemberError where that is impossible or too much."""
        info = self._members.get(self.folder + member)
        if info is None:
            raise MemberError('is missing')
        limit = LARGEST_MEMBER.get(member, MEBIBYTE)
        self._check(info, limit)
        pieces: list[bytes] = []
        size = 0
        try:
            with self._zip.open(info) as stream:
                while piece := stream.read(_PIECE):
                    size += len(piece)
                    # The size in the header is only a promise.
                    if size > limit:
                        raise MemberError(_too_large(size, limit))
                    pieces.append(piece)
        except _DAMAGE as error:
            raise MemberError(f'is damaged ({_text(error)}), expected a whole member') from error
        if size < info.file_size:
            raise MemberError(f'is cut short after {size} bytes, expected {info.file_size}')
        return pieces[0] if len(pieces) == 1 else b''.join(pieces)

    def _check(self, info: zipfile.ZipInfo, limit: int) -> None:
        if stat.S_ISLNK(info.external_attr >> 16):
            raise MemberError('is a symbolic link, expected the file itself')
        if info.flag_bits & _ENCRYPTED:
            raise MemberError('is encrypted, expected a plain member')
        if info.compress_type not in _METHODS:
            raise MemberError(
                f'has compression method {info.compress_type}, expected stored or deflated'
            )
        if info.file_size > limit:
            raise MemberError(_too_large(info.file_size, limit))

    def _find_folder(self) -> str:
        if RIG in self._members:
            return ''
        folders = sorted(name[: -len(RIG)] for name in self._members if name.endswith(f'/{RIG}'))
        if len(folders) == 1:
            return folders[0]
        if folders:
            where = listed(folders)
            raise refusal(
                self.path, f'{RIG} is in {len(folders)} folders ({where}), expected one scenario'
            )
        raise refusal(self.path, self._what_it_is())

    def _what_it_is(self) -> str:
        names = sorted(self._members)
        held = listed(names) or 'nothing'
        if any(PurePosixPath(name).name == 'gauss.usda' for name in names) or (
            any(name.endswith('.nurec') for name in names)
            and not any(name.endswith('.json') for name in names)
        ):
            return (
                f'is a plain Gaussian export ({held}): without {RIG} it has neither ego '
                'poses nor cameras, expected the scenario archive of the same scene'
            )
        return (
            f'{RIG} is missing (the archive holds {held}), '
            'expected the archive of a NuRec scenario'
        )


class _BoundedFile(io.FileIO):
    """
    A file that refuses to be read in one go beyond the largest directory.

    zipfile reads the whole list of members at once, whatever size the archive claims for it.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(
                f'its list of members has {size} bytes, at most {LARGEST_DIRECTORY} are read'
            )
        return super().read(size) or b''


def _open_file(path: Path) -> _BoundedFile:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise refusal(path, 'is a folder, expected a USDZ file')
        if not stat.S_ISREG(mode):
            raise refusal(path, 'is not a regular file, expected a USDZ file')
        return _BoundedFile(path)
    except FileNotFoundError:
        raise refusal(path, 'there is no such file, expected a USDZ file') from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise refusal(path, f'cannot be opened ({reason}), expected a USDZ file') from error


def _open_zip(path: Path, file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _DAMAGE as error:
        reason = _text(error)
    try:
        file.seek(0)
        start = file.read(len(_ZIP_START))
    except OSError as error:
        raise refusal(path, f'cannot be read ({_text(error)}), expected a USDZ file') from error
    if not start:
        raise refusal(path, 'is empty, expected a USDZ (zip) archive')
    if start == _ZIP_START:
        raise refusal(
            path,
            f'begins as a zip archive but is cut short or damaged ({reason}), '
            'expected a whole USDZ',
        )
    raise refusal(path, f'is not a zip archive ({reason}), expected a USDZ')


def _plain_name(name: str) -> str:
    """Return a member's name with forward slashes and without a leading './'."""
    name = name.replace('\\', '/')
    while name.startswith('./'):
        name = name[2:]
    return name.lstrip('/')


def _too_large(size: int, limit: int) -> str:
    return f'has {size} bytes or more, expected at most {limit} ({limit / MEBIBYTE:g} MiB)'


def _text(error: BaseException) -> str:
    return ' '.join(str(error).split()).rstrip('.') or type(error).__name__


def listed(names: Sequence[str], shown: Callable[[str], str] = shortened) -> str:
    """Return the names, or the first five of them and how many more."""
    more = f' and {len(names) - 5} more' if len(names) > 5 else ''
    return ', '.join(map(shown, names[:5])) + more


# What parsing one member may take: room for more than a million poses, real files have up to
# 60,000.
MOST_MEMORY = 1024 * MEBIBYTE

# Bytes that each part of a text costs at most while it is parsed, measured with both parsers: the
# text and the copy that a parser makes of it, a value and its place in a list, and what a list, an
# object, a key or a text costs beyond that.
_BYTE, _VALUE, _LIST, _OBJECT, _KEY, _TEXT = 2, 56, 44, 100, 80, 50
# Letters beyond ASCII may make a text of four bytes for each letter; the standard parser holds
# two of those at a time.
_ESCAPED_BYTE, _WIDE_BYTE = 4, 8
# No valid text costs more for each of its bytes: those of empty objects are the dearest.
_DEAREST_BYTE = 90

_BOM = b'\xef\xbb\xbf'


def parse_json(data: bytes) -> Any:
    """Return the object that the bytes hold; raises MemberError where they are not JSON."""
    data = data.removeprefix(_BOM)
    # Most texts are so short that counting is not worth the time.
    if len(data) * _DEAREST_BYTE > MOST_MEMORY:
        memory, held = parsing_memory(data)
        if memory > MOST_MEMORY:
            raise MemberError(
                f'would take some {memory // MEBIBYTE} MiB of memory ({held}), expected at most '
                f'{MOST_MEMORY // MEBIBYTE} MiB'
            )
    if orjson is not None:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
    return _parse_tolerantly(data)


def parsing_memory(data: bytes) -> tuple[int, str]:
    """
    Return the bytes of memory that parsing takes at most, and how much of what the text holds.

    Counted by its marks, without parsing; marks within texts count as well.
    """
    codes = np.frombuffer(data, dtype=np.uint8)
    commas, lists, objects, keys, quotes = (
        int(np.count_nonzero(codes == ord(mark))) for mark in ',[{:"'
    )
    size, values, texts = len(data), 1 + commas + lists + objects, quotes // 2
    wide = _WIDE_BYTE if not data.isascii() else _ESCAPED_BYTE if b'\\u' in data else 0
    memory = (_BYTE + wide) * size + _VALUE * values + _LIST * lists
    memory += _OBJECT * objects + _KEY * keys + _TEXT * texts
    held = f'{size} bytes, {values} values, {lists} lists, {objects} objects, {texts} texts'
    return memory, held


def _parse_tolerantly(data: bytes) -> Any:
    try:
        text = data.decode('utf-8')
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            raise
        except ValueError:
            # Some number has more digits than Python converts: infinite then, to every check.
            return json.loads(text, parse_int=float)
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise MemberError(
            f'is not UTF-8 text (byte {error.start} is {byte:#04x}), expected JSON'
        ) from error
    except json.JSONDecodeError as error:
        raise MemberError(
            f'is not JSON ({error.msg} at line {error.lineno} column {error.colno}), expected JSON'
        ) from error
    except RecursionError as error:
        raise MemberError('is nested too deeply, expected fewer than some 900 levels') from error
