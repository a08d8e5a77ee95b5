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

from test.support.archives import build_archive, CAMERAS, put, REMOVED
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

PLACE = f'lidar_calibrations.{KEY}'
MODEL = f'{PLACE}.lidar_model'


SPIN_TIMES = f'rig_trajectories[0].lidars_frame_timestamps_us.{KEY}'


def built(tmp_path, edit=dict):
    """Return an archive with a lidar; `edit` changes its rig, or is what is put at key paths."""

    def edit_rig(rig):
        add_lidar(rig)
        put(rig, SPIN_TIMES, [list(spin) for spin in SPINS])
        if callable(edit):
            edit(rig)
            return
        for path, value in edit.items():
            put(rig, path, value)

    return Scenario.load(build_archive(tmp_path, edit_rig=edit_rig))


def loaded(tmp_path, edit=dict):
    scenario = built(tmp_path, edit)
    assert scenario.warnings == ()
    return scenario


def test_place_model_and_spins(tmp_path):
    scenario = loaded(tmp_path)
    assert list(scenario.lidars) == [LIDAR]
    lidar = scenario.lidars[LIDAR]
    assert (lidar.name, lidar.key) == (LIDAR, KEY)
    np.testing.assert_allclose(lidar.T_rig_lidar, T_RIG_LIDAR, atol=1e-15)
    np.testing.assert_array_equal(lidar.spin_times_ns, np.array(SPINS) * 1000)
    model = lidar.model
    assert (model.kind, model.spinning_frequency_hz) == ('row-offset-spinning', 10.0)
    assert len(model.row_elevations_rad) == 4
    assert (len(model.column_azimuths_rad), model.spinning_direction) == (3, 'cw')
    np.testing.assert_array_equal(model.row_elevations_rad, ELEVATIONS)
    np.testing.assert_array_equal(model.column_azimuths_rad, [3.0, 0.0, -3.0])
    np.testing.assert_array_equal(model.row_azimuth_offsets_rad, [0.01, -0.01, 0.01, -0.01])
    for array in (lidar.T_rig_lidar, lidar.spin_times_ns, model.row_elevations_rad):
        assert not array.flags.writeable
    assert repr(lidar) == f'Lidar({LIDAR!r}, row-offset-spinning, 19 spins)'
    assert '1 lidars' in repr(scenario)


def test_parameters_beside_the_type_and_no_offsets(tmp_path):
    def edit(rig):
        model = rig['lidar_calibrations'][KEY]['lidar_model']
        model.update(model.pop('parameters'))
        model['type'] = 'ROW_OFFSET_SPINNING'
        del model['row_azimuth_offsets_rad'], model['n_rows'], model['n_columns']

    scenario = loaded(tmp_path, edit)
    model = scenario.lidars[LIDAR].model
    np.testing.assert_array_equal(model.row_elevations_rad, ELEVATIONS)
    np.testing.assert_array_equal(model.row_azimuth_offsets_rad, np.zeros(4))


def test_unknown_models_are_kept_and_said_once(tmp_path):
    def edit(rig):
        rig['lidar_calibrations'][KEY]['lidar_model'] = {'type': 'flash', 'parameters': {}}
        add_lidar(rig, 'lidar_rear', model={'type': 'solid-state'})

    scenario = built(tmp_path, edit)
    assert list(scenario.lidars) == [LIDAR, 'lidar_rear']
    assert [lidar.model for lidar in scenario.lidars.values()] == [None, None]
    (warning,) = scenario.warnings
    assert f"{LIDAR} is 'flash', lidar_rear is 'solid-state', expected row-offset" in warning


def without_model(scenario):
    lidar = scenario.lidars[LIDAR]
    return lidar.model is None and len(lidar.spin_times_ns) == len(SPINS)


def no_lidars(scenario):
    return scenario.lidars == {} and 'lidar' not in repr(scenario)


def spins_but(*left_out):
    kept = [spin for i, spin in enumerate(SPINS) if i not in left_out]
    times = np.array(kept, dtype=np.int64).reshape(-1, 2) * 1000
    return lambda s: np.array_equal(s.lidars[LIDAR].spin_times_ns, times)


PARAMETERS = f'{MODEL}.parameters'
SHORT = {'spinning_frequency_hz': 10, 'spinning_direction': 'cw'}
SHORT.update(row_elevations_rad=ELEVATIONS, column_azimuths_rad=[1.0, 0.0])
LATE = [[start + 10**9, end + 10**9] for start, end in SPINS]
# What is put at a key path, the one warning's words ('' for none), and what is so then.
ODD = [
    *(('lidar_calibrations', value, '', no_lidars) for value in ({}, None, REMOVED)),
    (
        'lidar_calibrations',
        [1],
        'lidar_calibrations is a list of 1, expected an object, so there are no lidars',
        no_lidars,
    ),
    *(
        (path, value, f'lidar_calibrations.{KEY}{words}', no_lidars)
        for path, value, words in (
            (PLACE, 7, ' is 7, expected an object, so the lidar is left out'),
            (
                f'{PLACE}.T_sensor_rig',
                REMOVED,
                '.T_sensor_rig is missing, expected a 4x4 matrix, so the lidar is left out',
            ),
            (f'{PLACE}.T_sensor_rig', [[0.0] * 4] * 4, '.T_sensor_rig is singular, expected a'),
        )
    ),
    (MODEL, None, '', without_model),
    *(
        (MODEL, value, f'{MODEL}{words}', without_model)
        for value, words in (
            ([], ' is an empty list, expected an object'),
            ({}, '.type is missing, expected the name of a lidar model'),
            ({'type': 3}, '.type is 3, expected the name of a lidar model'),
            (
                {'type': 'row-offset-spinning', 'parameters': 3},
                '.parameters is 3, expected an object',
            ),
        )
    ),
    *(
        (f'{PARAMETERS}.{key}', value, f'{PARAMETERS}.{key} is {words}', without_model)
        for key, value, words in (
            ('spinning_frequency_hz', 0, '0, expected Hz from 0.001 to 10000'),
            ('spinning_frequency_hz', REMOVED, 'missing, expected a frequency'),
            ('spinning_direction', 'left', "'left', expected cw or ccw"),
            ('n_rows', 5, '5, expected 4, the length of row_elevations_rad'),
            ('row_elevations_rad', REMOVED, 'missing, expected a list of angles'),
            ('row_elevations_rad[2]', 'up', "'up', expected a finite number"),
            ('column_azimuths_rad', [], 'an empty list, expected 1 to 100000 angles'),
            ('column_azimuths_rad', [0, 180, 359], 'up to 359, expected radians of at most 100'),
        )
    ),
    (
        PARAMETERS,
        {**SHORT, 'row_azimuth_offsets_rad': [0.0] * 3},
        f'{PARAMETERS}.row_azimuth_offsets_rad is a list of 3, expected 4 numbers',
        without_model,
    ),
    (PARAMETERS, {**SHORT, 'row_elevations_rad': [0.1]}, '', lambda s: s.lidars[LIDAR].model),
    (f'{SPIN_TIMES}[3]', SPINS[3][::-1], f'{SPIN_TIMES}: 1 of 19 entries are', spins_but(3)),
    (
        'rig_trajectories[0].lidars_frame_timestamps_us',
        REMOVED,
        'lidars_frame_timestamps_us is missing, expected an object',
        spins_but(*range(len(SPINS))),
    ),
    (SPIN_TIMES, LATE, f'19 of 19 of {LIDAR}', lambda s: len(s.lidars[LIDAR].spin_times_ns) == 19),
    (
        'lidar_calibrations.other',
        calibration(),
        'has no spins of other',
        lambda s: list(s.lidars) == [LIDAR, 'other'] and not len(s.lidars['other'].spin_times_ns),
    ),
]


@pytest.mark.parametrize(('path', 'value', 'words', 'is_so'), ODD)
def test_odd_lidars(tmp_path, path, value, words, is_so):
    scenario = built(tmp_path, {path: value})
    assert len(scenario.warnings) == bool(words)
    for warning in scenario.warnings:
        assert warning.startswith('scenario.usdz: rig_trajectories.json: ')
        assert words in warning
    assert is_so(scenario)


def test_a_lidar_of_a_camera_s_name_goes_by_its_key(tmp_path):
    def edit(rig):
        rig['lidar_calibrations'] = {'roof': calibration(CAMERAS[0])}
        rig['rig_trajectories'][0]['lidars_frame_timestamps_us'] = {'roof': SPINS}

    scenario = loaded(tmp_path, edit)
    assert list(scenario.lidars) == ['roof']
    assert len(scenario.lidars['roof'].spin_times_ns) == len(SPINS)
