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
"""Waiting, draining, pacing by a clock of the tests' own; what is drawn and said at the end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
import os
from pathlib import Path
import shutil
from test.demo.conftest import own_domain
from test.support.waiting import until
from types import SimpleNamespace
from unittest.mock import MagicMock, Mock

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from nurec_ros.demo import drawing, overview, play, recording, show
from nurec_ros.demo.play import (
    drain,
    DRAIN_S,
    HURRY,
    may_be_compiling,
    MOST_DRAIN_S,
    pace,
    Patience,
    PlayProgress,
    Watch,
)
from nurec_ros.demo.resources import DemoError, Files
from nurec_ros.demo.show import (
    draw,
    file_lines,
    Options,
    rate_text,
    run,
    speed_text,
    table,
)
from nurec_ros.example import make_example
from nurec_ros.ros.outlet import latched
from nurec_ros.scenario import Scenario
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage


def test_without_a_terminal_there_is_a_line_at_each_quarter():
    lines: list[str] = []
    progress = PlayProgress(20.0, lines.append, terminal=False)
    for seconds in (1.0, 4.9, 5.0, 5.1, 16.0, 19.9, 20.0):
        progress.show(seconds, f'{seconds:g} images')
    progress.close()
    assert lines == [
        'playing  25 %: 5.0 s, 5 images',
        'playing  80 %: 16.0 s, 16 images',
        'playing 100 %: 20.0 s, 20 images',
    ]
    # No division by its duration.
    PlayProgress(0.0, print, terminal=False).show(0.0, '')


def test_a_terminal_gets_a_bar(capsys):
    progress = PlayProgress(20.0, pytest.fail, terminal=True)
    progress.show(10.0, '60 images')
    progress.show(25.0, '120 images')
    progress.close()
    text = capsys.readouterr().err
    assert ' 50% |' in text
    assert '10.0 / 20.0 s, 60 images' in text
    assert '100% |' in text
    assert '125%' not in text


def lockstep(rate: float, waits_s: float) -> tuple[float, float]:
    """Return wall and scenario seconds of ten pictures a second, each waited for."""
    return 10 * (0.1 / rate + waits_s), 1.0


@pytest.mark.parametrize('speed', [0.5, 4.0])
@pytest.mark.parametrize('share', [0.0, 0.8])
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


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_waited_for_is_said_once_and_what_counts_less_and_less_often():
    def said_of(text: Callable[[float], str]) -> list[str]:
        clock, said = Clock(), list[str]()
        patience = Patience(said.append, clock)
        for _ in range(301):
            patience.note(text(clock.now - 100))
            clock.now += 1
        return said

    assert said_of(lambda _: 'a') == ['waiting: a']
    said = said_of(lambda now: f'{now:.0f} s')
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


@pytest.mark.parametrize(
    ('waiting', 'complete_s', 'least_s', 'most_s'),
    [
        # A queue is emptied.
        (2000, 0.0, 2.0, 2.1),
        # Where nothing waits, something may come.
        (0, 0.0, DRAIN_S, DRAIN_S + 0.1),
        # What is sent again is waited for,
        (0, 4.0, 4.0, 4.1),
        # but not for ever, and a flood is given up.
        (0, np.inf, MOST_DRAIN_S, MOST_DRAIN_S + 0.1),
        (10**9, 0.0, MOST_DRAIN_S, MOST_DRAIN_S + 0.1),
    ],
)
def test_what_is_still_on_its_way_is_taken(waiting, complete_s, least_s, most_s):
    """A message takes a millisecond; waiting for one takes the time it is given."""
    clock, taken = Clock(), [0]

    def spin(timeout_s: float) -> None:
        comes = taken[0] < waiting
        taken[0] += comes
        clock.now += 0.001 if comes else timeout_s

    drain(spin, lambda: taken[0], lambda: clock.now - 100.0 >= complete_s, clock)
    assert least_s <= clock.now - 100.0 < most_s
    assert taken[0] == waiting or waiting == 10**9


def test_a_player_that_stands_still_is_given_up(monkeypatch):
    state = {'current_time_us': 0, 'done': False, 'speed': 1.0}
    # It comes from the halted begin to a place, and no further.
    places = count(1)
    watch = SimpleNamespace(
        state=state,
        call=lambda _: None,
        step=lambda: state.update(current_time_us=min(next(places), 5)),
    )
    monkeypatch.setattr(play, 'STALL_S', 0.0)
    with pytest.raises(DemoError, match=r'^the player has stood still at 5 us for 0 s$'):
        play.play_to_the_end(watch, lambda: None, 1.0)


def missing(watch: Watch, say: Callable[[str], object] = print) -> str:
    """Return what is missing, as it is said after a moment; '' if it can begin."""
    try:
        watch.wait_ready(['front'], 0.01, say)
    except DemoError as error:
        return str(error)
    return ''


def test_what_is_missing_before_it_can_begin_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(play, 'LOOK_EVERY', 1)
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

        comes('the player says nothing on /nurec/state after 0.01 s')
        document = KeyValue(key='scenario', value='"street"')
        publish(DiagnosticStatus, '/nurec/state', DiagnosticStatus(values=[document]))
        comes('the player has no service /nurec/play')
        player.create_service(Trigger, '/nurec/play', refuse)
        comes('no image of front (the player says of the renderer: nothing)')
        renderer = DiagnosticStatus(name='nurec: renderer', message='connecting')
        publish(DiagnosticArray, '/diagnostics', DiagnosticArray(status=[renderer]))
        comes('no image of front (the player says of the renderer: connecting)')
        said: list[str] = []
        monkeypatch.setattr(play, 'SAID_AFTER_S', 0.0)
        missing(watch, said.append)
        assert said == ['waiting: no image of front (the player says of the renderer: connecting)']
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


# -- when all is played -------------------------------------------------------------------------


def test_headers_come_from_the_scenario(street: Path, tmp_path: Path, monkeypatch):
    """Let a recording end a second too early: the same length and duration are written."""
    scenario, example = Scenario.load(street), make_example(duration_s=2.0)
    times_ns = scenario.start_ns + np.arange(0, 20, dtype=np.int64) * 100_000_000
    path = times_ns[:2], np.zeros((2, 3))
    recorded = overview.Drive(*path, times_ns, np.zeros((20, 3)), None, {}, {})
    monkeypatch.setattr(recording, 'read_drive', lambda *_: recorded)
    said = []
    for module, name in ((drawing, 'draw_contact_sheet'), (overview, 'draw_overview')):
        monkeypatch.setattr(module, name, lambda *_, **words: said.append(words))
    monkeypatch.setattr(drawing, 'write_png', lambda *_: None)
    draw(Files(tmp_path), scenario, street)
    header = f'street.usdz: {example.seconds:.1f} s, {example.path_length:.0f} m, 0 road users'
    assert all(words['subtitle'].startswith(header) for words in said)
    assert said[1]['span_ns'] == (scenario.start_ns, scenario.end_ns)

    monkeypatch.setattr(recording, 'read_drive', lambda *_: SimpleNamespace(odometry_ns=()))
    with pytest.raises(DemoError, match=r'recording holds no odometry of the player$'):
        draw(Files(tmp_path), scenario, street)


def test_what_did_not_end_well_is_said_after_all_else(street: Path, tmp_path: Path, monkeypatch):
    """Of a drive of the example that is generated where no file is named."""
    pieces = MagicMock()
    pieces.__enter__.return_value = pieces
    ready = ('serving on 127.0.0.1:9', '127.0.0.1:9')
    pieces.start.return_value.wait_for.return_value = ready
    pieces.end.return_value = {'player': 0, 'preview': 3}
    children = Mock(return_value=pieces)
    own_domain(monkeypatch)
    monkeypatch.setattr(show, 'Children', children)
    monkeypatch.setattr(show, 'draw', lambda *_: None)
    monkeypatch.setattr(
        'nurec_ros.example.write_example', lambda path: Path(shutil.copy(street, path))
    )
    played = play.Played((), 2.0, 4.0, ('images: none',))
    monkeypatch.setattr(play, 'record_drive', lambda folder, *_: folder.mkdir() or played)
    said: list[str] = []
    with pytest.raises(DemoError, match=r'^preview ended with exit code 3$'):
        run(Options(output=str(tmp_path / 'demo'), rate=2.0), said.append)
    children.assert_called_once_with(tmp_path / 'demo', os.environ)
    assert [one.args[0] for one in pieces.start.call_args_list] == ['preview', 'player']
    (scenario,) = [line for line in said if line.startswith('scenario: ')]
    assert scenario.endswith(' (generated)')
    assert 'render server: 127.0.0.1:9' in said
    assert 'played in 2.0 s, as fast as asked for, waiting for every picture (lockstep)' in said
    assert said[-3] == 'images: none'
    assert 'the scenario that was generated' in said[-1]


def test_speed_and_rates_are_said():
    assert speed_text(1.99, 2.0).startswith('as fast as asked for')
    assert speed_text(0.234, 1.0).startswith('0.23 times real time where 1 was asked for')
    counts = {2000: '100', 1975: '98.8', 202: '10.1', 3: '0.1', 2: '-', 0: '-'}
    assert {number: rate_text(number, 20.0) for number in counts} == counts
    assert rate_text(2000, 0.0) == '-'


def test_columns_line_up():
    rows = [('/clock', 'rosgraph_msgs/Clock', '2000', '100', '100'), ('/a', 'b/C', '1', '-', '-')]
    assert table(rows).splitlines() == [
        'topic   type                 messages  Hz wall  Hz scenario',
        '------  -------------------  --------  -------  -----------',
        '/clock  rosgraph_msgs/Clock      2000      100          100',
        '/a      b/C                         1        -            -',
    ]
    assert len(table([]).splitlines()) == 2


def test_files_that_are_not_there_are_not_named(tmp_path: Path):
    (tmp_path / 'a.png').write_bytes(bytes(2_340_000))
    (tmp_path / 'bag').mkdir()
    for name, size in (('x', 1500), ('y', 1000)):
        (tmp_path / 'bag' / name).write_bytes(bytes(size))
    names = {'a.png': 'a picture', 'bag': 'a folder', 'missing': 'nothing'}
    text = file_lines({tmp_path / name: what for name, what in names.items()})
    assert text.splitlines() == [
        f'  {tmp_path}/a.png    2.3 MB  a picture',
        f'  {tmp_path}/bag      2.5 kB  a folder',
    ]
