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
"""What other people's programs write, by ~/load into a player that plays: it is played."""

from test.support.archives import build_archive, CAMERAS, START_US

import pytest
from sensor_msgs.msg import CameraInfo

LATER_US = START_US + 500_000_000


def topics_of(bench):
    """Return the names of the player's camera_info topics."""
    return {name for name in bench.topics() if name.endswith('/camera_info')}


def of_camera(change):
    """Return an edit of the first camera's calibration."""

    def edit(document):
        calibration = next(iter(document['camera_calibrations'].values()))
        change(calibration, calibration['camera_model']['parameters'])

    return edit


LONG_NAME = 'a' * 240
ROAD = (
    '<road id="{0}" length="50"><planView><geometry s="0" x="0" y="{0}" hdg="0" length="50">'
    '<line/></geometry></planView>{1}</road>'
)
LANES = (
    '<lanes><laneSection s="0"><center><lane id="0" type="none"/></center><right>'
    '<lane id="-1" type="driving"><width sOffset="0" a="3.5" b="0" c="0" d="0"/></lane>'
    '</right></laneSection></lanes>'
)
ODD_FILES = {
    'long_camera_name': {
        'edit_rig': of_camera(lambda camera, _: camera.update(logical_sensor_name=LONG_NAME))
    },
    'blind_camera': {
        'edit_rig': of_camera(lambda _, lens: lens.update(principal_point=[960.0, -3000.0]))
    },
    'no_lane_section': {
        'members': {
            'map.xodr': '<OpenDRIVE>'
            + ROAD.format(1, '<lanes/>')
            + ROAD.format(9, LANES)
            + '</OpenDRIVE>'
        }
    },
}


@pytest.mark.parametrize(
    ('name', 'cameras', 'level', 'said'),
    [
        (
            'long_camera_name',
            ('a' * 120, CAMERAS[1]),
            'INFO',
            f"camera '{LONG_NAME}' is {'a' * 120} in",
        ),
        ('blind_camera', CAMERAS[1:], 'WARN', CAMERAS[0]),
        ('no_lane_section', CAMERAS, 'WARN', 'map.xodr'),
    ],
)
def test_it_is_played_and_said_once(bench, usdz, tmp_path, name, cameras, level, said):
    # What the row before has loaded.
    bench.configure(usdz_path=str(usdz))
    bench.trigger('load')
    path = build_archive(tmp_path, start_us=LATER_US, **ODD_FILES[name])
    bench.trigger('play')
    before = len(bench.player.output)
    bench.configure(usdz_path=str(path))
    assert bench.trigger('load')['current_time_us'] == LATER_US
    expected = {f'/nurec/{camera}/camera_info' for camera in cameras}
    bench.until(lambda: topics_of(bench) == expected, 'the topics')
    infos = [bench.listen(CameraInfo, f'~/{camera}/camera_info') for camera in cameras]
    bench.until(lambda: all(infos), 'a picture of each camera')
    assert bench.trigger('play')['is_playing']
    bench.passes(LATER_US * 1000 + 100_000_000)
    lines = [line for line in bench.player.output[before:].splitlines() if said in line]
    assert len(lines) == 1, lines
    assert f'[{level}]' in lines[0]
