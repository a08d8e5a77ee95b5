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
"""The render server: away, late, gone, back, refusing. All but the images goes on."""

from test.rendering.fake_server import failing, FakeServer, Gate, picture, png
from test.support.archives import build_archive, SEQUENCE_ID
from test.support.player_bench import BEGIN_NS, END_NS, FRONT, NOWHERE, REAR, stamp_ns
from test.support.ports import claim_port

from diagnostic_msgs.msg import DiagnosticStatus
import grpc
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.contract

CODE = grpc.StatusCode


# Where the clock is not what is looked at; and reports come at once.
SELDOM = {'clock_rate': 20, 'report_s': 0.2}


def test_without_a_server_a_picture_is_owed_and_the_scenario_plays(start, usdz):
    bench = start(usdz_path=usdz, server=NOWHERE, rate=10.0, **SELDOM).ready()
    bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
    transforms = bench.listen(TFMessage, '/tf')
    bench.until(lambda: f'cannot reach {NOWHERE}' in bench.status(FRONT).message, 'the reason')
    assert bench.status(FRONT).level == DiagnosticStatus.WARN
    assert bench.told(FRONT)['pending'] == '1'
    assert bench.status(REAR).level == DiagnosticStatus.OK
    bench.trigger('play')
    bench.passes(END_NS)
    bench.until(lambda: transforms, '/tf')
    bench.until(lambda: 'cannot reach' in bench.status('renderer').message, 'the diagnosis')
    status = bench.status('renderer')
    assert status.level == DiagnosticStatus.ERROR
    assert bench.told('renderer')['connected'] == 'false'
    assert all(
        words in status.message
        for words in ('is the NuRec container running', 'port 1 published', '10-30 s')
    )


def test_pictures_come_when_the_server_comes_and_when_it_comes_back(start, usdz):
    port = claim_port()
    bench = start(usdz_path=usdz, server=f'127.0.0.1:{port}', loop=True, **SELDOM).ready()
    infos = bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
    bench.spin(bench.clocks, 10)
    assert not infos
    with FakeServer(scenes=[SEQUENCE_ID], port=port) as server:
        # One that is just coming up may not know its scenes yet.
        def not_yet(_, context):
            del server.answers['get_available_scenes']
            context.abort(CODE.UNAVAILABLE, 'not yet')

        server.answers['get_available_scenes'] = not_yet
        bench.until(lambda: infos, 'the picture')
        assert stamp_ns(infos[0]) == BEGIN_NS
        bench.until(lambda: bench.status('renderer').level == DiagnosticStatus.OK, 'all is well')
        bench.trigger('play')
        bench.spin(infos, 3)
    bench.spin(bench.clocks, 10)
    with FakeServer(scenes=[SEQUENCE_ID], port=port):
        bench.spin(infos, 5)


def test_a_server_is_called_slow_once_it_has_compiled_and_frames_drop_but_not_the_clock(
    start, tmp_path
):
    # No test plays to its end.
    long = build_archive(tmp_path, duration_s=300.0)
    gate = Gate(seconds=0.2)
    with FakeServer(gate, scenes=[SEQUENCE_ID], workers=1) as server:
        bench = start(
            usdz_path=long, server=server.address, camera_rate=30, batch='never', **SELDOM
        ).ready()
        infos = bench.listen(CameraInfo, f'~/{FRONT}/camera_info')
        bench.trigger('play')

        def waited_s():
            return float(bench.told('renderer').get('waiting_for_first_frame_s', 0.0))

        bench.until(lambda: waited_s() > 2.0, 'the wait')
        for part in ('renderer', FRONT):
            assert bench.status(part).level == DiagnosticStatus.OK
        told = [s for m in bench.reports for s in m.status if s.name == f'nurec: {FRONT}']
        assert not any('resolution_scale' in status.message for status in told)
        gate.let_all_go()
        bench.until(lambda: infos, 'the first picture')

        bench.until(lambda: 'resolution_scale' in bench.status(FRONT).message, 'the diagnosis')
        assert bench.status(FRONT).level == DiagnosticStatus.WARN
        values = bench.told(FRONT)
        assert float(values['dropped_hz']) > 0
        assert float(values['received_hz']) > 0
        assert float(values['latency_p50_ms']) >= 190
        # Newest wins: what comes is never older than what came.
        bench.spin(infos, 3)
        stamps = [stamp_ns(info) for info in infos]
        assert stamps == sorted(stamps)
        assert len(set(stamps)) >= 3


@pytest.fixture(scope='module')
def running(start, usdz, server):
    """Return a player that plays round and round, with one camera at 20 Hz."""
    bench = start(
        usdz_path=usdz,
        server=server.address,
        loop=True,
        camera_rate=20,
        clock_rate=50,
        cameras=f'[{FRONT}]',
        batch='never',
        report_s=0.2,
    ).ready()
    bench.infos = bench.infos_of(FRONT)
    bench.images = bench.hear(CompressedImage, f'~/{FRONT}/image_raw/compressed')
    bench.trigger('play')
    return bench


@pytest.mark.parametrize(
    ('answer', 'words'),
    [
        ((CODE.UNKNOWN, 'Exception calling application: NRenderer.render failed'), 'restart'),
        ((CODE.INTERNAL, 'CUDA out of memory. Tried to allocate 2 GiB'), 'resolution_scale'),
        ((CODE.RESOURCE_EXHAUSTED, 'no room'), 'resolution_scale'),
        ((CODE.OUT_OF_RANGE, 'time outside'), ''),
        ((CODE.NOT_FOUND, 'no such scene'), 'scene_id'),
        ((CODE.UNIMPLEMENTED, 'Method not found!'), ''),
        (b'', ''),
        (b'garbage', ''),
        (png(64, 36)[:-30], ''),
    ],
)
def test_what_fails_is_lost_and_said_and_the_rest_goes_on(running, server, answer, words):
    server.render = failing(*answer) if isinstance(answer, tuple) else lambda *_: answer

    def complaint():
        status = running.status(FRONT)
        bad = status.level in (DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
        return bad and words in status.message

    def silent():
        count = len(running.infos)
        running.spin(running.clocks, 10)
        return len(running.infos) == count

    running.until(complaint, f'a diagnosis with {words!r}')
    # While it fails nothing is published, once what was on its way is here; and the clock runs.
    running.until(silent, 'the end of the pictures')
    server.render = picture
    running.spin(running.infos, 5)
    running.until(lambda: running.status(FRONT).level == DiagnosticStatus.OK, 'all is well')


def test_an_image_of_another_size_is_published_as_it_is(running, server):
    """Servers keep the native aspect; camera_info follows what came."""
    server.render = lambda *_: png(300, 200)
    running.until(lambda: (running.infos[-1].width, running.infos[-1].height) == (300, 200), 'it')
    server.render = picture
    running.until(lambda: running.infos[-1].width == 480, 'the size asked for')


def test_bytes_are_passed_through_untouched(running, server):
    answer = png(480, 270, grey=77)
    server.render = lambda *_: answer
    running.until(lambda: bytes(running.images[-1].data) == answer, 'the very bytes')
    assert running.images[-1].format == 'rgb8; png compressed bgr8'
    # And decoded for those who want that.
    raw = running.hear(Image, f'~/{FRONT}/image_raw')
    running.until(lambda: {*raw[-1].data} == {77}, 'its pixels')
    assert (raw[-1].width, raw[-1].height) == (480, 270)
    assert (raw[-1].encoding, raw[-1].step) == ('rgb8', 1440)
    # ROS orders nothing between topics.
    stamps = {stamp_ns(image) for image in running.spin(running.images, 5)}
    running.until(lambda: stamps <= {*map(stamp_ns, running.infos)}, 'their camera_info')
    server.render = picture


def test_the_url_of_a_scene_goes_along_with_every_call_and_changes_with_the_next_load(start, usdz):
    """The server has no scene yet: it is told where from, and asked for pictures all the same."""
    with FakeServer(scenes=['another']) as server:
        bench = start(
            usdz_path=usdz,
            server=server.address,
            scene_url='file:///data/street.usdz',
            **SELDOM,
        ).ready()
        infos = bench.infos_of(FRONT)
        [refused] = bench.configure(scene_url='/data/a.usdz')
        assert not refused.successful
        assert "scene_url is '/data/a.usdz', expected a URL" in refused.reason
        [taken, _] = bench.configure(scene_url='file:///data/a.usdz', scene_id='mine')
        assert taken.successful
        names = ('x-nre-scene-url', 'x-nre-scene-id')
        for headers in server.headers:
            assert [headers[name] for name in names] == ['file:///data/street.usdz', SEQUENCE_ID]
        before = len(infos)
        bench.trigger('load')
        bench.until(lambda: len(infos) > before, 'a picture')
        assert [server.headers[-1][name] for name in names] == ['file:///data/a.usdz', 'mine']


def test_a_server_that_takes_any_scene_is_asked_for_the_archives_own_past_any_proxy(
    start, usdz, monkeypatch
):
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'HTTP_PROXY', 'ALL_PROXY'):
        monkeypatch.setenv(name, 'http://127.0.0.1:1')
    for name in ('no_proxy', 'NO_PROXY', 'no_grpc_proxy'):
        monkeypatch.delenv(name, raising=False)
    with FakeServer(scenes=['*']) as server:
        bench = start(usdz_path=usdz, server=server.address, batch='never', **SELDOM).ready()
        bench.infos_of(FRONT)
        assert {request.scene_id for request in server.requests()} == {SEQUENCE_ID}
        bench.until(lambda: bench.status('renderer').level == DiagnosticStatus.OK, 'all is well')
        assert '[WARN]' not in bench.player.output
        assert bench.get('use_proxy') is False
