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
"""Sizes, broken replies and pixels, against OpenCV and by hand; what is counted of frames."""

from contextlib import suppress
from importlib.util import find_spec
import random
import struct
from test.rendering.fake_server import png
from types import SimpleNamespace
import zlib

import cv2
import numpy as np
from nurec_ros.errors import RenderError
from nurec_ros.rendering import decode_rgb, Frame, image_size
from nurec_ros.rendering import frames as replies
from nurec_ros.rendering.frames import LATENCIES_KEPT, percentile, Statistics
from nurec_ros.rendering.server_errors import RECONNECT, ServerError
import pytest

SIZE = (37, 23)


def photo(width=SIZE[0], height=SIZE[1]):
    """Return a smooth RGB picture whose channels differ, so that a swap shows."""
    v, u = np.mgrid[0:height, 0:width]
    red = u * 255 / max(width - 1, 1)
    green = v * 255 / max(height - 1, 1)
    return np.stack([red, green, 255 - red], axis=-1).astype(np.uint8)


def jpeg(rgb, *flags):
    encoded = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), list(flags))[1]
    return encoded.tobytes()


def png_of(rgb):
    return cv2.imencode('.png', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def frame(data, encoding, size=SIZE):
    width, height = size
    return Frame('wide', 0, data, encoding, width, height, 0.0)


# --- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('size', 'flags'),
    [
        ((1, 1), ()),
        (SIZE, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        ((1, 3000), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)),
    ],
)
def test_size_of_jpegs(size, flags):
    data = jpeg(photo(*size), *flags)
    assert image_size(data, 'jpeg') == size
    assert replies.check_reply(data, 'jpeg', (1, 1)) == ('jpeg', *size)


def with_exif(data, content):
    """Put a segment, or a chunk, of Exif into a JPEG or a PNG."""
    if data.startswith(b'\xff\xd8'):
        segment = b'Exif\0\0' + content
        return data[:2] + b'\xff\xe1' + struct.pack('>H', len(segment) + 2) + segment + data[2:]
    chunk = struct.pack('>I', len(content)) + b'eXIf' + content
    return data[:33] + chunk + struct.pack('>I', zlib.crc32(b'eXIf' + content)) + data[33:]


def test_size_is_not_taken_from_an_embedded_thumbnail():
    data = jpeg(photo(64, 48))
    found = with_exif(data, jpeg(photo(8, 6)))
    assert image_size(found, 'jpeg') == (64, 48)
    assert replies.check_reply(found, 'jpeg', (64, 48)) == ('jpeg', 64, 48)
    with pytest.raises(RenderError, match='cut off'):
        replies.check_reply(found[: -len(data) // 2], 'jpeg', (64, 48))


HEADER = b'\xff\xc0\x00\x11\x08\x00\x05\x00\x09'


# Fill bytes, markers that stand alone, and segments, three that are named like frames.
@pytest.mark.parametrize(
    'between',
    [
        *(b'', b'\xff\xff\xff', b'\xff\x01', b'\xff\xd0', b'\xff\xe0\x00\x02'),
        *(b'\xff\xc4\x00\x02', b'\xff\xc8\x00\x02', b'\xff\xcc\x00\x02'),
    ],
)
def test_between_segments(between):
    data = jpeg(photo())
    assert image_size(data[:2] + between + data[2:], 'jpeg') == SIZE
    # The header may be all there is.
    assert image_size(b'\xff\xd8' + (between or b'\xff') + HEADER, 'jpeg') == (9, 5)


@pytest.mark.parametrize(
    'before',
    [
        b'\xff\xe0\x00\x02\x00',  # no marker follows
        b'\xff\xe0\x00\x01',  # a segment shorter than its own length
        b'\xff\xda',  # pixels without a header
    ],
)
def test_jpeg_without_a_header(before):
    for data in (b'\xff\xd8' + before + HEADER, b'\xff\xd8\xff' + HEADER[:-1]):
        with pytest.raises(RenderError, match=f'^the JPEG has no frame header in its {len(data)}'):
            image_size(data, 'jpeg')


def test_no_jpeg_at_all():
    with pytest.raises(RenderError, match=r'^the JPEG does not begin as one: 47 49 46 38$'):
        image_size(b'GIF89a', 'jpeg')


def test_png_without_a_header():
    data = png(3, 4)
    assert image_size(data[:24], 'png') == (3, 4)
    for spoiled in (data[:23], b'\x88' + data[1:], data[:12] + b'IDAT' + data[16:]):
        with pytest.raises(RenderError, match=r'^the PNG has no header in its \d+ bytes$'):
            image_size(spoiled, 'png')


def test_size_of_pngs():
    size = (259, 300)
    assert image_size(png_of(photo(*size)), 'png') == size
    assert replies.check_reply(png(*size), 'png', (7, 7)) == ('png', *size)


# --- replies ------------------------------------------------------------------------------------


def test_garbage():
    for garbage in (b'garbage', b'\0' * 1000, b'\xff\xd8'):
        first = ' '.join(f'{byte:02x}' for byte in garbage[:8])
        said = f'neither JPEG nor PNG \\({len(garbage)} bytes, the first are {first}\\)$'
        with pytest.raises(RenderError, match=f'^the reply is {said}'):
            replies.check_reply(garbage, 'jpeg', SIZE)


def test_the_other_image_format_is_an_image_too_and_padding_no_harm():
    assert replies.check_reply(png(3, 4) + b'\0' * 64, 'jpeg', SIZE) == ('png', 3, 4)
    assert replies.check_reply(jpeg(photo()) + b'\0' * 64, 'png', SIZE) == ('jpeg', *SIZE)


def test_truncated_images():
    for data, name in ((jpeg(photo(200, 100)), 'JPEG'), (png_of(photo(200, 100)), 'PNG')):
        for keep in (0.1, 0.9, 0.999):
            cut = data[: int(len(data) * keep)]
            said = f'^the {name} (is cut off after|has no (frame )?header in its) {len(cut)} bytes'
            with pytest.raises(RenderError, match=said):
                replies.check_reply(cut, 'jpeg', (200, 100))


@pytest.mark.parametrize(
    ('data', 'image_format', 'problem', 'remedy'),
    [
        *(
            (b'', image_format, 'the reply holds no image', 'its encoder may fail silently: try')
            for image_format in ('jpeg', 'rgb')
        ),
        (b'garbage', 'png', 'the reply is neither', 'every server knows image_format png and'),
        (bytes(2553), 'jpeg', 'the reply is neither', 'it has the length of RGB planes: set'),
        (png(3, 4)[:40], 'png', 'the PNG is cut off', 'a proxy or the network may cut long mess'),
        (bytes(5), 'rgb', 'the reply holds 5 bytes, expected', 'set image_format to jpeg or png,'),
        (png(3, 4), 'rgb', 'the reply holds', 'set image_format to jpeg or png: only servers fro'),
    ],
)
def test_each_fault_of_an_image_has_its_remedy(data, image_format, problem, remedy):
    with pytest.raises(replies.ReplyError) as caught:
        replies.check_reply(data, image_format, SIZE)
    assert str(caught.value).startswith(problem)
    assert caught.value.remedy.startswith(remedy)


def test_size_of_zero_is_no_image():
    data = bytearray(jpeg(photo()))
    offset = data.index(b'\xff\xc0')
    size_at = slice(offset + 5, offset + 9)
    data[size_at] = bytes(4)
    with pytest.raises(RenderError, match=r'^the JPEG says that its size is 0x0$'):
        replies.check_reply(bytes(data), 'jpeg', SIZE)


def test_planes_must_have_the_length_asked_for():
    data = bytes(3 * 37 * 23)
    assert replies.check_reply(data, 'rgb', SIZE) == ('rgb8', *SIZE)
    for wrong in (data[:-1], data + b'\0', data * 2):
        with pytest.raises(
            RenderError, match=r'^the reply holds \d+ bytes, expected 2553 for 37x23 RGB planes'
        ):
            replies.check_reply(wrong, 'rgb', SIZE)


def test_damaged_images_raise_nothing_but_render_errors():
    for original in (jpeg(photo()), png_of(photo()), b'', b'\xff\xd8\xff'):
        for seed in range(250):
            some = random.Random(seed)
            damaged = bytearray(original)
            for _ in range(some.randint(0, 8)):
                position = some.randint(0, max(len(damaged) - 1, 0))
                place = slice(position, position + some.randint(0, 4))
                damaged[place] = some.randbytes(some.randint(0, 4))
            with suppress(RenderError):
                encoding, width, height = replies.check_reply(bytes(damaged), 'jpeg', SIZE)
                assert encoding in ('jpeg', 'png')
                assert min(width, height) > 0


# --- pixels -------------------------------------------------------------------------------------


def test_png_decodes_to_rgb_exactly():
    rgb = decode_rgb(frame(png_of(photo()), 'png'))
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, photo())


@pytest.mark.parametrize('with_simplejpeg', [True, False])
def test_jpeg_decodes_to_rgb(monkeypatch, with_simplejpeg):
    if not with_simplejpeg:
        monkeypatch.setattr(replies, 'simplejpeg', None)
    elif not find_spec('simplejpeg'):
        pytest.skip('simplejpeg is not installed')
    rgb = decode_rgb(frame(jpeg(photo(), cv2.IMWRITE_JPEG_QUALITY, 98), 'jpeg'))
    assert rgb.shape == (*SIZE[::-1], 3)
    assert rgb.flags.c_contiguous
    assert np.abs(rgb.astype(int) - photo()).mean() < 4
    grey = decode_rgb(
        frame(cv2.imencode('.jpg', np.full((4, 4), 99, np.uint8))[1].tobytes(), 'jpeg')
    )
    assert grey.shape == (4, 4, 3)
    with pytest.raises(RenderError, match='does not decode'):
        decode_rgb(frame(b'\xff\xd8\xffno jpeg at all', 'jpeg'))


# "Turn by 90 degrees to the right to look at it", as TIFF.
TURNED = b'MM\0*' + struct.pack('>IHHHIHHI', 8, 1, 0x0112, 3, 1, 6, 0, 0)


@pytest.mark.parametrize('with_simplejpeg', [True, False])
def test_pixels_are_never_turned(monkeypatch, with_simplejpeg):
    if with_simplejpeg:
        pytest.importorskip('simplejpeg')
    else:
        monkeypatch.setattr(replies, 'simplejpeg', None)
    for data, encoding in ((jpeg(photo()), 'jpeg'), (png_of(photo()), 'png')):
        turned = with_exif(data, TURNED)
        assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape[:2] == SIZE
        assert replies.check_reply(turned, encoding, SIZE) == (encoding, *SIZE)
        rgb = decode_rgb(frame(turned, encoding))
        np.testing.assert_array_equal(rgb, decode_rgb(frame(data, encoding)))


def test_broken_png_does_not_decode():
    with pytest.raises(RenderError, match=r'^the PNG of wide does not decode \(8 bytes\)$'):
        decode_rgb(frame(b'\x89PNG\r\n\x1a\n', 'png'))
    with pytest.raises(RenderError, match=r'^the image of wide does not decode: '):
        decode_rgb(frame(b'', 'png'))


def test_planes_become_pixels():
    planes = np.ascontiguousarray(photo().transpose(2, 0, 1)).tobytes()
    rgb = decode_rgb(frame(planes, 'rgb8'))
    assert rgb.flags.c_contiguous
    np.testing.assert_array_equal(rgb, photo())


# --- counters, with a clock of the test's own ----------------------------------------------------


def test_latencies_are_bounded_and_the_latest(statistics):
    for number in range(10 * LATENCIES_KEPT):
        statistics.received('wide', float(number))
    status = statistics.camera('wide')
    oldest = 9 * LATENCIES_KEPT
    assert status.latency_p50_s == oldest + LATENCIES_KEPT // 2
    assert status.latency_p95_s == oldest + int(LATENCIES_KEPT * 0.95)
    assert status.received == 10 * LATENCIES_KEPT


def test_percentiles():
    assert percentile([], 0.5) == 0.0
    assert percentile([7.0], 0.95) == 7.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert percentile([float(n) for n in range(100)], 0.95) == 95.0


@pytest.fixture
def clock():
    return SimpleNamespace(now=100.0)


@pytest.fixture
def statistics(clock):
    return Statistics(lambda: clock.now)


def test_counts_by_camera_and_in_total(statistics):
    unused = statistics.camera('wide')
    assert (unused.asked, unused.received, unused.dropped, unused.failed) == (0, 0, 0, 0)
    assert (unused.latency_p50_s, unused.latency_p95_s) == (0.0, 0.0)
    assert (unused.last_error, unused.remedy, statistics.current_error()) == ('', '', None)
    for _ in range(4):
        statistics.asked('wide')
    statistics.received('wide', 0.1)
    statistics.dropped('wide')
    statistics.failed('wide', RenderError('broken'))
    statistics.asked('new')
    wide = statistics.camera('wide')
    assert (wide.asked, wide.received, wide.dropped, wide.failed) == (4, 1, 1, 1)
    assert (wide.last_error, wide.remedy) == ('broken', '')
    assert statistics.totals() == {'asked': 5, 'received': 1, 'dropped': 1, 'failed': 1}
    assert statistics.camera('nobody') == unused


def test_error_of_a_camera_is_shown_until_it_works_or_for_a_while(statistics, clock):
    """One that passes is shown for ten seconds, one that stands until its camera works."""
    passing, standing = (
        ServerError(kind, 'it failed', 'buy more') for kind in ('renderer', 'memory')
    )
    statistics.failed('wide', passing)
    status = statistics.camera('wide')
    assert (status.last_error, status.remedy) == ('it failed', 'buy more')
    statistics.received('wide', 0.1)
    assert statistics.camera('wide').last_error == ''
    clock.now += 9.0
    assert statistics.current_error() is passing
    clock.now += 2.0
    assert statistics.current_error() is None
    statistics.failed('wide', standing)
    clock.now += 1000.0
    statistics.received('tele', 0.1)
    assert statistics.current_error() is standing
    statistics.received('wide', 0.1)
    assert statistics.current_error() is None
    # A server that was away is not away any more.
    statistics.failed('wide', ServerError('unreachable', 'gone', 'wait', RECONNECT))
    assert statistics.current_error() is not None
    statistics.received('wide', 0.1)
    assert statistics.current_error() is None
