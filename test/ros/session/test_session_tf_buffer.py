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
A listener's TF buffer over seeks back, reset, play at the end, loop and load.

What a listener does with what it hears is tried twice: with a model of tf2's rules on the recorded
topics, in the worst orders in which the two can arrive; and with tf2's own buffer where that is
installed, on live ones, whose truth is the example's arc in closed form.
"""

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
import math
import random
from test.support.archives import build_archive, ego_pose, START_US
from test.support.player_bench import Bench, NOWHERE, SECOND, stamp_ns
import threading

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time

pytestmark = pytest.mark.contract

# By how much one topic of a listener may lag behind the other one: it handles pictures as well.
LAG_NS = 40_000_000
# Short of the limit, because the recorded spacing may be the limit exactly.
MOST_NS = LAG_NS - 1


def test_the_recording_holds_every_jump(recording):
    """Find a jump back by more than tf2 keeps, and one by less, while the clock plays."""
    assert len(recording.eras) == 9
    (far, back), (near, little) = list(pairwise(recording.eras))[:2]
    assert far.last_ns - back.first_ns > 10 * SECOND
    assert SECOND < near.last_ns - little.first_ns < 10 * SECOND


def test_the_old_time_is_over_before_the_new_one_begins(recording):
    """Leave listeners time for the last old transform before the clock jumps."""
    for era in recording.eras[1:]:
        assert era.from_ns - recording.last('/tf', era.from_ns - 1).sent_ns >= LAG_NS


def test_the_new_time_is_told_more_than_once(recording):
    """A first transform that overtakes the clock's jump is lost: there must be another one."""
    for era in recording.eras[1:]:
        assert len(recording.of('/tf', era.from_ns, era.to_ns)) >= 2


@dataclass
class BufferModel:
    """
    What tf2's buffer keeps of one moving frame.

    It keeps 10 s before its newest transform and refuses what is older; sorts others in by their
    stamps; and is emptied when its clock goes back by more than `tolerance_ns`: nothing for C++,
    1 s for Python from Jazzy on.
    """

    tolerance_ns: int = 0
    cache_ns: int = 10 * SECOND
    now_ns: int = 0
    stamps: list[int] = field(default_factory=list)
    refused: int = 0

    def on_clock(self, t_ns):
        """Take a message of /clock."""
        if t_ns < self.now_ns - self.tolerance_ns:
            self.stamps.clear()
        self.now_ns = t_ns

    def on_transform(self, stamp):
        """Take one transform."""
        if self.stamps and stamp < self.stamps[-1] - self.cache_ns:
            self.refused += 1
            return
        place = bisect_left(self.stamps, stamp)
        if place == len(self.stamps) or self.stamps[place] != stamp:
            self.stamps.insert(place, stamp)
        while self.stamps[0] + self.cache_ns < self.stamps[-1]:
            self.stamps.pop(0)


@pytest.mark.parametrize('tolerance_ns', [0, SECOND])
def test_the_model_has_tf2s_rules(tolerance_ns):
    model = BufferModel(tolerance_ns)
    for second, kept in ((20, [20]), (9, [20]), (10, [10, 20]), (21, [20, 21])):
        model.on_transform(second * SECOND)
        assert model.stamps == [one * SECOND for one in kept]
    model.on_clock(21 * SECOND)
    model.on_clock(21 * SECOND - tolerance_ns)
    assert model.stamps
    model.on_clock(2 * SECOND)
    assert (model.stamps, model.refused) == ([], 1)
    # What the quiet time is for: after one of the old time the true ones are refused for long.
    for second in (20, *[2] * 10):
        model.on_transform(second * SECOND)
    assert model.refused == 11


def in_order_of_arrival(recording, late):
    """
    Order messages by when they arrive, with their eras: those of the topic `late` MOST_NS late.

    'shuffled …' is no topic: all are late at random. Within one topic nothing overtakes.
    """
    rng = random.Random(late)
    last = {'/clock': 0, '/tf': 0}
    arrivals = []
    for entry in recording.entries:
        if entry.topic in last:
            lag_ns = MOST_NS * (entry.topic == late)
            if late.startswith('shuffled'):
                lag_ns = rng.randint(0, MOST_NS)
            last[entry.topic] = max(last[entry.topic], entry.sent_ns + lag_ns)
            arrivals.append((last[entry.topic], len(arrivals), entry))
    return [(recording.era_at(entry.sent_ns), entry) for *_, entry in sorted(arrivals)]


@pytest.mark.parametrize('tolerance_ns', [0, SECOND], ids=['C++', 'Python'])
@pytest.mark.parametrize('late', ['nothing', '/tf', '/clock', 'shuffled', 'shuffled otherwise'])
def test_buffer_holds_nothing_stale_in_any_order(recording, late, tolerance_ns):
    """Look at every message at what the buffer holds then."""
    model = BufferModel(tolerance_ns)
    clock_era = tf_era = None
    # The stamps of the era's transforms so far.
    told = set()
    checked = 0
    for era, entry in in_order_of_arrival(recording, late):
        if entry.topic == '/clock':
            clock_era = era
            model.on_clock(entry.stamp_ns)
        else:
            told = {*entry.stamps, *(told if tf_era is era else ())}
            tf_era = era
            for stamp in entry.stamps:
                model.on_transform(stamp)
        if clock_era is not tf_era or not model.stamps:
            # Right at a jump: one topic is there already, or what came was before the clock.
            continue
        # Nothing is left of another time, and nothing was kept out.
        assert told.issuperset(model.stamps)
        if entry.topic == '/tf':
            assert model.stamps[-1] == max(entry.stamps)
            checked += 1
    assert checked > 100


# tf2 itself.

# At rate 10 half a minute: an answer that is late does not find the player at the end.
DURATION_S = 300.0
# The other scenario lies before the first one, so that loading it is a jump back as well.
OTHER_US = START_US - 1_000_000_000
# What the chords between the poses of the file cut off the arc: 2 mm.
CHORD_M = 0.005


@pytest.fixture
def tf_buffer(make_context):
    """Return tf2's Python buffer with its listener, on a node that follows /clock."""
    tf2_ros = pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')
    if not hasattr(tf2_ros.Buffer, 'time_jump_callback'):
        pytest.skip('this tf2_ros never empties its buffer in Python (before Jazzy)')
    context = make_context()
    use_sim_time = Parameter('use_sim_time', value=True)
    node = Node('tf_listener', context=context, parameter_overrides=[use_sim_time])
    buffer = tf2_ros.Buffer(node=node)
    listener = tf2_ros.TransformListener(buffer, node)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield buffer
    executor.shutdown()
    thread.join()
    del listener
    node.destroy_node()


def jumps(bench, folder):
    """Send a player back in all ways; yields the name of each right after it."""

    def at(seconds):
        return START_US * 1000 + round(seconds * SECOND)

    def back(name, act, *words):
        heard = len(bench.clocks) - 1
        act(*words)
        bench.until(
            lambda: any(b < a for a, b in pairwise(map(stamp_ns, bench.clocks[heard:]))), name
        )
        return name

    bench.ready().trigger('play')
    bench.passes(at(17.0))
    yield back('seek far back, playing', bench.seek, at(2.0))
    bench.passes(at(14.0))
    yield back('seek a little back, playing', bench.seek, at(12.0))
    bench.passes(at(20.0))
    bench.trigger('stop')
    yield back('seek a little back, halted', bench.seek, at(16.0))
    yield back('reset', bench.trigger, 'reset')
    bench.seek(at(DURATION_S - 1.0))
    bench.trigger('play')
    bench.passes(at(DURATION_S))
    yield back('play at the end', bench.trigger, 'play')
    bench.configure(loop=True)
    yield back('loop', bench.seek, at(DURATION_S - 3.0))
    bench.trigger('stop')
    other = build_archive(folder, 'other.usdz', duration_s=DURATION_S, start_us=OTHER_US)
    bench.configure(usdz_path=str(other))
    yield back('load', bench.trigger, 'load')


def test_tf2_follows_every_jump(tf_buffer, make_context, tmp_path):
    """Follow the whole journey with tf2's buffer, with the frames of the cameras."""
    import tf2_ros

    seen = 0
    usdz_path = build_archive(tmp_path, duration_s=DURATION_S)
    # Cameras are due all the time, with nobody to render.
    parameters = {'rate': 10.0, 'always_render': True, 'server': NOWHERE, 'usdz_path': usdz_path}
    bench = Bench(tmp_path, make_context(), parameters, quick=True)
    for name in jumps(bench, tmp_path):

        def settled():
            try:
                found = tf_buffer.lookup_transform('map', 'base_link', Time())
            except tf2_ros.TransformException:
                return None
            # The two listeners are not equally far.
            return found if abs(stamp_ns(found) - bench.clock_ns) < 2 * SECOND else None

        found = bench.until(settled, f'a transform of the new time after: {name}')
        start_us = START_US if stamp_ns(found) >= START_US * 1000 else OTHER_US
        T_map_rig = np.array(ego_pose((stamp_ns(found) - start_us * 1000) / SECOND))
        at = found.transform.translation
        assert np.linalg.norm(T_map_rig[:3, 3] - (at.x, at.y, at.z)) < CHORD_M
        # The static frames have outlived it.
        frame = 'camera_front_wide_120fov_optical_frame'
        camera = tf_buffer.lookup_transform('base_link', frame, Time())
        assert math.isclose(camera.transform.translation.z, 1.3)
        seen += 1
    bench.close()
    assert seen == 7
