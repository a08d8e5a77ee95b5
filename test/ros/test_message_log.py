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
"""What a player shows of the generated example in lockstep is what is kept in a file."""

import json
from pathlib import Path
from test.ros.message_log import differences, record

import pytest
from rclpy.subscription import Subscription

pytestmark = pytest.mark.contract

KEPT = Path(__file__).parent / 'data' / 'message_log.json'


@pytest.fixture(scope='module')
def log(tmp_path_factory):
    if not hasattr(Subscription, 'CallbackType'):
        pytest.skip('this rclpy does not tell when a message was sent')
    return json.loads(json.dumps(record(tmp_path_factory.mktemp('log'))))


@pytest.fixture(scope='module')
def kept():
    return json.loads(KEPT.read_text())


PARTS = ('answers', 'cameras', 'ego', 'static', 'path', 'statuses', 'road_users')


def test_nothing_else_is_in_it(log, kept):
    assert set(log) == set(kept) == {*PARTS, 'eras'}
    assert [set(era) for era in log['eras']] == [set(era) for era in kept['eras']]


@pytest.mark.parametrize('part', PARTS)
def test_part(log, kept, part):
    assert not list(differences(log[part], kept[part], part))


@pytest.mark.parametrize('part', ['clock', 'tf', 'twist', 'tracks', 'state', 'images'])
@pytest.mark.parametrize('era', [0, 1, 2], ids=['played', 'sought and ticked', 'reset'])
def test_messages(log, kept, era, part):
    found, expected = log['eras'][era][part], kept['eras'][era][part]
    assert not list(differences(found, expected, f'/eras/{era}/{part}'))


@pytest.mark.parametrize('part', ['order', 'paths', 'egos', 'deletions', 'vanished'])
@pytest.mark.parametrize('era', [1, 2], ids=['sought', 'reset'])
def test_jump(log, kept, era, part):
    assert log['eras'][era][part] == kept['eras'][era][part]


def test_the_kept_one_is_what_the_contract_says(kept):
    """Look at the file itself, whoever wrote it."""
    played, ticked, reset = kept['eras']
    begin, end = played['clock'][0], played['clock'][-1]
    assert end - begin == 3_034_129_000
    order = ['/clock', '~/tracks', '~/path', '~/ego', '/tf', '~/odom', '~/tracks', '~/objects']
    for era in (ticked, reset):
        assert era['order'] == order
        assert (era['paths'], era['egos'], era['deletions']) == (2, 2, 1)
    stamps = {name: [stamp for stamp, _ in images] for name, images in played['images'].items()}
    # The picture of begin, then at its recorded frame times, at 10 Hz and at 4 Hz.
    assert [len(found) for found in stamps.values()] == [91, 31, 13]
    for found in stamps.values():
        assert found[0] == begin
        assert found == sorted(set(found))
        assert set(found) <= set(played['clock'])
        assert set(found) <= {row[0] for row in played['tf']}
    assert [(stamp - begin) // 1000 for stamp in stamps['camera_rear_left_70fov']] == [
        250_000 * k for k in range(13)
    ]
    ticks = [answer['current_time_us'] for name, answer in kept['answers'] if name == 'tick']
    assert [t * 1000 - begin for t in ticks] == [
        1_500_000_000 + 100_000_000 * k for k in range(1, 6)
    ]
    assert {stamp for stamp, _ in reset['images']['camera_front_wide_120fov']} == {begin}


@pytest.mark.parametrize(
    ('found', 'expected', 'count'),
    [
        ({'a': [1, 2.0, 'x']}, {'a': [1, 2.0001, 'x']}, 0),
        ({'a': [1, 2.0, 'x']}, {'a': [1, 2.001, 'y']}, 2),
        ({'a': 1}, {'a': 1, 'b': 2}, 1),
        ([1, 2, 3], [1, 2], 1),
        (True, 1, 1),
        (27_500_047_000_000, 27_500_047_000_001, 1),
    ],
)
def test_the_comparison_sees_what_differs(found, expected, count):
    assert len(list(differences(found, expected))) == count


def test_the_comparison_of_pictures_has_room_for_a_decoder_and_not_for_another_picture(kept):
    images = kept['eras'][0]['images']['camera_front_wide_120fov']
    (stamp, colours), (_, others) = images[0], images[60]
    where = '/eras/0/images/camera_front_wide_120fov'
    nearly = [[stamp, [value + 3 for value in colours]]]
    assert not list(differences(nearly, [images[0]], where))
    another = [[stamp, list(reversed(others))]]
    assert list(differences(another, [images[0]], where))
