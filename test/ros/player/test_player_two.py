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
"""Two players side by side: one owns the clock, the other has names of its own."""

from test.support.archives import CAMERAS, START_US
from test.support.player_bench import stamp_ns

import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000


@pytest.fixture(scope='module')
def first(start, usdz, server):
    """Return the player that owns the clock."""
    return start(usdz_path=usdz, server=server.address).ready()


@pytest.fixture(scope='module')
def second(start, first, usdz, server):
    """Return one beside it, in a namespace, with a prefix."""
    bench = start(
        *('-r', '__node:=second', '-r', '__ns:=/fleet'),
        usdz_path=usdz,
        server=server.address,
        publish_clock=False,
        frame_prefix='b/',
        name='/fleet/second',
        beside=first,
    )
    bench.until(lambda: bench.states, 'the state of the second')
    return bench


def frames_of(messages):
    return {
        (one.header.frame_id, one.child_frame_id)
        for message in messages
        for one in message.transforms
    }


def test_frames_do_not_mix(first, second):
    moving = first.listen(TFMessage, '/tf')
    fixed = first.listen(TFMessage, '/tf_static', latched=True)
    first.until(
        lambda: frames_of(moving) == {('map', 'base_link'), ('map', 'b/base_link')}, 'both egos'
    )
    camera = CAMERAS[0]
    first.until(
        lambda: (
            {
                ('base_link', camera),
                (camera, f'{camera}_optical_frame'),
                ('b/base_link', f'b/{camera}'),
                (f'b/{camera}', f'b/{camera}_optical_frame'),
            }
            <= frames_of(fixed)
        ),
        'the frames of both',
    )


def test_each_keeps_its_own_time_and_one_owns_the_clock(first, second):
    second.trigger('reset')
    first.trigger('reset')
    second.trigger('tick')
    first.spin(first.clocks, 30)
    assert first.clock_ns == BEGIN_NS
    assert first.listener.node.count_publishers('/clock') == 1
    assert second.trigger('stop')['current_time_us'] == START_US + 100_000


def test_images_come_under_the_names_and_frames_of_each(first, second):
    infos = {
        bench: bench.listen(CameraInfo, f'~/{CAMERAS[0]}/camera_info') for bench in (first, second)
    }
    for bench, messages in infos.items():
        bench.until(lambda messages=messages: messages, 'a picture')
    assert infos[first][0].header.frame_id == f'{CAMERAS[0]}_optical_frame'
    assert infos[second][0].header.frame_id == f'b/{CAMERAS[0]}_optical_frame'


def warnings_of_the_clock(bench):
    lines = bench.player.output.splitlines()
    return [line for line in lines if '[WARN]' in line and '/clock' in line]


def test_no_warning_about_the_clock(first, second):
    first.spin(first.clocks, 150)
    assert not warnings_of_the_clock(first) + warnings_of_the_clock(second)


def test_a_second_clock_is_warned_of_once(start, usdz):
    bench = start(usdz_path=usdz, server='localhost:1').ready()
    publisher = bench.listener.node.create_publisher(Clock, '/clock', 10)
    bench.until(lambda: warnings_of_the_clock(bench), 'the warning')
    bench.spin(bench.clocks, 250)
    (line,) = warnings_of_the_clock(bench)
    assert 'publish_clock' in line
    bench.listener.node.destroy_publisher(publisher)


def test_every_topic_can_be_remapped(start, usdz, server):
    rules = {
        '/clock': '/a/clock',
        '/tf': '/a/tf',
        '/tf_static': '/a/tf_static',
        '/diagnostics': '/a/diagnostics',
        '~/state': '/a/state',
        '~/odom': '/a/odom',
        '~/tracks': '/a/tracks',
        '~/path': '/a/path',
        '~/ego': '/a/ego',
        '~/objects': '/a/objects',
        f'~/{CAMERAS[0]}/image_raw/compressed': '/a/image/compressed',
        f'~/{CAMERAS[0]}/camera_info': '/a/camera_info',
    }
    words = [word for old, new in rules.items() for word in ('-r', f'{old}:={new}')]
    bench = start(*words, usdz_path=usdz, server=server.address)
    bench.until(lambda: set(rules.values()) <= bench.topics(), 'the new names')
    assert not {'/clock', '/tf', '/tf_static', '/nurec/state'} & bench.topics()
    infos = bench.listen(CameraInfo, '/a/camera_info')
    bench.until(lambda: infos, 'a picture')
    assert stamp_ns(infos[0]) == BEGIN_NS
