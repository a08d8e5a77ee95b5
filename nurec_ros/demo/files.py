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
"""Where the demo leaves things, and what it may replace there: its own earlier results alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import fcntl
import os
from pathlib import Path
import shutil
import tempfile

from nurec_ros.errors import ConfigurationError

METADATA = 'metadata.yaml'
BAG_SUFFIX = '.mcap'
# The folder that a recording is made in, beside the earlier one.
UNFINISHED = '.recording-'


class Files:
    """Where everything goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.example = folder / 'example.usdz'
        self.recording = folder / 'recording'
        self.contact_sheet = folder / 'contact_sheet.png'
        self.overview = folder / 'overview.png'

    def prepare(self) -> None:
        """
        Make the folder; in it, only what a killed demo left unfinished is removed.

        Raise ConfigurationError where it cannot be, where something of somebody else's stands in
        the recording's place, and where another demo is filling the folder.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigurationError(f'cannot use {self.folder}: it is a file, expected a folder')
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_recording()
            for unfinished in self.folder.glob(f'{UNFINISHED}*'):
                self._remove_unfinished(unfinished)
        except OSError as error:
            message = f'cannot use {self.folder}: {error.strerror or error}'
            raise ConfigurationError(message) from error

    def _check_recording(self) -> None:
        place = self.recording
        if not (place.exists() or place.is_symlink()):
            return
        if place.is_symlink() or not place.is_dir():
            what = 'is not a folder'
        else:
            foreign = sorted(path.name for path in place.iterdir() if not _is_of_a_bag(path))
            if not foreign:
                return
            what = f'holds {foreign[0]}'
        message = f'{place} {what}, so it is no earlier recording to replace: choose --output'
        raise ConfigurationError(message)

    def _remove_unfinished(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        except BlockingIOError:
            message = f'another demo is filling {self.folder}: choose --output'
            raise ConfigurationError(message) from None
        finally:
            os.close(descriptor)

    @contextmanager
    def new_recording(self) -> Iterator[Path]:
        """
        Yield the place of a new recording, which takes the earlier one's after the block.

        When the block raises, the new one is removed and the earlier results stay as they are.
        """
        # A bag's file is called like its folder: the name is the last one, in a folder of its own.
        beside = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.folder))
        # The kernel lets the lock go with the process, however that ends.
        lock = os.open(beside, os.O_RDONLY)
        try:
            # Some network file systems have no locks.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            fresh = beside / self.recording.name
            yield fresh
            self._check_recording()
            if self.recording.exists():
                self.recording.rename(beside / 'earlier')
            fresh.rename(self.recording)
            # They show the earlier recording.
            self.contact_sheet.unlink(missing_ok=True)
            self.overview.unlink(missing_ok=True)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            os.close(lock)


def _is_of_a_bag(path: Path) -> bool:
    named = path.name == METADATA or path.suffix == BAG_SUFFIX
    return named and path.is_file() and not path.is_symlink()
