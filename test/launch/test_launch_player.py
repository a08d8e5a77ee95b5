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
"""The launch file with the real player: it comes up, is drawn for, and goes down in order."""

import contextlib
import json
import os
from pathlib import Path
import re
from test.support.archives import build_archive, CAMERAS, SEQUENCE_ID
from test.support.listener import Listener
import time

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Path as RosPath
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

START_S = 120.0


def first(listener, messages, meanwhile=lambda: None):
    """Wait for the first of the messages of a process that is just starting."""
    deadline = time.monotonic() + START_S
    while not messages:
        meanwhile()
        assert time.monotonic() < deadline, f'nothing came within {START_S:g} s'
        listener.executor.spin_once(timeout_sec=0.05)
    return messages[0]


@pytest.fixture
def observer():
    """Return an observer, with a context of its own."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    listener = Listener(context)
    yield listener
    listener.close()
    rclpy.try_shutdown(context=context)


def test_the_player_comes_up_and_is_drawn_for(launch_file, installed, observer, tmp_path):
    """Receive its state, and a picture of the one camera and the size that were asked for."""
    run = launch_file(
        installed,
        f'usdz_path:={build_archive(tmp_path)}',
        'preview:=true',
        'autoplay:=true',
        'loop:=true',
        'resolution_scale:=0.1',
        f'cameras:={CAMERAS[0]}',
        'namespace:=fleet',
    )
    states = observer.listen(DiagnosticStatus, '/fleet/nurec/state', latched=True)
    state = first(observer, states, run.alive)
    values = {one.key: json.loads(one.value) for one in state.values}
    assert values['scenario'] == SEQUENCE_ID

    topic = f'/fleet/nurec/{CAMERAS[0]}/image_raw/compressed'
    image = first(observer, observer.listen(CompressedImage, topic), run.alive)
    picture = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
    # A tenth of 1920 x 1080.
    assert picture.shape == (108, 192, 3)
    # A drawing, not an empty page.
    assert picture.std() > 10
    # Only the camera that was named.
    assert not observer.node.get_publishers_info_by_topic(
        f'/fleet/nurec/{CAMERAS[1]}/image_raw/compressed'
    )
    assert run.interrupt() == 0


def exit_lines(output):
    """Return how the launch says each process ended."""
    return re.findall(r'\]: (process .*)', output)


@pytest.mark.parametrize('times', [1, 2])
def test_interrupts_end_all_in_order(launch_file, installed, observer, tmp_path, times):
    """Press Ctrl-C, once or twice, while images are under way."""
    usdz_path = build_archive(tmp_path)
    run = launch_file(
        installed, f'usdz_path:={usdz_path}', 'preview:=true', 'autoplay:=true', 'loop:=true'
    )
    topic = f'/nurec/{CAMERAS[0]}/image_raw/compressed'
    first(observer, observer.listen(CompressedImage, topic), run.alive)
    assert run.interrupt(times) == 0
    assert 'process has died' not in run.output
    assert 'Traceback' not in run.output
    ends = [line for line in exit_lines(run.output) if 'started' not in line]
    assert len(ends) == 2, run.output
    assert all('finished cleanly' in line for line in ends), run.output


def test_the_follower_drives(launch_file, installed, observer, tmp_path):
    """Follow at the recorded speed: the ego gets on, and stays on its path."""
    run = launch_file(
        installed,
        f'usdz_path:={build_archive(tmp_path)}',
        'drive:=follow',
        'mode:=lockstep',
        'cameras:=',
    )
    driven = observer.listen(RosPath, '/nurec/driven_path', latched=True)
    first(observer, driven, run.alive)
    answer = observer.client(Trigger, '/nurec/play').call_async(Trigger.Request())
    states = observer.listen(DiagnosticStatus, '/nurec/state', latched=True)

    def state():
        return {one.key: json.loads(one.value) for one in states[-1].values} if states else {}

    observer.until(lambda: answer.done() and state().get('done'), 'the end of the drive')
    values = state()
    assert values['ego_source'] == 'ackermann'
    assert values['ego_input_stamp_us'] > values['start_us']
    assert abs(values['deviation_m']) < 0.3
    assert len(driven[-1].poses) > 5
    assert run.interrupt() == 0
    assert 'process has died' not in run.output


def test_a_scenario_that_cannot_be_read_ends_the_launch(launch_file, installed, tmp_path):
    """Show the player's sentence, and exit code 1."""
    (tmp_path / 'broken.usdz').write_text('no zip')
    run = launch_file(installed, 'usdz_path:=broken.usdz')
    assert run.end() == 1
    assert f'{tmp_path}/broken.usdz' in run.output
    assert 'the player ended with exit code 1' in run.output
    assert 'Traceback' not in run.output


def shared_memory_of(session):
    """Return the sizes of what the processes of a session hold of /dev/shm."""
    maps = ''
    for folder in Path('/proc').glob('[0-9]*'):
        # Other processes come and go meanwhile.
        with contextlib.suppress(OSError):
            if os.getsid(int(folder.name)) == session:
                maps += (folder / 'maps').read_text()
    spans = re.findall(r'^([0-9a-f]+)-([0-9a-f]+) .* /dev/shm/', maps, re.MULTILINE)
    return [int(end, 16) - int(begin, 16) for begin, end in spans]


def test_the_shm_profile_is_one_that_the_middleware_takes(launch_file, installed, observer):
    """Hear no complaint, and see the memory."""
    import rclpy

    run = launch_file(installed)
    first(observer, observer.listen(DiagnosticStatus, '/nurec/state', latched=True), run.alive)
    if 'use_shm_profile is left out' in run.output:
        pytest.skip('/dev/shm is too small')
    if 'fastrtps' not in rclpy.get_rmw_implementation_identifier():
        pytest.skip('this middleware is not Fast DDS')
    assert max(shared_memory_of(run.process.pid)) >= 32 * 2**20
    assert 'WARN' not in run.output
    assert 'rror' not in run.output
    assert run.interrupt() == 0
