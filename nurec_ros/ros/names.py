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
Names of frames and topics: legal, unique, and made in one place.

The logical name of a camera or lidar comes out of the USDZ and may be any text. Its *token* is the
legal and unique form of it, which names its topics, its frames and its parameters alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import re

from nurec_ros.errors import ConfigurationError
from nurec_ros.settings import Settings

EARTH = 'earth'
OPTICAL_SUFFIX = '_optical_frame'
# A camera must not take the frame that something else is known by.
RESERVED = ('map', 'odom', 'base_link', EARTH)
# rcl takes topics of up to 247 characters; namespace, node and the longest ending need some.
LONGEST_TOKEN = 120

_LEGAL = re.compile(r'[A-Za-z][A-Za-z0-9_]*\Z')


def topic_name(name: str) -> str:
    """
    Turn any text into one token of a topic name; a legal name stays as it is.

    A token holds letters, digits and underscores and starts with a letter. A run of anything
    else becomes one underscore, and what is too long for a topic is cut.
    """
    if _LEGAL.match(name) and '__' not in name and len(name) <= LONGEST_TOKEN:
        return name
    token = re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')
    if not token:
        return 'camera'
    token = token if token[0].isalpha() else f'camera_{token}'
    return token[:LONGEST_TOKEN].rstrip('_')


def topic_names(names: Iterable[str]) -> dict[str, str]:
    """
    Return each name a token of its own, by logical name, in the order of `names`.

    Names that are legal keep their form even where a mended one before them would have taken
    it; any other collision is resolved by the suffixes `_2`, `_3` and so on.
    """
    wanted = {name: topic_name(name) for name in names}
    taken = set(RESERVED)
    tokens: dict[str, str] = {}
    # Python's sort is stable: names that need no change come first, in their own order.
    for name in sorted(wanted, key=lambda key: wanted[key] != key):
        token, number = wanted[name], 1
        while token in taken or token + OPTICAL_SUFFIX in taken:
            number += 1
            token = f'{wanted[name]}_{number}'
        taken.update((token, token + OPTICAL_SUFFIX))
        tokens[name] = token
    return {name: tokens[name] for name in wanted}


@dataclass(frozen=True, slots=True)
class FrameNames:
    """
    The frames of one player, complete with prefix.

    `odom_frame` is empty where no such frame is wanted. `tokens` maps the logical names of cameras
    and lidars to the tokens that `topic_names` gave them.
    """

    map_frame: str
    base_frame: str
    odom_frame: str
    prefix: str
    tokens: Mapping[str, str]

    @property
    def parent(self) -> str:
        """Return the frame that the ego's pose is in: odom where there is one, else map."""
        return self.odom_frame or self.map_frame

    def body(self, name: str) -> str:
        """Return a camera's frame, x forward, y left, z up, or a lidar's of its own axes."""
        return self.prefix + self.tokens[name]

    def optical(self, name: str) -> str:
        """Return the camera's optical frame: z forward, x right, y down."""
        return self.body(name) + OPTICAL_SUFFIX

    def names(self) -> tuple[str, ...]:
        """List every frame's name, those of the sensors last."""
        named = [EARTH, self.map_frame, self.odom_frame, self.base_frame]
        for sensor in self.tokens:
            named += [self.body(sensor), self.optical(sensor)]
        return tuple(name for name in named if name)


def frame_names(settings: Settings, sensors: Iterable[str]) -> FrameNames:
    """
    Return the frames' names for cameras and lidars of these logical names.

    The prefix goes before base, odom and the frames of sensors, and not before the map.
    ConfigurationError where two frames would have the same name.
    """
    prefix, odom = settings.frame_prefix, settings.odom_frame
    frames = FrameNames(
        settings.map_frame,
        prefix + settings.base_frame,
        prefix + odom if odom else '',
        prefix,
        topic_names(sensors),
    )
    for name, count in Counter(frames.names()).items():
        if count > 1:
            raise ConfigurationError(
                f"two frames would be called '{name}': choose other values for map_frame, "
                'base_frame, odom_frame or frame_prefix'
            )
    return frames
