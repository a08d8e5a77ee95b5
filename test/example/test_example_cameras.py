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
"""The rig's calibration: consistent polynomials, the fact sheet's numbers, exposures in range."""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polyval
from nurec_ros.example import make_example, write_example
from nurec_ros.example.sensors import CAMERA_MODELS
from nurec_ros.scenario import Scenario
import pytest
import yaml

W, H = 1920, 1080
# Per camera: degrees seen across, px/rad in the middle, max_angle (rad), yaw (deg).
TABLE = {
    'camera_front_wide_120fov': (119.8, 945, 1.35, 0),
    'camera_front_tele_30fov': (29.8, 3690, 0.30, 0),
    'camera_cross_left_120fov': (119.8, 939, 1.355, 67),
    'camera_cross_right_120fov': (119.8, 939, 1.353, -67),
    'camera_rear_left_70fov': (69.8, 1576, 0.695, 153),
    'camera_rear_right_70fov': (69.8, 1573, 0.70, -151),
}


@pytest.fixture(params=sorted(TABLE))
def entry(request: pytest.FixtureRequest, example):
    """Return one camera's logical name, its key and its calibration."""
    for key, value in example.rig['camera_calibrations'].items():
        if value['logical_sensor_name'] == request.param:
            return request.param, key, value
    pytest.fail(f'{request.param} is missing')


def test_polynomials_undo_each_other_within_a_tenth_of_a_pixel(entry):
    name, _, value = entry
    parameters = value['camera_model']['parameters']
    to_angle = parameters['pixeldist_to_angle_poly']
    to_pixel = parameters['angle_to_pixeldist_poly']
    assert len(to_angle) == len(to_pixel) == 6
    assert to_angle[0] == to_pixel[0] == 0
    u, v = parameters['principal_point']
    corner = max(np.hypot(x - u, y - v) for x in (0, W - 1) for y in (0, H - 1))
    if parameters['reference_poly'] == 'PIXELDIST_TO_ANGLE':
        radius = np.linspace(0, corner, 2000)
        angle = polyval(radius, to_angle)
        back = polyval(angle, to_pixel)
    else:
        angle = np.linspace(0, parameters['max_angle'] - np.radians(0.1), 2000)
        radius = polyval(angle, to_pixel)
        back = polyval(polyval(radius, to_angle), to_pixel)
    assert np.all(np.diff(radius) > 0), name
    assert np.all(np.diff(angle) > 0), name
    assert np.abs(back - radius).max() <= 0.1
    assert radius[-1] == pytest.approx(corner, abs=0.5), 'the farthest corner is within'
    assert parameters['max_angle'] == pytest.approx(angle[-1] + np.radians(0.1), abs=2e-4)


def test_lenses_are_those_of_the_table(entry):
    name, _, value = entry
    across, scale, max_angle, yaw = TABLE[name]
    parameters = value['camera_model']['parameters']
    assert value['camera_model']['type'] == 'ftheta'
    assert parameters['resolution'] == [W, H]
    assert parameters['shutter_type'] == 'ROLLING_TOP_TO_BOTTOM'
    assert parameters['linear_cde'] == [1.0, 0.0, 0.0]
    to_angle = parameters['pixeldist_to_angle_poly']
    u, v = parameters['principal_point']
    # The wide ones sit low in the image.
    assert v / H == pytest.approx(0.69 if '120' in name else 0.5, abs=0.012)
    seen = polyval(u, to_angle) + polyval(W - u, to_angle)
    assert np.degrees(seen) == pytest.approx(across, abs=0.4)
    assert parameters['angle_to_pixeldist_poly'][1] == pytest.approx(scale, rel=2e-3)
    assert parameters['max_angle'] == pytest.approx(max_angle, abs=0.012)
    pose = np.array(value['T_sensor_rig'])
    rotation = pose[:3, :3]
    assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-10)
    assert np.linalg.det(rotation) == pytest.approx(1)
    right, down, forward = rotation.T
    assert np.degrees(np.arctan2(forward[1], forward[0])) == pytest.approx(yaw, abs=0.3)
    assert abs(forward[2]) < 0.02
    assert down[2] < -0.99
    # A camera that looks ahead has its right on the rig's right.
    assert right @ [np.sin(np.radians(yaw)), -np.cos(np.radians(yaw)), 0] > 0.99


def test_exposures_lie_within_the_drive(entry, example):
    name, key, value = entry
    sequence_id = example.info['sequence_id']
    assert sequence_id.startswith('clipgt-')
    assert (key, value['sequence_id']) == (f'{name}@{sequence_id}', sequence_id)
    frames = np.array(example.trajectory['cameras_frame_timestamps_us'][key])
    assert 595 <= len(frames) <= 602
    exposure = frames[:, 1] - frames[:, 0]
    assert np.all((exposure >= 15_000) & (exposure <= 33_000))
    assert np.all(np.abs(np.diff(frames[:, 0]) - 33_333.3) < 1)
    assert frames[0, 0] >= example.times_us[0]
    assert frames[-1, 1] <= example.times_us[-1]


def test_cameras_do_not_expose_at_the_same_moments(example):
    firsts = [f[0][1] for f in example.trajectory['cameras_frame_timestamps_us'].values()]
    assert len(set(firsts)) == len(firsts) == 6


def test_metadata_agree_with_the_rig_and_have_every_key_that_readers_insist_on(example):
    """The dataclass of AlpaSim takes these as they are, its scene table the last one too."""
    metadata = yaml.safe_load(example.metadata)
    types = {
        **dict.fromkeys(('scene_id', 'version_string', 'dataset_hash', 'uuid'), str),
        # AlpaSim parses it: the quotes keep it from being a date already.
        'training_date': str,
        'is_resumable': bool,
        **dict.fromkeys(('sensors', 'logger', 'time_range', 'training_step_outputs'), dict),
    }
    assert {key: type(metadata[key]) for key in types} == types
    assert len(metadata['dataset_hash']) == 64
    assert set(metadata['logger']) == {'name', 'run_id', 'run_url'}
    assert metadata['scene_id'] == example.info['sequence_id']
    assert metadata['scene_id'] == example.trajectory['sequence_id']
    assert metadata['sensors'] == {'camera_ids': list(TABLE), 'lidar_ids': ['lidar_gt_top_p128']}
    assert metadata['time_range'] == {
        'start': float(example.times_us[0]),
        'end': float(example.times_us[-1]),
    }
    assert example.info['pose-range'] == {
        'start-timestamp_us': example.times_us[0],
        'end-timestamp_us': example.times_us[-1],
        'num-poses': 202,
    }
    assert example.trajectory['rig_bbox']['rot'] == [0.0, 0.0, 0.0]
    matrix = np.array(example.rig['world_to_nre']['matrix'])
    assert np.array_equal(matrix[:3, :3], np.eye(3))
    assert np.linalg.norm(matrix[:3, 3]) > 10


def test_the_lidar_spins_ten_times_a_second_within_the_drive(example):
    ((key, value),) = example.rig['lidar_calibrations'].items()
    assert key == f'lidar_gt_top_p128@{example.info["sequence_id"]}'
    assert value['logical_sensor_name'] == 'lidar_gt_top_p128'
    pose = np.array(value['T_sensor_rig'])
    assert np.array_equal(pose[:3, :3], np.eye(3))
    bbox = example.trajectory['rig_bbox']
    assert bbox['centroid'][2] + bbox['dim'][2] / 2 < pose[2, 3] < 2.5, 'on the roof'
    assert value['lidar_model']['type'] == 'row-offset-spinning'
    model = value['lidar_model']['parameters']
    assert (model['spinning_frequency_hz'], model['spinning_direction']) == (10.0, 'cw')
    for name, count in (
        ('row_elevations_rad', model['n_rows']),
        ('row_azimuth_offsets_rad', model['n_rows']),
        ('column_azimuths_rad', model['n_columns']),
    ):
        assert len(model[name]) == count
    elevations = np.degrees(model['row_elevations_rad'])
    assert (elevations[0], elevations[-1]) == pytest.approx((14.4, -25.0), abs=1e-3)
    assert np.all(np.diff(elevations) < 0)
    assert np.all(np.diff(model['column_azimuths_rad']) < 0), 'clockwise'
    spins = np.array(example.trajectory['lidars_frame_timestamps_us'][key])
    assert len(spins) == 200
    assert np.all(spins[:, 1] - spins[:, 0] == 100_000)
    assert np.array_equal(spins[1:, 0], spins[:-1, 1])
    assert example.times_us[0] <= spins[0, 0]
    assert spins[-1, 1] <= example.times_us[-1]


# --- other camera models -------------------------------------------------------------------------


@pytest.fixture(scope='module')
def loaded(tmp_path_factory):
    """Return the cameras that the package reads, by the name of their --camera-model."""
    folder = tmp_path_factory.mktemp('models')

    def cameras(name):
        example = make_example(duration_s=1, camera_model=name)
        path = write_example(folder / f'{name}.usdz', example)
        scenario = Scenario.load(path)
        assert scenario.warnings == ()
        return {key: camera.model for key, camera in scenario.cameras.items()}

    return {name: cameras(name) for name in CAMERA_MODELS}


@pytest.mark.parametrize(
    ('name', 'kind', 'tolerance'),
    [
        ('windshield', 'ftheta', 8.0),
        ('pinhole', 'opencv-pinhole', 40.0),
        ('fisheye', 'opencv-fisheye', 0.5),
    ],
)
def test_every_model_sees_about_what_the_ftheta_lens_does(loaded, name, kind, tolerance):
    """At the edges and the middle, where the pinhole can: in between it has other angles."""
    assert set(loaded[name]) == set(TABLE)
    for key, model in loaded[name].items():
        ftheta = loaded['ftheta'][key]
        assert model.kind == kind
        middle, row = ftheta.principal_point
        pixels = np.array([(u, row) for u in (4.0, middle + 1.0, 1915.0)])
        there, valid = model.project(ftheta.unproject(pixels)[0])
        assert valid.all(), key
        assert np.abs(there - pixels).max() < tolerance, key
        assert model.unproject(pixels)[1].all()


def test_the_windshield_is_before_those_that_look_ahead_and_can_be_undone(loaded):
    for key, model in loaded['windshield'].items():
        assert (model.windshield is not None) == ('front' in key)
    glass = loaded['windshield']['camera_front_wide_120fov'].windshield
    rng = np.random.default_rng(1)
    phi, theta = rng.uniform((-0.9, -0.5), (0.9, 0.5), (200, 2)).T

    def bent(polynomial, a, b):
        degree = {6: 2, 15: 4}[len(polynomial)]
        powers = ((i, j) for j in range(degree + 1) for i in range(degree + 1 - j))
        return sum(c * a**i * b**j for c, (i, j) in zip(polynomial, powers, strict=True))

    across = bent(glass.horizontal_poly, phi, theta)
    down = bent(glass.vertical_poly, phi, theta)
    assert 0.002 < np.hypot(across - phi, down - theta).max() < np.radians(1.0)
    np.testing.assert_allclose(bent(glass.horizontal_poly_inverse, across, down), phi, atol=1e-4)
    np.testing.assert_allclose(bent(glass.vertical_poly_inverse, across, down), theta, atol=1e-4)
