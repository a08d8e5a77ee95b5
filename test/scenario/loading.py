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
"""What tests of scenarios share: archives loaded without a word, with one or not; truths."""

import math
from test.support.archives import build_archive, CAMERAS, SEQUENCE_ID

import numpy as np
from nurec_ros.errors import ScenarioError
from nurec_ros.scenario import Scenario
import pytest
from scipy.spatial.transform import Slerp

NAN = float('nan')
FRONT, REAR = (f'{name}@{SEQUENCE_ID}' for name in CAMERAS)
ENTRY = 'rig_trajectories[0]'
POSES = f'{ENTRY}.T_rig_worlds'
TIMES = f'{ENTRY}.T_rig_world_timestamps_us'
FRAMES = f'{ENTRY}.cameras_frame_timestamps_us'
DATA = 'dummy_chunk_id.tracks_data'
DIMS = 'dummy_chunk_id.cuboidtracks_data.cuboids_dims'


def loaded(tmp_path, **variants):
    """Load an archive that must not cause a warning."""
    scenario = Scenario.load(build_archive(tmp_path, **variants))
    assert scenario.warnings == ()
    return scenario


def warned(tmp_path, *words, **variants):
    """Load an archive that must cause exactly one warning, with all the words."""
    scenario = Scenario.load(build_archive(tmp_path, **variants))
    (warning,) = scenario.warnings
    assert warning.startswith('scenario.usdz: ')
    assert '\n' not in warning
    assert len(warning) < 600
    for word in words:
        assert word in warning, warning
    usable(scenario)
    return scenario


def usable(scenario):
    middle = (scenario.start_ns + scenario.end_ns) // 2
    assert np.isfinite(scenario.ego.at(middle)).all()
    assert np.isfinite(scenario.tracks.at(middle).poses).all()


def refusal(path):
    """Load what must be refused, and return the sentence."""
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(path)
    text = str(caught.value)
    assert text.startswith(f'{path}: ')
    assert '\n' not in text
    assert len(text) < 600
    assert not text.endswith('.')
    assert ', expected ' in text
    return text


def interpolated(times, positions, rotations, asked):
    """Return poses (M, 4, 4) by numpy and scipy; times from the first one are exact."""
    seconds, at = (np.asarray(times) - times[0]) * 1e-9, (np.asarray(asked) - times[0]) * 1e-9
    result = np.tile(np.eye(4), (len(at), 1, 1))
    turns = Slerp(seconds, rotations)(at) if len(seconds) > 1 else rotations
    result[:, :3, :3] = turns.as_matrix()
    result[:, :3, 3] = np.transpose(
        [np.interp(at, seconds, axis) for axis in np.transpose(positions)]
    )
    return result


def ecef(latitude, longitude, altitude):
    """Textbook geodetic to ECEF on WGS 84."""
    a, f = 6378137.0, 1 / 298.257223563
    phi, lam = math.radians(latitude), math.radians(longitude)
    n = a / math.sqrt(1 - f * (2 - f) * math.sin(phi) ** 2)
    across = (n + altitude) * math.cos(phi)
    return np.array(
        [
            across * math.cos(lam),
            across * math.sin(lam),
            (n * (1 - f) ** 2 + altitude) * math.sin(phi),
        ]
    )
