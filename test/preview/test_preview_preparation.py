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
"""What the first picture would wait for is done behind the open port, and given up with it."""

import subprocess
import sys
from test.preview.preview_client import Client, Painter, request, until
from test.support.ports import claim_port
import threading

from nurec_ros.preview import paint
from nurec_ros.preview.server import Preparation, PreviewServer
import pytest


def test_the_server_answers_while_it_prepares(scenario):
    go, done = threading.Event(), threading.Event()

    class Slow(Painter):
        """Prepares when it may."""

        def prepare(self, step):
            assert go.wait(20.0)
            step()
            done.set()

    with (
        PreviewServer([scenario], renderer_factory=Slow) as server,
        Client(server.address) as client,
    ):
        assert client.call('render_rgb', request(scenario)).image_bytes
        assert not done.is_set()
        go.set()
        assert done.wait(20.0)


def test_a_server_that_stops_waits_for_no_scene(scenario, other_scenario):
    begun = threading.Event()
    prepared = []

    class Endless(Painter):
        """Never has done."""

        def prepare(self, step):
            prepared.append(self.scenario.scene_id)
            begun.set()
            while True:
                step()

    server = PreviewServer([scenario, other_scenario], renderer_factory=Endless)
    server.start()
    assert begun.wait(20.0)
    server.stop()
    assert prepared == [scenario.scene_id]
    assert not [each for each in threading.enumerate() if each.name == 'preview-prepare']


def test_a_scene_that_cannot_be_prepared_is_no_end(scenario, caplog):
    class Broken(Painter):
        """Cannot be prepared."""

        def prepare(self, step):
            raise ValueError('no ground')

    with (
        PreviewServer([scenario], renderer_factory=Broken) as server,
        Client(server.address) as client,
    ):
        until(lambda: 'could not be prepared' in caplog.text)
        assert client.call('render_rgb', request(scenario)).image_bytes


def test_nothing_to_prepare_is_no_thread():
    preparation = Preparation([object()])
    preparation.start()
    preparation.stop()
    preparation.join()


def test_painting_ends_where_it_is_told_to(scenario):
    class EnoughError(Exception):
        pass

    steps = []

    def step():
        steps.append(0)
        if len(steps) == last:
            raise EnoughError

    last = 0
    paint.paint_ground(scenario, step)
    assert len(steps) > 5
    for last in (1, len(steps) - 1):
        steps.clear()
        with pytest.raises(EnoughError):
            paint.paint_ground(scenario, step)
        assert len(steps) == last


SERVE = """
import os, sys
from nurec_ros.cli import preview
from nurec_ros.preview import paint, scene

real = paint.paint_ground

def painted(scenario, step):
    os.write(1, b'painting\\n')  # one call, so that nothing comes between
    return real(scenario, step)

scene.paint_ground = painted
sys.exit(preview.main(sys.argv[1:]))
"""


def test_the_command_ends_cleanly_amid_the_preparation(scenario_path):
    process = subprocess.Popen(
        [sys.executable, '-c', SERVE, '--usdz', str(scenario_path), '--port', str(claim_port())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The command's own line may come in between, or be cut in two.
    assert any('painting' in process.stdout.readline() for _ in range(3))
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, '')


INTERRUPTED_IN_THE_START = """
import signal, sys
from nurec_ros.cli import preview
from nurec_ros.preview import scene
from nurec_ros.preview.server import Preparation

real = Preparation.start

def start(preparation):
    real(preparation)
    signal.raise_signal(signal.SIGTERM)

def endless(scenario, step):
    while True:
        step()

Preparation.start = start
scene.paint_ground = endless
sys.exit(preview.main(sys.argv[1:]))
"""


def test_a_signal_while_the_server_starts_ends_its_preparation_too(scenario_path):
    result = subprocess.run(
        [sys.executable, '-c', INTERRUPTED_IN_THE_START, '--usdz', scenario_path, '--port', '0'],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
