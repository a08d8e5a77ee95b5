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
A recorded session: what takes the topics while it is played, and what tests ask for afterwards.

All times named `sent_ns` are wall time, all others scenario time. rosbags reads the bytes, which
knows nothing of ROS or of us.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
import json
from test.ros.session.scenarios import Truth
from test.support.listener import silent
from test.support.player_bench import SECOND, stamp_ns
from typing import Any

from nurec_ros.export.bag import definition, message_class
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

RELIABLE, LATCHED = False, True
# Longer than whatever comes before the client looks again.
DEPTH = 2000


@dataclass(frozen=True)
class Entry:
    """One message, and when it was sent."""

    sent_ns: int
    topic: str
    message: Any

    @property
    def stamp_ns(self) -> int:
        """Return the stamp: of the clock, the header, the newest transform or the first marker."""
        message = self.message
        if hasattr(message, 'transforms'):
            return stamp_ns(message.transforms[-1])
        return stamp_ns(message.markers[0] if hasattr(message, 'markers') else message)

    @cached_property
    def stamps(self) -> list[int]:
        """Return every time in the message, however deep."""
        return list(_stamps_in(self.message))


def nanoseconds(stamp: Any) -> int:
    return int(stamp.sec) * SECOND + int(stamp.nanosec)


def _stamps_in(message: Any) -> Iterator[int]:
    if not dataclasses.is_dataclass(message):
        return
    if type(message).__name__.endswith('__Time'):
        yield nanoseconds(message)
        return
    for field in dataclasses.fields(message):
        # A marker's unused texture has no time.
        if field.name != 'texture':
            value = getattr(message, field.name)
            for part in value if isinstance(value, list) else [value]:
                yield from _stamps_in(part)


class Recorder:
    """
    Messages by topic; who offers these; and which topics there are besides.

    The subscriptions are in no executor: what DDS has received by itself is taken whenever the
    client looks.
    """

    def __init__(self, node: Node, topics: dict[str, tuple[str, bool]]) -> None:
        self.topics: dict[str, list[Entry]] = {name: [] for name in topics}
        self.offers: dict[str, list[Any]] = {name: [] for name in topics}
        self.unexpected: set[str] = set()
        self._node = node
        self._store = get_typestore(Stores.EMPTY)
        self._subscriptions = {}
        for name, (kind, latched) in topics.items():
            known = self._store.fielddefs
            if kind not in known:
                types = get_types_from_msg(definition(kind), kind)
                self._store.register({key: types[key] for key in types if key not in known})
            qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
            if latched:
                qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
            subscription = node.create_subscription(
                message_class(kind),
                name,
                lambda _: None,
                qos,
                raw=True,
                event_callbacks=silent(),
            )
            self._subscriptions[name] = subscription, kind

    def take(self) -> None:
        for name, (subscription, kind) in self._subscriptions.items():
            entries = self.topics[name]
            handle = subscription.handle
            with handle:
                while (taken := handle.take_message(subscription.msg_type, True)) is not None:
                    data, info = taken
                    message = self._store.deserialize_cdr(data, kind)
                    entries.append(Entry(info['source_timestamp'], name, message))
            if entries and not self.offers[name]:
                self.offers[name] = self._node.get_publishers_info_by_topic(name)

    def look(self) -> None:
        """Note the topics that are not expected."""
        found = {name for name, _ in self._node.get_topic_names_and_types()}
        self.unexpected |= found - set(self.topics)

    @property
    def ended(self) -> bool:
        """Return whether nobody publishes any more, and all is taken that was published."""
        if any(map(self._node.count_publishers, self.topics)):
            return False
        self.take()
        return True


@dataclass(frozen=True)
class Act:
    """Something that the client did: between which moments of the wall, and what it was told."""

    name: str
    called_ns: int
    answered_ns: int
    answer: Any = None


@dataclass(frozen=True)
class Era:
    """A stretch of the recording in which /clock never goes back, from its first clock on."""

    number: int
    from_ns: int
    to_ns: int
    first_ns: int
    last_ns: int
    truth: Truth


@dataclass(frozen=True)
class Stretch:
    """A time between two acts in which the player did one thing; `state` says which."""

    from_ns: int
    to_ns: int
    state: dict[str, Any]
    era: Era


class Recording:
    """Everything that was recorded, in the order in which it was sent, and how it came about."""

    def __init__(
        self,
        recorder: Recorder,
        truths: tuple[Truth, Truth, Truth],
        acts: Sequence[Act],
        exit_code: int,
        output: str,
    ) -> None:
        self.offers, self.unexpected = recorder.offers, recorder.unexpected
        self.truths, self.acts = truths, acts
        self.exit_code, self.output = exit_code, output
        self._topics = {
            name: sorted(entries, key=lambda one: one.sent_ns)
            for name, entries in recorder.topics.items()
        }
        every = (one for entries in self._topics.values() for one in entries)
        self.entries = sorted(every, key=lambda one: one.sent_ns)
        self._sent = {
            name: [one.sent_ns for one in entries] for name, entries in self._topics.items()
        }

    # Messages.

    def of(self, topic: str, from_ns: int = 0, to_ns: int = 1 << 62) -> list[Entry]:
        """Return the messages of a topic that were sent in [from, to); `~/…` is the player's."""
        name = _resolved(topic)
        sent = self._sent[name]
        start, end = bisect_left(sent, from_ns), bisect_left(sent, to_ns)
        return self._topics[name][start:end]

    def last(self, topic: str, sent_ns: int) -> Entry:
        """Return the last message of a topic up to a moment of the wall."""
        name = _resolved(topic)
        return self._topics[name][bisect_right(self._sent[name], sent_ns) - 1]

    def shown(self, from_ns: int = 0, to_ns: int = 1 << 62) -> list[Entry]:
        """Return the messages of ~/tracks that show road users, and do not clear the viewers."""
        return [one for one in self.of('~/tracks', from_ns, to_ns) if not clears(one.message)]

    def images(self, camera: str, kind: str = 'image_raw/compressed') -> list[Entry]:
        return self.of(f'~/{camera}/{kind}')

    @cached_property
    def clocks(self) -> list[Entry]:
        return self.of('/clock')

    def clock_at(self, sent_ns: int) -> int:
        """Return what /clock said last at a moment of the wall."""
        return self.last('/clock', sent_ns).stamp_ns

    def positions_at(self, sent_ns: int) -> set[int]:
        """
        Return what the position may be at a moment of the wall, between two messages of /clock.

        That is what the last one said; or the next one, because a jump is told before it is
        shown; or, as a jump back is shown a little later, what the next era begins with.
        """
        place = bisect_right(self._sent['/clock'], sent_ns)
        near = {one.stamp_ns for one in self.clocks[:place][-1:] + self.clocks[place:][:1]}
        following = self.era_at(sent_ns).number + 1
        return near | {era.first_ns for era in self.eras if era.number == following}

    # Scenarios, and the jumps between and in them.

    def truth_at(self, t_ns: int) -> Truth:
        """Return the scenario that a moment is in."""
        return next(truth for truth in self.truths if truth.contains(t_ns))

    @cached_property
    def eras(self) -> list[Era]:
        """Cut where /clock goes back, or to another scenario."""
        starts = [0]
        for number, (before, after) in enumerate(pairwise(self.clocks), 1):
            back = after.stamp_ns < before.stamp_ns
            if back or self.truth_at(after.stamp_ns) is not self.truth_at(before.stamp_ns):
                starts.append(number)
        eras = []
        for number, (start, end) in enumerate(pairwise([*starts, len(self.clocks)])):
            first = self.clocks[start]
            eras.append(
                Era(
                    number,
                    first.sent_ns if number else 0,
                    self.clocks[end].sent_ns if end < len(self.clocks) else 1 << 62,
                    first.stamp_ns,
                    self.clocks[end - 1].stamp_ns,
                    self.truth_at(first.stamp_ns),
                )
            )
        return eras

    def era_at(self, sent_ns: int) -> Era:
        """Return the era that a moment of the wall is in."""
        return next(era for era in self.eras if era.from_ns <= sent_ns < era.to_ns)

    def opening(self, era: Era) -> list[Entry]:
        """Return what was sent from the first clock of an era on, before its second clock."""
        second = next(one for one in self.clocks if one.sent_ns > era.from_ns)
        return [one for one in self.entries if era.from_ns <= one.sent_ns < second.sent_ns]

    # Acts, and the rest between them.

    def named(self, name: str) -> list[Act]:
        return [act for act in self.acts if act.name == name]

    @cached_property
    def states(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the messages of ~/state: when they were sent, and their values parsed."""
        return [
            (one.sent_ns, {pair.key: json.loads(pair.value) for pair in one.message.values})
            for one in self.of('~/state')
        ]

    def stretches(self, *, playing: bool) -> list[Stretch]:
        """
        Return the times between acts in which the clock ran at one rate, or stood.

        A jump back that the act led to is over: a stretch lies in one era.
        """
        found = []
        # One wait for pictures has other acts in it.
        acts = [act for act in self.acts if act.name != 'pictures']
        for act, following in pairwise(acts):
            from_ns, to_ns = act.answered_ns, following.called_ns
            era = self.era_at(to_ns)
            from_ns = max(from_ns, era.from_ns)
            before = [state for sent_ns, state in self.states if sent_ns < from_ns][-1:]
            within = [state for sent_ns, state in self.states if from_ns <= sent_ns < to_ns]
            modes = {(state['is_playing'], state['speed']) for state in before + within}
            if len(modes) == 1 and modes.pop()[0] is playing:
                found.append(Stretch(from_ns, to_ns, before[0], era))
        return found

    def steady(self) -> Iterator[tuple[int, int]]:
        """
        Return for each scenario when all its topics are surely recorded: from the first act in it.

        To the last pictures that the client waited for before the next load: what is under way
        then may be lost with its publisher.
        """
        acts, waits = self.acts, self.named('pictures')
        loads = self.named('load')
        calls = [*(act.called_ns for act in loads), 1 << 62]
        for start, call in zip([0, *(act.answered_ns for act in loads)], calls, strict=True):
            first = next(act.called_ns for act in acts if act.called_ns > start)
            yield first, max(act.answered_ns for act in waits if act.answered_ns < call)


def _resolved(topic: str) -> str:
    return f'/nurec{topic[1:]}' if topic.startswith('~') else topic


def clears(message: Any) -> bool:
    """Return whether a message clears the viewers: a MarkerArray with a DELETEALL in it."""
    return any(marker.action == 3 for marker in getattr(message, 'markers', ()))
