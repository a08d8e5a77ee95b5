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
import time
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

# Publishes one 1080p picture for each line that it reads and says so; first, what shared memory it
# has itself: in /dev/shm other processes' files come and go.
PUBLISHER = r"""
import pathlib, re, sys, time
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image
rclpy.init()
node = Node('sender')
publisher = node.create_publisher(Image, '/picture', 10)
maps = pathlib.Path('/proc/self/maps').read_text()
spans = re.findall(r'^([0-9a-f]+)-([0-9a-f]+) .* /dev/shm/', maps, re.M)
print(max(int(end, 16) - int(begin, 16) for begin, end in spans), flush=True)
message = Image(width=1920, height=1080)
message.data.frombytes(bytes(1920 * 1080 * 3))
for line in sys.stdin:
    while not publisher.get_subscription_count():
        time.sleep(0.01)
    message.header.frame_id = line.strip()
    publisher.publish(message)
    print('published', flush=True)
"""
# A picture that does not come is sent again after so long.
AGAIN_S = 3.0


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
def sender() -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | dict.fromkeys(VARIABLES, str(PROFILE))
    process = subprocess.Popen(
        [sys.executable, '-c', PUBLISHER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        # It ends with its input, and takes its shared memory along.
        process.stdin.close()


@pytest.mark.skipif(
    'fastrtps' not in get_rmw_implementation_identifier(), reason='the profile is of Fast DDS'
)
@pytest.mark.skipif(free_shared_memory() < 2 * SEGMENT, reason='/dev/shm is too small')
def test_only_the_publisher_needs_it(sender: subprocess.Popen[str], listener: Any):
    assert int(sender.stdout.readline()) >= SEGMENT
    received: list[Image] = []
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    listener.node.create_subscription(Image, '/picture', received.append, qos)
    listener.until(lambda: listener.node.count_publishers('/picture'), 'the publisher')
    sent_s = 0.0

    def sent_and_received(name: str) -> bool:
        nonlocal sent_s
        # It may be lost: the reader takes what it gets.
        if time.monotonic() - sent_s > AGAIN_S:
            sender.stdin.write(f'{name}\n')
            sender.stdin.flush()
            assert sender.stdout.readline() == 'published\n'
            sent_s = time.monotonic()
        return any(message.header.frame_id == name for message in received)

    for name in 'abcd':
        sent_s = -AGAIN_S
        listener.until(lambda name=name: sent_and_received(name), f'picture {name}')
    assert len(received[-1].data) == 1920 * 1080 * 3
