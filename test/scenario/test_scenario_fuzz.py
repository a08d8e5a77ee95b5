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
Mutated archives: `Scenario.load` gives a usable scenario or raises ScenarioError, nothing else.

NUREC_FUZZ_EXAMPLES sets how many mutations are tried; the usual forty are for every day.
"""

import copy
import io
import json
import os
from test.scenario.cameras.lens_samples import PINHOLE
from test.support.archives import (
    example_tracks,
    info_document,
    metadata_text,
    rig_document,
    tracks_document,
)
from typing import Any
import warnings
import zipfile

import hypothesis
from hypothesis import strategies as st
import numpy as np
from nurec_ros.errors import ScenarioError
from nurec_ros.scenario import Scenario
import pytest

EXAMPLES = int(os.environ.get('NUREC_FUZZ_EXAMPLES', '40'))
SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 100,
    suppress_health_check=list(hypothesis.HealthCheck),
)

MEMBERS = ('rig_trajectories.json', 'sequence_tracks.json', 'data_info.json')
XODR = (
    '<OpenDRIVE><header><geoReference>+lat_0=0 +lon_0=0</geoReference></header><road length="20">'
    '<planView><geometry s="0" x="0" y="0" hdg="0" length="20"><spiral curvStart="0" '
    'curvEnd="0.1"/></geometry></planView><elevationProfile><elevation s="0" a="0" b="0" c="0" '
    'd="0"/></elevationProfile><lanes><laneOffset s="0" a="0" b="0" c="0" d="0"/><laneSection '
    's="0"><left><lane id="1" type="driving"><width sOffset="0" a="3" b="0" c="0" d="0"/></lane>'
    '</left></laneSection></lanes></road></OpenDRIVE>'
)


def base_documents():
    """Return small documents: every kind of value in them, few of each, so that edits hit."""
    rig = rig_document(duration_s=0.5, camera_hz=5.0)
    rig['T_world_base'] = [[0, 0, 1, 6378157.0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    calibrations = list(rig['camera_calibrations'].values())
    calibrations[1]['camera_model'] = {'type': 'opencv-pinhole', 'parameters': PINHOLE}
    tracks = tracks_document(example_tracks(duration_s=0.5))
    return dict(zip(MEMBERS, (rig, tracks, info_document(duration_s=0.5)), strict=True))


TEXTS = {member: json.dumps(document) for member, document in base_documents().items()}
UNCHANGED = {**TEXTS, 'metadata.yaml': metadata_text(), 'map.xodr': XODR}


class Renamed(str):
    """A new name for a key."""

    __slots__ = ()


# What a mutation may put in the place of a value.
INTEGERS = [10**30, 2**63, -(2**63), 2**64, 27_567_868_848, 10**400]
FLOATS = [1e308, -1e308, 5e-324, 1e16, 0.5, -0.0]
TEXT_VALUES = ['NONE', 'DYNAMIC|CONTROLLABLE', 'ftheta', '\ud800', 'a\0b', '1']
SCALARS = st.one_of(
    st.none() | st.booleans() | st.integers(-3, 3) | st.integers() | st.sampled_from(INTEGERS),
    st.floats() | st.sampled_from(FLOATS) | st.text(max_size=3) | st.sampled_from(TEXT_VALUES),
)
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
VALUES = st.one_of(
    SCALARS,
    NESTED,
    *(st.just(what) for what in ('SAME TWICE', 'GONE', 'SCALED')),
    st.builds(Renamed, st.text(st.characters(), max_size=5)),
)
STEPS = st.lists(st.integers(0, 10**6), min_size=1, max_size=8)
EDITS = st.lists(st.tuples(st.sampled_from(MEMBERS), STEPS, VALUES), min_size=1, max_size=3)


def mutated(document, steps, value):
    """Change one value; the steps choose the way down to it."""
    parent: Any = None
    key, inner = None, document
    for step in steps:
        if isinstance(inner, dict) and inner:
            parent, key = inner, list(inner)[step % len(inner)]
        elif isinstance(inner, list) and inner:
            parent, key = inner, step % len(inner)
        else:
            break
        inner = parent[key]
    if parent is None:
        return value
    if isinstance(value, Renamed) and isinstance(parent, dict):
        parent[value] = parent.pop(key)
    elif value == 'GONE':
        del parent[key]
    elif value == 'SAME TWICE' and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(inner))
    elif value == 'SCALED' and isinstance(inner, float):
        parent[key] = inner * 1.0000001
    else:
        parent[key] = value
    return document


def zipped(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', compression) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return stream.getvalue()


def check(path, lifetime=0.0):
    """Load and use; the only way out is a ScenarioError of one sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            scenario = Scenario.load(
                path, min_track_lifetime_s=lifetime, smooth_track_height=lifetime > 0
            )
        except ScenarioError as error:
            sentence = str(error)
            assert sentence.startswith(f'{path}: ')
            assert '\n' not in sentence
            assert 'expected ' in sentence
            sentence.encode()
        else:
            use(scenario)


def use(scenario):
    assert scenario.start_ns <= scenario.end_ns
    assert scenario.start_ns % 1000 == scenario.end_ns % 1000 == 0
    assert all(text and '\n' not in text and text.encode() for text in scenario.warnings)
    assert scenario.scene_id
    scenario.scene_id.encode()
    moments = [scenario.start_ns, scenario.end_ns, (scenario.start_ns + scenario.end_ns) // 2]
    assert_rigid(scenario.ego.at(np.array(moments)))
    for t in [*moments, *scenario.tracks.start_ns[:3].tolist(), *scenario.tracks.end_ns[:3]]:
        assert_rigid(scenario.ego.at(t)[np.newaxis])
        twist = scenario.ego.velocity(t)
        assert np.isfinite([*twist.linear, *twist.angular]).all()
        active = scenario.tracks.at(t)
        assert_rigid(active.poses)
        assert np.isfinite(active.dims).all()
        assert np.isfinite(scenario.tracks.velocities(active)).all()
        for index in active.indices[:2].tolist():
            assert np.isfinite(scenario.tracks.trail(index, t - 10**9, t)).all()
    first = scenario.tracks.at(moments[0])
    assert all(len(scenario.tracks.trajectory(index)) for index in first.indices.tolist())
    assert len(set(scenario.tracks.ids)) == len(scenario.tracks.ids)
    ''.join((*scenario.tracks.ids, *scenario.tracks.labels, *scenario.cameras)).encode()
    for camera in scenario.cameras.values():
        assert_rigid(camera.T_rig_camera[np.newaxis])
        frames = camera.frame_times_ns
        assert (frames[:, 1] > frames[:, 0]).all()
        assert (np.diff(frames[:, 1]) > 0).all()
        assert camera.renderable == (not camera.problem)
        if camera.renderable:
            camera.model.fit('equidistant')
    if scenario.road_map is not None:
        assert all(np.isfinite(line).all() for line in scenario.road_map.boundaries)


def assert_rigid(poses):
    rotations = poses[:, :3, :3]
    gram = np.einsum('nji,njk->nik', rotations, rotations)
    assert np.abs(gram - np.eye(3)).max(initial=0.0) < 1e-9
    assert np.isfinite(poses).all()


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return tmp_path_factory.mktemp('fuzz') / 'x.usdz'


@SETTINGS
@hypothesis.given(EDITS, st.sampled_from([0.0, 0.1]))
def test_mutated_documents(path, edits, lifetime):
    changed = {}
    for member, steps, value in edits:
        document = changed[member] if member in changed else json.loads(TEXTS[member])
        changed[member] = mutated(document, steps, value)
    members = {member: json.dumps(document) for member, document in changed.items()}
    path.write_bytes(zipped({**UNCHANGED, **members}))
    check(path, lifetime)


PIECES = st.tuples(st.integers(0, 10**6), st.binary(max_size=4))


@SETTINGS
@hypothesis.given(
    st.sampled_from(list(UNCHANGED)), st.lists(PIECES, min_size=1, max_size=4), st.integers(0, 4)
)
def test_mutated_texts(path, member, edits, removed):
    data = bytearray(UNCHANGED[member].encode())
    for place, piece in edits:
        place %= len(data)
        end = place + removed
        data[place:end] = piece
    path.write_bytes(zipped({**UNCHANGED, member: bytes(data)}))
    check(path)


ARCHIVES = [
    zipped({**TEXTS, 'a.bin': b'0' * 99}, compression)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
]
BYTES = st.tuples(st.integers(0, 10**6), st.integers(0, 255), st.booleans())


@SETTINGS
@hypothesis.given(
    st.sampled_from(ARCHIVES),
    st.lists(BYTES, min_size=1, max_size=6),
    st.none() | st.integers(0, 10**6),
)
def test_mutated_zips(path, archive, edits, length):
    data = bytearray(archive)
    for place, value, from_end in edits:
        # The headers at the end decide most.
        place = len(data) - 1 - place % 700 if from_end else place % len(data)
        data[place] = value
    path.write_bytes(data[: None if length is None else length % len(data)])
    check(path)


@SETTINGS
@hypothesis.given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes(path, data, as_member):
    path.write_bytes(zipped(dict.fromkeys(MEMBERS[:2], data)) if as_member else data)
    check(path)


def test_the_unchanged_base_loads_without_a_word_and_nothing_is_left_in_the_folder(path):
    path.write_bytes(zipped(UNCHANGED))
    scenario = Scenario.load(path)
    assert scenario.warnings == ()
    assert len(scenario.road_map.boundaries) == 2
    use(scenario)
    with pytest.raises(ScenarioError):
        Scenario.load(path.parent)
    assert list(path.parent.iterdir()) == [path]
