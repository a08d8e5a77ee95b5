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
    return [queues.pick(0.0, batch=False)[0] for _ in range(sent)]


@pytest.fixture
def queues():
    return FrameQueues(window=3)


def test_ticket_counts_down():
    ticket = Ticket(Future(), 2)
    assert not ticket.close_one()
    assert ticket.close_one()


def test_newest_wins(queues):
    first, second = job(t_ns=1), job(t_ns=2)
    assert queues.add(first) == []
    assert queues.add(second) == [first]
    assert queues.pick(0.0, batch=False) == [second]
    assert queues.pick(0.0, batch=False) == []


def test_only_those_that_wait_are_dropped(queues):
    flying = job(t_ns=1)
    fill(queues, [flying], sent=1)
    assert queues.add(job(t_ns=2)) == []
    assert flying.state == FLYING


def test_other_cameras_are_not_touched(queues):
    queues.add(job('a'))
    assert queues.add(job('b')) == []


def test_kept_jobs_neither_drop_nor_are_dropped(queues):
    kept = [job(t_ns=t, keep=True) for t in range(3)]
    for one in kept:
        assert queues.add(one) == []
    newest = job(t_ns=9)
    assert queues.add(newest) == []
    assert queues.add(job(t_ns=10)) == [newest]
    assert [queues.pick(0.0, batch=False)[0].t_ns for _ in range(3)] == [0, 1, 2]


def test_oldest_first_and_a_replaced_one_leaves_its_place(queues):
    """A camera with many frames must not push back one with few, nor the other way round."""
    queues.add(job('fast', 1))
    queues.add(job('slow', 1))
    queues.add(job('fast', 2))
    queues.add(job('slow', 2))
    queues.add(job('fast', 3))
    assert queues.pick(0.0, batch=False)[0].source == 'fast'
    queues.add(job('fast', 4))
    assert queues.pick(0.0, batch=False)[0].source == 'slow'
    assert queues.pick(0.0, batch=False)[0].t_ns == 4


def test_batch_is_made_of_one_ticket_and_one_of_each_camera(queues):
    ticket = Ticket(Future(), 4)
    together = [
        job('a', 1, keep=True, ticket=ticket),
        job('b', 1, keep=True, ticket=ticket),
        job('a', 2, keep=True, ticket=ticket),
    ]
    other = job('c', 1)
    fill(queues, (*together, other))
    assert queues.pick(0.0, batch=True) == together[:2]
    assert queues.pick(0.0, batch=True) == together[2:]
    assert queues.pick(0.0, batch=True) == [other]


def test_batch_holds_its_frames_as_they_were_submitted(queues):
    for one in (job('b'), job('a')):
        queues.add(one)
        assert queues.pick(0.0, batch=True) == [one]
    ticket = Ticket(Future(), 2)
    together = [job('a', 1, ticket=ticket), job('b', 1, ticket=ticket)]
    fill(queues, together)
    assert queues.pick(0.0, batch=True) == together


def test_without_batches_each_goes_by_itself(queues):
    ticket = Ticket(Future(), 2)
    a, b = job('a', ticket=ticket), job('b', ticket=ticket)
    queues.add(a)
    queues.add(b)
    assert queues.pick(0.0, batch=False) == [a]
    assert queues.pick(0.0, batch=False) == [b]


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


def test_results_leave_in_the_order_of_submission(queues):
    jobs = [job(t_ns=t, keep=True) for t in range(3)]
    picked = fill(queues, jobs, sent=3)
    assert queues.finish(picked[2], result(picked[2])) is None
    assert queues.finish(picked[1], result(picked[1])) is None
    queue = queues.finish(picked[0], result(picked[0]))
    assert queue is not None
    assert [queues.take(queue) for _ in range(4)] == [*jobs, None]


def test_a_queue_is_handed_over_once(queues):
    jobs = [job(t_ns=t, keep=True) for t in range(2)]
    fill(queues, jobs, sent=2)
    queue = queues.finish(jobs[0], result(jobs[0]))
    queue.delivering = True
    assert queues.finish(jobs[1], result(jobs[1])) is None


def test_window_bounds_what_one_stuck_frame_holds_up(queues):
    sent = fill(queues, [job(t_ns=t, keep=True) for t in range(5)], sent=3)
    assert queues.pick(0.0, batch=False) == []
    queues.finish(sent[1], result(sent[1]))
    assert queues.pick(0.0, batch=False) == []
    queue = queues.finish(sent[0], result(sent[0]))
    queues.take(queue)
    assert queues.pick(0.0, batch=False)[0].t_ns == 3


def test_other_queues_are_not_held_up(queues):
    for t in range(5):
        queues.add(job('a', t, keep=True))
    for _ in range(3):
        queues.pick(0.0, batch=False)
    queues.add(job('b'))
    assert queues.pick(0.0, batch=False)[0].source == 'b'


def test_requeued_job_keeps_its_place(queues):
    jobs = [job(t_ns=t, keep=True) for t in range(2)]
    fill(queues, jobs, sent=2)
    queues.finish(jobs[1], result(jobs[1]))
    assert queues.requeue(jobs[0])
    assert jobs[0].state == WAITING
    assert queues.pick(0.0, batch=False) == [jobs[0]]
    queue = queues.finish(jobs[0], result(jobs[0]))
    assert [queues.take(queue), queues.take(queue)] == jobs


def test_head_is_never_held_back_by_what_waits_behind_it():
    queues = FrameQueues(window=2)
    jobs = [job(t_ns=t, keep=True) for t in range(4)]
    fill(queues, jobs, sent=1)
    queues.requeue(jobs[0], not_before=5.0)
    for one in jobs[1:3]:
        assert queues.pick(0.0, batch=False) == [one]
        queues.finish(one, result(one))
    assert queues.pick(0.0, batch=False) == []  # the window is full
    assert queues.pick(5.0, batch=False) == [jobs[0]]
    queue = queues.finish(jobs[0], result(jobs[0]))
    assert [queues.take(queue) for _ in range(4)] == [*jobs[:3], None]


def test_failure_does_not_wait_for_those_before_it(queues):
    """A tick's frames without a server, behind a kept picture that waits for it."""
    flying, picture, one, other = (job(t_ns=t, keep=True) for t in range(4))
    for each in (flying, picture, one, other):
        queues.add(each)
    queues.pick(0.0, batch=False)
    queue = queues.finish(one, failure(one))
    assert queue is not None
    queues.finish(other, failure(other))
    assert [queues.take(queue) for _ in range(3)] == [one, other, None]
    assert queues.pick(0.0, batch=False) == [picture]
    queues.finish(picture, result(picture))
    queue = queues.finish(flying, result(flying))
    assert [queues.take(queue) for _ in range(3)] == [flying, picture, None]


def test_failure_of_a_sent_job_does_not_wait_for_one_that_is_tried_again(queues):
    picture, tick = (job(t_ns=t, keep=True) for t in range(2))
    fill(queues, (picture, tick), sent=2)
    queues.requeue(picture)
    queue = queues.finish(tick, failure(tick))
    assert [queues.take(queue), queues.take(queue)] == [tick, None]
    assert queues.pick(0.0, batch=False) == [picture]


def test_failure_stays_behind_what_is_finished_before_it(queues):
    jobs = [job(t_ns=t, keep=True) for t in range(3)]
    fill(queues, jobs, sent=3)
    queue = queues.finish(jobs[0], result(jobs[0]))
    queue.delivering = True
    queues.finish(jobs[2], failure(jobs[2]))
    queues.finish(jobs[1], result(jobs[1]))
    assert [queues.take(queue) for _ in range(3)] == [jobs[0], jobs[2], jobs[1]]


def test_realtime_job_is_not_tried_again_when_a_newer_one_waits(queues):
    old = job(t_ns=1)
    fill(queues, [old], sent=1)
    queues.add(job(t_ns=2))
    assert not queues.requeue(old)
    assert old.state == FLYING


def test_realtime_job_does_not_hold_up_a_newer_one_by_a_later_attempt(queues):
    old, newer = job(t_ns=1), job(t_ns=2)
    for one in (old, newer):
        fill(queues, [one], sent=1)
    assert not queues.requeue(old, not_before=5.0)
    assert queues.requeue(old)
    assert queues.pick(0.0, batch=False) == [old]
    assert queues.requeue(newer, not_before=5.0)


def test_kept_job_is_tried_again_whatever_waits(queues):
    old = job(t_ns=1, keep=True)
    fill(queues, [old], sent=1)
    queues.add(job(t_ns=2))
    assert queues.requeue(old)


def test_retry_waits_for_its_time(queues):
    one = job(keep=True)
    fill(queues, [one], sent=1)
    queues.requeue(one, not_before=5.0)
    later = job(t_ns=1, keep=True)
    queues.add(later)
    assert queues.pick(4.9, batch=False) == [later]
    assert queues.pick(4.9, batch=False) == []
    assert queues.pick(5.0, batch=False) == [one]


def test_waiting_job_can_fail_without_being_sent(queues):
    one = job()
    queues.add(one)
    assert list(queues.waiting()) == [one]
    queue = queues.finish(one, failure(one))
    assert queues.take(queue) is one
    assert list(queues.waiting()) == []
    for t in range(3):
        queues.add(job(t_ns=t, keep=True))
        assert queues.pick(0.0, batch=False)


def test_removed_job_sets_free_what_waits_behind_it(queues):
    jobs = [job(t_ns=t, keep=True) for t in range(2)]
    fill(queues, jobs, sent=2)
    queues.finish(jobs[1], result(jobs[1]))
    queue = queues.remove(jobs[0])
    assert jobs[0].obsolete
    assert queues.take(queue) is jobs[1]
    for t in range(4):
        queues.add(job(t_ns=t, keep=True))
    assert [len(queues.pick(0.0, batch=False)) for _ in range(4)] == [1, 1, 1, 0]


def test_discard_takes_out_everything(queues):
    jobs = [job('ab'[t % 2], t, keep=True) for t in range(6)]
    fill(queues, jobs)
    flying = queues.pick(0.0, batch=False)[0]
    assert sorted(one.t_ns for one in queues.discard()) == list(range(6))
    assert flying.obsolete
    assert queues.pick(0.0, batch=False) == []
    for t in range(3):  # the window is free again
        queues.add(job('a', t, keep=True))
        assert queues.pick(0.0, batch=False)


def test_nothing_is_lost_and_order_is_kept():
    for seed in range(300):
        anything(seed)


def anything(seed):
    some = random.Random(seed)
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


def test_failure_of_a_waiting_job_leaves_the_window_as_it_was():
    queues = FrameQueues(window=1)
    failed, first, second = (job(t_ns=t, keep=True) for t in range(3))
    queues.add(failed)
    queue = queues.finish(failed, failure(failed))
    assert queue is not None
    assert queues.take(queue) is failed
    queues.add(first)
    queues.add(second)
    assert queues.pick(0.0, batch=False) == [first]
    assert queues.pick(0.0, batch=False) == []
