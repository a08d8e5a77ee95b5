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
"""The queues without any thread: who is next, who is dropped, and that order is kept."""

from concurrent.futures import Future
import random

from nurec_ros.errors import RenderError
from nurec_ros.rendering.frames import Failure, Frame
from nurec_ros.rendering.queues import FINISHED, FLYING, FrameQueues, Job, Ticket, WAITING
import pytest


def job(camera='a', t_ns=0, *, keep=False, ticket=None):
    return Job(camera, t_ns, keep, False, ticket or Ticket(Future(), 1))


def result(one):
    return Frame(one.source, one.t_ns, b'', 'jpeg', 1, 1, 0.0)


def failure(one):
    return Failure(one.source, one.t_ns, RenderError('lost'))


def fill(queues, jobs, *, sent=0):
    """Add jobs; pick so many, one by one."""
    for one in jobs:
        queues.add(one)
    return [pick(queues) for _ in range(sent)]


def pick(queues, now=0.0):
    """Return the one job that is next; None where there is none."""
    found = queues.pick(now, batch=False)
    assert len(found) < 2
    return found[0] if found else None


def take(queues, queue, count):
    return [queues.take(queue) for _ in range(count)]


def kept(count):
    return [job(t_ns=t, keep=True) for t in range(count)]


@pytest.fixture
def queues():
    return FrameQueues(window=3)


def test_newest_of_those_that_wait_wins(queues):
    flying, first, second, other = job(t_ns=1), job(t_ns=2), job(t_ns=3), job('b')
    fill(queues, [flying], sent=1)
    assert queues.add(first) == []
    assert queues.add(second) == [first]
    assert flying.state == FLYING
    assert queues.add(other) == []
    assert [pick(queues) for _ in range(3)] == [second, other, None]


def test_kept_jobs_neither_drop_nor_are_dropped(queues):
    jobs = [*kept(3), job(t_ns=9)]
    assert [queues.add(one) for one in jobs] == [[]] * 4
    assert queues.add(job(t_ns=10)) == jobs[3:]
    assert [pick(queues) for _ in range(3)] == jobs[:3]


def test_oldest_first_and_a_replaced_one_leaves_its_place(queues):
    """A camera with many frames must not push back one with few, nor the other way round."""
    for camera, t_ns in (('fast', 1), ('slow', 1), ('fast', 2), ('slow', 2), ('fast', 3)):
        queues.add(job(camera, t_ns))
    assert pick(queues).source == 'fast'
    queues.add(job('fast', 4))
    assert pick(queues).source == 'slow'
    assert pick(queues).t_ns == 4


def test_batch_is_made_of_one_ticket_and_one_of_each_camera(queues):
    for one in (job('b'), job('a')):
        queues.add(one)
        assert queues.pick(0.0, batch=True) == [one]
    ticket = Ticket(Future(), 4)
    # As they were submitted, whichever queue there was first.
    together = [job(name, 1, keep=True, ticket=ticket) for name in 'aba']
    other = job('c', 1)
    fill(queues, (*together, other))
    batches = [queues.pick(0.0, batch=True) for _ in range(3)]
    assert batches == [together[:2], together[2:], [other]]


def test_who_goes_alone_joins_no_batch(queues):
    ticket = Ticket(Future(), 3)
    a, b, c = (job(name, ticket=ticket) for name in 'abc')
    fill(queues, (a, b, c))
    a.alone = True
    assert queues.pick(0.0, batch=True) == [a]
    assert queues.pick(0.0, batch=True) == [b, c]
    assert queues.requeue(b)
    b.alone = True
    assert queues.pick(0.0, batch=True) == [b]


def test_a_queue_is_handed_over_once(queues):
    jobs = kept(2)
    fill(queues, jobs, sent=2)
    queue = queues.finish(jobs[0], result(jobs[0]))
    queue.delivering = True
    assert queues.finish(jobs[1], result(jobs[1])) is None


def test_window_bounds_what_one_stuck_frame_holds_up(queues):
    sent = fill(queues, kept(5), sent=3)
    assert pick(queues) is None
    queues.finish(sent[1], result(sent[1]))
    assert pick(queues) is None
    # Others are not held up.
    queues.add(job('b'))
    assert pick(queues).source == 'b'
    queues.take(queues.finish(sent[0], result(sent[0])))
    assert pick(queues).t_ns == 3


def test_requeued_job_keeps_its_place(queues):
    jobs = kept(2)
    fill(queues, jobs, sent=2)
    queues.finish(jobs[1], result(jobs[1]))
    assert queues.requeue(jobs[0])
    assert jobs[0].state == WAITING
    assert pick(queues) is jobs[0]
    assert take(queues, queues.finish(jobs[0], result(jobs[0])), 2) == jobs


def test_head_is_never_held_back_by_what_waits_behind_it():
    queues = FrameQueues(window=2)
    jobs = kept(4)
    fill(queues, jobs, sent=1)
    queues.requeue(jobs[0], not_before=5.0)
    for one in jobs[1:3]:
        assert pick(queues) is one
        queues.finish(one, result(one))
    assert pick(queues, 4.9) is None  # the window is full
    assert pick(queues, 5.0) is jobs[0]
    queue = queues.finish(jobs[0], result(jobs[0]))
    assert take(queues, queue, 4) == [*jobs[:3], None]


def test_failure_does_not_wait_for_those_before_it(queues):
    """A tick's frames without a server, behind a kept picture that waits for it."""
    flying, picture, one, other = jobs = kept(4)
    fill(queues, jobs, sent=1)
    queue = queues.finish(one, failure(one))
    queues.finish(other, failure(other))
    assert take(queues, queue, 3) == [one, other, None]
    assert pick(queues) is picture
    queues.finish(picture, result(picture))
    queue = queues.finish(flying, result(flying))
    assert take(queues, queue, 3) == [flying, picture, None]


def test_failure_of_a_sent_job_does_not_wait_for_one_that_is_tried_again(queues):
    picture, tick = kept(2)
    fill(queues, (picture, tick), sent=2)
    queues.requeue(picture)
    assert take(queues, queues.finish(tick, failure(tick)), 2) == [tick, None]
    assert pick(queues) is picture


def test_failure_stays_behind_what_is_finished_before_it(queues):
    jobs = kept(3)
    fill(queues, jobs, sent=3)
    queue = queues.finish(jobs[0], result(jobs[0]))
    queue.delivering = True
    queues.finish(jobs[2], failure(jobs[2]))
    queues.finish(jobs[1], result(jobs[1]))
    assert take(queues, queue, 3) == [jobs[0], jobs[2], jobs[1]]


def test_only_kept_jobs_are_tried_again_where_a_newer_one_waits(queues):
    for keep in (False, True):
        old = job('ab'[keep], 1, keep=keep)
        fill(queues, [old], sent=1)
        queues.add(job(old.source, 2))
        assert queues.requeue(old) is keep
        assert old.state == (WAITING if keep else FLYING)


def test_realtime_job_does_not_hold_up_a_newer_one_by_a_later_attempt(queues):
    old, middle, newer = jobs = [job(t_ns=t) for t in (1, 2, 3)]
    for one in jobs:
        fill(queues, [one], sent=1)
    for one in (old, middle):
        assert not queues.requeue(one, not_before=0.5)
    assert queues.requeue(old)
    assert pick(queues) is old
    assert queues.requeue(newer, not_before=5.0)


def test_retry_waits_for_its_time(queues):
    one, later = kept(2)
    fill(queues, [one], sent=1)
    queues.requeue(one, not_before=5.0)
    queues.add(later)
    assert [pick(queues, now) for now in (4.9, 4.9, 5.0)] == [later, None, one]


def test_waiting_job_can_fail_without_being_sent(queues):
    """And leaves the window as it was."""
    one = job()
    queues.add(one)
    assert list(queues.waiting()) == [one]
    assert queues.take(queues.finish(one, failure(one))) is one
    assert list(queues.waiting()) == []
    jobs = kept(4)
    assert [*fill(queues, jobs, sent=3), pick(queues)] == [*jobs[:3], None]


def test_removed_job_sets_free_what_waits_behind_it(queues):
    jobs = kept(2)
    fill(queues, jobs, sent=2)
    queues.finish(jobs[1], result(jobs[1]))
    queue = queues.remove(jobs[0])
    assert jobs[0].obsolete
    assert queues.take(queue) is jobs[1]
    more = kept(4)
    assert [*fill(queues, more, sent=3), pick(queues)] == [*more[:3], None]


def test_discard_takes_out_everything(queues):
    jobs = [job('ab'[t % 2], t, keep=True) for t in range(6)]
    (flying,) = fill(queues, jobs, sent=1)
    assert sorted(one.t_ns for one in queues.discard()) == list(range(6))
    assert flying.obsolete
    assert pick(queues) is None
    more = kept(3)  # the window is free again
    assert fill(queues, more, sent=3) == more


def test_nothing_is_lost_and_order_is_kept():
    for seed in range(300):
        anything(random.Random(seed))


def anything(some):
    queues = FrameQueues(window=some.randint(1, 4))
    added: list[Job] = []
    flying: list[Job] = []
    gone: list[Job] = []
    delivered: list[Job] = []
    for step in range(some.randint(1, 60)):
        action = some.choice(['add', 'pick', 'finish', 'requeue', 'take'])
        if action == 'add':
            one = job(some.choice('ab'), step, keep=some.random() < 0.5)
            added.append(one)
            gone += queues.add(one)
        elif action == 'pick':
            flying += queues.pick(0.0, batch=some.random() < 0.5)
        elif flying and action in ('finish', 'requeue'):
            one = flying.pop(some.randrange(len(flying)))
            if action == 'finish' or not queues.requeue(one):
                queues.finish(one, some.choice([result, failure])(one))
        elif action == 'take':
            queue = queues.queue(some.choice('ab'))
            taken = queues.take(queue)
            delivered += [taken] if taken else []
    for _ in range(1000):  # let it run dry
        flying += queues.pick(0.0, batch=True)
        for one in flying:
            queues.finish(one, result(one))
        flying = []
        rest = [found for name in 'ab' if (found := queues.take(queues.queue(name)))]
        delivered += rest
        if not rest and not list(queues.waiting()):
            break
    assert len(delivered) + len(gone) == len(added)
    assert all(one.state == FINISHED for one in delivered)
    assert not [one for one in gone if one.keep]
    for name in 'ab':
        frames = [one for one in delivered if isinstance(one.result, Frame)]
        times = [one.t_ns for one in frames if one.source == name]
        assert times == sorted(times)
