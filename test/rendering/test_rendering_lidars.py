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
"""Lidars from request to cloud: bytes built by hand on both sides of the wire."""

import struct
from test.rendering.conftest import due
from test.support.archives import build_archive, START_US, translation
from test.support.lidars import (
    add_lidar,
    field,
    LIDAR,
    new_reply,
    old_reply,
    SPIN_US,
    SPINS,
    T_RIG_LIDAR,
    varint,
)
from test.support.waiting import until

import numpy as np
from nurec_ros.driving import DrivenEgo, TwistCommand
from nurec_ros.rendering import Cloud, frames, RenderOptions
from nurec_ros.rendering.requests import RequestBuilder
from nurec_ros.scenario import Scenario
import pytest

CAMERAS = ('wide', 'tele')
SPEED = 8.0
SHORT = (START_US + 100_000, START_US + 160_000)
LAST_US = START_US + 2_000_000
# A quarter turn to the left, as w x y z.
QUARTER = (0.5**0.5, 0.0, 0.0, 0.5**0.5)


def edit_rig(rig):
    drive = rig['rig_trajectories'][0]
    times_us = drive['T_rig_world_timestamps_us']
    drive['T_rig_worlds'] = [
        translation(SPEED * 1e-6 * (t - START_US), 0.0, 0.0) for t in times_us
    ]
    add_lidar(rig)
    add_lidar(rig, 'roof_at128', spins=None, model=None)
    add_lidar(rig, 'short_p128', spins=[list(SHORT)])
    add_lidar(rig, 'nameless', spins=None)
    rig['lidar_calibrations'][next(reversed(rig['lidar_calibrations']))]['lidar_model'][
        'parameters'
    ]['spinning_frequency_hz'] = 20.0


@pytest.fixture(scope='module')
def scenario(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lidars')
    return Scenario.load(build_archive(folder, cameras=CAMERAS, edit_rig=edit_rig))


# --- bytes by hand ------------------------------------------------------------------------------


def fixed64(number, value):
    return varint(number << 3 | 1) + struct.pack('<Q', value)


def floats(*values):
    """Encode floats by number, from 1 on; proto3 leaves zeros out."""
    return b''.join(
        varint(number << 3 | 5) + struct.pack('<f', value)
        for number, value in enumerate(values, 1)
        if value
    )


def sensor_at(t_us):
    x, y, z = (row[3] for row in T_RIG_LIDAR[:3])
    x += SPEED * 1e-6 * (t_us - START_US)
    return field(1, floats(x, y, z)) + field(2, floats(*QUARTER))


def request_bytes(start_us, end_us, device=0):
    return (
        field(1, b'the scene')
        + field(2, varint(2 << 3) + varint(device) if device else b'')
        + fixed64(3, start_us)
        + fixed64(4, end_us)
        + field(5, field(1, sensor_at(start_us)) + field(2, sensor_at(end_us)))
    )


REPLIES = pytest.mark.parametrize('reply', [old_reply, new_reply])


# --- requests -----------------------------------------------------------------------------------


def build(scenario, lidar, t_us, **options):
    builder = RequestBuilder(scenario, RenderOptions(**options))
    return builder.build('the scene', lidar, t_us * 1000).SerializeToString()


@pytest.mark.parametrize(
    ('lidar', 't_us', 'window', 'device'),
    [
        # A recorded spin, from its start to its end.
        (LIDAR, SPINS[3][1], tuple(SPINS[3]), 0),
        # So is one that is shorter than a turn.
        ('short_p128', SHORT[1], SHORT, 0),
        # At another time a turn of the model, 10 Hz.
        (LIDAR, SPINS[3][1] + 7, (SPINS[3][1] + 7 - SPIN_US, SPINS[3][1] + 7), 0),
        # One that would begin before the scenario; the first moment, where it is not empty.
        (LIDAR, START_US + 30_000, (START_US, START_US + 30_000), 0),
        (LIDAR, START_US, (START_US, START_US + 1), 0),
        (LIDAR, LAST_US, (LAST_US - SPIN_US, LAST_US), 0),
        # No spins and no model; no spins, and a model of 20 Hz.
        ('roof_at128', START_US + 500_000, (START_US + 400_000, START_US + 500_000), 1),
        ('nameless', START_US + 500_000, (START_US + 450_000, START_US + 500_000), 0),
    ],
)
def test_requests_are_the_bytes_that_the_protocol_asks_for(scenario, lidar, t_us, window, device):
    assert build(scenario, lidar, t_us) == request_bytes(*window, device=device)


def test_the_device_is_the_one_that_was_chosen(scenario):
    t_us = START_US + 500_007
    devices = {LIDAR: 'at128', 'roof_at128': 'pandar128'}
    for lidar, device in ((LIDAR, 1), ('roof_at128', 0)):
        found = build(scenario, lidar, t_us, lidar_devices=devices)
        assert found == request_bytes(t_us - SPIN_US, t_us, device)


def test_devices_by_name():
    found = [RenderOptions().device_of(name) for name in (LIDAR, 'pandar128', 'lidar_at128')]
    assert found == [('pandar128', ''), ('pandar128', ''), ('at128', '')]
    device, note = RenderOptions().device_of('lidar_cat1280')
    assert device == 'pandar128'
    assert note.endswith('it is rendered as pandar128; set <lidar>.device')


def test_tracks_go_along_as_with_pictures(scenario):
    """And the offset of the rig moves lidars, too."""
    builder = RequestBuilder(scenario, RenderOptions(rig_offset=(0, 2, 0, 0, 0, 0)))
    t_ns = SPINS[3][1] * 1000
    spin = builder.build('the scene', LIDAR, t_ns, with_tracks=True)
    assert spin.sensor_pose.end_pose.vec.y == pytest.approx(2.1)
    (one,) = spin.dynamic_objects
    assert one.track_id == '1'
    # 6 m/s, see the archive.
    moved = one.pose_pair.end_pose.vec.x - one.pose_pair.start_pose.vec.x
    assert moved == pytest.approx(0.6, rel=0.05)
    assert not builder.build('', LIDAR, t_ns).dynamic_objects


def test_a_spin_is_seen_from_the_driven_ego(scenario):
    """The recorded ego until the take-over within the spin, then at a speed of its own."""
    start_us, end_us = SPINS[3]
    takes_over_us = (start_us + end_us) // 2
    ego = DrivenEgo(scenario.ego, takes_over_us * 1000, source='twist')
    ego.put(TwistCommand(0, 2.0, 0.0), halted=True)
    ego.advance_to(end_us * 1000)
    builder = RequestBuilder(scenario, RenderOptions())
    poses = builder.rig_poses(LIDAR, end_us * 1000, ego)
    plain = builder.build('the scene', LIDAR, end_us * 1000)
    found = builder.build('the scene', LIDAR, end_us * 1000, rig_poses=poses)
    assert found.sensor_pose.start_pose == plain.sensor_pose.start_pose
    behind = plain.sensor_pose.end_pose.vec.x - found.sensor_pose.end_pose.vec.x
    assert behind == pytest.approx((SPEED - 2.0) * 1e-6 * (end_us - takes_over_us), abs=1e-4)


# --- clouds -------------------------------------------------------------------------------------


POINTS = np.array([[1.5, -2.25, 0.1], [1e-3, 190.0, -1.7]], dtype='<f4')
INTENSITIES = np.array([0.25, 1.0], dtype='<f4')


@pytest.fixture
def spinning(make_server, make_pipeline, scenario):
    """Return a function that starts a server that answers each spin so, and a pipeline."""

    def start(spin, **options):
        server = make_server()
        server.spin = spin
        return server, make_pipeline(server, scenario=scenario, **options)

    return start


@REPLIES
def test_a_cloud_arrives_bit_for_bit(spinning, delivered, reply):
    """And so does one without points."""
    replies = iter([reply(POINTS, INTENSITIES), b''])
    _, pipeline = spinning(lambda *_: next(replies))
    for t_us in (100_000, 200_000):
        pipeline.submit(due(LIDAR, t_us=t_us)).result(60)
    cloud, empty = delivered.results
    assert isinstance(cloud, Cloud)
    assert (cloud.lidar, cloud.t_ns) == (LIDAR, (START_US + 100_000) * 1000)
    for array, sent in ((cloud.points, POINTS), (cloud.intensities, INTENSITIES)):
        assert array.dtype == np.float32
        assert (array.shape, array.flags.writeable) == (sent.shape, False)
        assert array.tobytes() == sent.tobytes()
    assert cloud.latency_s > 0
    assert (empty.points.shape, empty.intensities.shape) == ((0, 3), (0,))
    status = pipeline.camera_status(LIDAR)
    assert (status.asked, status.received, status.failed) == (2, 2, 0)


def test_buffers_come_before_floats(spinning, delivered):
    both = old_reply(b'\0' * 12, b'\0' * 4) + new_reply(POINTS, INTENSITIES)
    _, pipeline = spinning(lambda *_: both)
    pipeline.submit(due(LIDAR)).result(60)
    assert delivered.results[0].points.tobytes() == POINTS.tobytes()


def spoiled(array, value):
    array = array.copy()
    array.flat[1] = value
    return array.tobytes()


UNFIT = [
    (old_reply(b'\0' * 16, b'\0' * 4), '4 coordinates, expected 3 a point'),
    (new_reply(b'\0' * 14, b'\0' * 4), '14 bytes of points, expected 4 a number'),
    (new_reply(b'\0' * 24, b'\0' * 8, 3), '2 points, expected 3, its num_points'),
    (varint(3 << 3) + varint(3), '0 points, expected 3, its num_points'),
    (new_reply(b'\0' * 24, b'\0' * 4), '1 intensities, expected 2, one a point'),
    (old_reply(b'\0' * 24, b''), '0 intensities, expected 2, one a point'),
    (new_reply(b'\0' * 24, b'\0' * 9), '9 bytes of intensities, expected 4 a number'),
    (
        new_reply(spoiled(POINTS, np.nan), INTENSITIES.tobytes()),
        '1 of 6 coordinates of the reply are not finite',
    ),
    (
        old_reply(POINTS.tobytes(), spoiled(INTENSITIES, np.inf)),
        '1 of 2 intensities of the reply are not finite',
    ),
]


def test_what_does_not_fit_is_dropped_counted_and_named(spinning, delivered):
    replies = iter(reply for reply, _ in UNFIT)
    _, pipeline = spinning(lambda *_: next(replies))
    for count, (_, words) in enumerate(UNFIT, 1):
        pipeline.submit(due(LIDAR, t_us=100_000 * count)).result(60)
        failure = delivered.failures[-1]
        assert failure.camera == LIDAR
        begins = 'the reply holds ' * ('expected' in words) + words
        assert str(failure.error).startswith(f'{LIDAR}: {begins}')
        assert failure.error.remedy.startswith('is the server of a newer version than those know')
        status = pipeline.camera_status(LIDAR)
        assert (status.received, status.failed) == (0, count)
        assert words in status.last_error
    assert delivered.results == delivered.failures


@REPLIES
def test_more_points_than_two_million_are_too_many(spinning, delivered, monkeypatch, reply):
    assert frames.MOST_POINTS == 2_000_000
    monkeypatch.setattr(frames, 'MOST_POINTS', 2000)
    count = 2001
    _, pipeline = spinning(lambda *_: reply(b'\0' * (12 * count), b'\0' * (4 * count)))
    pipeline.submit(due(LIDAR)).result(120)
    (failure,) = delivered.failures
    said = f'{LIDAR}: the reply holds 2001 points, expected 2000 at most'
    assert str(failure.error).startswith(said)
    assert failure.error.remedy.startswith('is it the device that the lidar is rendered as')


# --- beside pictures ----------------------------------------------------------------------------


def test_beside_pictures_of_the_same_moment(spinning, delivered):
    server, pipeline = spinning(lambda *_: b'')
    pipeline.submit(due(*CAMERAS, LIDAR)).result(60)
    clouds = [result for result in delivered.results if isinstance(result, Cloud)]
    assert {frame.camera for frame in delivered.frames} == set(CAMERAS)
    assert [cloud.lidar for cloud in clouds] == [LIDAR]
    # Pictures share a call, the cloud has one of its own.
    (batch,) = server.requests('batch_render_rgb')
    assert {item.camera_name for item in batch.items} == set(CAMERAS)
    assert len(server.requests('render_lidar')) == 1


def test_a_server_without_lidars_is_remembered_and_said_once(
    make_server, make_pipeline, scenario, delivered
):
    server = make_server()
    pipeline = make_pipeline(server, scenario=scenario)
    for k in range(3):
        pipeline.submit(due(LIDAR, 'wide', t_us=100_000 * (k + 1))).result(60)
    assert server.methods().count('refused lidar') == 1
    assert len(delivered.failures) == 3
    assert len(delivered.frames) == 3
    for failure in delivered.failures:
        assert f'{server.address} renders no lidars' in str(failure.error)
        assert failure.error.remedy.startswith('NuRec servers from 25.07 on do; set lidars to [')
    # Nothing else is asked anew for that.
    assert server.methods().count('get_version') == 1
    assert len([text for text in delivered.said('warn') if 'renders no lidars' in text]) == 1
    assert 'renders no lidars' in pipeline.camera_status(LIDAR).last_error
    # The next connection is asked again.
    server.stop()
    until(lambda: not pipeline.status().connected)
    again = make_server(port=server.port)
    again.spin = lambda *_: b''
    pipeline.submit(due(LIDAR, t_us=900_000), keep=True).result(60)
    assert isinstance(delivered.results[-1], Cloud)


def test_the_first_spin_may_take_as_long_as_a_first_frame(spinning, delivered):
    server, pipeline = spinning(lambda *_: b'', render_timeout_s=20.0)
    pipeline.submit(due('wide')).result(60)
    pipeline.submit(due(LIDAR)).result(60)
    pipeline.submit(due(LIDAR, t_us=200_000)).result(60)
    first, second = server.waits('render_lidar')
    assert first > 200 > 100 > second


def test_an_unknown_device_is_said_once(spinning, delivered):
    _, pipeline = spinning(lambda *_: b'')
    for k in range(2):
        pipeline.submit(due('nameless', LIDAR, t_us=100_000 * (k + 1))).result(60)
    (text,) = delivered.said('warn')
    assert (
        "the name of lidar 'nameless' tells no device that servers render (pandar128, at128)"
        in text
    )
    assert text.endswith('; set <lidar>.device')
