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
"""~/imu of a player in another process: every message of a tick and of a played span."""

from test.support.archives import START_US
from test.support.player_bench import NOWHERE, stamp_ns

import pytest
from sensor_msgs.msg import Imu

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
MS = 1_000_000


def test_every_one_of_a_tick_and_of_playing(start, usdz):
    bench = start(
        usdz_path=usdz, server=NOWHERE, imu_rate=50.0, fix_rate=5.0, tick_us=500_000, rate=2.0
    ).ready()
    messages = bench.listen(Imu, '~/imu')
    bench.matched('~/imu')
    # A halted clock brings none; the player has to know of the subscriber first.
    bench.until(lambda: bench.listener.node.count_subscribers('/nurec/imu'), 'the subscription')
    bench.trigger('tick')
    bench.until(lambda: messages and stamp_ns(messages[-1]) == BEGIN_NS + 500 * MS, 'the tick')
    bench.seek(BEGIN_NS + 1000 * MS)
    bench.trigger('play')
    bench.until(lambda: bench.state['done'], 'the end')
    bench.until(lambda: stamp_ns(messages[-1]) == BEGIN_NS + 2000 * MS, 'the last')
    found = [stamp_ns(one) for one in messages if stamp_ns(one) != BEGIN_NS]
    wanted = [*range(20, 501, 20), *range(1020, 2001, 20)]
    assert found == [BEGIN_NS + ms * MS for ms in wanted]
    # This archive lies nowhere on Earth.
    assert '/nurec/fix' not in bench.topics()
    assert 'there is no ~/fix' in bench.player.output
