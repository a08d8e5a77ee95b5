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
"""The folder of an export: for one export alone, and its files whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from nurec_ros.errors import ConfigurationError


def make_folder(path: Path) -> None:
    """Make the folder where it is not there yet; ConfigurationError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f'cannot write into {path}: {error.strerror or error}') from error


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """Make the folder and keep other exports away; ConfigurationError where one writes there."""
    is_new = not output.exists()
    make_folder(output)
    # The kernel lets the lock go with the process, however that ends.
    lock: int | None = None
    try:
        try:
            lock = os.open(output, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f'another nurec_export is writing into {output}: choose another --output'
            raise ConfigurationError(message) from None
        except OSError:
            # Some network file systems have no locks, or none of folders; or it may not be read.
            pass
        yield
    finally:
        if lock is not None:
            os.close(lock)
        if is_new:
            # Where nothing came of it.
            with suppress(OSError):
                output.rmdir()


def read_json(path: Path) -> Any:
    """Return what a file of the folder holds; ConfigurationError where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ConfigurationError(f'{path} is no JSON: {error}') from error


def write_json(path: Path, document: object) -> None:
    """Write a document as `write_text` does."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + '\n')


def write_text(path: Path, text: str) -> None:
    """Write a file at once or not at all."""
    beside = path.with_name(f'{path.name}.new')
    beside.write_text(text, encoding='utf-8')
    settle(beside)
    beside.replace(path)


def settle(path: Path) -> None:
    """Have a file on the disk before its name says that it is finished."""
    with path.open('rb') as file:
        os.fsync(file.fileno())
