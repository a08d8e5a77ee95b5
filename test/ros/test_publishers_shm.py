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
"""config/fastdds_shm.xml: what it says, and that it brings raw images to a best-effort reader."""

from collections.abc import Iterator
import os
from pathlib import Path
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

PROFILE = Path(__file__).resolve().parents[2] / 'config' / 'fastdds_shm.xml'
NAMESPACE = '{http://www.eprosima.com}'
SEGMENT = 32 * 2**20
VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')

# Publishes one 1080p picture for each line that it reads, and first says what memory it has.
PUBLISHER = """
import os, sys
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image
before = set(os.listdir('/dev/shm'))
rclpy.init()
publisher = Node('sender').create_publisher(Image, '/picture', 10)
new = set(os.listdir('/dev/shm')) - before
print(max(os.stat(os.path.join('/dev/shm', name)).st_size for name in new), flush=True)
message = Image(width=1920, height=1080)
message.data.frombytes(bytes(1920 * 1080 * 3))
for line in sys.stdin:
    publisher.publish(message)
"""


def free_shared_memory() -> int:
    try:
        found = os.statvfs('/dev/shm')
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def test_the_profile_is_the_default_one_with_shared_memory_and_udp():
    profiles = ElementTree.parse(PROFILE).getroot().find(f'{NAMESPACE}profiles')
    participant = profiles.find(f'{NAMESPACE}participant')
    assert participant.get('is_default_profile') == 'true'
    transports = {
        found.findtext(f'{NAMESPACE}transport_id'): found
        for found in profiles.iter(f'{NAMESPACE}transport_descriptor')
    }
    used = [found.text for found in participant.iter(f'{NAMESPACE}transport_id')]
    kinds = [transports[name].findtext(f'{NAMESPACE}type') for name in used]
    assert kinds == ['SHM', 'UDPv4']
    assert transports[used[0]].findtext(f'{NAMESPACE}segment_size') == str(SEGMENT)
    assert participant.find(f'.//{NAMESPACE}useBuiltinTransports').text == 'false'


@pytest.fixture
def sender() -> Iterator[subprocess.Popen]:
    environment = os.environ | dict.fromkeys(VARIABLES, str(PROFILE))
    process = subprocess.Popen(
        [sys.executable, '-c', PUBLISHER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.stdin.close()
    process.wait(10)
    process.stdout.close()
    process.stderr.close()


@pytest.mark.skipif(
    'fastrtps' not in get_rmw_implementation_identifier(), reason='the profile is of Fast DDS'
)
@pytest.mark.skipif(free_shared_memory() < 2 * SEGMENT, reason='/dev/shm is too small')
def test_only_the_publisher_needs_it(sender: subprocess.Popen, listener: Any):
    assert int(sender.stdout.readline()) >= SEGMENT
    received: list[Image] = []
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    listener.node.create_subscription(Image, '/picture', received.append, qos)
    listener.until(lambda: listener.node.count_publishers('/picture'), 'the publisher')

    def sent_and_received(count: int) -> bool:
        # The first ones may come before the reader is known at the other end.
        if not received:
            sender.stdin.write('picture\n')
            sender.stdin.flush()
        return len(received) >= count

    listener.until(lambda: sent_and_received(1), 'the first picture')
    for number in range(len(received) + 1, len(received) + 6):
        sender.stdin.write('picture\n')
        sender.stdin.flush()
        listener.received(received, number)
    assert len(received[-1].data) == 1920 * 1080 * 3
