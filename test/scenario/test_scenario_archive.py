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
"""Members out of a zip: whatever is wrong with it, one sentence, in bounded memory."""

import contextlib
import io
import os
import struct
from test.support.archives import build_archive
import tracemalloc
import zipfile

from nurec_ros.errors import ScenarioError
from nurec_ros.scenario import archive, Scenario
from nurec_ros.scenario.archive import Archive, LARGEST_MEMBER, MEBIBYTE, MemberError
import pytest

RIG, TRACKS = archive.RIG, archive.TRACKS


def refusal(path):
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(path)
    text = str(caught.value)
    assert text.startswith(f'{path}: ')
    assert '\n' not in text
    assert len(text) < 600
    assert ', expected ' in text
    return text


def with_member(tmp_path, member, content, *, compress_type=zipfile.ZIP_STORED, attributes=0):
    """Write the example with a member that is stored in a special way."""
    path = build_archive(tmp_path, leave_out=[member])
    info = zipfile.ZipInfo(member)
    info.compress_type = compress_type
    info.external_attr = attributes
    with zipfile.ZipFile(path, 'a') as target:
        target.writestr(info, content)
    return path


def patch(path, member, *, offset, value, directory_offset):
    """Overwrite a field of a member's local header and of its entry in the directory."""
    data = bytearray(path.read_bytes())
    name = member.encode()
    local = data.index(name) - 30
    entry = data.index(name, data.index(b'PK\x01\x02')) - 46
    assert data.startswith(b'PK\x03\x04', local)
    assert data.startswith(b'PK\x01\x02', entry)
    overwrite(data, local + offset, value)
    overwrite(data, entry + directory_offset, value)
    path.write_bytes(data)


def overwrite(data, start, value):
    end = start + len(value)
    data[start:end] = value


def test_no_file(tmp_path):
    assert 'there is no such file' in refusal(tmp_path / 'absent.usdz')
    assert 'there is no such file' in refusal(tmp_path / 'absent' / 'x.usdz')


def test_folder(tmp_path):
    assert 'is a folder' in refusal(tmp_path)


def test_pipe(tmp_path):
    path = tmp_path / 'pipe'
    os.mkfifo(path)
    assert 'is not a regular file' in refusal(path)


def test_name_that_cannot_be_one():
    with pytest.raises(ScenarioError, match='cannot be opened'):
        Scenario.load('a\0b')
    with pytest.raises(ScenarioError, match='cannot be opened'):
        Scenario.load('x' * 5000)


def test_link_to_a_file_is_fine(tmp_path):
    link = tmp_path / 'link.usdz'
    link.symlink_to(build_archive(tmp_path))
    assert len(Scenario.load(link).tracks) == 3


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'is empty'),
        (b'#usda 1.0\n', 'is not a zip archive'),
        (b'\0' * 100_000, 'is not a zip archive'),
        (b'PK\x03\x04' + b'\0' * 100, 'is cut short or damaged'),
    ],
)
def test_no_zip(tmp_path, content, words):
    path = tmp_path / 'x.usdz'
    path.write_bytes(content)
    assert words in refusal(path)


def test_cut_short_anywhere(tmp_path):
    path = build_archive(tmp_path)
    data = path.read_bytes()
    cut = tmp_path / 'cut.usdz'
    for length in [*range(1, len(data), len(data) // 60), *range(len(data) - 30, len(data))]:
        cut.write_bytes(data[:length])
        refusal(cut)


def test_directory_of_another_archive(tmp_path):
    """The list of members is whole, what it points to is not."""
    data = build_archive(tmp_path).read_bytes()
    directory = data.index(b'PK\x01\x02')
    path = tmp_path / 'gutted.usdz'
    path.write_bytes(b'\xaa' * directory + data[directory:])
    assert RIG in refusal(path)


def test_flipped_byte_in_a_required_member(tmp_path):
    path = build_archive(tmp_path)
    data = bytearray(path.read_bytes())
    place = data.index(b'"T_rig_worlds"')
    data[place + 30] ^= 1
    path.write_bytes(data)
    assert f'{RIG}: is damaged (Bad CRC-32' in refusal(path)


def test_flipped_byte_in_an_optional_member(tmp_path):
    path = build_archive(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b'is_resumable')] ^= 1
    path.write_bytes(data)
    (warning,) = Scenario.load(path).warnings
    assert 'metadata.yaml: is damaged (Bad CRC-32' in warning


def test_damaged_deflate_stream(tmp_path):
    path = build_archive(tmp_path, compression=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path) as source:
        start = source.getinfo(RIG).header_offset + 30 + len(RIG)
    data = bytearray(path.read_bytes())
    overwrite(data, start, b'\xff' * 40)
    path.write_bytes(data)
    assert f'{RIG}: is damaged' in refusal(path)


def test_folder_instead_of_a_member(tmp_path):
    path = build_archive(tmp_path, leave_out=[RIG], members={f'{RIG}/': ''})
    assert f': {RIG} is missing (the archive holds' in refusal(path)


def test_symbolic_link_instead_of_a_member(tmp_path):
    path = with_member(tmp_path, RIG, '/etc/passwd', attributes=0o120777 << 16)
    assert f'{RIG}: is a symbolic link' in refusal(path)


def test_encrypted_member(tmp_path):
    path = build_archive(tmp_path)
    patch(path, RIG, offset=6, value=b'\x01\x00', directory_offset=8)
    assert f'{RIG}: is encrypted' in refusal(path)


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_usd_does_not_know(tmp_path, method):
    path = with_member(tmp_path, RIG, '{}', compress_type=method)
    assert f'{RIG}: has compression method {method}, expected stored or deflated' in refusal(path)


def test_compression_that_nobody_knows(tmp_path):
    path = build_archive(tmp_path)
    patch(path, TRACKS, offset=8, value=b'\x63\x00', directory_offset=10)
    assert f'{TRACKS}: has compression method 99' in refusal(path)


def test_member_beyond_the_limit(tmp_path, monkeypatch):
    monkeypatch.setitem(LARGEST_MEMBER, TRACKS, 1000)
    assert 'at most 1000' in refusal(build_archive(tmp_path))


def test_limits_hold_what_scenarios_need():
    assert LARGEST_MEMBER[RIG] == LARGEST_MEMBER[TRACKS] == 256 * MEBIBYTE


def test_deflate_bomb(tmp_path):
    path = build_archive(tmp_path, leave_out=[TRACKS])
    with (
        zipfile.ZipFile(path, 'a', zipfile.ZIP_DEFLATED) as target,
        target.open(TRACKS, 'w', force_zip64=True) as stream,
    ):
        for _ in range(300):
            stream.write(b'[' * MEBIBYTE)
    assert path.stat().st_size < MEBIBYTE
    tracemalloc.start()
    try:
        assert f'{TRACKS}: has {300 * MEBIBYTE} bytes or more' in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * MEBIBYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('claimed', [10, 10_000_000])
def test_size_that_lies(tmp_path, claimed):
    path = build_archive(tmp_path, compression=zipfile.ZIP_DEFLATED)
    value = struct.pack('<L', claimed)
    patch(path, RIG, offset=22, value=value, directory_offset=24)
    tracemalloc.start()
    try:
        assert f'{RIG}: is ' in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_bytes_read_are_counted_as_well(tmp_path, monkeypatch):
    """A reader that gives more than the header promises meets the same limit."""
    path = build_archive(tmp_path)
    monkeypatch.setitem(LARGEST_MEMBER, RIG, 2 * MEBIBYTE)
    monkeypatch.setattr(zipfile.ZipFile, 'open', lambda *_: io.BytesIO(b' ' * (3 * MEBIBYTE)))
    with Archive(path) as opened, pytest.raises(MemberError, match='at most 2097152'):
        opened.read(RIG)


def test_endless_list_of_members(tmp_path, monkeypatch):
    path = build_archive(tmp_path)
    monkeypatch.setattr(archive, 'LARGEST_DIRECTORY', 100)
    assert 'its list of members has' in refusal(path)


def test_claimed_list_of_members_is_not_believed(tmp_path):
    path = build_archive(tmp_path)
    data = bytearray(path.read_bytes())
    end = data.rindex(b'PK\x05\x06')
    overwrite(data, end + 12, struct.pack('<L', 2**31))
    path.write_bytes(data)
    refusal(path)


def test_zip64(tmp_path):
    path = build_archive(tmp_path, leave_out=[RIG])
    other = build_archive(tmp_path, 'other.usdz')
    with (
        zipfile.ZipFile(other) as source,
        zipfile.ZipFile(path, 'a') as target,
        target.open(RIG, 'w', force_zip64=True) as stream,
    ):
        stream.write(source.read(RIG))
    assert len(Scenario.load(path).tracks) == 3


def test_large_members_are_not_read(tmp_path):
    path = build_archive(tmp_path, members={'checkpoint.ckpt': bytes(64 * MEBIBYTE)})
    tracemalloc.start()
    try:
        Scenario.load(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_several_scenarios_in_one_archive(tmp_path):
    path = build_archive(tmp_path, prefix='a/')
    with zipfile.ZipFile(path, 'a') as target:
        target.writestr(f'b/{RIG}', '{}')
    assert f'{RIG} is in 2 folders (a/, b/), expected one scenario' in refusal(path)


def open_files(folder):
    """Return what this process has open below a folder; elsewhere, threads open and close too."""
    found = []
    for descriptor in os.listdir('/proc/self/fd'):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f'/proc/self/fd/{descriptor}'))
    return [name for name in found if name.startswith(str(folder))]


def test_the_file_is_closed(tmp_path):
    path = build_archive(tmp_path)
    with Archive(path):
        assert open_files(tmp_path) == [str(path)]
    Scenario.load(path)
    path.write_bytes(b'PK\x03\x04')
    refusal(path)
    path = build_archive(tmp_path, leave_out=[RIG])
    refusal(path)
    assert open_files(tmp_path) == []


def test_the_file_may_vanish_after_loading(tmp_path):
    path = build_archive(tmp_path)
    scenario = Scenario.load(path)
    path.unlink()
    assert len(scenario.tracks.at(scenario.start_ns + 10**9)) == 3
