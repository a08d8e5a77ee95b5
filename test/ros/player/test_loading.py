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
"""What is checked of what a load asks for before anything changes."""

from test.support.archives import build_archive, CAMERAS
from test.support.player_bench import BEGIN_NS, END_NS

from nurec_ros.errors import ConfigurationError, ScenarioError
from nurec_ros.ros.loading import choose, read
from nurec_ros.settings import Settings
import pytest


def test_defaults_take_all(usdz):
    reading = read(Settings(str(usdz)))
    assert reading.cameras == CAMERAS
    assert (reading.begin_ns, reading.end_ns) == (BEGIN_NS, END_NS)


@pytest.mark.parametrize(('start_s', 'end_s'), [(0.5, 0.0), (0.0, 0.25), (0.123456, 0.654321)])
def test_offsets_move_inward(usdz, start_s, end_s):
    reading = read(Settings(str(usdz), start_offset_s=start_s, end_offset_s=end_s))
    assert reading.begin_ns == BEGIN_NS + round(start_s * 1e9)
    assert reading.end_ns == END_NS - round(end_s * 1e9)


def test_offsets_may_leave_one_moment(usdz):
    reading = read(Settings(str(usdz), start_offset_s=1.0, end_offset_s=1.0))
    assert reading.begin_ns == reading.end_ns


def test_offsets_that_leave_nothing_are_refused(usdz):
    with pytest.raises(ConfigurationError, match=r"'start_offset_s' \(1.5\).*lasts 2 s"):
        read(Settings(str(usdz), start_offset_s=1.5, end_offset_s=0.6))


def test_home_is_understood(usdz, monkeypatch):
    monkeypatch.setenv('HOME', str(usdz.parent))
    assert read(Settings(f'~/{usdz.name}')).scenario.path == usdz


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ScenarioError, match=r'nothing\.usdz'):
        read(Settings(str(tmp_path / 'nothing.usdz')))


KNOWN = ('front', 'rear left', 'rear-left')


@pytest.mark.parametrize(
    ('wanted', 'chosen'),
    [
        ((), KNOWN),
        (('front',), ('front',)),
        (('rear-left', 'front'), ('front', 'rear-left')),
        (('front', 'front'), ('front',)),
        # By the token in their topics.
        (('rear_left',), ('rear left',)),
        (('rear_left_2',), ('rear-left',)),
    ],
)
def test_cameras_are_chosen_in_the_order_of_the_file(wanted, chosen):
    assert choose(KNOWN, wanted, 'camera') == chosen


def test_unknown_cameras_are_named_with_all_that_there_are():
    with pytest.raises(ConfigurationError) as error:
        choose(KNOWN, ('front', 'roof', 'boot'), 'camera')
    for name in ("'roof'", "'boot'", "'front', ", "'rear left' (rear_left)"):
        assert name in str(error.value)


@pytest.mark.parametrize(
    ('known', 'wanted', 'chosen'),
    [
        (('top', 'rear'), (), ('top', 'rear')),
        (('top', 'rear'), ('none',), ()),
        # A lidar may have that name.
        (('top', 'none'), ('none', 'top'), ('top', 'none')),
    ],
)
def test_lidars_are_chosen_alike_or_none_of_them(known, wanted, chosen):
    assert choose(known, wanted, 'lidar') == chosen


def test_none_of_the_lidars_and_one_of_them_cannot_be():
    with pytest.raises(ConfigurationError, match="lidars names 'none' beside 'top'; expected 'n"):
        choose(('top',), ('none', 'top'), 'lidar')


def test_no_camera_at_all():
    with pytest.raises(ConfigurationError, match='has no camera'):
        choose((), ('front',), 'camera')


def test_a_camera_of_an_unknown_model_is_left_out(tmp_path):
    def strange(document):
        calibration = next(iter(document['camera_calibrations'].values()))
        calibration['camera_model']['type'] = 'compound-eye'

    path = build_archive(tmp_path, edit_rig=strange)
    assert read(Settings(str(path))).cameras == CAMERAS[1:]
    reading = read(Settings(str(path), cameras=CAMERAS[:1]))
    assert reading.cameras == ()
    assert any('cannot be rendered' in warning for warning in reading.warnings)
