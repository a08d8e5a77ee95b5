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
A client that calls services as fast as it can while images flow: a short one for every day.

No call is lost, every answer is right, and clock and images go on. The long one, with figures, is
bench/bench_player.py.
"""

from itertools import pairwise
from statistics import median
from test.ros.session.calling import Caller
from test.support.archives import build_archive, CAMERAS, START_US
from test.support.domain import claim_domain
from test.support.player_bench import Bench, serve

from diagnostic_msgs.msg import DiagnosticArray
import pytest
import rclpy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage

pytestmark = pytest.mark.contract

ROUNDS = 25
DURATION_S = 6.0
BEGIN_NS = START_US * 1000
END_NS = BEGIN_NS + round(DURATION_S * 1e9)
SECOND = 1_000_000_000


class Soak:
    """What came while the client called."""

    def __init__(self, bench):
        self.images = [
            bench.listen(CompressedImage, f'~/{camera}/image_raw/compressed') for camera in CAMERAS
        ]
        self.sent = []
        bench.listener.node.create_subscription(Clock, '/clock', self._clock, 1000)
        self.diagnostics = bench.listen(DiagnosticArray, '/diagnostics')
        self.bench = bench
        self.counts_of_images = []

    def _clock(self, message, info):
        self.sent.append(info['source_timestamp'])

    def run(self):
        """Call in rounds; note how many images each brought."""
        listener = self.bench.listener
        caller = self.caller = Caller(
            listener.node,
            lambda: listener.executor.spin_once(timeout_sec=0.02),
            begin_ns=BEGIN_NS,
            end_ns=END_NS,
        )
        caller.ready()
        self.bench.until(lambda: all(self.images), 'the first images')
        self.bench.trigger('play')
        for _ in range(ROUNDS):
            assert self.bench.player.alive()
            caller.go_round()
            self.counts_of_images.append(sum(map(len, self.images)))


@pytest.fixture(scope='module')
def soak(tmp_path_factory):
    from rclpy.subscription import Subscription

    if not hasattr(Subscription, 'CallbackType'):
        pytest.skip('this rclpy does not tell when a message was sent')
    folder = tmp_path_factory.mktemp('soak')
    usdz = build_archive(folder, duration_s=DURATION_S)
    domain = claim_domain()
    context = rclpy.Context()
    rclpy.init(args=['test'], context=context, domain_id=domain)
    with serve(usdz) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('ROS_DOMAIN_ID', str(domain))
            parameters = {'usdz_path': usdz, 'server': server.address, 'loop': True}
            bench = Bench(folder, context, parameters)
        try:
            soak = Soak(bench.ready())
            soak.run()
            yield soak
        finally:
            bench.close()
            rclpy.try_shutdown(context=context)


def test_no_call_is_lost(soak):
    """Count them: the client would have stopped at the first one without an answer."""
    counts = soak.caller.counts
    assert counts['tick'] == 2 * ROUNDS
    assert counts['seek'] == counts['set_rate'] == counts['play_next'] == ROUNDS
    assert sum(counts.values()) > 15 * ROUNDS


def test_every_answer_is_right(soak):
    assert soak.caller.wrong == []


def test_images_flow_meanwhile(soak):
    counts = soak.counts_of_images
    assert counts[-1] - counts[0] > ROUNDS
    # They never dry up for long.
    assert all(later > earlier for earlier, later in zip(counts, counts[5:], strict=False))


def test_clock_never_stops(soak):
    sent = sorted(soak.sent)
    assert len(sent) > 100
    gaps = [b - a for a, b in pairwise(sent)]
    assert median(gaps) < SECOND / 10
    # On a busy machine a process may not run for long.
    assert max(gaps) < 10 * SECOND


def test_player_is_well_afterwards(soak):
    """Play on, get pictures, and find no frame that failed."""
    bench = soak.bench
    bench.trigger('reset')
    bench.configure(rate=1.0)
    for images in soak.images:
        images.clear()
    bench.trigger('play')
    bench.until(lambda: all(len(images) > 3 for images in soak.images), 'images')
    soak.diagnostics.clear()
    message = bench.spin(soak.diagnostics, 2)[-1]
    for status in message.status[2:]:
        values = {one.key: one.value for one in status.values}
        assert values['failed'] == '0'
        assert values['last_error'] == ''
