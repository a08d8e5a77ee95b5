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
"""The legend in the documents shows the colours that the markers have."""

from pathlib import Path
from xml.etree import ElementTree

from nurec_ros.palette import colour_of, LANES, PALETTE, SYNONYMS, UNKNOWN
from nurec_ros.ros.marker_legend import legend_svg
from nurec_ros.ros.markers import track_colour
from nurec_ros.scenario.road_map import KINDS
import pytest

pytestmark = pytest.mark.ros

FILE = Path(__file__).resolve().parents[2] / 'docs' / 'classes.svg'
SVG = '{http://www.w3.org/2000/svg}'


def test_the_shipped_legend_is_of_this_palette():
    assert FILE.read_text() == legend_svg()


def test_each_class_is_there_with_its_colour():
    root = ElementTree.fromstring(legend_svg())
    texts = [text.text for text in root.iter(f'{SVG}text')]
    moving, count = len(PALETTE) + 1, len(LANES)
    assert texts[:moving] == [*PALETTE, 'any other']
    assert tuple(texts[-count:]) == tuple(LANES) == KINDS
    _, *fills = [rect.get('fill') for rect in root.iter(f'{SVG}rect')]
    colours = [*PALETTE.values(), UNKNOWN]
    assert fills[:-count][::2] == [f'#{r:02x}{g:02x}{b:02x}' for r, g, b in colours]
    assert fills[-count:] == [f'#{r:02x}{g:02x}{b:02x}' for r, g, b in LANES.values()]


def test_labels_are_looked_up_without_regard_to_case():
    for label, colour in PALETTE.items():
        assert colour_of(label) == colour_of(label.upper()) == colour_of(f' {label} ') == colour
    for synonym, label in SYNONYMS.items():
        assert colour_of(synonym.title()) == PALETTE[label]
    assert colour_of('alien') == colour_of('') == UNKNOWN


def test_the_colours_differ():
    assert len({*PALETTE.values(), UNKNOWN}) == len(PALETTE) + 1
    assert len(set(LANES.values())) == len(LANES)


def test_a_static_colour_is_half_way_to_white():
    moving = track_colour('person', static=False)
    static = track_colour('person', static=True)
    for channel in 'rgb':
        expected = (getattr(moving, channel) + 1) / 2
        assert getattr(static, channel) == pytest.approx(expected, abs=1e-6)
    assert 0 < static.a < moving.a <= 1
