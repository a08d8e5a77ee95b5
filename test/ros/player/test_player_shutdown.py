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

from pathlib import Path
import signal
import subprocess
import sys
from test.rendering.fake_server import Gate
from test.support.archives import CAMERAS
from test.support.player_bench import NOWHERE, serve
from test.support.process import Process
import time

import pytest
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


@pytest.mark.parametrize(
    ('first', 'second'), [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)]
)
@pytest.mark.parametrize('between_s', [0.0, 0.02, 0.05, 0.09])
def test_twice_in_a_row(start, usdz, first, second, between_s):
    bench = start(usdz_path=usdz, server=NOWHERE).ready()
    assert_clean(*end(bench.player, first, second, between_s=between_s))


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


IN_THE_EXECUTOR = """
import os
import signal
import sys

import rclpy.executors


class Interrupted(rclpy.executors.SingleThreadedExecutor):
    def __init__(self, **options):
        os.kill(os.getpid(), signal.SIGINT)
        super().__init__(**options)


rclpy.executors.SingleThreadedExecutor = Interrupted
from nurec_ros.cli.player import main
sys.exit(main([]))
"""

# As numpy's extension modules do.
IN_AN_IMPORT = """
import os
import signal
import sys


class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == 'nurec_ros.ros.player_node':
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except BaseException:
                raise ImportError(f'cannot import {name}') from None


from nurec_ros.cli.player import main
sys.meta_path.insert(0, Interrupted())
sys.exit(main([]))
"""


# As importlib has one for each module: what is raised there goes no further.
IN_A_CALLBACK = """
import os
import signal
import sys
import weakref


class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == 'nurec_ros.ros.player_node':
            one = Interrupted()
            self.reference = weakref.ref(one, lambda _: os.kill(os.getpid(), signal.SIGINT))
            del one


from nurec_ros.cli.player import main
sys.meta_path.insert(0, Interrupted())
sys.exit(main([]))
"""


@pytest.mark.parametrize('script', [IN_THE_EXECUTOR, IN_AN_IMPORT, IN_A_CALLBACK])
def test_at_a_moment_of_its_start_that_turns_it_into_an_error(script):
    process = subprocess.run(
        [sys.executable, '-c', script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert_clean(process.returncode, process.stdout + process.stderr)


@pytest.mark.parametrize('after_s', [0.2, 0.4, 0.6, 0.8])
def test_while_it_starts(pittsburgh, tmp_path, after_s):
    words = ['--ros-args', '-p', f'usdz_path:={pittsburgh}', '-p', f'server:={NOWHERE}']
    player = Process('nurec_ros.cli.player', words, tmp_path / 'player.txt', fresh=True)
    time.sleep(after_s)
    code, output = end(player, signal.SIGINT, signal.SIGINT)
    # Before Python runs our code at all the signal has its usual effect.
    if code != -signal.SIGINT and 'KeyboardInterrupt' not in output:
        assert_clean(code, output)
