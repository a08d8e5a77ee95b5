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
"""Our models and requests beside NVIDIA's camera library: the same pixels, half a pixel apart."""

from test.support.nvidia_lenses import NVIDIA, nvidia_pixels, RAYS, SIZED

import numpy as np
from nurec_ros.scenario.cameras import parse_camera_model
import pytest

# Its parameters are float32.
TOLERANCE_PX = 1e-3


@pytest.mark.parametrize(('name', 'kind', 'parameters', 'size'), SIZED)
def test_rays_are_where_nvidia_sees_them(name, kind, parameters, size):
    model = parse_camera_model(kind, parameters).resized(*size)
    uv, valid = model.project(RAYS)
    assert valid.all()
    np.testing.assert_allclose(uv, nvidia_pixels(name, size), atol=TOLERANCE_PX)
    rays, valid = model.unproject(nvidia_pixels(name, size))
    assert valid.all()
    np.testing.assert_allclose(rays, RAYS, atol=1e-4)


@pytest.mark.parametrize('name', ['ftheta by angle', 'fisheye behind a windshield', 'pinhole'])
def test_fits_keep_the_axis_in_its_place(name):
    kind, parameters, sizes = NVIDIA[name]
    fitted, residual = parse_camera_model(kind, parameters).fit('equidistant')
    uv, _ = fitted.project(RAYS)
    off = np.linalg.norm(uv - nvidia_pixels(name, next(iter(sizes))), axis=1)
    assert off.max() <= residual.max_px + TOLERANCE_PX
