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
A zip as USD wants it: members stored uncompressed, their bytes beginning at multiples of 64.

The padding is an extra field in the member's local header. Dates and attributes are fixed, so that
the same members make the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import tempfile
import zipfile

from nurec_ros.errors import ConfigurationError

ALIGNMENT = 64
LOCAL_HEADER_SIZE = 30
# The extra field's two-byte id and two-byte length; the id is the one that USD's own writer takes.
EXTRA_FIELD_ID = 0x1986
EXTRA_FIELD_HEADER_SIZE = 4
DATE = (2026, 1, 1, 0, 0, 0)


def padding(offset: int, name: str) -> bytes:
    """
    Give the extra field that moves a member's data to the next multiple of 64.

    `offset` is where the member's local header begins, in bytes from the start of the archive.
    """
    data_begins = offset + LOCAL_HEADER_SIZE + len(name.encode()) + EXTRA_FIELD_HEADER_SIZE
    size = -data_begins % ALIGNMENT
    return EXTRA_FIELD_ID.to_bytes(2, 'little') + size.to_bytes(2, 'little') + b'\0' * size


def write_usdz(path: str | os.PathLike[str], members: Mapping[str, bytes | str]) -> Path:
    """
    Write `members` (name to content, text as UTF-8) in their order as one archive at `path`.

    The file appears whole or not at all: it is written beside its place and moved there, through
    links to where they lead. ConfigurationError where something else than a file stands there, or
    its folder is missing; an OSError of the file system is passed on.
    """
    if not os.fspath(path):
        message = 'the path of the file to write is empty'
        raise ConfigurationError(message)
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        message = f'{path} is there and is no ordinary file; nothing is written'
        raise ConfigurationError(message)
    if not target.parent.is_dir():
        message = f'{path} cannot be written: there is no folder {target.parent}'
        raise ConfigurationError(message)
    handle, temporary = tempfile.mkstemp(prefix=f'.{target.name}.', dir=target.parent)
    try:
        with os.fdopen(handle, 'wb') as file, zipfile.ZipFile(file, 'w') as archive:
            for name, content in members.items():
                info = zipfile.ZipInfo(name, DATE)
                info.create_system = 3  # the same on every platform
                info.external_attr = 0o644 << 16
                info.extra = padding(file.tell(), name)
                archive.writestr(info, content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    return Path(path)


def _umask() -> int:
    """Read the process's mask of file permissions, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
