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
"""A spin of each lidar: of the preview server, and of servers that answer with raw bytes."""

import json
from test.preview.preview_client import serve
from test.probe.reports import closed, failed, grey, probe_at, stage, statuses, with_small_cameras
from test.rendering.fake_server import FakeServer
from test.support.archives import build_archive, SEQUENCE_ID, START_US
from test.support.lidars import add_lidar, field, LIDAR, new_reply, old_reply, SPINS

import grpc
import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.preview import paint
from nurec_ros.preview.behaviour import Behaviour
from nurec_ros.preview.server import PreviewServer
from nurec_ros.scenario import Scenario
import pytest

OTHER = 'roof'
# Eight metres and more around the car.
POINTS = np.array([[8, 0, -1], [0, 9, -1], [-30.5, 2, 0.25], [0, -120, 4]], dtype='<f4')
INTENSITIES = np.array([0.0, 0.5, 0.25, 1.0], dtype='<f4')


def of_2026(points=POINTS, intensities=INTENSITIES):
    return new_reply(points, intensities)


@pytest.fixture(scope='module')
def spinning(tmp_path_factory):
    """Return a scenario with a lidar of a known device and, after it, one of none."""

    def edit(rig):
        add_lidar(rig)
        add_lidar(rig, name=OTHER, model=None)

    path = build_archive(tmp_path_factory.mktemp('lidars'), edit_rig=edit)
    return with_small_cameras(Scenario.load(path), 1)


@pytest.fixture
def probe_raw(spinning, tmp_path):
    """Return a function that probes a server whose spins are these bytes, or what aborts."""

    def probed(answer, **options):
        with FakeServer(grey, scenes=[SEQUENCE_ID]) as server:
            server.spin = answer if callable(answer) else lambda *_: answer
            return probe_at(spinning, server.address, tmp_path, **{'lidars': (LIDAR,), **options})

    return probed


# As PCL describes the format: the binary points follow.
PCD = """\
# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z intensity
SIZE 4 4 4 4
TYPE F F F F
COUNT 1 1 1 1
WIDTH {0}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {0}
DATA binary
"""


@pytest.mark.parametrize('reply', [old_reply, new_reply])
def test_the_cloud_of_either_generation_is_judged_and_saved(probe_raw, tmp_path, reply):
    requests = []

    def spin(request, _):
        requests.append([request.frame_start_us, request.frame_end_us])
        return reply(POINTS, INTENSITIES)

    report = probe_raw(spin)
    # A recorded one near the middle.
    ((start_us, end_us),) = requests
    assert [start_us, end_us] in SPINS
    assert abs(end_us - START_US - 1_000_000) <= 100_000
    found = stage(report, 'lidar', 'pass')
    assert found.latency_s > 0.0
    assert f'{LIDAR} as pandar128: 4 points, 8.1 to 120.1 m, half within 19.8' in found.message
    assert found.details['points'] == 4
    nearest, median, farthest = found.details['ranges_m']
    # Of 8.06, 9.06, 30.57 and 120.07 m.
    assert (nearest, farthest) == pytest.approx((65**0.5, 14416**0.5))
    assert median == pytest.approx((82**0.5 + (30.5**2 + 4.0625) ** 0.5) / 2)
    assert report.clouds == (tmp_path / 'out' / f'{LIDAR}.pcd',)
    rows = np.column_stack([POINTS, INTENSITIES])
    assert report.clouds[0].read_bytes() == PCD.format(4).encode() + rows.tobytes()
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value['clouds'] == [str(report.clouds[0])]


def test_a_server_without_lidars_is_a_note_and_said_once(spinning, tmp_path):
    with FakeServer(grey, scenes=[SEQUENCE_ID]) as server:
        report = probe_at(spinning, server.address, tmp_path)
        assert server.methods().count('refused lidar') == 1
    (found,) = [one for one in report.stages if one.name == 'lidar']
    assert found.status == 'note'
    assert 'renders no lidars' in found.message
    assert '25.07' in found.remedy
    assert report.clouds == ()


def fails(_, context):
    context.abort(grpc.StatusCode.UNKNOWN, 'NRenderer.render failed')


@pytest.mark.parametrize(
    ('reply', 'words', 'remedy', 'saved'),
    [
        (field(1, b'\0' * 16) + field(2, b'\0' * 4), '4 coordinates, expected 3', 'newer', 'bin'),
        (of_2026(intensities=INTENSITIES[:3]), '3 intensities, expected 4, one', 'newer', 'bin'),
        (
            b'\x18\x09' + old_reply(POINTS, INTENSITIES),
            *('4 points, expected 9, its num_points', 'newer version', 'bin'),
        ),
        (of_2026(points=POINTS * np.float32(np.nan)), '12 of 12 coordinates of', 'newer', 'bin'),
        (b'', 'the cloud is empty', 'the scene the one of this archive', ''),
        (of_2026(POINTS * np.float32(100)), '4 of 4 points are farther away', 'metres', 'pcd'),
        (of_2026(POINTS * np.float32(1e-3)), 'half of 4 points are within', 'metres', 'pcd'),
        (fails, f'{LIDAR}: the renderer failed (NRenderer', 'restart the container', ''),
    ],
    ids=['odd', 'intensities', 'count', 'nan', 'empty', 'far', 'near', 'fails'],
)
def test_what_is_no_cloud_or_implausible_is_a_failure_and_saved_as_it_came(
    probe_raw, tmp_path, reply, words, remedy, saved
):
    report = probe_raw(reply)
    assert failed(report) == ['lidar']
    found = stage(report, 'lidar', 'fail')
    assert words in found.message
    assert LIDAR in found.message
    assert remedy in found.remedy
    assert report.clouds == ((tmp_path / 'out' / f'{LIDAR}.{saved}',) if saved else ())


def test_what_is_odd_is_a_note(probe_raw):
    report = probe_raw(of_2026(intensities=INTENSITIES * 255))
    assert report.ok
    assert 'intensities of 0 to 255, expected 0 to 1' in stage(report, 'lidar', 'note').message
    report = probe_raw(of_2026(), lidars=(), slow_s=0.0)
    first, second = (s.message for s in report.stages if s.name == 'lidar')
    assert first.endswith(', slow because the first')
    assert second.endswith(', slow')
    report = probe_raw(of_2026(), lidars=())
    assert statuses(report, 'lidar') == ['pass', 'note']
    assert f"the name of lidar '{OTHER}' tells no device" in stage(report, 'lidar', 'note').message


def test_lidars_are_chosen(spinning, tmp_path):
    with FakeServer(grey, scenes=[SEQUENCE_ID]) as server:
        server.spin = lambda *_: of_2026()
        report = probe_at(spinning, server.address, tmp_path, lidars=('none',))
        assert statuses(report, 'lidar') == []
        assert server.requests('render_lidar') == []
        with pytest.raises(ConfigurationError, match=f"lidars names 'top'; expected .*{LIDAR}"):
            probe_at(spinning, server.address, tmp_path, lidars=('top',))


def test_without_a_server_a_lidar_is_not_tried(spinning, tmp_path):
    nowhere = closed()
    assert statuses(probe_at(spinning, nowhere, tmp_path), 'lidar') == ['skip']
    report = probe_at(spinning, nowhere, tmp_path, lidars=('none',))
    assert statuses(report, 'lidar') == []


def test_the_preview_s_spins_pass(spinning, tmp_path, monkeypatch):
    monkeypatch.setattr(paint, 'FINEST', 0.2)
    with PreviewServer([spinning], behaviour=Behaviour(lidar_beams=(16, 90))) as server:
        report = probe_at(spinning, server.address, tmp_path)
    count = stage(report, 'lidar', 'pass').details['points']
    assert count > 200
    assert len(report.clouds[0].read_bytes()) == len(PCD.format(count)) + 16 * count


def test_a_server_that_went_away_is_not_asked_for_spins(spinning, tmp_path):
    with serve(spinning, behaviour=Behaviour(crash_after=1)) as server:
        report = probe_at(spinning, server.address, tmp_path)
    assert failed(report) == ['render']
    assert statuses(report, 'lidar') == ['skip', 'skip']
