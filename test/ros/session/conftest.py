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

It is played once: a player in a process of its own is steered, rendered for and recorded from this
one, through everything that it can be asked for. What the contract says about messages is then
checked on what was recorded.
"""

import importlib.util
from typing import Any

import pytest

MISSING = [name for name in ('rclpy', 'rosbags', 'cv2') if importlib.util.find_spec(name) is None]
collect_ignore_glob = ['test_*.py'] if MISSING else []


@pytest.fixture(scope='session')
def recording(tmp_path_factory: pytest.TempPathFactory, ros_environment: None) -> Any:
    """Return the session's recording, read back."""
    from test.ros.session.drive import run

    return run(tmp_path_factory.mktemp('session'))
