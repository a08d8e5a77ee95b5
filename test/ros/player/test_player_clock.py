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
"""/clock: at its rate from the first moment to the last, in scenario time, from one player."""

from itertools import pairwise
import signal
from statistics import median
from test.support.archives import build_archive, START_US
from test.support.player_bench import NOWHERE, stamp_ns
import time

import pytest
from rosgraph_msgs.msg import Clock

pytestmark = pytest.mark.contract

BEGIN_NS = START_US * 1000
END_NS = BEGIN_NS + 2_000_000_000
MS = 1_000_000
# How far apart the messages are that are compared for the speed: a delay of one is little then.
STEP = 10


def rate_of(heard):
    """
    Give the messages per second of what was heard last, by when they were sent.

    Other work on the machine has the timer come late, and then soon again or one period later
    still: it is the median of pairs of intervals.
    """
    sent = [sent_ns for sent_ns, _ in heard]
    return median(2e9 / (b - a) for a, b in zip(sent, sent[2:], strict=False))


@pytest.mark.parametrize('moment', ['halted', 'playing', 'at the end'])
def test_comes_at_100_hz(bench, moment):
    if moment == 'playing':
        bench.configure(rate=0.1)
        bench.trigger('play')
    elif moment == 'at the end':
        bench.seek(END_NS)
    heard = bench.listen_sent(Clock, '/clock')
    expected = pytest.approx(100.0, rel=0.02)
    bench.until(lambda: len(heard) >= 200 and rate_of(heard[-200:]) == expected, '100 Hz')


@pytest.mark.parametrize('rate', [0.5, 4.0])
def test_scenario_time_passes_at_the_rate(bench, rate):
    # Over and over, so that it does not halt before enough of it was heard.
    bench.configure(rate=rate, loop=True)
    heard = bench.listen_sent(Clock, '/clock')
    bench.trigger('play')

    def speeds():
        moments = [(sent_ns, stamp_ns(clock)) for sent_ns, clock in heard]
        spans = zip(moments, moments[STEP:], strict=False)
        # Within a lap. At begin it may not play yet.
        return [(q - p) / (b - a) for (a, p), (b, q) in spans if BEGIN_NS < p < q]

    bench.until(lambda: len(speeds()) >= 100, 'playing')
    assert median(speeds()) == pytest.approx(rate, rel=0.1)


def test_time_zero_is_published_as_one_nanosecond(start, tmp_path_factory):
    usdz = build_archive(tmp_path_factory.mktemp('zero'), start_us=0)
    bench = start(usdz_path=usdz, server=NOWHERE).ready()
    assert {stamp_ns(clock) for clock in bench.spin(bench.clocks, 10)} == {1}
    assert bench.trigger('tick')['current_time_us'] == 100_000


def test_use_sim_time_stops_nothing(start, usdz):
    bench = start(usdz_path=usdz, server=NOWHERE, use_sim_time=True, rate=10.0).ready()
    assert bench.get('use_sim_time') is True
    bench.spin(bench.clocks, 20)
    bench.trigger('play')
    bench.passes(END_NS)
    bench.until(lambda: bench.state['done'], 'the end')


def test_clock_rate_is_a_parameter(start, usdz):
    bench = start(usdz_path=usdz, server=NOWHERE, clock_rate=20).ready()
    heard = bench.listen_sent(Clock, '/clock')
    expected = pytest.approx(20.0, rel=0.02)
    bench.until(lambda: len(heard) >= 40 and rate_of(heard[-40:]) == expected, '20 Hz')


def test_a_clock_that_was_late_does_not_make_up_for_it(bench):
    """Of a timer that leaves out what it missed, 13 messages at most fall into 0.1 s."""
    heard = bench.listen_sent(Clock, '/clock')
    bench.until(lambda: heard, 'the clock')
    bench.player.send_signal(signal.SIGSTOP)
    # What it misses: 50 messages.
    time.sleep(0.5)
    bench.player.send_signal(signal.SIGCONT)

    def sent():
        return [sent_ns for sent_ns, _ in heard]

    def late():
        """Return the places of the messages before which others are missing."""
        return [i for i, (a, b) in enumerate(pairwise(sent()), 1) if b - a > 400_000_000]

    bench.until(lambda: late() and len(heard) >= late()[0] + 60, 'the clock going on')
    spans = [b - a for a, b in zip(sent(), sent()[13:], strict=False)]
    assert min(spans) > 100_000_000


def test_each_step_is_on_the_clock_at_once(start, usdz):
    """Between two messages of its own rate, a second apart, the clock tells every tick."""
    bench = start(usdz_path=usdz, server=NOWHERE, clock_rate=1.0, tick_us=1000).ready()
    heard = bench.listen_sent(Clock, '/clock')
    bench.until(lambda: heard, 'the clock')
    for _ in range(30):
        bench.trigger('tick')
    last_ns = BEGIN_NS + 30 * MS
    bench.until(lambda: stamp_ns(heard[-1][1]) == last_ns, 'the last tick')
    steps = [(sent_ns, stamp_ns(clock)) for sent_ns, clock in heard]
    first_of = {}
    for sent_ns, t_ns in steps:
        first_of.setdefault(t_ns, sent_ns)
    assert [t_ns for t_ns in first_of if t_ns > BEGIN_NS] == [
        BEGIN_NS + MS * count for count in range(1, 31)
    ]
    # Were each to wait for the clock, they would all be a second apart.
    gaps = [b - a for a, b in pairwise(list(first_of.values())[1:])]
    assert sum(gap < 900 * MS for gap in gaps) > len(gaps) / 2
