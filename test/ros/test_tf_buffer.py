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

The truth is the example's arc in closed form. What a listener does with what it hears is tried
twice: with tf2's own buffer where that is installed, on the live topics; and with a model of
tf2's rules on recorded ones, in the worst orders in which the two topics can arrive.
"""

from bisect import bisect_left
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
import math
import random
from test.support.archives import build_archive, ego_pose, START_US
from test.support.player_bench import Bench
import threading

from geometry_msgs.msg import TransformStamped
import numpy as np
import pytest
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.contract

SECOND = 1_000_000_000
# At rate 10 half a minute: an answer that is late does not find the player at the end.
DURATION_S = 300.0
BEGIN = START_US * 1000
# The other scenario lies before the first one, so that loading it is a jump back as well.
OTHER_US = START_US - 1_000_000_000
# What the chords between the poses of the file, at 10 Hz, cut off the arc of 40 m radius at 8 m/s:
# 2 mm.
CHORD_M = 0.005
# By how much one topic of a listener may lag behind the other one: it handles pictures as well.
LAG_NS = 40_000_000


def true_position(stamp_ns):
    """Return where the ego is at a moment, in closed form."""
    start_us = START_US if stamp_ns >= BEGIN else OTHER_US
    T_map_rig = ego_pose((stamp_ns - start_us * 1000) / SECOND)
    return np.array([row[3] for row in T_map_rig[:3]])


def stamp_of(message):
    """Return a time message as integer nanoseconds."""
    return message.sec * SECOND + message.nanosec


def position_of(transform):
    """Return a transform's translation as an array."""
    translation = transform.transform.translation
    return np.array([translation.x, translation.y, translation.z])


# The journey that both listeners follow.


class Journey(Bench):
    """A player at rate 10 whose cameras are due all the time, sent back and forth."""

    def __init__(self, context, folder):
        self._folder = folder
        parameters = {
            'usdz_path': build_archive(folder, duration_s=DURATION_S),
            'rate': 10.0,
            'always_render': True,
            'server': 'localhost:1',
        }
        super().__init__(folder, context, parameters)

    def _seek(self, seconds):
        self.seek(BEGIN + round(seconds * SECOND))

    def _passes(self, seconds):
        self.passes(BEGIN + round(seconds * SECOND))

    def _goes_back(self, act):
        heard = len(self.clocks) - 1

        def went_back():
            stamps = [stamp_of(one.clock) for one in self.clocks[heard:]]
            return any(after < before for before, after in pairwise(stamps))

        act()
        self.until(went_back, 'a jump back')

    def jumps(self):
        """Go through all kinds of jumps back; yields the name of each right after it."""
        self.ready()
        self.trigger('play')
        self._passes(17.0)
        # Farther back than a buffer remembers: there, what it has makes it refuse what comes.
        self._goes_back(lambda: self._seek(2.0))
        yield 'seek far back, playing'
        self._passes(14.0)
        self._goes_back(lambda: self._seek(12.0))
        yield 'seek a little back, playing'
        self._passes(20.0)
        self.trigger('stop')
        self._goes_back(lambda: self._seek(16.0))
        yield 'seek a little back, halted'
        self._goes_back(lambda: self.trigger('reset'))
        yield 'reset'
        self._seek(DURATION_S - 1.0)
        self.trigger('play')
        self._passes(DURATION_S)
        self._goes_back(lambda: self.trigger('play'))
        yield 'play at the end'
        assert self.configure(loop=True)[0].successful
        self._goes_back(lambda: self._seek(DURATION_S - 3.0))
        yield 'loop'
        self.trigger('stop')
        other = build_archive(self._folder, 'other.usdz', duration_s=DURATION_S, start_us=OTHER_US)
        assert self.configure(usdz_path=str(other))[0].successful
        self._goes_back(lambda: self.trigger('load'))
        yield 'load'


# What was recorded.


@dataclass(frozen=True)
class Heard:
    """One message of the player, by the time at which it was sent."""

    sent_ns: int
    clock_ns: int | None = None
    transforms: tuple[TransformStamped, ...] = ()

    @property
    def stamps(self):
        """Return the stamps of the transforms."""
        return [stamp_of(one.header.stamp) for one in self.transforms]


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """Record /clock and /tf of one journey, in the order in which they were sent."""
    import rclpy
    from rclpy.qos import QoSProfile
    from rclpy.subscription import Subscription

    if not hasattr(Subscription, 'CallbackType'):
        pytest.skip('this rclpy does not tell when a message was sent')
    folder = tmp_path_factory.mktemp('journey')
    context = rclpy.Context()
    rclpy.init(context=context)
    heard = []

    def on_clock(message, info):
        heard.append(Heard(info['source_timestamp'], clock_ns=stamp_of(message.clock)))

    def on_tf(message, info):
        heard.append(Heard(info['source_timestamp'], transforms=tuple(message.transforms)))

    many = QoSProfile(depth=1000)
    with closing(Journey(context, folder)) as journey:
        node = journey.listener.node
        node.create_subscription(Clock, '/clock', on_clock, many)
        node.create_subscription(TFMessage, '/tf', on_tf, many)
        for name in journey.jumps():
            # Two repetitions of the halted player, or 0.4 s of a playing one.
            count = sum(bool(one.transforms) for one in heard)
            enough = count + (3 if name in HALTED else 40)
            journey.until(
                lambda enough=enough: sum(bool(one.transforms) for one in heard) >= enough,
                f'transforms after {name}',
            )
    rclpy.try_shutdown(context=context)
    return sorted(heard, key=lambda one: one.sent_ns)


HALTED = ('seek a little back, halted', 'reset', 'load')
JUMPS = 7


def eras(recording):
    """Cut a recording where the clock goes back; each part but the first begins with that."""
    parts, last = [[]], None
    for one in recording:
        if one.clock_ns is not None:
            if last is not None and one.clock_ns < last:
                parts.append([])
            last = one.clock_ns
        parts[-1].append(one)
    return parts


def test_the_recording_holds_every_jump(recording):
    assert len(eras(recording)) == JUMPS + 1


def test_transforms_are_true(recording):
    """Compare every transform, those of images' stamps too, with the closed form."""
    compared = 0
    for one in recording:
        for transform, stamp in zip(one.transforms, one.stamps, strict=True):
            difference = position_of(transform) - true_position(stamp)
            assert np.linalg.norm(difference) < CHORD_M
            compared += 1
    assert compared > 300


def test_no_message_mixes_the_times_before_and_after_a_jump(recording):
    """What was shown of one era lies between that era's first and last clock."""
    for part in eras(recording):
        clocks = [one.clock_ns for one in part if one.clock_ns is not None]
        for one in part:
            for stamp in one.stamps:
                assert min(clocks) - SECOND // 2 <= stamp <= max(clocks)
                # A message never looks ahead of itself.
                assert stamp <= max(one.stamps)


def test_the_old_time_is_over_before_the_new_one_begins(recording):
    """Leave listeners time for the last old transform before the clock jumps."""
    parts = eras(recording)
    for before, after in pairwise(parts):
        last_old = max(one.sent_ns for one in before if one.transforms)
        assert after[0].sent_ns - last_old >= LAG_NS
        # And the clock goes first: the era begins with it, by how it was cut.
        assert after[0].clock_ns is not None


def test_the_new_time_is_told_more_than_once(recording):
    """A first transform that overtakes the clock's jump is lost: there must be another one."""
    for part in eras(recording)[1:]:
        assert sum(bool(one.transforms) for one in part) >= 2


# tf2's rules, in a model of our own.


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
    now_ns: int | None = None
    stamps: list[int] = field(default_factory=list)
    refused: int = 0

    def on_clock(self, t_ns):
        """Take a message of /clock."""
        if self.now_ns is not None and t_ns < self.now_ns - self.tolerance_ns:
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

    def hear(self, one):
        """Take one message of either topic."""
        if one.clock_ns is not None:
            self.on_clock(one.clock_ns)
        for stamp in one.stamps:
            self.on_transform(stamp)


def test_model_refuses_what_is_older_than_its_cache():
    model = BufferModel()
    model.on_transform(20 * SECOND)
    model.on_transform(9 * SECOND)
    assert (model.stamps, model.refused) == ([20 * SECOND], 1)
    model.on_transform(10 * SECOND)
    assert model.stamps == [10 * SECOND, 20 * SECOND]
    model.on_transform(21 * SECOND)
    assert model.stamps == [20 * SECOND, 21 * SECOND]


@pytest.mark.parametrize('tolerance_ns', [0, SECOND])
def test_model_is_emptied_when_its_clock_goes_back(tolerance_ns):
    model = BufferModel(tolerance_ns)
    model.on_clock(5 * SECOND)
    model.on_transform(5 * SECOND)
    model.on_clock(5 * SECOND - tolerance_ns)
    assert model.stamps
    model.on_clock(5 * SECOND - 2 * tolerance_ns - 1)
    assert not model.stamps


def test_model_shows_what_the_quiet_time_is_for():
    """A transform of the old time right after the jump: the true ones are refused for long."""
    model = BufferModel()
    model.on_clock(20 * SECOND)
    model.on_clock(2 * SECOND)
    model.on_transform(20 * SECOND)
    for i in range(10):
        model.on_transform(2 * SECOND + i)
    assert model.refused == 10


def in_order_of_arrival(recording, lags):
    """
    Order messages by when they arrive, `lags(is_clock)` ns after they were sent.

    Within one topic nothing overtakes. Gives pairs: number of the era, message.
    """
    last = {True: 0, False: 0}
    arrivals = []
    for era, part in enumerate(eras(recording)):
        for one in part:
            is_clock = one.clock_ns is not None
            last[is_clock] = max(last[is_clock], one.sent_ns + lags(is_clock))
            arrivals.append((last[is_clock], len(arrivals), era, one))
    return [(era, one) for _, _, era, one in sorted(arrivals, key=lambda arrival: arrival[:2])]


# Short of the limit, because the recorded spacing may be the limit exactly.
MOST_NS = LAG_NS - 1


def shuffled(seed):
    """Return lags at random, up to the limit."""
    rng = random.Random(seed)
    return lambda is_clock: rng.randint(0, MOST_NS)


ORDERS = {
    'as sent': lambda: lambda is_clock: 0,
    'transforms late': lambda: lambda is_clock: 0 if is_clock else MOST_NS,
    'clock late': lambda: lambda is_clock: MOST_NS if is_clock else 0,
    'shuffled': lambda: shuffled(1),
    'shuffled otherwise': lambda: shuffled(2),
}


@pytest.mark.parametrize('tolerance_ns', [0, SECOND], ids=['C++', 'Python'])
@pytest.mark.parametrize('order', ORDERS)
def test_buffer_holds_nothing_stale_in_any_order(recording, order, tolerance_ns):
    """Look at every message at what the buffer holds then."""
    model = BufferModel(tolerance_ns)
    clock_era = tf_era = None
    # The stamps of the era's transforms so far.
    told = set()
    checked = 0
    for era, one in in_order_of_arrival(recording, ORDERS[order]()):
        model.hear(one)
        if one.clock_ns is not None:
            clock_era = era
        elif tf_era != era:
            tf_era = era
            told = set(one.stamps)
        else:
            told.update(one.stamps)
        if clock_era != tf_era or not model.stamps:
            # Right at a jump: one topic is there already, or what came was before the clock.
            continue
        # Nothing is left of another time, and nothing was kept out.
        assert told.issuperset(model.stamps)
        if one.transforms:
            assert model.stamps[-1] == max(one.stamps)
            checked += 1
    assert checked > 100


# tf2 itself.


@pytest.fixture
def tf_listener(make_context):
    """Return tf2's Python buffer with its listener, on a node that follows /clock."""
    tf2_ros = pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')
    if not hasattr(tf2_ros.Buffer, 'time_jump_callback'):
        pytest.skip('this tf2_ros never empties its buffer in Python (before Jazzy)')
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

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


def test_tf2_follows_every_jump(tf_listener, make_context, tmp_path):
    """Follow the whole journey with tf2's buffer, with the frames of the cameras."""
    import rclpy.time
    import tf2_ros

    latest = rclpy.time.Time()
    seen = []
    frame = 'camera_front_wide_120fov_optical_frame'
    with closing(Journey(make_context(), tmp_path)) as journey:
        for name in journey.jumps():

            def settled():
                try:
                    found = tf_listener.lookup_transform('map', 'base_link', latest)
                except tf2_ros.TransformException:
                    return None
                # The two listeners are not equally far.
                stamp = stamp_of(found.header.stamp)
                return found if abs(stamp - journey.clock_ns) < 2 * SECOND else None

            found = journey.until(settled, f'a transform of the new time after: {name}')
            stamp = stamp_of(found.header.stamp)
            assert np.linalg.norm(position_of(found) - true_position(stamp)) < CHORD_M
            # The static frames have outlived it.
            camera = tf_listener.lookup_transform('base_link', frame, latest)
            assert math.isclose(camera.transform.translation.z, 1.3)
            seen.append(name)
    assert len(seen) == JUMPS
