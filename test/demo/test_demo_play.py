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
"""Waiting, draining, pacing and what is said, by a clock of the tests' own."""

from __future__ import annotations

from test.support.waiting import until
from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from nurec_ros.demo import play
from nurec_ros.demo.play import (
    drain,
    DRAIN_S,
    HURRY,
    may_be_compiling,
    MOST_DRAIN_S,
    pace,
    Patience,
    PlayProgress,
    SAID_AFTER_S,
    SAID_AGAIN_S,
    Watch,
)
from nurec_ros.demo.recording import rendering
from nurec_ros.demo.resources import DemoError
from nurec_ros.ros.outlet import latched
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage


def test_without_a_terminal_there_is_a_line_at_each_quarter():
    lines = []
    progress = PlayProgress(20.0, lines.append, terminal=False)
    for k in range(201):
        progress.show(k / 10, f'{k} images')
    progress.close()
    assert lines == [
        'playing  25 %: 5.0 s, 50 images',
        'playing  50 %: 10.0 s, 100 images',
        'playing  75 %: 15.0 s, 150 images',
        'playing 100 %: 20.0 s, 200 images',
    ]


def test_leaps_over_quarters_give_one_line():
    lines = []
    progress = PlayProgress(20.0, lines.append, terminal=False)
    progress.show(1.0, '')
    progress.show(16.0, 'x')
    progress.close()
    assert lines == ['playing  75 %: 16.0 s, x']


def test_a_terminal_gets_a_bar(capsys):
    lines = []
    progress = PlayProgress(20.0, lines.append, terminal=True)
    progress.show(10.0, '60 images')
    progress.show(25.0, '120 images')
    progress.close()
    text = capsys.readouterr().err
    assert ' 50% |' in text
    assert '10.0 / 20.0 s, 60 images' in text
    assert '100% |' in text
    assert '125%' not in text
    assert lines == []


def test_a_scenario_without_duration_is_no_division_by_zero():
    progress = PlayProgress(0.0, print, terminal=False)
    progress.show(0.0, '')
    progress.close()


def lockstep(rate: float, waits_s: float) -> tuple[float, float]:
    """Return wall and scenario seconds of ten pictures a second, each waited for."""
    return 10 * (0.1 / rate + waits_s), 1.0


@pytest.mark.parametrize('speed', [0.5, 1.0, 4.0])
@pytest.mark.parametrize('share', [0.0, 0.3, 0.8])
def test_the_pace_makes_up_for_the_waiting(speed: float, share: float):
    """Get to the speed asked for where the pictures leave time for it."""
    waits_s = share * 0.1 / speed
    rate = pace(speed, speed, *lockstep(speed, waits_s))
    wall_s, scenario_s = lockstep(rate, waits_s)
    assert scenario_s / wall_s == pytest.approx(speed)
    assert pace(speed, rate, wall_s, scenario_s) == pytest.approx(rate), 'and stays there'


def test_the_pace_has_an_end_where_the_pictures_leave_no_time():
    assert pace(1.0, 1.0, *lockstep(1.0, 0.5)) == HURRY
    assert pace(50.0, 50.0, *lockstep(50.0, 0.5)) == 100.0, 'what the player takes'


def camera(asked: int, received: int, dropped: int = 0, failed: int = 0, error: str = ''):
    """Return a camera's status, of a last second without images."""
    values = {'asked': asked, 'received': received, 'dropped': dropped, 'failed': failed}
    return '0.0 images/s', {
        **{key: str(value) for key, value in values.items()},
        'last_error': error,
    }


def test_the_frames_of_all_cameras_are_summed_up_and_those_of_lidars():
    statuses = {
        'nurec: playback': ('done', {}),
        'nurec: left': camera(201, 201),
        'nurec: right': camera(201, 199, dropped=2),
        'nurec: not_chosen': camera(9, 0, failed=9),
        'nurec: top': camera(40, 39, failed=1, error='too late'),
    }
    assert rendering(statuses, ['left', 'right']) == [
        'images: 400 came of 402 that were due',
        '2 images were dropped',
    ]
    assert rendering(statuses, ['top'], 'clouds') == [
        'clouds: 39 came of 40 that were due',
        'top: 1 clouds failed: too late',
    ]


def test_of_sensors_that_a_scenario_lacks_nothing_is_said():
    assert rendering({'nurec: left': camera(5, 3)}, [], 'clouds') == []


def test_failures_are_told_of_each_camera():
    statuses = {
        'nurec: left': camera(5, 3, failed=2, error='no memory'),
        'nurec: right': camera(5, 5),
    }
    assert rendering(statuses, ['left', 'right']) == [
        'images: 8 came of 10 that were due',
        'left: 2 images failed: no memory',
    ]


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_waited_for_is_said_after_a_while_and_once():
    clock, said = Clock(), []
    patience = Patience(said.append, clock)
    patience.note(lambda: 'a')
    assert said == []
    clock.now += SAID_AFTER_S
    for _ in range(3):
        patience.note(lambda: 'a')
    assert said == ['waiting: a']
    patience.note(lambda: 'b')
    assert said == ['waiting: a']
    clock.now += SAID_AGAIN_S
    patience.note(lambda: 'a')
    patience.note(lambda: 'b')
    assert said == ['waiting: a', 'waiting: b']


def test_a_text_that_counts_is_said_less_and_less_often():
    clock, said = Clock(), []
    patience = Patience(said.append, clock)
    for _ in range(301):
        patience.note(lambda: f'{clock.now - 100:.0f} s')
        clock.now += 1
    assert said[:4] == ['waiting: 10 s', 'waiting: 15 s', 'waiting: 25 s', 'waiting: 45 s']
    assert 8 <= len(said) <= 11


@pytest.mark.parametrize(
    ('connected', 'error', 'expected'),
    [('true', '', True), ('false', '', False), ('true', 'out of memory', False)],
)
def test_only_a_server_without_errors_may_be_compiling(connected, error, expected):
    renderer = {'connected': connected, 'last_error': error}
    statuses = {'nurec: playback': ('halted', {}), 'nurec: renderer': ('…', renderer)}
    assert may_be_compiling(statuses) is expected
    assert not may_be_compiling({})


class Queue:
    """Messages that wait, taken a millisecond each; waiting for one takes the time it is given."""

    def __init__(self, clock: Clock, waiting: int, *, endless: bool = False) -> None:
        self.clock, self.waiting, self.taken, self.endless = clock, waiting, 0, endless

    def spin(self, timeout_s: float) -> None:
        if self.waiting or self.endless:
            self.waiting -= 1
            self.taken += 1
            self.clock.now += 0.001
        else:
            self.clock.now += timeout_s


def test_a_long_queue_is_emptied():
    clock = Clock()
    queue = Queue(clock, 2000)
    drain(queue.spin, lambda: queue.taken, lambda: True, clock)
    assert queue.taken == 2000
    assert 2.0 <= clock.now - 100.0 < 2.1


def test_an_empty_queue_is_waited_at_for_a_moment():
    clock = Clock()
    queue = Queue(clock, 0)
    drain(queue.spin, lambda: queue.taken, lambda: True, clock)
    assert DRAIN_S <= clock.now - 100.0 < DRAIN_S + 0.1


def test_what_is_sent_again_is_waited_for():
    clock = Clock()
    queue = Queue(clock, 0)
    drain(queue.spin, lambda: queue.taken, lambda: clock.now >= 104.0, clock)
    assert 4.0 <= clock.now - 100.0 < 4.1
    clock.now = 100.0
    drain(queue.spin, lambda: queue.taken, lambda: False, clock)
    assert MOST_DRAIN_S <= clock.now - 100.0 < MOST_DRAIN_S + 0.1


def test_a_flood_is_given_up():
    clock = Clock()
    queue = Queue(clock, 0, endless=True)
    drain(queue.spin, lambda: queue.taken, lambda: True, clock)
    assert MOST_DRAIN_S <= clock.now - 100.0 < MOST_DRAIN_S + 0.1


def missing(watch: Watch) -> str:
    """Return what is missing, as it is said after a moment; '' if it can begin."""
    try:
        watch.wait_ready(['front'], 0.1, print)
    except DemoError as error:
        return str(error)
    return ''


def test_a_player_that_stands_still_is_given_up(monkeypatch):
    steps = []

    def step():
        steps.append(len(steps))
        # It comes from the halted begin to a place, and no further.
        watch.state['current_time_us'] = min(len(steps), 5)

    state = {'current_time_us': 0, 'done': False, 'speed': 1.0}
    watch = SimpleNamespace(state=state, call=lambda _: None, step=step)
    monkeypatch.setattr(play, 'STALL_S', 0.0)
    with pytest.raises(DemoError, match=r'^the player has stood still at 5 us for 0 s$'):
        play.play_to_the_end(watch, 1.0, lambda: None)


def test_what_is_missing_before_it_can_begin_is_named(tmp_path):
    context = rclpy.Context()
    rclpy.init(context=context)
    player = rclpy.create_node('nurec', context=context)

    def refuse(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = False, 'no scenario'
        return response

    def publish(kind: type, topic: str, message: object) -> None:
        player.create_publisher(kind, topic, latched()).publish(message)

    answering = SingleThreadedExecutor(context=context)
    with Watch(tmp_path / 'recording', lambda: answering.spin_once(timeout_sec=0.0)) as watch:

        def comes(words: str) -> None:
            until(lambda: words in missing(watch), words)

        comes('the player says nothing on /nurec/state after 0.1 s')
        document = KeyValue(key='scenario', value='"street"')
        publish(DiagnosticStatus, '/nurec/state', DiagnosticStatus(values=[document]))
        comes('the player has no service /nurec/play')
        player.create_service(Trigger, '/nurec/play', refuse)
        comes('no image of front (the player says of the renderer: nothing)')
        renderer = DiagnosticStatus(name='nurec: renderer', message='connecting')
        publish(DiagnosticArray, '/diagnostics', DiagnosticArray(status=[renderer]))
        comes('no image of front (the player says of the renderer: connecting)')
        publish(CompressedImage, '/nurec/front/image_raw/compressed', CompressedImage())
        comes('nothing on /tf')
        publish(TFMessage, '/tf', TFMessage())
        until(lambda: not missing(watch), 'the beginning')
        # It offers the service, and is not spun: nobody answers.
        with pytest.raises(DemoError, match=r'^/nurec/play did not answer in 0\.1 s$'):
            watch.call('play', 0.1)
        answering.add_node(player)
        with pytest.raises(DemoError, match=r'^/nurec/play refused: no scenario$'):
            watch.call('play', 60.0)
    answering.shutdown()
    player.destroy_node()
    rclpy.try_shutdown(context=context)
