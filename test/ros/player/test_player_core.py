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
"""What came to the contract later: steps on the clock, one moment, state, scenes, lenses."""

from itertools import pairwise
from test.rendering.fake_server import FakeServer
from test.support.archives import build_archive, CAMERAS, SEQUENCE_ID, START_US
from test.support.player_bench import NOWHERE, stamp_ns, state_of

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
MS = 1_000_000
FRONT = CAMERAS[0]


def test_each_step_is_on_the_clock_at_once(start, usdz):
    """Between two messages of its own rate, a second apart, the clock tells every tick."""
    bench = start(usdz_path=usdz, server=NOWHERE, clock_rate=1.0, tick_us=1000).ready()
    heard = bench.listen_sent(Clock, '/clock')
    bench.until(lambda: heard, 'the clock')
    for _ in range(30):
        bench.trigger('tick')
    last_ns = BEGIN_NS + 30 * MS
    bench.until(lambda: stamp_ns(heard[-1][1]) == last_ns, 'the last tick')
    steps = [(sent_ns, stamp_ns(clock)) for sent_ns, clock in heard]
    first_of = {}
    for sent_ns, t_ns in steps:
        first_of.setdefault(t_ns, sent_ns)
    assert [t_ns for t_ns in first_of if t_ns > BEGIN_NS] == [
        BEGIN_NS + MS * count for count in range(1, 31)
    ]
    # Were each to wait for the clock, they would all be a second apart.
    gaps = [b - a for a, b in pairwise(list(first_of.values())[1:])]
    assert sum(gap < 900 * MS for gap in gaps) > len(gaps) / 2


def test_a_scenario_of_one_moment_is_done_and_never_plays(start, usdz, server):
    bench = start(
        usdz_path=usdz,
        server=server.address,
        start_offset_s=1.0,
        end_offset_s=1.0,
        loop=True,
        autoplay=True,
    ).ready()
    infos = bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
    bench.until(lambda: infos, 'its still frame')
    moment_ns = BEGIN_NS + 1000 * MS
    assert stamp_ns(infos[0]) == moment_ns
    for name in ('play', 'tick', 'tick', 'stop', 'reset'):
        state = bench.trigger(name)
        assert (state['is_playing'], state['done']) == (False, True)
        assert state['current_time_us'] * 1000 == moment_ns
    assert {stamp_ns(clock) for clock in bench.spin(bench.clocks, 20)} == {moment_ns}


def test_the_state_tells_begin_end_and_the_cameras_that_are_rendered(start, usdz):
    bench = start(
        usdz_path=usdz,
        server=NOWHERE,
        cameras=f'[{FRONT}]',
        start_offset_s=0.5,
        end_offset_s=0.25,
    ).ready()
    for state in (bench.state, bench.trigger('tick')):
        assert (state['start_us'], state['end_us']) == (START_US + 500_000, START_US + 1_750_000)
        assert state['cameras'] == [FRONT]


@pytest.mark.parametrize('jump', ['seek', 'reset', 'load'])
def test_the_first_state_after_a_jump_back_lists_all_as_new(bench, jump):
    """So that a client which forgets all at a jump has them all again."""
    if jump == 'seek':
        bench.seek(BEGIN_NS + 1500 * MS)
        bench.until(lambda: bench.state['current_time_us'] == START_US + 1_500_000, 'the state')
        before = len(bench.states)
        bench.seek(BEGIN_NS + 1000 * MS)
    else:
        bench.seek(BEGIN_NS + 1000 * MS)
        bench.until(lambda: bench.state['current_time_us'] == START_US + 1_000_000, 'the state')
        before = len(bench.states)
        bench.trigger(jump)
    moment_us = START_US + (1_000_000 if jump == 'seek' else 0)

    def first():
        states = [state_of(message) for message in bench.states[before:]]
        return next((one for one in states if one['current_time_us'] == moment_us), None)

    state = bench.until(first, 'the state after the jump')
    assert len(state['new_track_ids']) == state['active_tracks']
    if jump == 'seek':
        assert sorted(state['new_track_ids']) == ['1', '2@scene:a', '3']


def test_names_in_diagnostics_have_the_namespace(start, usdz):
    bench = start('-r', '__ns:=/fleet', name='/fleet/nurec', usdz_path=usdz, server=NOWHERE)
    found = bench.listen(DiagnosticArray, '/diagnostics')
    bench.until(lambda: found and len(found[-1].status) > 1, 'the diagnostics')
    names = [status.name for status in found[-1].status]
    assert names == [f'/fleet/nurec: {part}' for part in ('playback', 'renderer', *CAMERAS)]


def test_a_server_that_takes_any_scene_is_asked_for_the_archives_own(start, usdz):
    with FakeServer(scenes=['*']) as server:
        bench = start(usdz_path=usdz, server=server.address, batch='never').ready()
        infos = bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
        found = bench.listen(DiagnosticArray, '/diagnostics')
        bench.until(lambda: infos and found, 'the picture')
        assert {request.scene_id for request in server.requests()} == {SEQUENCE_ID}
        bench.until(
            lambda: found[-1].status[1].level == DiagnosticStatus.OK, 'a renderer that is well'
        )
        assert '[WARN]' not in bench.player.output


def test_a_scenes_url_goes_along_with_every_call(start, usdz):
    with FakeServer(scenes=[]) as server:
        bench = start(
            usdz_path=usdz, server=server.address, scene_url='file:///data/street.usdz'
        ).ready()
        infos = bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
        bench.until(lambda: infos, 'the picture')
        for headers in server.headers:
            assert headers['x-nre-scene-url'] == 'file:///data/street.usdz'
            assert headers['x-nre-scene-id'] == SEQUENCE_ID


def test_pixel_centres_of_opencv_lenses_in_the_file_are_half_a_pixel_from_ros(start, tmp_path):
    parameters = {
        'resolution': [1920, 1080],
        'shutter_type': 'GLOBAL',
        'principal_point': [951.2, 547.9],
        'focal_length': [1120.5, 1118.25],
        'radial_coeffs': [0.0] * 6,
        'tangential_coeffs': [0.0] * 2,
        'thin_prism_coeffs': [0.0] * 4,
    }

    def edit(rig):
        for calibration in rig['camera_calibrations'].values():
            calibration['camera_model'] = {'type': 'opencv-pinhole', 'parameters': parameters}

    usdz = build_archive(tmp_path, edit_rig=edit)
    with FakeServer(scenes=[SEQUENCE_ID]) as server:
        bench = start(usdz_path=usdz, server=server.address, resolution_scale=1.0).ready()
        infos = bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
        bench.until(lambda: infos, 'the picture')
    assert (infos[0].k[2], infos[0].k[5]) == pytest.approx((950.7, 547.4))


def test_a_gap_in_the_poses_is_said_once_with_its_length(start, tmp_path):
    def edit(rig):
        (trajectory,) = rig['rig_trajectories']
        for key in ('T_rig_worlds', 'T_rig_world_timestamps_us'):
            del trajectory[key][20:60]

    usdz = build_archive(tmp_path, duration_s=10.0, edit_rig=edit)
    bench = start(usdz_path=usdz, server=NOWHERE).ready()
    lines = [one for one in bench.player.output.splitlines() if '[WARN]' in one]
    (line,) = [one for one in lines if 'gap' in one or 'no pose' in one]
    assert '4.' in line


def test_no_proxy_of_the_environment_is_obeyed(start, usdz, server, monkeypatch):
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'HTTP_PROXY', 'ALL_PROXY'):
        monkeypatch.setenv(name, 'http://127.0.0.1:1')
    for name in ('no_proxy', 'NO_PROXY', 'no_grpc_proxy'):
        monkeypatch.delenv(name, raising=False)
    bench = start(usdz_path=usdz, server=server.address).ready()
    infos = bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
    bench.until(lambda: infos, 'the picture')
    assert bench.get('use_proxy') is False
