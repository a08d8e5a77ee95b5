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
One recorded session for all tests of this folder.

It is played once: player, preview server and recorder in processes of their own, steered from
this one through everything that a player can be asked for. What the contract says about messages
is then checked on what the file holds, one test per rule; each test module begins with a table of
its rules. Where tests run in several processes, the first one plays it for all.
"""

from collections.abc import Callable
import fcntl
import importlib.util
import os
from pathlib import Path
import pickle
from typing import Any

import pytest

MISSING = [name for name in ('rclpy', 'rosbags', 'cv2') if importlib.util.find_spec(name) is None]
collect_ignore_glob = ['test_*.py'] if MISSING else []


@pytest.fixture(scope='session')
def recording(tmp_path_factory: pytest.TempPathFactory, ros_environment: None) -> Any:
    """Return the session's recording, read back."""
    from test.ros.session.drive import run
    from test.ros.session.recording import Recording

    from rclpy.subscription import Subscription

    if not hasattr(Subscription, 'CallbackType'):
        pytest.skip('this rclpy does not tell when a message was sent')
    common = tmp_path_factory.getbasetemp()
    if 'PYTEST_XDIST_WORKER' in os.environ:
        common = common.parent
    with (common / 'session.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Recording(_once(common / 'session.pickle', lambda: run(_folder(common))))


def _folder(common: Path) -> Path:
    number = 0
    while (common / f'session-{number}').exists():
        number += 1
    (common / f'session-{number}').mkdir()
    return common / f'session-{number}'


def _once(kept: Path, make: Callable[[], Any]) -> Any:
    """Return what another process has made already, or make it and leave it to the others."""
    if kept.exists():
        return pickle.loads(kept.read_bytes())
    made = make()
    kept.write_bytes(pickle.dumps(made))
    return made


@pytest.fixture(scope='session')
def session(recording: Any) -> Any:
    """Return what the client of the session did and was told."""
    return recording.session
