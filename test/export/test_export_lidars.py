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

from itertools import chain
import json
import math
from pathlib import Path
import struct
from test.export.conftest import entries_of, in_files, messages, read
from test.support.archives import build_archive, CAMERAS
from test.support.lidars import add_lidar, ELEVATIONS, LIDAR, SPINS, T_RIG_LIDAR
from test.support.player_bench import stamp_ns
from typing import Any

import numpy as np
from nurec_ros.rendering.protos import sensorsim_pb2
from nurec_ros.scenario import Scenario
import pytest

# A rig that stands on the equator at Greenwich: north, east and up are z, y and x of the Earth.
EARTH = [[0.0, 0.0, 1.0, 6378137.0], [0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0, 0, 0, 1.0]]
POINTS = [(3.0, 4.0, 5.0 * math.tan(ELEVATIONS[1])), (-2.0, 0.0, -0.4)]
# Of the spins.
ENDS = [end * 1000 for _, end in SPINS[:9]]
CLOUDS = ('--topics', '~/*/points')


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
        add_lidar(rig, spins=SPINS[:9])
        rig['T_world_base'] = EARTH

    folder = tmp_path_factory.mktemp('lidar')
    return build_archive(folder, 'drive.usdz', duration_s=1.0, edit_rig=edit)


@pytest.fixture
def server(make_server):
    found = make_server()
    found.spin = spin
    return found


def clouds_in(bag: Path) -> list[tuple[int, Any]]:
    from sensor_msgs.msg import PointCloud2

    return read(bag, f'/nurec/{LIDAR}/points', PointCloud2)


def test_every_spin_is_in_the_bag_and_in_the_files(export, server, usdz, tmp_path):
    """In the layout of the bag, and with its numbers as KITTI has them in the files."""
    images = tmp_path / 'images' / 'drive'
    out = export(server, options=['--frames', images.parent, '--cameras', CAMERAS[0]])
    clouds = clouds_in(out / 'drive')
    assert [(t, stamp_ns(cloud)) for t, cloud in clouds] == [(t, t) for t in ENDS]
    for t_ns, cloud in clouds:
        values = np.array(struct.unpack('<8f', cloud.data.tobytes())).reshape(2, 4)
        np.testing.assert_allclose(values[:, :3], POINTS, rtol=1e-6)
        np.testing.assert_allclose(values[:, 3], [0.5, t_ns // 1000 % 256 / 255], rtol=1e-6)
        assert (images / LIDAR / f'{t_ns}.bin').read_bytes() == cloud.data.tobytes()
    known = json.loads((images / 'lidars.json').read_text())[LIDAR]
    np.testing.assert_allclose(known['T_rig_lidar'], T_RIG_LIDAR)
    assert known['model']['row_elevations_rad'] == ELEVATIONS
    lines = map(json.loads, (images / 'tracks.jsonl').read_text().splitlines())
    labelled = {line['stamp_ns']: line['tracks'] for line in lines}
    scenario = Scenario.load(usdz)
    for t_ns in ENDS:
        ids = [track['id'] for track in labelled[t_ns]]
        assert ids == list(scenario.tracks.active_ids(t_ns))


def test_the_other_layout_is_the_same_in_the_files(export, server, tmp_path):
    images = tmp_path / 'images'
    options = ['--frames', images, '-p', 'lidar_layout:=xyzirc', *CLOUDS]
    out = export(server, options=options)
    t_ns, cloud = clouds_in(out / 'drive')[0]
    first, second = struct.iter_unpack('<3fBBH', cloud.data.tobytes())
    assert first[3:] == (128, 1, 1)
    assert second[3:] == (t_ns // 1000 % 256, 1, 3)
    found = np.fromfile(images / 'drive' / LIDAR / f'{t_ns}.bin', '<f4').reshape(-1, 4)
    np.testing.assert_allclose(found[:, :3], POINTS, rtol=1e-6)
    np.testing.assert_allclose(found[:, 3], [128 / 255, second[3] / 255], rtol=1e-6)


def test_imu_and_fix_are_there_at_their_own_times(export, server, usdz, monkeypatch):
    """Also between the ticks of the clock, and the same however the bag is split."""
    from sensor_msgs.msg import Imu, NavSatFix

    options = ['-p', 'imu_rate:=200', '-p', 'fix_rate:=4', '--topics', '~/imu', '~/fix', '/clock']
    out = export(server, options=options)
    start_ns = Scenario.load(usdz).start_ns
    for topic, kind, rate in (('/nurec/imu', Imu, 200), ('/nurec/fix', NavSatFix, 4)):
        some = read(out / 'drive', topic, kind)
        due = [start_ns + k * 10**9 // rate for k in range(rate + 1)]
        assert [(t, stamp_ns(one)) for t, one in some] == [(t, t) for t in due]
    fix = some[0][1]
    assert (fix.latitude, fix.longitude, fix.altitude) == pytest.approx((0, 0, 0), abs=1e-6)
    assert server.requests('render_rgb') == server.requests('render_lidar') == []
    monkeypatch.setattr('nurec_ros.export.part.PART_NS', 10**12)
    whole = export(server, output='whole', options=options)
    assert in_files(whole / 'drive') == [[*chain(*in_files(out / 'drive'))]]


def test_a_lidar_has_parameters_of_its_own_and_may_be_left_out(
    export, server, usdz, tmp_path, capsys
):
    out = export(server, options=['-p', f'{LIDAR}.rate:=2', '--node-name', 'car', *CLOUDS])
    begin = Scenario.load(usdz).start_ns
    found = [(topic, t) for topic, t, _ in messages(out / 'drive')]
    assert found == [(f'/car/{LIDAR}/points', begin + k * 500_000_000) for k in range(3)]
    server.calls.clear()
    for options in (['-p', 'lidars:=[none]'], ['--lidars', 'none']):
        out = export(server, output=options[0], options=[*options, '--topics', '~/*s'])
        assert server.requests('render_lidar') == []
        there = {topic for topic, _, _ in messages(out / 'drive')}
        assert there == {'/nurec/tracks', '/nurec/objects'}
    # What is typed counts more than a parameter, as with cameras.
    options = ['-p', 'lidars:=[none]', '--lidars', LIDAR, *CLOUDS]
    out = export(server, output='one', options=options)
    assert [t for t, _ in clouds_in(out / 'drive')] == ENDS
    capsys.readouterr()
    export(output='typo', options=['--lidars', 'roof'], ends=1)
    typo = f"parameter 'lidars' names 'roof'; expected some of '{LIDAR}'"
    assert typo in capsys.readouterr().err
    assert not (tmp_path / 'typo' / 'drive').exists()


def test_a_server_without_lidars_is_told_once_and_the_rest_is_there(export, make_server, capsys):
    out = export(make_server(), options=CLOUDS, ends=3)
    entry = entries_of(out)['drive']
    missing = [(lost['sensor'], lost['stamp_ns']) for lost in entry['missing']]
    assert missing == [(LIDAR, t) for t in ENDS]
    assert entry['complete'] is True
    assert f'{out / "drive"}: ' in capsys.readouterr().out
