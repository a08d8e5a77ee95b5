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
"""What `nurec_info` says, against what the archive was written with."""

from __future__ import annotations

import json
import math
from pathlib import Path
from test.support.archives import build_archive, CAMERAS, identity, SEQUENCE_ID, START_US
from test.support.lidars import add_lidar, LIDAR, SPINS

import cv2
import numpy as np
from nurec_ros.cli.info import main
import pytest

NO_GAP = {'count': 0, 'longest_s': 0.0, 'longest_at_us': None}
# Of a focal length of half the width, which sees 90 degrees.
PINHOLE = {
    'resolution': [1000, 600],
    'shutter_type': 'GLOBAL',
    'principal_point': [500.0, 300.0],
    'focal_length': [500.0, 500.0],
    'radial_coeffs': [0.0] * 6,
    'tangential_coeffs': [0.0] * 2,
    'thin_prism_coeffs': [0.0] * 4,
}


def edited(document):
    """
    Let the ego drive 10 m/s for the first half and 5 m/s for the second, along x.

    The first camera is a pinhole and lacks two frames, one lidar lacks three spins, and another
    is not known at all.
    """
    rig = document['rig_trajectories'][0]
    times = rig['T_rig_world_timestamps_us']
    for pose, t in zip(rig['T_rig_worlds'], times, strict=True):
        s = (t - START_US) / 1e6
        x = 10 * s if s < 1 else 10 + 5 * (s - 1)
        pose[:] = [[1, 0, 0, x], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    key = f'{CAMERAS[0]}@{SEQUENCE_ID}'
    model = {'type': 'opencv-pinhole', 'parameters': PINHOLE}
    document['camera_calibrations'][key]['camera_model'] = model
    del rig['cameras_frame_timestamps_us'][key][5:7]
    add_lidar(document, spins=[*SPINS[:4], *SPINS[7:]])
    document['lidar_calibrations']['lidar_top@1'] = {
        'logical_sensor_name': 'lidar_top',
        'T_sensor_rig': identity(),
    }


def test_what_is_in_a_scenario(tmp_path: Path, capsys):
    path = build_archive(tmp_path, edit_rig=edited)
    assert main([str(path), '--json']) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    drive = {
        'sequence_id': SEQUENCE_ID,
        'path': str(path),
        'poses': 21,
        'pose_gaps': NO_GAP,
        'start_us': START_US,
        'end_us': START_US + 2_000_000,
        'duration_s': pytest.approx(2.0),
        'length_m': pytest.approx(15.0),
        'mean_speed': pytest.approx(7.5),
        'max_speed': pytest.approx(10.0),
    }
    assert {name: facts[name] for name in drive} == drive
    assert sum(facts['classes'].values()) == facts['tracks'] > 0
    first, second = facts['cameras']
    camera = {
        'name': CAMERAS[0],
        'model': 'opencv-pinhole',
        'width': 1000,
        'height': 600,
        'hfov_deg': pytest.approx(90.0, abs=0.01),
        'vfov_deg': pytest.approx(2 * math.degrees(math.atan(0.6)), abs=0.01),
        # ROS has its model, so nothing is fitted.
        'fit_rms_px': None,
        # Frames come every 0.1 s, this one was the fifth.
        'gaps': {
            'count': 1,
            'longest_s': pytest.approx(0.3),
            'longest_at_us': START_US + 447_000,
        },
    }
    assert {name: first[name] for name in camera} == camera
    assert (second['model'], second['gaps']) == ('ftheta', NO_GAP)
    assert 0 <= second['fit_rms_px'] <= second['fit_max_px'] < 5
    none = dict.fromkeys(('model', 'rows', 'columns', 'spinning_hz', 'rate_hz'))
    assert facts['lidars'] == [
        {
            'name': LIDAR,
            'model': 'row-offset-spinning',
            'rows': 4,
            'columns': 3,
            'spinning_hz': 10.0,
            'spins': len(SPINS) - 3,
            'rate_hz': pytest.approx(10.0 * (len(SPINS) - 4) / (len(SPINS) - 1)),
            'gaps': {'count': 1, 'longest_s': pytest.approx(0.4), 'longest_at_us': SPINS[3][1]},
        },
        {**none, 'name': 'lidar_top', 'spins': 0, 'gaps': NO_GAP},
    ]
    assert main([str(path)]) == 0
    text = ' '.join(capsys.readouterr().out.split())
    assert f'lidars 2 {LIDAR} row-offset-spinning 4 rows of 3 turns at 10 Hz 8.33 Hz 16' in text
    assert f'a gap of up to 0.400 s (at {SPINS[3][1]} us)' in text
    assert 'lidar_top no model no beams no turn no rate 0 spins' in text


def test_a_table_for_several_with_the_reason_of_the_broken(tmp_path: Path, capsys):
    folder = tmp_path / 'scenes' / 'deep'
    folder.mkdir(parents=True)
    good = build_archive(folder, 'a.usdz', leave_out=['sequence_tracks.json'])
    bad = folder / 'b.usdz'
    bad.write_bytes(b'no zip')
    assert main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ['file', str(good), str(bad)]
    # Two cameras, no lidar.
    assert lines[0].split()[5:7] == ['cameras', 'lidars']
    assert lines[1].split()[1] == SEQUENCE_ID
    assert lines[1].split()[5:7] == ['2', '0']
    assert 'broken' in lines[2]
    assert 'b.usdz' in lines[3]
    assert main([str(tmp_path), '--json']) == 1
    found = json.loads(capsys.readouterr().out)
    assert found[0]['sequence_id'] == SEQUENCE_ID
    assert set(found[1]) == {'path', 'error'}
    assert main([str(tmp_path), '--plot', str(tmp_path / 'x.png')]) == 1
    assert '--plot draws one scenario, found 2' in capsys.readouterr().err
    # Alone, with the loader's warnings.
    assert main([str(good)]) == 0
    assert 'sequence_tracks.json: is missing' in capsys.readouterr().out


def test_the_plot_shows_the_views_of_the_cameras(tmp_path: Path, capsys):
    """The blue of the views is there with cameras, and not without."""
    shares = []
    for cameras in (CAMERAS, ()):
        path = build_archive(tmp_path, cameras=cameras)
        plot = tmp_path / 'plot.png'
        assert main([str(path), '--plot', str(plot)]) == 0
        assert capsys.readouterr().err == f'wrote {plot}\n'
        image = cv2.cvtColor(cv2.imread(str(plot)), cv2.COLOR_BGR2RGB).astype(int)
        blue = (image[..., 2] - image[..., 0] > 60) & (image[..., 2] > 150)
        # Below the legend's line road users may be blue too.
        shares.append(np.count_nonzero(blue[90:-80]))
    assert shares[0] > shares[1] + 500
