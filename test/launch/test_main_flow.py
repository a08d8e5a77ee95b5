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
"""
The main flow as `launch_test` and `colcon test` run it.

Launch player and preview server, play, see TF and a picture, interrupt, look at the exit codes.
"""

import os
from pathlib import Path
import sys
import tempfile
import unittest

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing import post_shutdown_test
from launch_testing.actions import ReadyToTest
from launch_testing.asserts import assertExitCodes
import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

CAMERA = 'camera_front_wide_120fov'


@pytest.mark.launch_test
def generate_test_description():
    """Launch a scenario with the preview server, in a domain of its own on this machine."""
    # `launch_test` is given this file alone.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from test.launch.conftest import installed_prefix, LAUNCH_FILE, with_prefix
    from test.support.archives import build_archive
    from test.support.domain import shared_domain

    folder = Path(tempfile.mkdtemp(prefix='nurec_ros_test_'))
    os.environ.update(
        ROS_DOMAIN_ID=str(shared_domain()),
        ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
        # What distributions before Iron know.
        ROS_LOCALHOST_ONLY='1',
        AMENT_PREFIX_PATH=with_prefix(installed_prefix(folder)),
    )
    arguments = {
        'usdz_path': str(build_archive(folder)),
        'preview': 'true',
        'loop': 'true',
        'resolution_scale': '0.1',
        'cameras': CAMERA,
    }
    include = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(LAUNCH_FILE)), launch_arguments=list(arguments.items())
    )
    return LaunchDescription([include, ReadyToTest()])


class TestMainFlow(unittest.TestCase):
    """While player and preview server run."""

    def setUp(self):
        """Make an observer with a context of its own."""
        from test.support.listener import Listener

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.observer = Listener(self.context)

    def tearDown(self):
        """End the observer."""
        self.observer.close()
        rclpy.try_shutdown(context=self.context)

    def test_play_moves_tf_and_brings_a_picture(self):
        """Halted, the ego stands; played, it moves, and a picture of the asked size comes."""
        observer = self.observer
        observer.received(observer.listen(DiagnosticStatus, '/nurec/state', latched=True))
        transforms = observer.received(observer.listen(TFMessage, '/tf'))
        halted = {stamp_of(message) for message in transforms}
        assert len(halted) == 1

        pictures = observer.listen(CompressedImage, f'/nurec/{CAMERA}/image_raw/compressed')
        future = observer.client(Trigger, '/nurec/play').call_async(Trigger.Request())
        observer.until(future.done, 'the answer of play')
        assert future.result().success
        # One more than the moment that was there before.
        observer.until(
            lambda: len({stamp_of(message) for message in transforms} - halted) > 10,
            'ten moments of TF',
        )
        data = np.frombuffer(observer.received(pictures)[0].data, np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        # A tenth of 1920 x 1080, and a drawing, not an empty page.
        assert picture.shape == (108, 192, 3)
        assert picture.std() > 10


@post_shutdown_test()
class TestAfterShutdown(unittest.TestCase):
    """After the interrupt."""

    def test_both_ended_in_order(self, proc_info, proc_output):
        """Say nothing of an error, and end with 0."""
        assert len(proc_info.processes()) == 2
        assertExitCodes(proc_info)
        output = b''.join(
            io.text for name in proc_output.process_names() for io in proc_output[name]
        )
        assert b'Traceback' not in output


def stamp_of(message):
    """Return the time of the newest transform in a message."""
    stamp = message.transforms[-1].header.stamp
    return stamp.sec, stamp.nanosec
