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
"""What is logged about a load and about others in the graph, and what is left when all ends."""

from test.support.outlet import RecordingOutlet
from types import SimpleNamespace

from nurec_ros.playback.effects import PlaybackState
from nurec_ros.ros.diagnostics import SECOND_CLOCK
from nurec_ros.ros.effect_handler import EffectHandler
from nurec_ros.ros.ego_topics import OddInputs
from nurec_ros.ros.reporter import Reporter
from nurec_ros.settings import Settings
import pytest

pytestmark = pytest.mark.ros


class Neighbourhood(RecordingOutlet):
    """A graph in which others publish and are called what the test says."""

    def __init__(self):
        super().__init__()
        self.clocks = self.same_names = 0

    def others(self, topic):
        assert topic == '/clock'
        return self.clocks

    def namesakes(self):
        return self.same_names

    def watch(self):
        """Find nobody who gets nothing."""


@pytest.fixture
def graph():
    return Neighbourhood()


@pytest.fixture
def logged():
    return []


@pytest.fixture
def reporter(graph, logged):
    def into(level):
        return lambda text: logged.append((level, text))

    logger = SimpleNamespace(**{one: into(one) for one in ('debug', 'info', 'warning', 'error')})
    node = SimpleNamespace(
        get_namespace=lambda: '/', get_name=lambda: 'nurec', get_logger=lambda: logger
    )
    return Reporter(node, SimpleNamespace(settings=Settings()), graph)


def test_others_that_spoil_it_are_warned_of_as_they_come(reporter, graph, logged):
    def report():
        before = len(logged)
        reporter.publish_diagnostics(
            PlaybackState(), None, loading=False, clock_topic='/clock', odd=OddInputs()
        )
        told = graph.messages('/diagnostics')[-1].status[0].message
        return told, logged[before:]

    clock = SECOND_CLOCK.format(topic='/clock')
    alone, _ = report()
    graph.same_names = 1
    told, ((level, namesake),) = report()
    assert level == 'warning'
    assert namesake.startswith('another node of the graph is called /nurec too: each answers')
    assert (namesake in told, clock in told) == (True, False)
    graph.clocks = 1
    told, log = report()
    assert log == [('warning', clock)]
    assert namesake in told
    assert clock in told
    graph.clocks = graph.same_names = 0
    assert report() == (alone, [])
    # Another time it begins.
    graph.clocks = 1
    assert report()[1] == [('warning', clock)]


def test_what_there_is_to_know_of_sensors_is_logged_at_each_load(reporter, logged):
    def calibration(*notes):
        return SimpleNamespace(calibration=SimpleNamespace(notes=notes, residual=None))

    cameras = {'front': calibration(), 'rear left': calibration('no room', 'left out')}
    clouds = {'top': SimpleNamespace(note=''), 'side': SimpleNamespace(note='rows are unknown')}
    scenario = SimpleNamespace(
        cameras=cameras,
        lidars=clouds,
        sequence_id='street',
        T_earth_map=None,
        tracks=SimpleNamespace(ids=('1',)),
    )
    loaded = SimpleNamespace(
        scenario=scenario,
        topics=cameras,
        clouds=clouds,
        cameras=tuple(cameras),
        lidars=tuple(clouds),
        asked=SimpleNamespace(usdz_path='/a.usdz'),
        playback=SimpleNamespace(begin_ns=0, end_ns=2_500_000_000),
    )
    reporter.loaded(loaded, ('it is old',))
    street = "loaded /a.usdz: scenario 'street', 2.50 s, 2 cameras, 2 lidars, 1 road user, "
    assert logged == [
        ('warning', 'it is old'),
        ('info', "camera 'rear left' is rear_left in topics, frames and parameters"),
        ('warning', "lidar 'side': rows are unknown"),
        ('info', 'rear left: no room'),
        ('info', 'rear left: left out'),
        ('info', f'{street}rendered by localhost:46435'),
    ]


@pytest.mark.parametrize(
    ('level', 'severity'),
    [('error', 'error'), ('warn', 'warning'), ('info', 'info'), ('debug', 'debug')],
)
def test_each_level_of_the_pipeline_is_one_of_the_log(reporter, logged, level, severity):
    reporter.log(level, 'so it is')
    assert logged == [(severity, 'so it is')]


# The end.


@pytest.fixture
def handler(reporter, graph):
    timer = SimpleNamespace(cancel=lambda: None)
    timers = SimpleNamespace(timer=lambda *_: timer)
    return EffectHandler(graph, SimpleNamespace(settings=Settings()), reporter, None, timers)


def test_what_is_called_after_the_end_does_nothing(handler, graph):
    calls = []
    guarded = handler.guarded('counting', lambda: calls.append(1))
    guarded()
    handler.close(lambda: True)
    guarded()
    assert calls == [1]


@pytest.mark.parametrize('lives', [True, False])
def test_markers_are_deleted_where_the_graph_still_lives(handler, lives):
    done = []
    handler.loaded = SimpleNamespace(
        close=lambda timeout_s: done.append('closed'), playback=SimpleNamespace(position_ns=7)
    )
    handler.topics = SimpleNamespace(
        delete_markers=lambda t_ns: done.append(t_ns),
        flush_markers=lambda timeout_s: done.append('flushed'),
    )
    handler.close(lambda: lives)
    assert done == ([7, 'closed', 'flushed'] if lives else ['closed'])
