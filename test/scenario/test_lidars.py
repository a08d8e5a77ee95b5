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
"""The lidars of a scenario: their place, model and spins, and what files get wrong about them."""

from test.support.archives import build_archive, CAMERAS, REMOVED
from test.support.lidars import (
    add_lidar,
    calibration,
    ELEVATIONS,
    KEY,
    LIDAR,
    SPINS,
    T_RIG_LIDAR,
)

import numpy as np
from nurec_ros.scenario import Scenario
import pytest

MODEL = f'lidar_calibrations.{KEY}.lidar_model'


def loaded(tmp_path, edit=None):
    def edit_rig(rig):
        add_lidar(rig)
        if edit is not None:
            edit(rig)

    return Scenario.load(build_archive(tmp_path, edit_rig=edit_rig))


def edited_model(change):
    return lambda rig: change(rig['lidar_calibrations'][KEY]['lidar_model']['parameters'])


def test_place_model_and_spins(tmp_path):
    scenario = loaded(tmp_path)
    assert scenario.warnings == ()
    assert list(scenario.lidars) == [LIDAR]
    lidar = scenario.lidars[LIDAR]
    assert (lidar.name, lidar.key) == (LIDAR, KEY)
    np.testing.assert_allclose(lidar.T_rig_lidar, T_RIG_LIDAR, atol=1e-15)
    np.testing.assert_array_equal(lidar.spin_times_ns, np.array(SPINS) * 1000)
    model = lidar.model
    assert (model.kind, model.spinning_frequency_hz) == ('row-offset-spinning', 10.0)
    assert (model.n_rows, model.n_columns, model.spinning_direction) == (4, 3, 'cw')
    np.testing.assert_array_equal(model.row_elevations_rad, ELEVATIONS)
    np.testing.assert_array_equal(model.column_azimuths_rad, [3.0, 0.0, -3.0])
    np.testing.assert_array_equal(model.row_azimuth_offsets_rad, [0.01, -0.01, 0.01, -0.01])
    for array in (lidar.T_rig_lidar, lidar.spin_times_ns, model.row_elevations_rad):
        assert not array.flags.writeable
    assert repr(lidar) == f'Lidar({LIDAR!r}, row-offset-spinning, 19 spins)'
    assert '1 lidars' in repr(scenario)


@pytest.mark.parametrize('value', [{}, None, REMOVED])
def test_a_rig_without_lidars_is_nothing_to_say(tmp_path, value):
    scenario = Scenario.load(build_archive(tmp_path, edit_rig={'lidar_calibrations': value}))
    assert dict(scenario.lidars) == {}
    assert scenario.warnings == ()
    assert 'lidar' not in repr(scenario)


def test_parameters_beside_the_type_and_no_offsets(tmp_path):
    def edit(rig):
        model = rig['lidar_calibrations'][KEY]['lidar_model']
        model.update(model.pop('parameters'))
        model['type'] = 'ROW_OFFSET_SPINNING'
        del model['row_azimuth_offsets_rad'], model['n_rows'], model['n_columns']

    scenario = loaded(tmp_path, edit)
    assert scenario.warnings == ()
    model = scenario.lidars[LIDAR].model
    np.testing.assert_array_equal(model.row_elevations_rad, ELEVATIONS)
    np.testing.assert_array_equal(model.row_azimuth_offsets_rad, np.zeros(4))


def test_without_a_model(tmp_path):
    def edit(rig):
        rig['lidar_calibrations'][KEY]['lidar_model'] = None

    scenario = loaded(tmp_path, edit)
    assert scenario.warnings == ()
    assert scenario.lidars[LIDAR].model is None
    assert len(scenario.lidars[LIDAR].spin_times_ns) == len(SPINS)


def test_unknown_models_are_kept_and_said_once(tmp_path):
    def edit(rig):
        rig['lidar_calibrations'][KEY]['lidar_model'] = {'type': 'flash', 'parameters': {}}
        add_lidar(rig, 'lidar_rear', model={'type': 'solid-state'})

    scenario = loaded(tmp_path, edit)
    assert list(scenario.lidars) == [LIDAR, 'lidar_rear']
    assert [lidar.model for lidar in scenario.lidars.values()] == [None, None]
    (warning,) = scenario.warnings
    assert f"{LIDAR} is 'flash', lidar_rear is 'solid-state', expected row-offset" in warning


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (
            lambda given: given.update(spinning_frequency_hz=0),
            'spinning_frequency_hz is 0, expected Hz from 0.001 to 10000',
        ),
        (
            lambda given: given.update(spinning_direction='left'),
            "spinning_direction is 'left', expected cw or ccw",
        ),
        (
            lambda given: given.update(n_rows=5),
            'n_rows is 5, expected 4, the length of row_elevations_rad',
        ),
        (
            lambda given: given.pop('row_elevations_rad'),
            'row_elevations_rad is missing, expected a list of angles',
        ),
        (
            lambda given: given['row_elevations_rad'].__setitem__(2, 'up'),
            "row_elevations_rad[2] is 'up', expected a finite number",
        ),
        (
            lambda given: given.update(column_azimuths_rad=[]),
            'column_azimuths_rad is an empty list, expected 1 to 100000 angles',
        ),
        (
            lambda given: given.update(column_azimuths_rad=[0, 180, 359], n_columns=3),
            'column_azimuths_rad is up to 359, expected radians of at most 100',
        ),
        (
            lambda given: given.update(row_azimuth_offsets_rad=[0.0] * 3, n_rows=None),
            'row_azimuth_offsets_rad is a list of 3, expected 4 numbers',
        ),
    ],
)
def test_a_broken_model_is_a_warning_and_the_lidar_stays(tmp_path, change, words):
    scenario = loaded(tmp_path, edited_model(change))
    (warning,) = scenario.warnings
    assert f'{MODEL}.parameters.{words}' in warning
    assert warning.startswith('scenario.usdz: rig_trajectories.json: ')
    assert scenario.lidars[LIDAR].model is None
    assert len(scenario.lidars[LIDAR].spin_times_ns) == len(SPINS)


@pytest.mark.parametrize(
    ('model', 'words'),
    [
        ([], 'lidar_model is an empty list, expected an object'),
        ({}, 'lidar_model.type is missing, expected the name of a lidar model'),
        ({'type': 3}, 'lidar_model.type is 3, expected the name of a lidar model'),
        (
            {'type': 'row-offset-spinning', 'parameters': 3},
            'lidar_model.parameters is 3, expected an object',
        ),
    ],
)
def test_a_model_that_is_none(tmp_path, model, words):
    def edit(rig):
        rig['lidar_calibrations'][KEY]['lidar_model'] = model

    scenario = loaded(tmp_path, edit)
    (warning,) = scenario.warnings
    assert f'lidar_calibrations.{KEY}.{words}' in warning
    assert scenario.lidars[LIDAR].model is None


@pytest.mark.parametrize(
    ('edit', 'words'),
    [
        (
            lambda rig: rig.update(lidar_calibrations=[1]),
            'lidar_calibrations is a list of 1, expected an object, so there are no lidars',
        ),
        (
            lambda rig: rig['lidar_calibrations'].update({KEY: 7}),
            f'{KEY} is 7, expected an object, so the lidar is left out',
        ),
        (
            lambda rig: rig['lidar_calibrations'][KEY].pop('T_sensor_rig'),
            'T_sensor_rig is missing, expected a 4x4 matrix, so the lidar is left out',
        ),
        (
            lambda rig: rig['lidar_calibrations'][KEY].update(T_sensor_rig=[[0.0] * 4] * 4),
            'T_sensor_rig is singular, expected a rotation',
        ),
    ],
)
def test_a_lidar_without_a_place_is_left_out(tmp_path, edit, words):
    scenario = loaded(tmp_path, edit)
    (warning,) = scenario.warnings
    assert words in warning
    assert dict(scenario.lidars) == {}


def test_two_of_one_name(tmp_path):
    def edit(rig):
        rig['lidar_calibrations']['other'] = calibration()

    scenario = loaded(tmp_path, edit)
    assert list(scenario.lidars) == [LIDAR, 'other']
    (warning,) = scenario.warnings
    assert 'has no spins of other' in warning
    assert len(scenario.lidars['other'].spin_times_ns) == 0


def test_a_lidar_of_a_camera_s_name_goes_by_its_key(tmp_path):
    def edit(rig):
        rig['lidar_calibrations'] = {'roof': calibration(CAMERAS[0])}
        rig['rig_trajectories'][0]['lidars_frame_timestamps_us'] = {'roof': SPINS}

    scenario = loaded(tmp_path, edit)
    assert scenario.warnings == ()
    assert list(scenario.lidars) == ['roof']
    assert len(scenario.lidars['roof'].spin_times_ns) == len(SPINS)


def test_spins_that_make_no_sense_are_left_out(tmp_path):
    def edit(rig):
        spins = [list(spin) for spin in SPINS]
        spins[3].reverse()
        rig['rig_trajectories'][0]['lidars_frame_timestamps_us'][KEY] = spins

    scenario = loaded(tmp_path, edit)
    (warning,) = scenario.warnings
    assert f'lidars_frame_timestamps_us.{KEY}: 1 of 19 entries are left out' in warning
    kept = [spin for i, spin in enumerate(SPINS) if i != 3]
    np.testing.assert_array_equal(scenario.lidars[LIDAR].spin_times_ns, np.array(kept) * 1000)


def test_no_spins_at_all(tmp_path):
    def edit(rig):
        del rig['rig_trajectories'][0]['lidars_frame_timestamps_us']

    scenario = loaded(tmp_path, edit)
    (warning,) = scenario.warnings
    assert 'lidars_frame_timestamps_us is missing, expected an object' in warning
    assert scenario.lidars[LIDAR].spin_times_ns.shape == (0, 2)


def test_spins_of_another_clock(tmp_path):
    def edit(rig):
        spins = [[start + 10**9, end + 10**9] for start, end in SPINS]
        rig['rig_trajectories'][0]['lidars_frame_timestamps_us'][KEY] = spins

    (warning,) = loaded(tmp_path, edit).warnings
    assert f'19 of 19 of {LIDAR}' in warning
