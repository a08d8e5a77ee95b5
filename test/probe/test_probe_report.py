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
"""Stages as records, lines and JSON."""

import json

from nurec_ros.probe.report import FAIL, NOTE, PASS, passed, SKIP, Stage, summary
import pytest


def test_a_failure_needs_a_remedy():
    with pytest.raises(ValueError, match='has no remedy'):
        Stage('tcp', FAIL, 'refused')


def test_a_stage_as_json_has_plain_values():
    stage = Stage('render', PASS, 'fine', latency_s=0.0123456, details={'asked': [480, 270]})
    value = json.loads(json.dumps(stage.to_json()))
    assert value == {
        'stage': 'render',
        'status': 'pass',
        'message': 'fine',
        'remedy': '',
        'latency_ms': 12.346,
        'asked': [480, 270],
    }


def test_a_stage_without_latency_says_null():
    assert Stage('sizes', PASS, 'fine').to_json()['latency_ms'] is None


@pytest.mark.parametrize(
    ('status', 'mark', 'plain'),
    [(PASS, '✓', 'ok'), (NOTE, '·', 'note'), (FAIL, '✗', 'FAIL'), (SKIP, '–', 'skip')],
)
def test_every_status_has_its_mark(status, mark, plain):
    stage = Stage('tcp', status, 'message', 'remedy')
    assert mark in stage.lines()[0]
    first, second = stage.lines(plain=True)
    assert plain in first
    assert (first + second).isascii()


def test_the_remedy_is_a_line_of_its_own_and_the_latency_ends_the_first():
    first, second = Stage('tcp', FAIL, 'refused', 'start it', 0.002).lines()
    assert first.endswith(' 2.0 ms')
    assert 'start it' not in first
    assert second.strip() == '→ start it'
    assert len(Stage('tcp', PASS, 'fine').lines()) == 1


@pytest.mark.parametrize(
    ('statuses', 'good'),
    [
        ([PASS, PASS], True),
        ([PASS, NOTE], True),
        ([PASS, FAIL], False),
        ([FAIL, SKIP], False),
        ([PASS, SKIP], False),
    ],
)
def test_notes_pass_and_skips_do_not(statuses, good):
    assert passed(Stage('tcp', status, '', 'x') for status in statuses) is good


def test_the_summary_names_each_failed_stage_once():
    stages = [Stage('render', FAIL, '', 'x'), Stage('render', FAIL, '', 'x')]
    assert summary([*stages, Stage('batch', FAIL, '', 'x')]) == 'failed: render, batch'
    assert summary([Stage('tcp', PASS, '')]) == 'every stage passed'
