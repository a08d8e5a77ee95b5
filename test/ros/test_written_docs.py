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
"""What is written of the tables is what they say, and ROS reads the parameters so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from nurec_ros.palette import colour_of, LANES, marker_colour, PALETTE, SYNONYMS, UNKNOWN
from nurec_ros.rendering.policy import RenderOptions
from nurec_ros.ros import written_docs
from nurec_ros.ros.parameters import Parameters
from nurec_ros.scenario.road_map import KINDS
from nurec_ros.settings import CAMERA_TABLE, LIDAR_TABLE, Settings, TABLE
import pytest
import yaml

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]
YAML_FILE = ROOT / 'config' / 'nurec.yaml'
LEGEND = ROOT / 'docs' / 'classes.svg'
SVG = '{http://www.w3.org/2000/svg}'


def test_the_shipped_yaml_is_the_table():
    assert YAML_FILE.read_text() == written_docs.yaml_text()


def test_every_document_with_the_markers_is_the_table():
    documents = [ROOT / 'docs' / 'parameters.md', ROOT / 'README.md']
    texts = [path.read_text() for path in documents if path.is_file()]
    assert written_docs.BEGIN in texts[0]
    for text in texts:
        assert written_docs.replaced(text) == text


def test_the_yaml_holds_every_parameter_with_its_description():
    document = yaml.safe_load(YAML_FILE.read_text())
    assert list(document) == ['/**']
    values = document['/**']['ros__parameters']
    assert list(values) == [spec.name for spec in TABLE]
    flat = ' '.join(YAML_FILE.read_text().replace('#', ' ').split())
    for spec in (*TABLE, *CAMERA_TABLE, *LIDAR_TABLE):
        assert ' '.join(spec.description.split()) in flat


@pytest.mark.parametrize('name', ['nurec', 'other'])
def test_a_node_of_any_name_reads_the_yaml_and_keeps_the_defaults(
    make_node: Callable[..., Any], name: str
):
    node = make_node('--params-file', str(YAML_FILE), name=name)
    parameters = Parameters(node, print, print)
    assert parameters.unused_overrides() == []
    assert parameters.settings == Settings()


@pytest.mark.parametrize('name', ['camera_front_wide_120fov', 'lidar_gt_top_p128'])
def test_the_examples_of_sensors_in_the_yaml_hold_once_they_are_no_comment(
    make_node: Callable[..., Any], tmp_path: Path, name: str
):
    head, _, example = YAML_FILE.read_text().partition(f'    # {name}:')
    lines = example.strip('\n').partition('\n\n')[0].split('\n')
    text = '\n'.join([head, f'    {name}:', *(line.replace('#', ' ', 1) for line in lines), ''])
    # With other values it would count.
    others = text.replace('rate: -1.0', 'rate: 7.0').replace("device: ''", "device: 'at128'")
    path = tmp_path / 'nurec.yaml'
    of_lidar = name.startswith('lidar')
    for written, rate in ((text, 0.0), (others, 7.0)):
        path.write_text(written)
        parameters = Parameters(make_node('--params-file', str(path)), print, print)
        parameters.declare_cameras(*([], [name]) if of_lidar else ([name],))
        values = parameters.values
        assert (values.lidar_rate if of_lidar else values.camera_rate)(name) == rate
        devices = {name: 'at128'} if of_lidar and rate else {}
        assert RenderOptions.of(values).lidar_devices == devices
        assert parameters.unused_overrides() == []


def test_the_markdown_has_one_row_for_each_parameter():
    rows = written_docs.markdown_text().splitlines()[2:]
    names = [row.split('`')[1] for row in rows]
    cameras = [f'<camera>.{spec.name}' for spec in CAMERA_TABLE]
    lidars = [f'<lidar>.{spec.name}' for spec in LIDAR_TABLE]
    assert names == [*(spec.name for spec in TABLE), *cameras, *lidars]
    assert all(row.count(' | ') == 4 for row in rows)


def test_write_updates_only_what_lies_between_the_markers(tmp_path: Path):
    (tmp_path / 'config').mkdir()
    (tmp_path / 'docs').mkdir()
    text = f'# Title\n\n{written_docs.BEGIN}\nold\n{written_docs.END}\n\nmore\n'
    (tmp_path / 'README.md').write_text(text)
    changed = written_docs.write(tmp_path)
    assert {path.name for path in changed} == {'nurec.yaml', 'README.md', 'classes.svg'}
    written = (tmp_path / 'README.md').read_text()
    assert written.startswith('# Title\n\n<!--')
    assert written.endswith(f'{written_docs.END}\n\nmore\n')
    assert written_docs.markdown_text() in written
    assert written_docs.write(tmp_path) == []
    # Nor anything of a document without them.
    assert written_docs.replaced('# Title\n') == '# Title\n'


def test_the_shipped_legend_has_each_class_with_its_colour():
    assert LEGEND.read_text() == written_docs.legend_svg()
    root = ElementTree.fromstring(written_docs.legend_svg())
    texts = [text.text for text in root.iter(f'{SVG}text')]
    moving, count = len(PALETTE) + 1, len(LANES)
    assert texts[:moving] == [*PALETTE, 'any other']
    assert tuple(texts[-count:]) == tuple(LANES) == KINDS
    _, *fills = [rect.get('fill') for rect in root.iter(f'{SVG}rect')]
    colours = [*PALETTE.values(), UNKNOWN]
    assert fills[:-count][::2] == [f'#{r:02x}{g:02x}{b:02x}' for r, g, b in colours]
    assert fills[-count:] == [f'#{r:02x}{g:02x}{b:02x}' for r, g, b in LANES.values()]
    assert len({*colours}) == len(colours)
    assert len({*LANES.values()}) == len(LANES)


def test_labels_are_looked_up_without_regard_to_case():
    for label, colour in PALETTE.items():
        assert colour_of(label) == colour_of(label.upper()) == colour_of(f' {label} ') == colour
    for synonym, label in SYNONYMS.items():
        assert colour_of(synonym.title()) == PALETTE[label]
    assert colour_of('alien') == colour_of('') == UNKNOWN


def test_a_static_colour_is_half_way_to_white():
    *moving, alpha = marker_colour('person', static=False)
    *static, static_alpha = marker_colour('person', static=True)
    assert static == pytest.approx([(value + 1) / 2 for value in moving], abs=1e-6)
    assert 0 < static_alpha < alpha <= 1
