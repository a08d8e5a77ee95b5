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

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Path as RosPath
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger


def first(run, listener, *topic, latched=False):
    """Wait for the first message of what is just starting."""
    messages = listener.listen(*topic, latched=latched)
    listener.until(lambda: run.alive() and messages, 'a message')
    return messages[0]


@pytest.mark.parametrize('times', [1, 2])
def test_the_player_comes_up_is_drawn_for_and_ends_in_order(
    launch_file, installed, listener, tmp_path, times
):
    """Receive state and a picture as asked for; press Ctrl-C while images are under way."""
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
    state = first(run, listener, DiagnosticStatus, '/fleet/nurec/state', latched=True)
    values = {one.key: json.loads(one.value) for one in state.values}
    assert values['scenario'] == SEQUENCE_ID

    topic = f'/fleet/nurec/{CAMERAS[0]}/image_raw/compressed'
    image = first(run, listener, CompressedImage, topic)
    picture = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
    # A tenth of 1920 x 1080.
    assert picture.shape == (108, 192, 3)
    # A drawing, not an empty page.
    assert picture.std() > 10
    # Only the camera that was named.
    assert not listener.node.get_publishers_info_by_topic(topic.replace(*CAMERAS[:2]))

    assert run.interrupt(times) == 0
    assert 'Traceback' not in run.output
    said = re.findall(r'\]: (process .*)', run.output)
    ends = [line for line in said if 'started' not in line]
    assert len(ends) == 2, run.output
    assert all('finished cleanly' in line for line in ends), run.output


def test_the_follower_drives(launch_file, installed, listener, tmp_path):
    """Follow at the recorded speed: the ego gets on, and stays on its path."""
    run = launch_file(
        installed,
        f'usdz_path:={build_archive(tmp_path)}',
        'drive:=follow',
        'mode:=lockstep',
        'cameras:=',
    )
    driven = listener.listen(RosPath, '/nurec/driven_path', latched=True)
    listener.until(lambda: run.alive() and driven, 'the driven path')
    answer = listener.client(Trigger, '/nurec/play').call_async(Trigger.Request())
    states = listener.listen(DiagnosticStatus, '/nurec/state', latched=True)

    def state():
        return {one.key: json.loads(one.value) for one in states[-1].values} if states else {}

    listener.until(lambda: answer.done() and state().get('done'), 'the end of the drive')
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


def test_the_shm_profile_is_one_that_the_middleware_takes(launch_file, installed, listener):
    """Hear no complaint, and see the memory."""
    import rclpy

    run = launch_file(installed)
    first(run, listener, DiagnosticStatus, '/nurec/state', latched=True)
    if 'use_shm_profile is left out' in run.output:
        pytest.skip('/dev/shm is too small')
    if 'fastrtps' not in rclpy.get_rmw_implementation_identifier():
        pytest.skip('this middleware is not Fast DDS')
    assert max(shared_memory_of(run.process.pid)) >= 32 * 2**20
    assert 'WARN' not in run.output
    assert 'rror' not in run.output
