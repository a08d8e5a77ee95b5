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
"""The one line that is shown: composed for a width, cut where it does not fit."""

from __future__ import annotations

import unicodedata

from nurec_ros.control.remote import PlayerView

# What the line has without a terminal.
NO_LIMIT = 10_000

_LONGEST_BAR = 40
# A speed that is this far from the rate is shown.
_SLOW = 0.9
_GAP = '  '


def compose(view: PlayerView, width: int = NO_LIMIT, *, unicode: bool = True) -> str:
    """
    Return position, bar, rate, road users, images per second, and what is wrong or was noted.

    It is not wider than `width` columns. Without `unicode` it is ASCII.
    """
    extra = printable(_extra(view))
    state = view.state
    if state is None:
        return cut(extra, width, unicode=unicode)
    begin, end = state.start_us, state.end_us
    share = (view.position_us - begin) / (end - begin) if end > begin else 1.0
    summary = f'{state.summary:7}'
    if not state.scenario:
        return cut(_GAP.join((summary, extra)), width, unicode=unicode)
    position = f'{(view.position_us - begin) / 1e6:.2f}/{(end - begin) / 1e6:.2f} s'
    images = '-' if view.images_hz is None else f'{view.images_hz:.1f}'
    head = [summary, position, _rate(view)]
    users = f'{state.active_tracks} road user{"" if state.active_tracks == 1 else "s"}'
    full = [*head, users, f'{images} images/s']
    short = [*head, f'{state.active_tracks} users', f'{images} img/s']
    # In the order in which they are tried, with the least room for the bar and for the rest.
    for parts, bar, room in ((full, 20, 30), (short, 8, 12), (short, 0, 12), (head, 0, 12)):
        room = min(room, len(extra))
        if len(_GAP.join(parts)) + _gapped(bar) + _gapped(room) <= width:
            break
    left = width - len(_GAP.join(parts)) - _gapped(len(extra)) - len(_GAP)
    bar = min(max(bar, left), _LONGEST_BAR) if bar else 0
    if bar:
        parts = [*parts[:2], _bar(share, bar, unicode=unicode), *parts[2:]]
    return cut(_GAP.join([*parts, *([extra] if extra else [])]), width, unicode=unicode)


def _gapped(columns: int) -> int:
    return columns + len(_GAP) if columns else 0


def _extra(view: PlayerView) -> str:
    """Return what a key came to, else the worst of what is wrong and how much there is."""
    if view.note or not view.wrong:
        return view.note
    text = view.wrong[0].text
    return text if len(view.wrong) == 1 else f'{len(view.wrong)} wrong (w): {text}'


def _rate(view: PlayerView) -> str:
    assert view.state is not None
    text = f'x{view.state.speed:g}'
    if view.achieved is not None and view.achieved < _SLOW * view.state.speed:
        text += f' (now {view.achieved:.2g})'
    return text


def _bar(share: float, width: int, *, unicode: bool) -> str:
    full = round(min(max(share, 0.0), 1.0) * width)
    done, to_come = ('━', '─') if unicode else ('=', '-')
    return done * full + to_come * (width - full)


def printable(text: str) -> str:
    """Return a text as one line without control characters; what it holds may be a server's."""
    return ''.join(
        one if unicodedata.category(one)[0] != 'C' else ' ' for one in ' '.join(text.split())
    )


def _ascii(text: str) -> str:
    return text.encode('ascii', 'replace').decode()


def cut(text: str, width: int, *, unicode: bool = True) -> str:
    """Return the beginning of a text that fits into so many columns of a terminal."""
    if not unicode:
        text = _ascii(text)
    if sum(map(_columns, text)) <= width:
        return text
    mark = '…' if unicode else '~'
    room, kept = width - 1, ''
    for one in text:
        room -= _columns(one)
        if room < 0:
            break
        kept += one
    return (kept + mark)[: max(width, 0)]


def _columns(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in 'WF' else 1
