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
"""How progress is shown."""

from __future__ import annotations

import io

from nurec_ros.demo.play import Progress, rendering


def test_without_a_terminal_there_is_a_line_at_each_quarter():
    stream = io.StringIO()
    progress = Progress(20.0, terminal=False, stream=stream)
    for k in range(201):
        progress.show(k / 10, f'{k} images')
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines == [
        'playing  25 %: 5.0 s, 50 images',
        'playing  50 %: 10.0 s, 100 images',
        'playing  75 %: 15.0 s, 150 images',
        'playing 100 %: 20.0 s, 200 images',
    ]


def test_leaps_over_quarters_give_one_line():
    stream = io.StringIO()
    progress = Progress(20.0, terminal=False, stream=stream)
    progress.show(1.0, '')
    progress.show(16.0, 'x')
    progress.close()
    assert stream.getvalue() == 'playing  75 %: 16.0 s, x\n'


def test_a_terminal_gets_a_bar():
    stream = io.StringIO()
    progress = Progress(20.0, terminal=True, stream=stream)
    progress.show(10.0, '60 images')
    progress.show(25.0, '120 images')
    progress.close()
    text = stream.getvalue()
    assert ' 50% |' in text
    assert '10.0 / 20.0 s, 60 images' in text
    assert '100% |' in text
    assert '125%' not in text


def test_a_scenario_without_duration_is_no_division_by_zero():
    progress = Progress(0.0, terminal=False, stream=io.StringIO())
    progress.show(0.0, '')
    progress.close()


def camera(asked: int, received: int, dropped: int = 0, failed: int = 0, error: str = ''):
    """Give a camera's status, of a last second without images."""
    values = {'asked': asked, 'received': received, 'dropped': dropped, 'failed': failed}
    return '0.0 images/s', {
        **{key: str(value) for key, value in values.items()},
        'last_error': error,
    }


def test_the_frames_of_all_cameras_are_summed_up():
    statuses = {
        'nurec: playback': ('done', {}),
        'nurec: left': camera(201, 201),
        'nurec: right': camera(201, 199, dropped=2),
        'nurec: not_chosen': camera(9, 0, failed=9),
    }
    assert rendering(statuses, ['left', 'right']) == ['images: 400 came of 402 that were due']


def test_a_slow_renderer_is_told_with_the_options_that_help():
    lines = rendering({'nurec: left': camera(201, 101, dropped=100)}, ['left'])
    assert lines[0] == 'images: 101 came of 201 that were due'
    assert '100 frames were dropped' in lines[1]
    assert '--camera-rate' in lines[1]


def test_failures_are_told_of_each_camera():
    statuses = {
        'nurec: left': camera(5, 3, failed=2, error='no memory'),
        'nurec: right': camera(5, 5),
    }
    assert rendering(statuses, ['left', 'right']) == [
        'images: 8 came of 10 that were due',
        'left: 2 frames failed: no memory',
    ]
