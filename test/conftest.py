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
"""Fixtures that every test may use."""

from contextlib import suppress
from pathlib import Path
import signal

import pytest

with suppress(ImportError):
    import hypothesis

    # The same examples in each run, however long one takes: a change is not judged by the dice.
    hypothesis.settings.register_profile('same', derandomize=True, deadline=None)
    hypothesis.settings.load_profile('same')

# A run in the background ignores SIGINT, one under nohup SIGHUP; children would inherit that, but
# do not inherit a handler.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / 'shared' / 'data'


def _data_file(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f'{path} is not there')
    return path


@pytest.fixture(scope='session')
def pittsburgh() -> Path:
    """Give the archive of a dense city street: 15.6 s, 146 road users."""
    return _data_file('pittsburgh_adcf7d18.usdz')


@pytest.fixture(scope='session')
def miami() -> Path:
    """Give the archive of a drive of 16 s with poses at 150 Hz."""
    return _data_file('miami_3b3570b4.usdz')
