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
"""Exports with what a scenario has beside cameras: lidars, IMU, fix."""

from __future__ import annotations

import json
import math
from pathlib import Path
import struct
from test.export.test_export_bags import in_files, messages, stamp_of
from test.support.archives import build_archive, CAMERAS
from test.support.lidars import add_lidar, ELEVATIONS, LIDAR, SPINS, T_RIG_LIDAR
from typing import Any

import numpy as np
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.scenario import Scenario
import pytest
from rclpy.serialization import deserialize_message

# A rig that stands on the equator at Greenwich: north, east and up are z, y and x of the Earth.
EARTH = [[0.0, 0.0, 1.0, 6378137.0], [0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0, 0, 0, 1.0]]
POINTS = [(3.0, 4.0, 5.0 * math.tan(ELEVATIONS[1])), (-2.0, 0.0, -0.4)]


def spin(request: Any, _context: Any) -> Any:
    """Return two points, the second as intense as the spin's end tells."""
    reply = sensorsim_pb2.LidarRenderReturn(num_points=2)
    reply.point_xyzs_buffer = struct.pack('<6f', *POINTS[0], *POINTS[1])
    intensity = request.frame_end_us % 256 / 255
    reply.point_intensities_buffer = struct.pack('<2f', 0.5, intensity)
    return reply


@pytest.fixture(scope='module')
def usdz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the scenario of the other tests with a lidar, somewhere on Earth."""

    def edit(rig: dict[str, Any]) -> None:
        add_lidar(rig)
        rig['T_world_base'] = EARTH

    return build_archive(tmp_path_factory.mktemp('lidar'), 'drive.usdz', edit_rig=edit)


@pytest.fixture
def server(make_server):
    found = make_server()
    found.spin = spin
    return found


def spin_ends(usdz: Path) -> list[int]:
    scenario = Scenario.load(usdz)
    return [end * 1000 for _, end in SPINS if end * 1000 <= scenario.end_ns]


def test_every_spin_is_in_the_bag_and_in_the_files(export, server, usdz, tmp_path):
    """In the layout of the bag, and with its numbers as KITTI has them in the files."""
    from sensor_msgs.msg import PointCloud2

    images, ends = tmp_path / 'images', spin_ends(usdz)
    code, out = export(server, options=['--frames', images, '--cameras', CAMERAS[0]])
    assert code == 0
    clouds = [
        (t, deserialize_message(data, PointCloud2))
        for topic, t, data in messages(out / 'drive')
        if topic == f'/nurec/{LIDAR}/points'
    ]
    assert [t for t, _ in clouds] == [stamp_of(cloud) for _, cloud in clouds] == ends
    assert len(ends) > 10
    for t_ns, cloud in clouds:
        values = np.array(struct.unpack('<8f', cloud.data.tobytes())).reshape(2, 4)
        np.testing.assert_allclose(values[:, :3], POINTS, rtol=1e-6)
        np.testing.assert_allclose(values[:, 3], [0.5, t_ns // 1000 % 256 / 255], rtol=1e-6)
        assert (images / 'drive' / LIDAR / f'{t_ns}.bin').read_bytes() == cloud.data.tobytes()
    known = json.loads((images / 'drive' / 'lidars.json').read_text())[LIDAR]
    np.testing.assert_allclose(known['T_rig_lidar'], T_RIG_LIDAR)
    assert known['model']['row_elevations_rad'] == ELEVATIONS
    lines = (images / 'drive' / 'tracks.jsonl').read_text().splitlines()
    labelled = {line['stamp_ns']: line['tracks'] for line in map(json.loads, lines)}
    scenario = Scenario.load(usdz)
    for t_ns in ends:
        ids = [track['id'] for track in labelled[t_ns]]
        assert ids == list(scenario.tracks.active_ids(t_ns))


def test_the_other_layout_is_the_same_in_the_files(export, server, usdz, tmp_path):
    from sensor_msgs.msg import PointCloud2

    images = tmp_path / 'images'
    options = ['--frames', images, '-p', 'lidar_layout:=xyzirc', '--topics', '~/*/points']
    code, out = export(server, options=options)
    assert code == 0
    t_ns, data = next(
        (t, data) for topic, t, data in messages(out / 'drive') if topic.endswith('/points')
    )
    cloud = deserialize_message(data, PointCloud2)
    (first, second) = struct.iter_unpack('<3fBBH', cloud.data.tobytes())
    assert first[3:] == (128, 1, 1)
    assert second[3:] == (t_ns // 1000 % 256, 1, 3)
    found = np.fromfile(images / 'drive' / LIDAR / f'{t_ns}.bin', '<f4').reshape(-1, 4)
    np.testing.assert_allclose(found[:, :3], POINTS, rtol=1e-6)
    np.testing.assert_allclose(found[:, 3], [128 / 255, second[3] / 255], rtol=1e-6)


def test_imu_and_fix_are_there_at_their_own_times(export, server, usdz, monkeypatch):
    """Also between the ticks of the clock, and the same however the bag is split."""
    from sensor_msgs.msg import Imu, NavSatFix

    options = ['-p', 'imu_rate:=200', '-p', 'fix_rate:=4', '--topics', '~/imu', '~/fix', '/clock']
    code, out = export(server, options=options)
    assert code == 0
    scenario, found = Scenario.load(usdz), messages(out / 'drive')
    span_s = (scenario.end_ns - scenario.start_ns) / 1e9
    for topic, kind, rate in (('/nurec/imu', Imu, 200), ('/nurec/fix', NavSatFix, 4)):
        stamps = [
            (t, stamp_of(deserialize_message(data, kind)))
            for name, t, data in found
            if name == topic
        ]
        due = [scenario.start_ns + k * 10**9 // rate for k in range(int(span_s * rate) + 1)]
        assert stamps == [(t, t) for t in due]
    fix = next(deserialize_message(d, NavSatFix) for name, _, d in found if name == '/nurec/fix')
    assert (fix.latitude, fix.longitude, fix.altitude) == pytest.approx((0, 0, 0), abs=1e-6)
    assert server.requests('render_rgb') == server.requests('render_lidar') == []
    monkeypatch.setattr('nurec_ros.export.part.PART_NS', 10**12)
    code, whole = export(server, output='whole', options=options)
    assert code == 0
    assert in_files(whole / 'drive') == in_files(out / 'drive')


def test_a_lidar_has_parameters_of_its_own_and_may_be_left_out(export, server, usdz, capsys):
    options = ['-p', f'{LIDAR}.rate:=2', '--topics', '~/*/points', '--node-name', 'car']
    code, out = export(server, options=options)
    assert code == 0
    begin = Scenario.load(usdz).start_ns
    found = messages(out / 'drive')
    assert [t for _, t, _ in found] == [begin + k * 500_000_000 for k in range(5)]
    assert {topic for topic, _, _ in found} == {f'/car/{LIDAR}/points'}
    server.calls.clear()
    for options in (['-p', 'lidars:=[none]'], ['--lidars', 'none']):
        code, out = export(server, output=options[0], options=[*options, '--cameras', CAMERAS[0]])
        assert code == 0
        assert server.requests('render_lidar') == []
        assert not any(topic.endswith('/points') for topic, _, _ in messages(out / 'drive'))
    # What is typed counts more than a parameter, as with cameras.
    options = ['-p', 'lidars:=[none]', '--lidars', LIDAR, '--topics', '~/*/points']
    code, out = export(server, output='one', options=options)
    assert code == 0
    ends = spin_ends(usdz)
    assert [t for topic, t, _ in messages(out / 'drive') if topic.endswith('/points')] == ends
    assert export(server, output='typo', options=['--lidars', 'roof'])[0] == 1
    assert (
        f"parameter 'lidars' names 'roof'; expected some of '{LIDAR}'" in capsys.readouterr().err
    )
    capsys.readouterr()
    assert export(server, output='bad', options=['-p', f'{CAMERAS[0]}.device:=at128'])[0] == 1
    assert f"there is no parameter '{CAMERAS[0]}.device', expected" in capsys.readouterr().err


def test_a_server_without_lidars_is_told_once_and_the_rest_is_there(
    export, make_server, usdz, capsys
):
    code, out = export(make_server(), options=['--topics', '~/*/points'])
    assert code == 3
    (entry,) = json.loads((out / 'export.json').read_text())['scenarios']
    assert {lost['sensor'] for lost in entry['missing']} == {LIDAR}
    assert [lost['stamp_ns'] for lost in entry['missing']] == spin_ends(usdz)
    assert entry['complete'] is True
    assert f'{out / "drive"}: ' in capsys.readouterr().out
