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
One colour per class of road user, the same in rviz's markers and in drawn pictures, and per lane.

Labels in scenarios are free text; they are looked up without regard to case, and any that is
not known has the one colour of the unknown.
"""

from __future__ import annotations

Rgb = tuple[int, int, int]

UNKNOWN: Rgb = (150, 150, 150)
# Of boxes as markers.
ALPHA, STATIC_ALPHA = 0.8, 0.4

PALETTE: dict[str, Rgb] = {
    'automobile': (66, 133, 244),
    'heavy_truck': (142, 68, 173),
    'trailer': (103, 58, 183),
    'bus': (0, 150, 136),
    'train_or_tram_car': (0, 105, 92),
    'other_vehicle': (63, 81, 181),
    'person': (244, 67, 54),
    'stroller': (233, 30, 99),
    'rider': (255, 112, 67),
    'bicycle': (255, 152, 0),
    'motorcycle': (255, 193, 7),
    'wheeled_device': (205, 220, 57),
    'animal': (121, 85, 72),
    'protruding_object': (96, 125, 139),
}

# What converters of other data sets write for the same.
SYNONYMS: dict[str, str] = {
    'car': 'automobile',
    'vehicle': 'automobile',
    'truck': 'heavy_truck',
    'tram': 'train_or_tram_car',
    'train': 'train_or_tram_car',
    'pedestrian': 'person',
    'cyclist': 'rider',
    'motorcyclist': 'rider',
    'bike': 'bicycle',
    'motorbike': 'motorcycle',
}


# What lane boundaries are, by `scenario.road_map.KINDS`.
LANES: dict[str, Rgb] = {
    'solid': (245, 245, 245),
    'broken': (255, 214, 79),
    'mixed': (255, 152, 0),
    'curb': (79, 195, 247),
    'edge': (239, 83, 80),
    'unmarked': (125, 125, 125),
}


def kind_of(label: str) -> str:
    """Return a class as it stands in the palette, however it is written."""
    kind = label.strip().lower()
    return SYNONYMS.get(kind, kind)


def colour_of(label: str) -> Rgb:
    """Return the colour of a class, red, green and blue from 0 to 255."""
    return PALETTE.get(kind_of(label), UNKNOWN)


def marker_colour(label: str, *, static: bool) -> tuple[float, float, float, float]:
    """Return a box's colour and alpha; of what never moves half way to white and see-through."""
    red, green, blue = (
        (value / 255.0 + 1.0) / 2.0 if static else value / 255.0 for value in colour_of(label)
    )
    return red, green, blue, STATIC_ALPHA if static else ALPHA
