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
"""Pictures as bytes, read back by OpenCV."""

from test.preview.preview_client import gradient

import cv2
import numpy as np
from nurec_ros.preview import wire
from nurec_ros.preview.wire import check_format, encode, RefusalError
from nurec_ros.rendering.protos import sensorsim_pb2 as sim
import pytest

SIZES = [(48, 27), (480, 270), (1, 1), (33, 7)]


def decoded(data):
    """Give the RGB picture in the bytes."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), 1), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize('size', SIZES)
def test_png_keeps_every_value(size):
    picture = gradient(*size)
    data = encode(picture, sim.PNG, 0.0)
    assert data.startswith(b'\x89PNG\r\n\x1a\n')
    np.testing.assert_array_equal(decoded(data), picture)


@pytest.mark.parametrize('size', SIZES)
def test_planar_holds_all_red_then_green_then_blue(size):
    width, height = size
    picture = gradient(width, height)
    data = encode(picture, sim.RGB_UINT8_PLANAR, 0.0)
    planes = np.frombuffer(data, np.uint8).reshape(3, height, width)
    for channel in range(3):
        np.testing.assert_array_equal(planes[channel], picture[..., channel])


@pytest.mark.parametrize('fast', [True, False])
@pytest.mark.parametrize('size', SIZES)
def test_jpeg_is_close_and_its_colours_are_not_swapped(size, fast, monkeypatch):
    if fast and wire.simplejpeg is None:
        pytest.skip('simplejpeg is not installed')
    if not fast:
        monkeypatch.setattr(wire, 'simplejpeg', None)
    picture = gradient(*size)
    data = encode(picture, sim.JPEG, 95.0)
    assert data.startswith(b'\xff\xd8\xff')
    assert np.abs(decoded(data).astype(int) - picture).mean() < 4.0


def test_jpeg_takes_a_picture_that_is_not_contiguous():
    picture = gradient(64, 48)[:, ::-1]
    assert np.abs(decoded(encode(picture, sim.JPEG, 95.0)).astype(int) - picture).mean() < 4.0


def test_a_lower_quality_gives_fewer_bytes():
    noise = np.random.default_rng(1).integers(0, 255, (90, 160, 3), np.uint8)
    sizes = [len(encode(noise, sim.JPEG, quality)) for quality in (1.0, 50.0, 95.0, 100.0)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 4


@pytest.mark.parametrize('quality', [0.0, 0.95, -1.0, 101.0, 1e9, float('nan'), float('inf')])
def test_a_jpeg_quality_that_encoders_choke_on_fails_as_there(quality):
    with pytest.raises(RefusalError, match='nvJPEG') as caught:
        check_format(sim.JPEG, quality)
    assert caught.value.code.name == 'UNKNOWN'


@pytest.mark.parametrize('quality', [1.0, 1.9, 95.0, 100.0, 100.9])
def test_the_quality_is_cast_to_int(quality):
    check_format(sim.JPEG, quality)
    assert encode(gradient(8, 8), sim.JPEG, quality)


@pytest.mark.parametrize('quality', [0.0, 0.95, 200.0])
def test_only_jpeg_looks_at_the_quality(quality):
    check_format(sim.PNG, quality)
    check_format(sim.RGB_UINT8_PLANAR, quality)


@pytest.mark.parametrize(
    ('number', 'name'),
    [(0, 'UNDEFINED'), (3, 'JPEG2000'), (5, 'AVC'), (6, 'AV1'), (77, '77')],
)
def test_a_format_that_is_not_served_is_named(number, name):
    with pytest.raises(
        RefusalError, match=f'image_format {name} .*PNG, JPEG, RGB_UINT8_PLANAR'
    ) as caught:
        check_format(number, 95.0)
    assert caught.value.code.name == 'INVALID_ARGUMENT'
