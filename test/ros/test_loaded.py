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
"""A loaded scenario: what becomes of frames that cannot be published, and of its topics."""

from test.support.archives import build_archive, CAMERAS, START_US
from test.support.lidars import add_lidar, LIDAR
from test.support.outlet import RecordingOutlet
import threading

from nurec_ros.errors import RenderError
from nurec_ros.playback.clock import Due
from nurec_ros.rendering.frames import Failure, Frame
from nurec_ros.rendering.pipeline import RenderPipeline
from nurec_ros.ros import loading
from nurec_ros.ros.loading import Loaded, read
from nurec_ros.settings import Settings, Values
import pytest

pytestmark = pytest.mark.ros

FRONT = CAMERAS[0]
T_NS = START_US * 1000


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    return read(Settings(str(build_archive(tmp_path_factory.mktemp('usdz'), edit_rig=add_lidar))))


class Piped:
    """A loaded scenario whose pipeline the test is."""

    def __init__(self, found, monkeypatch):
        def pipeline(scenario, options, deliver, **rest):
            self.deliver = deliver
            self.pipeline = RenderPipeline(scenario, options, deliver, **rest)
            self.pipeline.start = lambda: None
            return self.pipeline

        monkeypatch.setattr(loading, 'RenderPipeline', pipeline)
        self.outlet, self.lost = RecordingOutlet(), []
        self.loaded = Loaded(
            self.outlet,
            found,
            Values(found.asked),
            on_lost=lambda _, frame, error: self.lost.append((frame, error)),
            log=lambda *_: None,
        )


@pytest.fixture
def piped(found, monkeypatch):
    piped = Piped(found, monkeypatch)
    yield piped
    piped.loaded.close()


def test_a_picture_that_does_not_decode_is_lost_and_the_pipeline_s_to_log(piped):
    with pytest.raises(RenderError, match='does not decode'):
        piped.deliver(Frame(FRONT, T_NS, b'no picture', 'png', 8, 8, 0.0))
    ((frame, error),) = piped.lost
    assert frame == Due(FRONT, T_NS)
    assert isinstance(error, RenderError)
    assert piped.outlet.published == []


def test_what_nobody_foresaw_is_lost_and_told_there(piped):
    def fail(topic):
        raise ZeroDivisionError(topic)

    piped.outlet.before_publish = fail
    planes = bytes(3 * 8 * 8)
    piped.deliver(Frame(FRONT, T_NS, planes, 'rgb8', 8, 8, 0.0))
    failure = RenderError('the server is gone')
    piped.deliver(Failure(FRONT, T_NS + 1, failure))
    (first, error), second = piped.lost
    assert (first, type(error)) == (Due(FRONT, T_NS), ZeroDivisionError)
    assert second == (Due(FRONT, T_NS + 1), failure)


def test_topics_of_all_sensors_go(piped):
    assert {f'~/{LIDAR}/points', f'~/{FRONT}/camera_info'} <= piped.outlet.offered
    piped.loaded.destroy_topics()
    assert piped.outlet.offered == set()


def test_without_a_thread_to_spare_it_is_closed_here(piped, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    closed = []
    with monkeypatch.context() as patch:
        patch.setattr(piped.loaded, 'close', closed.append)
        patch.setattr(threading.Thread, 'start', start)
        piped.loaded.close_beside()
    assert closed == [0.0]
