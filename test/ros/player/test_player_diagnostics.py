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
"""/diagnostics: composed from counters, with levels that mean something."""

from dataclasses import replace
from pathlib import Path
import re
from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticStatus
from nurec_ros.playback.effects import DrivenState, PlaybackState
from nurec_ros.rendering.frames import CameraStatus, RendererStatus
from nurec_ros.ros.diagnostics import Diagnostics, SECOND_CLOCK
from nurec_ros.settings import Settings
import pytest

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

NOTHING = {'asked': 0, 'received': 0, 'dropped': 0, 'failed': 0, 'last_error': '', 'remedy': ''}
RENDERER = RendererStatus(
    connected=True,
    server='host:1',
    service_prefix='some.Service',
    version='26.04',
    scene_id='scene',
    scenes=('scene',),
    batch=True,
    tracks_refused=False,
    in_flight=0,
    **NOTHING,
)
CAMERA = CameraStatus(latency_p50_s=0.03, latency_p95_s=0.05, **NOTHING)


def scenario():
    """Return what the diagnostics ask a scenario of one camera, for a test to change."""
    pipeline = SimpleNamespace(renderer=RENDERER, camera=CAMERA, frame_size=lambda _: (480, 270))
    pipeline.status = lambda: pipeline.renderer
    pipeline.camera_status = lambda _: pipeline.camera
    course = SimpleNamespace(played_ns=0, outrun={'front': 0}, lapped={'front': 0})
    residual = SimpleNamespace(rms_px=0.123456, max_px=1.5)
    topics = SimpleNamespace(audience=(1, 0, 1), calibration=SimpleNamespace(residual=residual))
    return SimpleNamespace(
        pipeline=pipeline,
        playback=SimpleNamespace(subscribed=('front',), held=False, course=course),
        cameras=('front',),
        lidars=(),
        clouds={},
        discarded={'front': 0},
        topics={'front': topics},
    )


CLOCK = SECOND_CLOCK.format(topic='/clock')
GONE = {'connected': False, 'last_error': 'cannot reach host:1', 'remedy': 'start it'}
AWAY = replace(RENDERER, **GONE, down_for_s=7.4)
FOR_7_S = 'cannot reach host:1 (for 7 s); the status of the renderer says what to do'


class Composer:
    """Composes once a second of its own clock."""

    def __init__(self):
        self.time_s = 100.0
        self.loaded = scenario()
        self._diagnostics = Diagnostics('nurec', '/nurec', now=lambda: self.time_s)
        self.compose()

    def compose(self, is_playing=False, ego=None, **found):
        """Let a second pass; give the statuses by their part."""
        self.time_s += 1.0
        statuses = self._diagnostics.compose(
            PlaybackState(scenario='drive', is_playing=is_playing, ego=ego),
            self.loaded,
            loading=False,
            mode='realtime',
            **found,
        )
        assert {status.hardware_id for status in statuses} == {'/nurec'}
        return {status.name.removeprefix('nurec: '): status for status in statuses}

    def camera(self, *, is_playing=False, **counters):
        """Set counters of the camera and compose; give its status."""
        self.loaded.pipeline.camera = replace(self.loaded.pipeline.camera, **counters)
        return self.compose(is_playing)['front']

    def renderer(self, **values):
        """Set values of the renderer and compose; give its status."""
        self.loaded.pipeline.renderer = replace(self.loaded.pipeline.renderer, **values)
        return self.compose()['renderer']


@pytest.fixture
def composer():
    return Composer()


def values_of(status):
    return {value.key: value.value for value in status.values}


def said(status):
    return status.level, status.message


def test_rates_are_per_second(composer):
    status = composer.camera(asked=30, received=28, dropped=1)
    values = values_of(status)
    rates = [values[f'{what}_hz'] for what in ('asked', 'received', 'dropped')]
    assert rates == ['30.0', '28.0', '1.0']
    assert status.level == OK
    composer.time_s += 1.0
    assert values_of(composer.camera(asked=50, received=48))['asked_hz'] == '10.0'


def test_values_of_a_camera(composer):
    expected = {'latency_p50_ms': '30.0', 'latency_p95_ms': '50.0', 'fit_rms_px': '0.123'}
    expected |= {'fit_max_px': '1.5', 'size': '480x270', 'subscribers': '2'}
    assert expected.items() <= values_of(composer.compose()['front']).items()


def test_a_renderer_that_cannot_keep_up_is_a_warning_with_the_remedy(composer):
    status = composer.camera(asked=30, received=10, dropped=20)
    assert status.level == WARN
    assert 'resolution_scale' in status.message
    assert composer.camera(asked=60, received=40).level == OK


def test_frames_that_outran_the_pipeline_count_as_dropped(composer):
    composer.loaded.playback.course.outrun['front'] = 20
    status = composer.camera(asked=10, received=10)
    assert values_of(status)['dropped_hz'] == '20.0'
    assert status.level == WARN


def test_frames_that_a_jump_made_obsolete_are_no_warning(composer):
    composer.loaded.discarded['front'] = 1
    composer.loaded.playback.course.lapped['front'] = 2
    status = composer.camera(asked=5, received=2, dropped=3)
    assert values_of(status)['dropped_hz'] == '3.0'
    assert status.level == OK


def test_failures_among_images_are_a_warning_and_alone_an_error(composer):
    lost = {'failed': 1, 'last_error': 'out of memory', 'remedy': 'lower resolution_scale'}
    status = composer.camera(asked=2, received=1, **lost)
    assert status.level == WARN
    assert 'out of memory: lower resolution_scale' in status.message
    status = composer.camera(asked=4, failed=3)
    assert status.level == ERROR
    assert composer.camera(asked=5, received=2, last_error='', remedy='').level == OK


def test_a_halted_camera_whose_image_was_lost_stays_a_warning(composer):
    """Nothing more is asked for while halted, and the viewer still has no picture."""
    lost = {'failed': 1, 'last_error': 'no JPEG', 'remedy': 'look at the log'}
    assert composer.camera(asked=1, **lost).level == ERROR
    sentence = 'the last image was lost: no JPEG: look at the log'
    assert said(composer.compose()['front']) == (WARN, sentence)
    assert composer.camera(asked=2, received=1, last_error='', remedy='').level == OK


def test_frames_that_wait_for_a_lost_server_are_not_the_cameras_fault(composer):
    composer.loaded.pipeline.renderer = AWAY
    expected = (WARN, f'no image comes: {FOR_7_S}')
    assert said(composer.camera(is_playing=True, asked=30, dropped=30)) == expected
    # The one that waits, in lockstep: nothing is dropped.
    assert said(composer.camera(is_playing=True, asked=31)) == expected


def test_a_picture_that_is_owed_and_why(composer):
    status = composer.camera(asked=1)
    assert said(status) == (OK, 'a picture is on its way')
    assert values_of(status)['pending'] == '1'
    composer.loaded.pipeline.renderer = AWAY
    assert said(composer.compose()['front']) == (WARN, f'a picture is owed: {FOR_7_S}')
    composer.loaded.playback.subscribed = ()
    assert said(composer.compose()['front']) == (OK, 'nobody listens')
    composer.loaded.playback.subscribed = ('front',)
    assert composer.camera(received=1).level == OK
    assert composer.compose()['front'].message == '0.0 images/s'


def test_a_server_that_compiles_its_first_frame_is_not_slow(composer):
    compiling = replace(RENDERER, waiting_for_first_frame_s=12.3, first_frame_limit_s=300.0)
    composer.loaded.pipeline.renderer = compiling
    composer.loaded.pipeline.camera = replace(CAMERA, asked=31, dropped=30)
    statuses = composer.compose(is_playing=True)
    for part in ('renderer', 'front'):
        assert statuses[part].level == OK
        assert statuses[part].message.startswith('waiting 12 s for the first frame')
    assert values_of(statuses['renderer'])['waiting_for_first_frame_s'] == '12.3'
    # Nor before a thread got round to ask for it.
    composer.loaded.pipeline.renderer = RENDERER
    status = composer.camera(is_playing=True, asked=61, dropped=60)
    assert status.message == 'waiting for the first frame'
    status = composer.camera(is_playing=True, asked=91, received=1, dropped=89)
    assert 'cannot keep up' in status.message


def test_the_document_has_every_key_and_no_other(composer):
    text = (Path(__file__).parents[3] / 'docs' / 'diagnostics.md').read_text()
    sections = re.split(r'^## ', text, flags=re.MULTILINE)[1:]
    parts = ('playback', 'ego', 'renderer', 'front')
    driven = DrivenState('twist', 3.0, 0, 0.1, 2.0)
    composer.loaded.watch = SimpleNamespace(
        settings=Settings(), ego=SimpleNamespace(starved=False)
    )
    for section, part in zip(sections, parts, strict=True):
        first_cells = re.findall(r'^\| (`[^|]*`) \|', section, flags=re.MULTILINE)
        documented = [key for cell in first_cells for key in re.findall(r'`(\w+)`', cell)]
        assert sorted(documented) == sorted(values_of(composer.compose(ego=driven)[part])), part


def test_a_lidar_has_a_status_of_its_own(composer):
    loaded = composer.loaded
    loaded.lidars = ('roof',)
    loaded.clouds['roof'] = SimpleNamespace(audience=(2,), points=57_600)
    course = loaded.playback.course
    loaded.discarded['roof'] = course.outrun['roof'] = course.lapped['roof'] = 0
    loaded.playback.subscribed = ('roof',)
    loaded.pipeline.camera = replace(CAMERA, asked=10, received=10)
    status = composer.compose()['roof']
    assert said(status) == (OK, '10.0 clouds/s')
    values = values_of(status)
    assert (values['points'], values['subscribers']) == ('57600', '2')
    assert not {'size', 'fit_rms_px'} & set(values)
    loaded.pipeline.camera = replace(
        CAMERA, asked=20, received=10, failed=10, last_error='it has none', remedy='ask another'
    )
    sentence = 'no cloud comes: it has none: ask another'
    assert said(composer.compose()['roof']) == (ERROR, sentence)


def test_renderer_levels(composer):
    assert composer.renderer().level == OK
    status = composer.renderer(connected=False, last_error='cannot reach host:1', remedy='start')
    assert said(status) == (ERROR, 'cannot reach host:1: start')
    trouble = {'connected': True, 'last_error': 'sometimes', 'remedy': ''}
    assert composer.renderer(received=5, failed=1, **trouble).level == WARN
    assert composer.renderer(received=5, failed=9).level == ERROR
    assert composer.renderer(last_error='').level == OK


def test_what_the_renderer_tells(composer):
    values = values_of(composer.renderer(connected=False, down_for_s=2.25, batch=None))
    assert values['down_for_s'] == '2.2'
    assert values['batch'] == 'unknown'
    note = 'it mixes up its pictures'
    values = values_of(composer.renderer(connected=True, batch=True, batch_note=note))
    assert (values['batch'], values['batch_note']) == ('true', note)


def test_renderer_that_was_not_reached_yet(composer):
    assert said(composer.renderer(connected=False)) == (ERROR, 'connecting to host:1')


def test_playback_levels(composer):
    assert composer.compose()['playback'].level == OK
    assert said(composer.compose(conflicts=(CLOCK,))['playback']) == (WARN, CLOCK)
    assert '/clock' in CLOCK
    assert 'publish_clock:=false' in CLOCK
    status = composer.compose(conflicts=(CLOCK,), failure='something of ours')['playback']
    assert said(status) == (ERROR, f'{CLOCK}; something of ours')


def test_lockstep_that_waits_for_a_renderer_says_for_which_and_for_how_long(composer):
    composer.loaded.playback.held = True

    def playback(**renderer):
        composer.loaded.pipeline.renderer = replace(RENDERER, **renderer)
        return said(composer.compose(is_playing=True)['playback'])

    assert playback() == (OK, 'waiting for images (lockstep)')
    level, message = playback(waiting_for_first_frame_s=70.0, first_frame_limit_s=300.0)
    assert level == OK
    assert message.startswith('waiting for images (lockstep): waiting 70 s for the first frame')
    assert playback(down_for_s=4.9, **GONE)[0] == OK
    assert playback(down_for_s=7.4, **GONE) == (WARN, f'waiting for images (lockstep): {FOR_7_S}')
    level, message = playback(down_for_s=30.0, **GONE)
    assert (level, '(for 30 s)' in message) == (ERROR, True)
    status = composer.compose(is_playing=True, conflicts=(CLOCK,))['playback']
    assert status.level == ERROR
    assert 'cannot reach' in status.message
    assert 'publish_clock' in status.message
    # Halted, nobody waits.
    assert composer.compose()['playback'].message == 'halted'


def test_the_speed_that_is_achieved(composer):
    """Over the last five seconds of playing; 0 while halted."""

    def speed(played_s=0.0, **state):
        composer.loaded.playback.course.played_ns += round(played_s * 1e9)
        return values_of(composer.compose(**state)['playback'])['achieved_speed_s_per_s']

    assert speed() == '0.0'
    assert speed(0.7, is_playing=True) == 'unknown'
    assert speed(0.25, is_playing=True) == '0.25'
    assert speed(0.75, is_playing=True) == '0.5'
    for _ in range(5):
        found = speed(0.1, is_playing=True)
    assert found == '0.1'
    assert speed() == '0.0'
    assert speed(0.1, is_playing=True) == 'unknown'


def test_another_scenario_starts_from_nothing(composer):
    composer.camera(asked=1000, received=1000)
    composer.loaded = scenario()
    assert values_of(composer.camera(asked=10, received=10))['asked_hz'] == '10.0'


def test_a_scene_of_another_name_is_a_warning(composer):
    note = "the server's only scene is 'x', taken for 'y': set scene_id to choose"
    status = composer.renderer(scene_note=note)
    assert said(status) == (WARN, note)
    assert values_of(status)['scene_note'] == note
    broken = composer.renderer(last_error='no image', remedy='wait', failed=1)
    assert said(broken) == (ERROR, 'no image: wait')
    assert composer.renderer(connected=False).level == ERROR
