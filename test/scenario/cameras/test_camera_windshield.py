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
"""The windshield against its formula ray by ray, and its exact inverse."""

import math
from test.scenario.cameras.lens_samples import FRONT_WIDE, pixel_grid, random_rays, WINDSHIELD

import numpy as np
from nurec_ros.scenario.cameras import (
    FthetaCamera,
    parse_camera_model,
    Windshield,
)
import pytest

TRIANGLES = {1: 0, 3: 1, 6: 2, 10: 3, 15: 4, 21: 5}


def _polynomial(coefficients, phi, theta):
    order = TRIANGLES[len(coefficients)]
    terms = [(i, j) for j in range(order + 1) for i in range(order - j + 1)]
    return sum(c * phi**i * theta**j for c, (i, j) in zip(coefficients, terms, strict=True))


def _bent(ray, horizontal, vertical):
    x, y, z = ray / np.linalg.norm(ray)
    phi, theta = math.asin(x), math.asin(y)
    new_x = math.sin(_polynomial(horizontal, phi, theta))
    new_y = math.sin(_polynomial(vertical, phi, theta))
    return (new_x, new_y, math.copysign(math.sqrt(1 - new_x**2 - new_y**2), z))


def _glass(**changes):
    values = {k: v for k, v in WINDSHIELD.items() if k != 'external_distortion_type'}
    return Windshield(**{**values, **changes})


@pytest.mark.parametrize(('reference', 'end'), [('FORWARD', ''), ('BACKWARD', '_inverse')])
def test_the_reference_is_the_formula(reference, end):
    rays = random_rays(200, 1.0) * 3.0
    glass = _glass(reference_poly=reference)
    found, valid = glass.undistort(rays) if end else glass.distort(rays)
    assert valid.all()
    names = (f'horizontal_poly{end}', f'vertical_poly{end}')
    expected = [_bent(ray, *(WINDSHIELD[name] for name in names)) for ray in rays]
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize('reference', ['FORWARD', 'BACKWARD'])
@pytest.mark.parametrize('fitted', ['given', 'empty'])
def test_inverse_is_exact_whatever_the_fit_says(reference, fitted):
    changes = {'reference_poly': reference}
    if fitted == 'empty':
        end = '_inverse' if reference == 'FORWARD' else ''
        changes |= {f'horizontal_poly{end}': (), f'vertical_poly{end}': ()}
    glass = _glass(**changes)
    rays = random_rays(3000, 1.15, seed=2)
    bent, valid = glass.distort(rays)
    back, again = glass.undistort(bent)
    assert valid.all()
    assert again.all()
    np.testing.assert_allclose(back, rays, atol=1e-12)
    assert np.abs(bent - rays).max() > 5e-3


@pytest.mark.parametrize('order', [1, 2, 3, 4, 5])
@pytest.mark.parametrize('shear', [0.0, 0.6])
def test_each_order_of_triangle(order, shear):
    length = (order + 1) * (order + 2) // 2
    rng = np.random.default_rng(order)
    horizontal = rng.normal(scale=0.01, size=length)
    vertical = rng.normal(scale=0.01, size=length)
    horizontal[[1, order + 1]] += (1.0, shear)
    vertical[[1, order + 1]] += (shear, 1.0)
    glass = Windshield(
        reference_poly='FORWARD',
        horizontal_poly=tuple(horizontal),
        vertical_poly=tuple(vertical),
    )
    rays = random_rays(100, 0.4 if shear else 0.9, seed=3)
    found, valid = glass.distort(rays)
    assert valid.all()
    np.testing.assert_allclose(
        found, [_bent(ray, horizontal, vertical) for ray in rays], atol=1e-14
    )
    np.testing.assert_allclose(glass.undistort(found)[0], rays, atol=1e-11)


def test_rays_to_the_back_stay_there():
    rays = random_rays(50, 0.5) * (1, 1, -1)
    assert (_glass().distort(rays)[0][:, 2] < 0).all()


def test_camera_behind_glass_projects_what_the_glass_bends():
    glazed = parse_camera_model(
        'ftheta', {**FRONT_WIDE, 'external_distortion_parameters': WINDSHIELD}
    )
    plain = parse_camera_model('ftheta', FRONT_WIDE)
    points = random_rays(200, 1.0, seed=4) * 9.0
    names = ('horizontal_poly', 'vertical_poly')
    bent = [_bent(point, *(WINDSHIELD[name] for name in names)) for point in points]
    uv, valid = glazed.project(points)
    assert valid.all()
    np.testing.assert_allclose(uv, plain.project(bent)[0], atol=1e-9)
    assert np.abs(uv - plain.project(points)[0]).max() > 3.0


@pytest.mark.parametrize('reference', ['FORWARD', 'BACKWARD'])
def test_round_trip_through_glass_and_lens(reference):
    glass = {**WINDSHIELD, 'reference_poly': reference}
    model = parse_camera_model('ftheta', {**FRONT_WIDE, 'external_distortion_parameters': glass})
    pixels = pixel_grid(model.resolution, 17)
    rays, valid = model.unproject(pixels)
    assert valid.all()
    back, again = model.project(rays)
    assert again.all()
    assert np.abs(back - pixels).max() < 1e-6


def test_scaling_leaves_the_glass_alone():
    model = FthetaCamera(
        resolution=(1920, 1080),
        principal_point=(958.0, 752.0),
        reference_poly='ANGLE_TO_PIXELDIST',
        angle_to_pixeldist_poly=(0.0, 945.0),
        max_angle=1.3,
        windshield=_glass(),
    )
    half = model.scaled(0.5)
    assert half.windshield == model.windshield
    rays = random_rays(100, 1.0)
    expected = (model.project(rays)[0] + 0.5) * 0.5 - 0.5
    np.testing.assert_allclose(half.project(rays)[0], expected, atol=1e-9)


def test_glass_that_folds_is_not_valid_there():
    # H = phi - phi^2 turns back at phi = 0.5; V is plain.
    glass = Windshield(
        reference_poly='FORWARD',
        horizontal_poly=(0.0, 1.0, -1.0, 0.0, 0.0, 0.0),
        vertical_poly=(0.0, 0.0, 1.0),
    )
    targets = [(math.sin(0.2), 0.0, math.cos(0.2)), (math.sin(0.26), 0.0, math.cos(0.26))]
    rays, valid = glass.undistort(np.array(targets))
    assert valid.tolist() == [True, False]
    assert math.asin(rays[0, 0]) == pytest.approx(0.5 * (1 - math.sqrt(1 - 0.8)))
