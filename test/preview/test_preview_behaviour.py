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
"""Every behaviour as a value: what is allowed, and what follows from it without a server."""

from dataclasses import FrozenInstanceError, replace

from nurec_ros.errors import ConfigurationError
from nurec_ros.preview.behaviour import Behaviour, help_texts
import pytest


def test_the_default_is_a_healthy_server_that_allows_editing():
    healthy = Behaviour()
    assert healthy.batch_served
    assert healthy.health_served
    assert healthy.editing
    assert healthy.service_prefix == 'nre.grpc.protos.sensorsim.SensorsimService'
    assert healthy.max_workers == 1
    assert (healthy.first_frame_s, healthy.latency_s, healthy.failure_rate) == (0, 0, 0)


def test_a_server_of_2025_has_no_batch_and_no_health():
    old = Behaviour(api='v1')
    assert not old.batch_served
    assert not old.health_served


def test_it_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Behaviour().latency_s = 1.0


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('api', 'v3'),
        ('replies', 'bad'),
        ('batch_replies', 'bad'),
        ('service_prefix', ''),
        ('service_prefix', 'a/b'),
        ('startup_s', -1.0),
        ('first_frame_s', float('nan')),
        ('latency_s', float('inf')),
        ('jitter_s', -0.1),
        ('failure_rate', 1.1),
        ('failure_rate', -0.1),
        ('failure_rate', float('nan')),
        ('oom_pixels', -1),
        ('max_workers', 0),
        ('crash_after', -1),
        ('native_aspect', (16, 0)),
        ('native_aspect', (-16, 9)),
    ],
)
def test_what_cannot_be_played_is_named(name, value):
    with pytest.raises(ConfigurationError, match=f'^{name} is .*, expected '):
        replace(Behaviour(), **{name: value})


@pytest.mark.parametrize(
    ('aspect', 'asked', 'given'),
    [
        (None, (633, 356), (633, 356)),
        ((0, 0), (480, 270), (480, 270)),
        ((0, 0), (1, 270), (480, 270)),
        ((0, 0), (634, 356), (632, 356)),
        ((3848, 2168), (1900, 1080), (1916, 1080)),  # the size measured on a real server
        ((1, 100), (480, 27), (1, 27)),
    ],
)
def test_the_aspect_kept_decides_the_width(aspect, asked, given):
    behaviour = Behaviour(native_aspect=aspect)
    assert behaviour.output_size(asked, (1920, 1080)) == given


def test_every_behaviour_has_a_sentence_of_help():
    assert set(help_texts()) == set(Behaviour.__slots__)
    for text, _ in help_texts().values():
        assert len(text) > 20
        assert not text.endswith('.')
