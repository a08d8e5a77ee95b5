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
"""The options refuse what cannot be honoured, in a sentence that names it."""

import math

from nurec_ros.errors import ConfigurationError
from nurec_ros.rendering import RenderOptions
from nurec_ros.rendering.channel import scene_metadata
import pytest


def test_defaults_are_the_parameters_table():
    options = RenderOptions()
    assert options.server == 'localhost:46435'
    assert options.image_format == 'jpeg'
    assert options.image_quality == 95
    assert options.resolution_scale == 0.25
    assert options.shutter == 'instant'
    assert options.projection == 'native'
    assert options.batch == 'auto'
    assert options.render_timeout_s == 10.0
    assert options.first_render_timeout_s == 300.0
    assert options.send_tracks is False
    assert options.rig_offset == (0.0,) * 6
    assert options.use_proxy is False
    assert options.scene_url == ''


@pytest.mark.parametrize(
    ('name', 'value', 'named'),
    [
        ('image_format', 'jpg', 'jpeg, png, rgb'),
        ('projection', 'fisheye', 'native, pinhole'),
        ('shutter', 'global', 'instant, recorded'),
        ('batch', 'always', 'auto, never'),
        ('hfov_deg', 0.5, '1 to 170'),
        ('hfov_deg', 171.0, '1 to 170'),
        ('image_quality', 0, '1 to 100'),
        ('image_quality', 101, '1 to 100'),
        ('image_quality', 0.95, '1 to 100'),
        ('render_timeout_s', 0.0, 'render_timeout_s'),
        ('first_render_timeout_s', -1.0, 'first_render_timeout_s'),
        ('resolution_scale', 0.0, r"resolution_scale' is 0\.0; expected a number, 0\.01 to 2"),
        ('resolution_scale', 0.0099, 'resolution_scale'),
        ('resolution_scale', 2.01, 'resolution_scale'),
        ('camera_scales', {'wide': 2.01}, r'wide\.resolution_scale'),
        ('resolution_scale', math.nan, 'resolution_scale'),
        ('camera_scales', {'wide': 0.0}, r'wide\.resolution_scale'),
        ('scene_url', '/data/a.usdz', r"scene_url is '/data/a\.usdz', expected a URL that begins"),
        ('scene_url', 's3://bucket/a.usdz', 'file:, http: or https:'),
        ('scene_url', 'file:', 'file:, http: or https:'),
        ('scene_url', 'file:///data/a b.usdz', 'without blanks'),
        ('scene_url', 'http://h/ü', 'file:, http: or https:'),
        ('rig_offset', (1.0, 2.0), '6 finite numbers'),
        ('rig_offset', (0, 0, 0, 0, 0, math.inf), '6 finite numbers'),
    ],
)
def test_refuses(name, value, named):
    with pytest.raises(ConfigurationError, match=named):
        RenderOptions(**{name: value})


@pytest.mark.parametrize(
    'url', ['', 'file:/data/a.usdz', 'file:///data/a%20b.usdz', 'http://h:8/a', 'HTTPS://h/a?b=c']
)
def test_places_that_a_server_may_load_from(url):
    assert RenderOptions(scene_url=url).scene_url == url


def test_metadata_of_a_scene_that_the_server_loads():
    assert scene_metadata('', 'no name.at all') == ()
    assert scene_metadata('file:/a.usdz', 'a_B-9') == (
        ('x-nre-scene-url', 'file:/a.usdz'),
        ('x-nre-scene-id', 'a_B-9'),
    )
    for name in ('', 'a.b', 'a b', 'ä'):
        with pytest.raises(ConfigurationError, match='expected letters, digits'):
            scene_metadata('file:/a.usdz', name)
    with pytest.raises(ConfigurationError, match='scene_url'):
        scene_metadata('ftp://a', 'a')


@pytest.mark.parametrize('scale', [0.01, 2, 2.0])
def test_scales_reach_as_far_as_the_parameter(scale):
    options = RenderOptions(resolution_scale=scale, camera_scales={'wide': scale})
    assert options.scale_of('wide') == options.scale_of('tele') == scale


def test_scale_of_a_camera():
    options = RenderOptions(resolution_scale=0.5, camera_scales={'wide': 1.0})
    assert options.scale_of('wide') == 1.0
    assert options.scale_of('tele') == 0.5
