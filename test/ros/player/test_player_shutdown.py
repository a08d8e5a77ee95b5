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
"""The end: markers deleted, exit code 0, no traceback, soon; also when asked twice."""

from functools import partial
import os
import signal
import sys
from test.rendering.fake_server import Gate
from test.support.archives import CAMERAS
from test.support.player_bench import NOWHERE, serve
from test.support.process import Process
import time
import weakref

import pytest
import rclpy.executors
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

pytestmark = pytest.mark.contract

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def end(player, *signals, between_s=0.0):
    """Send signals, and give exit code and output."""
    for number in signals:
        player.send_signal(number)
        time.sleep(between_s)
    return player.wait(), player.output


def assert_clean(code, output):
    assert code == 0, output
    for word in ('Traceback', 'Error', 'Exception', 'terminate called', 'fatal'):
        assert word not in output, output


@pytest.mark.parametrize('number', SIGNALS)
def test_markers_are_deleted(start, usdz, number):
    bench = start(usdz_path=usdz, server=NOWHERE).ready()
    tracks = bench.listen(MarkerArray, '~/tracks')
    bench.until(lambda: tracks, 'the tracks')
    bench.player.send_signal(number)
    bench.listener.until(
        lambda: any(marker.action == Marker.DELETEALL for marker in tracks[-1].markers),
        'DELETEALL',
    )
    assert_clean(bench.player.wait(), bench.player.output)


@pytest.mark.parametrize('first', SIGNALS)
@pytest.mark.parametrize('between_s', [0.0, 0.02, 0.05, 0.09])
def test_twice_in_a_row(start, usdz, first, between_s):
    bench = start(usdz_path=usdz, server=NOWHERE).ready()
    assert_clean(*end(bench.player, first, signal.SIGINT, between_s=between_s))


def test_many_times(start, usdz):
    bench = start(usdz_path=usdz, server=NOWHERE).ready()
    assert_clean(*end(bench.player, *SIGNALS * 20, between_s=0.01))


@pytest.mark.parametrize('number', SIGNALS)
def test_an_idle_player_ends_too(start, number):
    bench = start()
    bench.until(lambda: bench.states, 'the state')
    assert_clean(*end(bench.player, number))


def test_while_playing_with_images(start, usdz, server):
    bench = start(usdz_path=usdz, server=server.address, loop=True).ready()
    infos = bench.listen(CameraInfo, f'~/{CAMERAS[0]}/camera_info')
    bench.trigger('play')
    bench.until(lambda: len(infos) > 5, 'images')
    assert_clean(*end(bench.player, signal.SIGINT, signal.SIGINT))


@pytest.mark.parametrize('mode', ['realtime', 'lockstep'])
def test_in_the_middle_of_a_render(start, usdz, mode):
    """A renderer that never answers, and a tick that waits for it."""
    gate = Gate()
    with serve(usdz, render=gate) as server:
        bench = start(usdz_path=usdz, server=server.address, mode=mode).ready()
        bench.listen(CameraInfo, f'~/{CAMERAS[0]}/camera_info')
        bench.until(lambda: gate.seen, 'a render under way')
        bench.start_call(Trigger, 'tick')
        bench.trigger('play')
        bench.spin(bench.clocks, 10)
        assert_clean(*end(bench.player, signal.SIGINT))


def test_in_the_middle_of_a_load(start, usdz, pittsburgh):
    bench = start(usdz_path=usdz, server=NOWHERE).ready()
    bench.configure(usdz_path=str(pittsburgh))
    bench.start_call(Trigger, 'load')
    bench.spin(bench.clocks, 2)
    assert_clean(*end(bench.player, signal.SIGINT))


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


class InTheExecutor(SingleThreadedExecutor):
    """An executor that a signal reaches while it is made."""

    def __init__(self, **options):
        interrupt()
        super().__init__(**options)


class InAnImport:
    """As numpy's extension modules do: what is raised becomes another error."""

    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            try:
                interrupt()
            except BaseException:  # noqa: BLE001, whatever ends the start
                raise ImportError(f'cannot import {name}') from None


class InACallback:
    """As importlib has one for each module: what is raised there goes no further."""

    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            one = InACallback()
            self.reference = weakref.ref(one, lambda _: interrupt())
            del one


MODULE = 'nurec_ros.ros.player_node'


def prepare(kind):
    """Have the signal come at a moment of the start, in the player's process."""
    if kind is InTheExecutor:
        rclpy.executors.SingleThreadedExecutor = kind
    else:
        sys.meta_path.insert(0, kind())
        # To be imported anew.
        del sys.modules[MODULE]


@pytest.mark.parametrize('kind', [InTheExecutor, InAnImport, InACallback])
def test_at_a_moment_of_its_start_that_turns_it_into_an_error(tmp_path, kind):
    log = tmp_path / 'player.txt'
    player = Process('nurec_ros.cli.player', [], log, before=partial(prepare, kind))
    assert_clean(player.wait(), player.output)


@pytest.mark.parametrize('after_s', [0.2, 0.4, 0.6, 0.8])
def test_while_it_starts(pittsburgh, tmp_path, after_s):
    words = ['--ros-args', '-p', f'usdz_path:={pittsburgh}', '-p', f'server:={NOWHERE}']
    player = Process('nurec_ros.cli.player', words, tmp_path / 'player.txt', fresh=True)
    time.sleep(after_s)
    code, output = end(player, signal.SIGINT, signal.SIGINT)
    # Before Python runs our code at all the signal has its usual effect.
    if code != -signal.SIGINT and 'KeyboardInterrupt' not in output:
        assert_clean(code, output)
