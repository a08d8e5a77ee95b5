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
"""F-theta and the windshield against closed forms and against their formulas point by point."""

from dataclasses import replace
import math
from test.scenario.cameras.lens_samples import (
    FRONT_WIDE,
    FTHETAS,
    pixel_grid,
    random_rays,
    REAR,
    WINDSHIELD,
)
from test.support.lenses import archive_cameras, ftheta_project, ftheta_unproject

import numpy as np
from nurec_ros.scenario.cameras import (
    CameraModelError,
    FthetaCamera,
    parse_camera_model,
    Windshield,
)
import pytest


def _model(parameters, **changes):
    return parse_camera_model('ftheta', {**parameters, **changes})


def _equidistant(focal=500.0, **changes):
    """Return r = f theta, whose every value is a closed form, in either reference."""
    values = {
        'resolution': (1000, 800),
        'principal_point': (500.0, 400.0),
        'reference_poly': 'ANGLE_TO_PIXELDIST',
        'angle_to_pixeldist_poly': (0.0, focal),
        'pixeldist_to_angle_poly': (0.0, 1.0 / focal),
        'max_angle': 2.0,
    }
    return FthetaCamera(**{**values, **changes})


def _towards(*angles):
    """Return rays at these angles from the axis, to the right."""
    return np.array([(math.sin(angle), 0.0, math.cos(angle)) for angle in angles])


@pytest.mark.parametrize('reference', ['ANGLE_TO_PIXELDIST', 'PIXELDIST_TO_ANGLE'])
def test_linear_lens_is_the_closed_form(reference):
    model = _equidistant(reference_poly=reference)
    points = [(0, 0, 3), (1, 0, 1), (0, -2, 2), (5, 0, 0), (0, 1, -0.2)]
    uv, valid = model.project(points)
    assert valid.all()
    eighth = 500.0 * math.pi / 4
    behind = 500.0 * (math.pi / 2 + math.atan(0.2))
    off = [(0, 0), (eighth, 0), (0, -eighth), (2 * eighth, 0), (0, behind)]
    np.testing.assert_allclose(uv, np.add(off, (500.0, 400.0)), atol=1e-10)
    rays, valid = model.unproject(uv)
    assert valid.all()
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(rays, points / lengths, atol=1e-13)


def _check_formula(parameters, least_seen):
    """Check a lens beside the formula of its reference polynomial, there and back."""
    model = _model(parameters)
    rays = random_rays(60, parameters['max_angle'])
    uv, valid = model.project(rays * 7.5)
    assert valid.all()
    expected = ftheta_project(parameters, rays)
    np.testing.assert_allclose(uv, expected, rtol=0, atol=1e-9)
    rays = random_rays(500, model.view_angle, seed=3)
    back, valid = model.unproject(model.project(rays)[0])
    assert valid.all()
    np.testing.assert_allclose(back, rays, atol=1e-12)

    pixels = pixel_grid(parameters['resolution'], 31)
    rays, valid = model.unproject(pixels)
    assert valid.mean() > least_seen
    some = slice(None, None, 160)
    u, v = pixels[valid][some].T
    formula = np.transpose(ftheta_unproject(parameters, u, v))
    np.testing.assert_allclose(rays[valid][some], formula, rtol=0, atol=1e-13)
    back, again = model.project(rays[valid] * 42.0)
    assert again.all()
    assert np.abs(back - pixels[valid]).max() < 1e-9


@pytest.mark.parametrize('name', FTHETAS)
def test_every_lens_is_the_formula_there_and_back(name):
    _check_formula(FTHETAS[name], 0.5)


@pytest.mark.parametrize('fixture', ['pittsburgh', 'miami'])
def test_so_are_those_of_data_files(request, fixture):
    cameras = archive_cameras(request.getfixturevalue(fixture))
    assert len(cameras) == 6
    for entry in cameras.values():
        assert entry['camera_model']['type'] == 'ftheta'
        _check_formula(entry['camera_model']['parameters'], 0.99)


def test_neither_the_other_polynomial_nor_the_length_of_a_ray_matters():
    rays = random_rays(100, 1.3)
    truth = _model(FRONT_WIDE).project(rays)[0]
    for other in ([0.0, 1.0, 1e6], []):
        found = _model(FRONT_WIDE, angle_to_pixeldist_poly=other).project(rays)[0]
        np.testing.assert_array_equal(found, truth)
    for length in (1e-9, 1e9):
        np.testing.assert_allclose(_model(FRONT_WIDE).project(rays * length)[0], truth)


@pytest.mark.parametrize('parameters', [FRONT_WIDE, REAR], ids=['front', 'rear'])
def test_no_pixel_beyond_max_angle(parameters):
    model, widest = _model(parameters), parameters['max_angle']
    uv, valid = model.project(_towards(widest - 1e-4, widest, widest + 1e-4, 3.0))
    assert valid.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(np.isnan(uv), [[False] * 2] * 2 + [[True] * 2] * 2)
    rays, valid = model.unproject([uv[1], uv[1] + (0.01, 0.0)])
    assert valid.tolist() == [True, False]
    assert np.isnan(rays[1]).all()


def test_the_image_reaches_half_a_pixel_beyond_the_centres_and_no_direction_is_none():
    model = _model(FRONT_WIDE)
    inner = [(-0.5, -0.5), (1919.5, 1079.5), (958.0, 3.0)]
    beyond = [(-0.51, 5.0), (5.0, -0.51), (1919.51, 5.0), (5.0, 1079.51), (math.nan, 5.0)]
    assert model.inside(inner + beyond).tolist() == [True] * 3 + [False] * 5
    points = [(0, 0, 0), (0, 0, -1), (math.nan, 0, 1), (0, math.inf, 1), (0, 0, 5)]
    uv, valid = _model(FRONT_WIDE).project(points)
    assert valid.tolist() == [False, False, False, False, True]
    np.testing.assert_array_equal(uv[4], FRONT_WIDE['principal_point'])
    _rays, valid = _model(FRONT_WIDE).unproject([(math.nan, 1.0), (math.inf, 1.0), (3.0, 5.0)])
    assert valid.tolist() == [False, False, True]


def test_a_polynomial_that_turns_back_ends_the_view_there():
    # a' = 500 - 1000 theta: rises until 0.5 rad, far before max_angle.
    model = _equidistant(angle_to_pixeldist_poly=(0.0, 500.0, -500.0), max_angle=1.5)
    assert model.view_angle == pytest.approx(0.5, abs=1e-3)
    rays = random_rays(500, 1.5, seed=5)
    uv, valid = model.project(rays)
    np.testing.assert_array_equal(valid, np.arccos(rays[:, 2]) <= model.view_angle)
    back, again = model.unproject(uv[valid])
    assert again.all()
    np.testing.assert_allclose(back, rays[valid], atol=1e-10)
    beyond = 500.0 + 500.0 * 0.25 + 1.0
    assert not model.unproject([(beyond, 400.0)])[1].any()
    # b' = 2e-3 - 4e-6 r: rises until r = 500, where theta = 0.5.
    model = _equidistant(
        reference_poly='PIXELDIST_TO_ANGLE',
        pixeldist_to_angle_poly=(0.0, 2e-3, -2e-6),
        max_angle=1.5,
    )
    assert model.view_angle == pytest.approx(0.5, abs=1e-6)
    rays, valid = model.unproject([(990.0, 400.0), (1001.0, 400.0)])
    assert valid.tolist() == [True, False]
    np.testing.assert_allclose(model.project(rays[:1])[0], [(990.0, 400.0)], atol=1e-6)


def test_resized_follows_the_rule_of_each_coefficient():
    scaled = _model(FRONT_WIDE).resized(960, 540)
    expected = [b / 0.5**i for i, b in enumerate(FRONT_WIDE['pixeldist_to_angle_poly'])]
    np.testing.assert_allclose(scaled.pixeldist_to_angle_poly, expected, rtol=1e-15)
    expected = [a * 0.5 for a in FRONT_WIDE['angle_to_pixeldist_poly']]
    np.testing.assert_allclose(scaled.angle_to_pixeldist_poly, expected, rtol=1e-15)
    assert scaled.principal_point == ((958.3 + 0.5) / 2 - 0.5, (751.6 + 0.5) / 2 - 0.5)
    assert scaled.linear_cde == (1.0, 0.0, 0.0)


def test_many_points_at_once_equal_few_and_none_are_no_pixels():
    model = _model(FRONT_WIDE)
    rays = random_rays(50_001, 1.6, seed=4)
    uv, valid = model.project(rays)
    for start in (0, 16_380, 49_990):
        some = slice(start, start + 11)
        part, good = model.project(rays[some])
        np.testing.assert_array_equal(good, valid[some])
        np.testing.assert_allclose(part, uv[some], atol=1e-9)
    assert 0.5 < valid.mean() < 1.0
    for shape in ((3,), (4, 2), (2, 2, 3)):
        with pytest.raises(ValueError, match=r'shape \(N, 3\)'):
            _model(FRONT_WIDE).project(np.zeros(shape))
    uv, valid = _model(FRONT_WIDE).project(np.zeros((0, 3)))
    assert (uv.shape, valid.shape) == ((0, 2), (0,))
    assert _model(REAR).unproject(np.zeros((0, 2)))[0].shape == (0, 3)


def test_models_are_values():
    one, other = _model(FRONT_WIDE), _model(FRONT_WIDE)
    assert (one, hash(one)) == (other, hash(other))
    assert one != _model(REAR)
    with pytest.raises(AttributeError):
        one.max_angle = 2.0


# The windshield.

TRIANGLES = {1: 0, 3: 1, 6: 2, 10: 3, 15: 4, 21: 5}


def _polynomial(coefficients, phi, theta):
    order = TRIANGLES[len(coefficients)]
    terms = [(i, j) for j in range(order + 1) for i in range(order - j + 1)]
    return sum(c * phi**i * theta**j for c, (i, j) in zip(coefficients, terms, strict=True))


def _bent(rays, horizontal, vertical):
    x, y, z = rays.T / np.linalg.norm(rays, axis=1)
    phi, theta = np.arcsin(x), np.arcsin(y)
    new_x = np.sin(_polynomial(horizontal, phi, theta))
    new_y = np.sin(_polynomial(vertical, phi, theta))
    return np.stack([new_x, new_y, np.copysign(np.sqrt(1 - new_x**2 - new_y**2), z)], axis=1)


def _glass(**changes):
    values = {k: v for k, v in WINDSHIELD.items() if k != 'external_distortion_type'}
    return Windshield(**{**values, **changes})


@pytest.mark.parametrize(('reference', 'end'), [('FORWARD', ''), ('BACKWARD', '_inverse')])
def test_glass_is_the_formula_of_its_reference_and_its_inverse_exact(reference, end):
    glass = _glass(reference_poly=reference)
    rays = random_rays(200, 1.0) * 3.0
    found, valid = glass.undistort(rays) if end else glass.distort(rays)
    assert valid.all()
    expected = _bent(rays, WINDSHIELD[f'horizontal_poly{end}'], WINDSHIELD[f'vertical_poly{end}'])
    np.testing.assert_allclose(found, expected, atol=1e-14)
    # Whatever the fit of the inverse in the file is.
    fit = '' if end else '_inverse'
    rays = random_rays(3000, 1.15, seed=2)
    for nothing in ({}, {f'horizontal_poly{fit}': (), f'vertical_poly{fit}': ()}):
        glass = _glass(reference_poly=reference, **nothing)
        bent, valid = glass.distort(rays)
        back, again = glass.undistort(bent)
        assert valid.all()
        assert again.all()
        np.testing.assert_allclose(back, rays, atol=1e-12)
        assert np.abs(bent - rays).max() > 5e-3


@pytest.mark.parametrize('order', [1, 2, 3, 4, 5])
@pytest.mark.parametrize('shear', [0.0, 0.6])
def test_each_order_of_triangle(order, shear):
    rng = np.random.default_rng(order)
    horizontal, vertical = rng.normal(scale=0.01, size=(2, (order + 1) * (order + 2) // 2))
    horizontal[[1, order + 1]] += (1.0, shear)
    vertical[[1, order + 1]] += (shear, 1.0)
    glass = Windshield(
        reference_poly='FORWARD', horizontal_poly=tuple(horizontal), vertical_poly=tuple(vertical)
    )
    rays = random_rays(100, 0.4 if shear else 0.9, seed=3)
    found, valid = glass.distort(rays)
    assert valid.all()
    np.testing.assert_allclose(found, _bent(rays, horizontal, vertical), atol=1e-14)
    np.testing.assert_allclose(glass.undistort(found)[0], rays, atol=1e-11)


def test_glass_that_folds_is_not_valid_there_and_rays_to_the_back_stay_there():
    # H = phi - phi^2 turns back at phi = 0.5; V is plain.
    glass = _glass(horizontal_poly=(0.0, 1.0, -1.0, 0.0, 0.0, 0.0), vertical_poly=(0.0, 0.0, 1.0))
    rays, valid = glass.undistort(_towards(0.2, 0.26))
    assert valid.tolist() == [True, False]
    assert math.asin(rays[0, 0]) == pytest.approx(0.5 * (1 - math.sqrt(1 - 0.8)))
    # Nor does a camera behind it see there what its lens could, or the glass what the lens cannot.
    lens = _equidistant(max_angle=0.5)
    pixels = [(500.0 + 500.0 * angle, 400.0) for angle in (0.2, 0.26, 0.6)]
    assert lens.unproject(pixels)[1].tolist() == [True, True, False]
    assert replace(lens, windshield=glass).unproject(pixels)[1].tolist() == [True, False, False]
    backward = {
        f'{name}_inverse': getattr(glass, name) for name in ('horizontal_poly', 'vertical_poly')
    }
    backward = replace(glass, reference_poly='BACKWARD', **backward)
    points = _towards(0.2, 0.26, -0.9)
    assert lens.project(points)[1].tolist() == [True, True, False]
    assert replace(lens, windshield=backward).project(points)[1].tolist() == [True, False, False]
    # Nor what Newton finds from a start beyond the fold, or close to it where nothing is.
    start = {'horizontal_poly_inverse': (0.7, 0.1, 0.0), 'vertical_poly_inverse': (0.0, 0.0, 1.0)}
    assert not replace(glass, **start).undistort(_towards(0.2))[1].any()
    assert not glass.undistort(_towards(*np.linspace(0.2501, 0.4, 50)))[1].any()
    # Twice the angles: what would be beyond a right angle, by one of them or by both, is none.
    twice = _glass(horizontal_poly=(0.0, 2.0, 0.0), vertical_poly=(0.0, 0.0, 2.0))
    sines = np.sin([(0.3, 0.3), (0.9, 0.0), (0.0, 0.9), (0.6, 0.6)])
    points = np.column_stack([sines, np.sqrt(1.0 - (sines**2).sum(axis=1))])
    rays, valid = twice.distort(points)
    assert valid.tolist() == [True, False, False, False]
    np.testing.assert_allclose(np.arcsin(rays[0, :2]), (0.6, 0.6))
    rays = random_rays(50, 0.5) * (1, 1, -1)
    assert (_glass().distort(rays)[0][:, 2] < 0).all()


def test_glass_that_mirrors_or_lacks_what_it_refers_to_is_refused():
    for changes, words in (
        ({'horizontal_poly': (0.0, 0.5, 0.6), 'vertical_poly': (0.0, 0.6, 0.5)}, 'seen through'),
        ({'reference_poly': 'BACKWARD', 'horizontal_poly_inverse': ()}, 'found 0 coefficients'),
    ):
        with pytest.raises(CameraModelError, match=words):
            _glass(**changes)


@pytest.mark.parametrize('reference', ['FORWARD', 'BACKWARD'])
def test_a_camera_behind_glass_sees_what_the_glass_bends(reference):
    glass = {**WINDSHIELD, 'reference_poly': reference}
    model, plain = _model(FRONT_WIDE, external_distortion_parameters=glass), _model(FRONT_WIDE)
    points = random_rays(200, 1.0, seed=4) * 9.0
    uv, valid = model.project(points)
    assert valid.all()
    assert np.abs(uv - plain.project(points)[0]).max() > 3.0
    if reference == 'FORWARD':
        bent = _bent(points, WINDSHIELD['horizontal_poly'], WINDSHIELD['vertical_poly'])
        np.testing.assert_allclose(uv, plain.project(bent)[0], atol=1e-9)
    pixels = pixel_grid(model.resolution, 17)
    rays, valid = model.unproject(pixels)
    assert valid.all()
    back, again = model.project(rays)
    assert again.all()
    assert np.abs(back - pixels).max() < 1e-6
    # Scaling leaves the glass alone.
    half = model.resized(960, 540)
    assert half.windshield == model.windshield
    np.testing.assert_allclose(half.project(points)[0], (uv + 0.5) * 0.5 - 0.5, atol=1e-9)
