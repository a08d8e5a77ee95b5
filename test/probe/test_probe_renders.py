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
"""Pictures judged and saved."""

from test.preview.preview_client import gradient

import cv2
import numpy as np
from nurec_ros.errors import ConfigurationError
from nurec_ros.probe.renders import images_stage, judge, save, sizes_stage
import pytest


def encoded(picture, extension='.jpg'):
    return cv2.imencode(extension, picture)[1].tobytes()


GOOD = encoded(gradient(48, 27))
BLACK = encoded(np.full((27, 48, 3), 2, np.uint8))


def saved(found, folder):
    return save(folder, found.file_name, found.data)


def picture(data=GOOD, camera='front', label='low', asked=(48, 27)):
    return judge(camera, label, asked, data)


@pytest.mark.parametrize('extension', ['.jpg', '.png'])
def test_a_good_picture_has_its_size_and_no_fault(extension):
    found = picture(encoded(gradient(48, 27), extension))
    assert found.size == (48, 27)
    assert not found.fault


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (b'', 'no image'),
        (b'not a picture', 'neither JPEG nor PNG'),
        (GOOD[: len(GOOD) // 2], 'cut off'),
        (encoded(gradient(48, 27), '.png')[:-20], 'cut off'),
        (b'\xff\xd8\xff\xe0' + bytes(100) + b'\xff\xd9', 'JPEG'),
    ],
)
def test_what_is_no_whole_picture_is_said(data, words):
    found = picture(data)
    assert found.size is None
    assert words in found.fault
    assert not found.black


def test_black_is_a_fault_but_night_is_not():
    assert picture(BLACK).fault == 'the picture is black'
    night = np.full((27, 48, 3), 2, np.uint8)
    night[20:, 20:25] = 40
    assert not picture(encoded(night, '.png')).fault


def test_images_pass_when_all_are_good():
    stage = images_stage([picture(), picture(label='full')])
    assert (stage.status, stage.name) == ('pass', 'images')
    assert '2 pictures' in stage.message


def test_the_remedy_for_black_pictures_is_another_than_for_broken_ones():
    black, broken = images_stage([picture(BLACK), picture()]), images_stage([picture(b'x')])
    assert black.status == broken.status == 'fail'
    assert '1 of 2' in black.message
    assert 'front low: the picture is black' in black.message
    assert 'scene' in black.remedy
    assert 'restart' in broken.remedy
    assert 'saved files' in broken.remedy


def test_no_more_than_some_faults_are_named():
    stage = images_stage([picture(b'', camera=f'camera_{i}') for i in range(9)])
    assert 'camera_2' in stage.message
    assert 'camera_3' not in stage.message
    assert 'and 6 more' in stage.message


def test_without_pictures_both_stages_are_skipped():
    assert images_stage([]).status == 'skip'
    assert sizes_stage([]).status == 'skip'
    assert sizes_stage([picture(b'x')]).status == 'skip'


def test_another_size_than_asked_is_a_note():
    stage = sizes_stage([picture(), picture(asked=(50, 27), label='full')])
    assert stage.status == 'note'
    assert 'front full: 48x27 for 50x27' in stage.message
    assert 'keeps its own aspect ratio' in stage.message
    assert sizes_stage([picture()]).status == 'pass'
    native = sizes_stage([picture(asked=(12, 7))])
    assert native.status == 'note'
    assert 'another size than asked for' in native.message


@pytest.mark.parametrize('asked', [(27, 48), (480, 270), (480, 27), (4800, 48)])
def test_a_size_that_cannot_be_the_same_view_is_a_failure(asked):
    stage = sizes_stage([picture(), picture(asked=asked)])
    assert stage.status == 'fail'
    assert f'front low: 48x27 for {asked[0]}x{asked[1]}' in stage.message
    assert ('swapped' in stage.message) is (asked == (27, 48))
    assert stage.remedy


def test_pictures_are_saved_as_they_came(tmp_path):
    folder = tmp_path / 'new' / 'folder'
    assert saved(picture(), folder) == folder / 'front_low.jpg'
    assert (folder / 'front_low.jpg').read_bytes() == GOOD
    png = encoded(gradient(48, 27), '.png')
    assert saved(picture(png, label='full'), folder).suffix == '.png'
    assert saved(picture(b'garbage'), folder).suffix == '.bin'


def test_a_camera_s_name_cannot_leave_the_folder(tmp_path):
    path = saved(picture(camera='../../x/y'), tmp_path)
    assert path.parent == tmp_path
    assert path.is_file()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigurationError, match='file'):
        saved(picture(), tmp_path / 'file')
