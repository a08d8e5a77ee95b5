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
"""The gaps of serialized messages, against what another library reads out of them."""

from __future__ import annotations

from contextlib import suppress

from nurec_ros.export.bag import closer, serialized, type_description, type_name
import pytest
from rclpy.serialization import serialize_message


def examples():
    """Return messages whose texts leave gaps of every size, with lists of each length."""
    from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import CameraInfo, CompressedImage, NavSatFix, PointCloud2, PointField
    from std_msgs.msg import Header
    from tf2_msgs.msg import TFMessage
    from visualization_msgs.msg import Marker, MarkerArray

    for length in range(4):
        text = 'abcdefg'[:length]
        header = Header(frame_id=text)
        markers = [Marker(header=header, ns=text, text=text[1:]) for _ in range(length % 3)]
        yield Odometry(header=header, child_frame_id='car')
        yield CompressedImage(header=header, format='jpeg', data=list(range(length)))
        yield CameraInfo(header=header, distortion_model=text, d=[1.0] * length)
        yield NavSatFix(header=header, latitude=1.5)
        yield PointCloud2(header=header, fields=[PointField(name=text, count=1)] * length)
        yield DiagnosticStatus(name=text, values=[KeyValue(key=text, value='ab')] * length)
        yield MarkerArray(markers=markers)
        yield TFMessage()


def test_it_is_what_another_library_writes_of_what_it_reads():
    for message in examples():
        kind = type_name(type(message))
        types = type_description(kind)[1]
        read = types.deserialize_cdr(serialize_message(message), kind)
        assert serialized(message, kind) == bytes(types.serialize_cdr(read, kind))


def test_every_byte_that_means_nothing_becomes_zero_and_no_other_does():
    """Each byte is turned round: what is read the same then is a gap."""
    gaps = 0
    for message in examples():
        kind = type_name(type(message))
        types, whole = type_description(kind)[1], serialized(message, kind)
        if len(whole) > 420:
            continue
        for place in range(4, len(whole)):
            turned = bytearray(whole)
            turned[place] ^= 0xFF
            kept = bytes(turned)
            means_nothing = None
            # A length that is turned round is none.
            with suppress(Exception):
                read = types.deserialize_cdr(kept, kind)
                means_nothing = bytes(types.serialize_cdr(read, kind)) == whole
            if means_nothing is None:
                continue
            closer(types, kind)(turned)
            assert bytes(turned) == (whole if means_nothing else kept), (kind, place)
            gaps += means_nothing
    assert gaps > 30


def test_a_type_with_wide_text_is_not_understood_silently():
    from rosbags.typesys import get_types_from_msg, get_typestore, Stores

    types = get_typestore(Stores.EMPTY)
    types.register(get_types_from_msg('wstring text', 'some_msgs/msg/Wide'))
    with pytest.raises(KeyError, match='wstring'):
        closer(types, 'some_msgs/msg/Wide')
