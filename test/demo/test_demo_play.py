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

from nurec_ros.demo.play import Progress


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
