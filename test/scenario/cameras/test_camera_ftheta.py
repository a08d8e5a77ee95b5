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
"""F-theta against closed forms and against the formula point by point, both references."""

import math
from test.scenario.cameras.lens_samples import (
    FRONT_WIDE,
    FTHETAS,
    pixel_grid,
    random_rays,
    REAR,
)
from test.support.lenses import archive_cameras, ftheta_project, ftheta_unproject

import numpy as np
from nurec_ros.scenario.cameras import FthetaCamera, parse_camera_model
import pytest


def _model(parameters):
    return parse_camera_model('ftheta', parameters)


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


@pytest.mark.parametrize('reference', ['ANGLE_TO_PIXELDIST', 'PIXELDIST_TO_ANGLE'])
def test_linear_lens_is_the_closed_form(reference):
    model = _equidistant(reference_poly=reference)
    points = [
        (0.0, 0.0, 3.0),
        (1.0, 0.0, 1.0),
        (0.0, -2.0, 2.0),
        (5.0, 0.0, 0.0),
        (0.0, 1.0, -0.2),
    ]
    uv, valid = model.project(points)
    assert valid.all()
    eighth = 500.0 * math.pi / 4
    behind = 500.0 * (math.pi / 2 + math.atan(0.2))
    expected = [
        (500.0, 400.0),
        (500.0 + eighth, 400.0),
        (500.0, 400.0 - eighth),
        (500.0 + 2 * eighth, 400.0),
        (500.0, 400.0 + behind),
    ]
    np.testing.assert_allclose(uv, expected, atol=1e-10)
    rays, valid = model.unproject(expected)
    assert valid.all()
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(rays, np.array(points) / lengths, atol=1e-13)


@pytest.mark.parametrize('name', FTHETAS)
def test_every_lens_is_the_formula_there_and_back(name):
    parameters = FTHETAS[name]
    model = _model(parameters)
    rays = random_rays(60, parameters['max_angle'])
    uv, valid = model.project(rays * 7.5)
    assert valid.all()
    expected = [ftheta_project(parameters, ray) for ray in rays]
    np.testing.assert_allclose(uv, expected, rtol=0, atol=1e-9)
    rays = random_rays(500, model.view_angle, seed=3)
    back, valid = model.unproject(model.project(rays)[0])
    assert valid.all()
    np.testing.assert_allclose(back, rays, atol=1e-12)

    pixels = pixel_grid(parameters['resolution'], 31)
    rays, valid = model.unproject(pixels)
    assert valid.mean() > 0.5
    some = slice(None, None, 160)
    expected = [ftheta_unproject(parameters, u, v) for u, v in pixels[valid][some]]
    np.testing.assert_allclose(rays[valid][some], expected, rtol=0, atol=1e-13)
    back, again = model.project(rays[valid] * 42.0)
    assert again.all()
    assert np.abs(back - pixels[valid]).max() < 1e-9


def test_the_other_polynomial_is_never_used():
    nonsense = {**FRONT_WIDE, 'angle_to_pixeldist_poly': [0.0, 1.0, 1e6]}
    empty = {**FRONT_WIDE, 'angle_to_pixeldist_poly': []}
    rays = random_rays(100, 1.3)
    truth = _model(FRONT_WIDE).project(rays)[0]
    for parameters in (nonsense, empty):
        np.testing.assert_array_equal(_model(parameters).project(rays)[0], truth)


def test_scale_of_a_point_does_not_matter():
    model = _model(FRONT_WIDE)
    rays = random_rays(50, 1.3)
    for length in (1e-9, 1.0, 1e9):
        np.testing.assert_allclose(model.project(rays * length)[0], model.project(rays)[0])


@pytest.mark.parametrize('parameters', [FRONT_WIDE, REAR], ids=['front', 'rear'])
def test_no_pixel_beyond_max_angle(parameters):
    model, widest = _model(parameters), parameters['max_angle']
    for angle, seen in ((widest - 1e-4, True), (widest, True), (widest + 1e-4, False), (3, False)):
        point = [(math.sin(angle), 0.0, math.cos(angle))]
        uv, valid = model.project(point)
        assert valid[0] == seen
        assert np.isnan(uv).all() != seen
    edge = model.project([(math.sin(widest), 0.0, math.cos(widest))])[0][0]
    rays, valid = model.unproject([edge, edge + (0.01, 0.0)])
    assert valid.tolist() == [True, False]
    assert np.isnan(rays[1]).all()


def test_the_image_reaches_half_a_pixel_beyond_the_centres():
    model = _model(FRONT_WIDE)
    inner = [(-0.5, -0.5), (1919.5, 1079.5), (958.0, 3.0)]
    beyond = [(-0.51, 5.0), (5.0, -0.51), (1919.51, 5.0), (5.0, 1079.51), (math.nan, 5.0)]
    assert model.inside(inner + beyond).tolist() == [True] * 3 + [False] * 5


def test_what_is_not_a_direction_is_not_valid():
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
    angle = np.arccos(rays[:, 2])
    uv, valid = model.project(rays)
    np.testing.assert_array_equal(valid, angle <= model.view_angle)
    back, again = model.unproject(uv[valid])
    assert again.all()
    np.testing.assert_allclose(back, rays[valid], atol=1e-10)
    beyond = 500.0 + 500.0 * 0.25 + 1.0
    assert not model.unproject([(beyond, 400.0)])[1].any()


def test_a_backward_polynomial_that_turns_back_ends_the_view_there():
    # b' = 2e-3 - 4e-6 r: rises until r = 500, where theta = 0.5.
    model = _equidistant(
        reference_poly='PIXELDIST_TO_ANGLE',
        pixeldist_to_angle_poly=(0.0, 2e-3, -2e-6),
        max_angle=1.5,
    )
    assert model.view_angle == pytest.approx(0.5, abs=1e-6)
    assert not model.unproject([(1001.0, 400.0)])[1].any()
    uv, valid = model.unproject([(990.0, 400.0)])[0], model.unproject([(990.0, 400.0)])[1]
    assert valid.all()
    np.testing.assert_allclose(model.project(uv)[0], [(990.0, 400.0)], atol=1e-6)


@pytest.mark.parametrize('factor', [0.25, 0.5, 1.0, 2.0, 0.333])
@pytest.mark.parametrize('name', FTHETAS)
def test_scaled_sees_the_same_through_scaled_pixels(name, factor):
    model = _model(FTHETAS[name])
    scaled = model.scaled(factor)
    rays = random_rays(200, model.view_angle, seed=8)
    uv, valid = model.project(rays)
    found, again = scaled.project(rays)
    assert valid.all()
    assert again.all()
    np.testing.assert_allclose(found, (uv + 0.5) * factor - 0.5, atol=1e-9)
    assert scaled.max_angle == model.max_angle
    assert scaled.resolution == tuple(round(side * factor) for side in model.resolution)


def test_scaled_follows_the_rule_of_each_coefficient():
    scaled = _model(FRONT_WIDE).scaled(0.5)
    expected = [b / 0.5**i for i, b in enumerate(FRONT_WIDE['pixeldist_to_angle_poly'])]
    np.testing.assert_allclose(scaled.pixeldist_to_angle_poly, expected, rtol=1e-15)
    expected = [a * 0.5 for a in FRONT_WIDE['angle_to_pixeldist_poly']]
    np.testing.assert_allclose(scaled.angle_to_pixeldist_poly, expected, rtol=1e-15)
    assert scaled.principal_point == ((958.3 + 0.5) / 2 - 0.5, (751.6 + 0.5) / 2 - 0.5)
    assert scaled.linear_cde == (1.0, 0.0, 0.0)


@pytest.mark.parametrize('name', ['front', 'rear', 'sheared', 'sheared_rear'])
def test_resized_scales_the_sides_apart(name):
    model = _model(FTHETAS[name])
    resized = model.resized(479, 271)
    assert resized.resolution == (479, 271)
    rays = random_rays(200, model.view_angle, seed=9)
    expected = (model.project(rays)[0] + 0.5) * (479 / 1920, 271 / 1080) - 0.5
    np.testing.assert_allclose(resized.project(rays)[0], expected, atol=1e-9)


@pytest.mark.parametrize('factor', [0.0, -1.0, math.nan, math.inf])
def test_scaled_refuses_what_is_no_scale(factor):
    with pytest.raises(ValueError, match='cannot be scaled'):
        _model(FRONT_WIDE).scaled(factor)


def test_one_pixel_is_the_smallest_image():
    assert _model(FRONT_WIDE).resized(1, 1).resolution == (1, 1)
    for size in ((0, 5), (5, 0)):
        with pytest.raises(ValueError, match='cannot have the size'):
            _model(FRONT_WIDE).resized(*size)


def test_many_points_at_once_equal_few():
    model = _model(FRONT_WIDE)
    rays = random_rays(50_001, 1.6, seed=4)
    uv, valid = model.project(rays)
    for start in (0, 16_380, 49_990):
        some = slice(start, start + 11)
        part, good = model.project(rays[some])
        np.testing.assert_array_equal(good, valid[some])
        np.testing.assert_allclose(part, uv[some], atol=1e-9)
    assert 0.5 < valid.mean() < 1.0


@pytest.mark.parametrize('shape', [(3,), (4, 2), (2, 2, 3)])
def test_points_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r'shape \(N, 3\)'):
        _model(FRONT_WIDE).project(np.zeros(shape))


def test_no_points_are_no_pixels():
    uv, valid = _model(FRONT_WIDE).project(np.zeros((0, 3)))
    assert uv.shape == (0, 2)
    assert valid.shape == (0,)
    rays, valid = _model(REAR).unproject(np.zeros((0, 2)))
    assert rays.shape == (0, 3)


def test_models_are_values():
    one, other = _model(FRONT_WIDE), _model(FRONT_WIDE)
    assert one == other
    assert hash(one) == hash(other)
    assert one != _model(REAR)
    with pytest.raises(AttributeError):
        one.max_angle = 2.0


@pytest.mark.parametrize('fixture', ['pittsburgh', 'miami'])
def test_data_files_project_as_the_formula_says(request, fixture):
    cameras = archive_cameras(request.getfixturevalue(fixture))
    assert len(cameras) == 6
    for entry in cameras.values():
        parameters = entry['camera_model']['parameters']
        model = parse_camera_model(entry['camera_model']['type'], parameters)
        points = random_rays(12, parameters['max_angle'], seed=2) * 20.0
        uv, valid = model.project(points)
        assert valid.all()
        expected = [ftheta_project(parameters, point) for point in points]
        np.testing.assert_allclose(uv, expected, rtol=0, atol=1e-9)
        pixels = pixel_grid(model.resolution, 31)
        rays, valid = model.unproject(pixels)
        assert valid.mean() > 0.99
        assert np.abs(model.project(rays[valid])[0] - pixels[valid]).max() < 1e-9
