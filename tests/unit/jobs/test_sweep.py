"""The sweeper repairs what crashes and lost messages have left, and changes nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from comfyline.contract.ids import JobId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.decide import MAX_FAILURES
from comfyline.service.jobs.due import LEASE_GRACE, TICKET_GRACE, TIDY_DELAY
from comfyline.service.jobs.finish import Succeed
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.store import LIVE_SHARDS
from comfyline.service.jobs.sweep import LONG_QUEUE, Chore
from comfyline.service.queue.lanes import Priority
from tests.support.builders import LEASE
from tests.support.crashes import Process, every_crash
from tests.support.invariants import Chronicle, check_ticketed
from tests.support.ports import meanwhile, raising, wrapped
from tests.support.world import DEFAULTS, NEVER, World

MOMENT = timedelta.resolution
MINUTE = timedelta(minutes=1)


def ticketed(world: World) -> list[JobId]:
    return [ticket.job_id for lane in Priority for ticket in world.tickets(lane)]


def an_unticketed_job(world: World, prompt: str = "a red fox", priority: str = "normal") -> Job:
    """A job without a ticket, because SQS refused it."""
    queue = meanwhile(world.queue, "send", raising(Unavailable("throttled")))
    body = {"prompt": prompt, "priority": priority, "reuse": False}
    return world.submit(body, queue=queue).job


def a_job_of_a_vanished_worker(world: World) -> Job:
    """A job that a worker has started before it vanished."""
    world.submit()
    job, _ = world.started()
    return job


class TestLostTicket:
    def test_is_sent_again_once_the_job_is_due(self) -> None:
        world = World()
        job = an_unticketed_job(world)
        world.clock.advance(TICKET_GRACE - MOMENT)
        assert (world.sweep(), ticketed(world)) == ({}, [])
        world.clock.advance(MOMENT)
        assert (world.sweep(), ticketed(world)) == ({"TicketResent": 1}, [job.id])
        assert world.row(job.id).version == job.version

    def test_is_not_sent_again_each_minute(self) -> None:
        world = World()
        world.submit()
        sent = 0
        for _ in range(24 * 60 - 1):
            world.clock.advance(MINUTE)
            sent += world.sweep()["TicketResent"]
        # After 0.5, 2, 8 and 32 minutes, then every hour. The sweep adds up to a minute to each.
        assert sent == 4 + 23

    def test_is_not_sent_again_because_the_queue_is_long(self) -> None:
        """Each job of a backlog is looked at again and again, and gets one copy after 100 min."""
        world = World()
        jobs = [world.queued() for _ in range(LONG_QUEUE)]
        sent, found = Counter[int](), 0
        for minute in range(1, 4 * 60):
            world.clock.advance(MINUTE)
            done = world.sweep()
            sent[minute], found = done["TicketResent"], found + done["FoundWaiting"]
        assert {minute: number for minute, number in sent.items() if number} == {103: len(jobs)}
        assert found >= 5 * len(jobs)
        assert world.queue.depth(Priority.NORMAL) == 2 * len(jobs)

    def test_is_sent_where_fewer_tickets_wait_than_jobs(self) -> None:
        world = World()
        for _ in range(LONG_QUEUE):
            world.queued()
        an_unticketed_job(world)
        world.clock.advance(TICKET_GRACE)
        assert world.sweep() == {"TicketResent": LONG_QUEUE + 1}
        assert world.queue.depth(Priority.NORMAL) == 2 * LONG_QUEUE + 1

    def test_is_sent_if_the_depth_of_the_lane_is_not_known(self) -> None:
        world = World()
        job = an_unticketed_job(world)
        world.clock.advance(TICKET_GRACE)
        queue = meanwhile(world.queue, "depth", raising(Unavailable("throttled")))
        assert world.sweep(queue=queue) == {"TicketResent": 1}
        assert ticketed(world) == [job.id]

    def test_of_a_lane_with_a_short_queue_is_sent_beside_a_long_one(self) -> None:
        world = World()
        for _ in range(LONG_QUEUE):
            world.queued()
        lost = world.queued(priority=Priority.HIGH)
        world.tickets(Priority.HIGH)
        world.clock.advance(TICKET_GRACE)
        assert world.sweep() == {"FoundWaiting": LONG_QUEUE, "TicketResent": 1}
        assert [ticket.job_id for ticket in world.tickets(Priority.HIGH)] == [lost.id]

    def test_is_not_sent_if_the_job_is_claimed_meanwhile(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(TICKET_GRACE)
        world.sweep(store=meanwhile(world.store, "save", world.claimed))
        after = world.row(job.id)
        assert (after.attempt, after.ticket_sends, ticketed(world)) == (1, 0, [])

    def test_is_not_sent_if_the_job_is_overdue(self) -> None:
        world = World()
        job = an_unticketed_job(world)
        world.clock.advance(DEFAULTS.start_deadline)
        assert (world.sweep(), ticketed(world)) == ({"Expired": 1}, [])
        assert world.row(job.id).status is Status.EXPIRED


class TestLease:
    def test_a_renewed_lease_stays_and_the_job_is_due_after_it(self) -> None:
        world = World()
        job = a_job_of_a_vanished_worker(world)
        until = world.clock() + 2 * LEASE
        alive = world.store.renew(job, until)
        world.clock.advance(LEASE + LEASE_GRACE)
        assert world.sweep() == {"FoundAlive": 1}
        after = world.row(job.id)
        assert (after.lease, after.version) == (alive.lease, job.version)
        assert after.due_at == until + LEASE_GRACE

    def test_an_expired_lease_is_a_failure_and_the_job_gets_a_ticket(self) -> None:
        world = World()
        job = a_job_of_a_vanished_worker(world)
        world.clock.advance(LEASE + LEASE_GRACE)
        world.tickets()  # the ticket of the vanished worker, which is visible again
        assert (world.sweep(), ticketed(world)) == ({"LeaseExpired": 1}, [job.id])
        after = world.row(job.id)
        assert (after.status, after.failures, after.lease) == (Status.QUEUED, 1, None)

    def test_the_last_allowed_expiry_ends_the_job(self) -> None:
        world = World()
        job = a_job_of_a_vanished_worker(world)
        for _ in range(MAX_FAILURES - 1):
            world.clock.advance(LEASE + LEASE_GRACE)
            world.sweep()
            ticket, *_ = world.tickets()
            assert world.claim(ticket) is not None
        world.clock.advance(LEASE + LEASE_GRACE)
        assert world.sweep() == {"LeaseExpiredForGood": 1}
        assert world.row(job.id).status is Status.FAILED

    def test_an_expired_lease_past_the_execution_timeout_ends_the_job(self) -> None:
        world = World()
        world.submit({"prompt": "a red fox", "execution_timeout_seconds": 60})
        job, _ = world.started()
        world.clock.advance(LEASE + LEASE_GRACE)
        assert world.sweep() == {"LeaseExpiredForGood": 1}
        error = world.row(job.id).error
        assert error is not None
        assert error.type == "execution_timeout"

    @pytest.mark.parametrize("ending", ["succeed", "renew"])
    def test_a_write_of_the_worker_at_the_last_moment_wins(self, ending: str) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()

        def write() -> object:
            if ending == "renew":
                return world.store.renew(job, world.clock() + LEASE)
            return world.finisher().end(
                job, ticket, Succeed(cached=False, nodes_cached=0), gpu_seconds=1.0
            )

        world.clock.advance(LEASE + LEASE_GRACE)
        world.sweep(store=meanwhile(world.store, "due", write))
        expected = Status.SUCCEEDED if ending == "succeed" else Status.RUNNING
        assert (world.row(job.id).status, world.row(job.id).failures) == (expected, 0)


class TestTrouble:
    """A job that cannot be handled now does not stop the others, and is handled later."""

    def test_an_unavailable_queue(self) -> None:
        world = World()
        jobs = {an_unticketed_job(world, priority=lane).id for lane in ("high", "normal", "low")}
        world.clock.advance(TICKET_GRACE)
        queue = meanwhile(world.queue, "send_many", raising(Unavailable("throttled")))
        assert world.sweep(queue=queue) == {"TicketResent": 2, "Unavailable": 1}
        missed = jobs - set(ticketed(world))
        world.clock.advance(4 * TICKET_GRACE)
        ticketed(world)
        world.sweep()
        assert missed <= set(ticketed(world))

    def test_unavailable_files(self) -> None:
        world = World()
        for n in range(2):
            world.submit({"prompt": f"fox {n}", "previews": True})
            world.settle(world.succeeded().id)
        world.clock.advance(TIDY_DELAY)
        artifacts = meanwhile(world.artifacts, "delete_prefix", raising(Unavailable("throttled")))
        assert world.sweep(artifacts=artifacts) == {"Tidied": 1, "Unavailable": 1}
        assert world.sweep() == {"Tidied": 1}

    def test_a_record_that_is_removed_meanwhile(self) -> None:
        world = World()
        job = an_unticketed_job(world)
        world.clock.advance(TICKET_GRACE)
        store = meanwhile(world.store, "save", lambda: world.store.delete(job))
        assert world.sweep(store=store) == {"ChangedMeanwhile": 1}
        assert ticketed(world) == []


class TestTime:
    """A round does the urgent work first, and starts nothing after the end of its time."""

    def test_the_rest_is_left_when_the_time_is_over(self) -> None:
        world = World()
        jobs = [an_unticketed_job(world, f"fox {n}") for n in range(5)]
        world.clock.advance(TICKET_GRACE)
        ends_at = world.clock() + timedelta(seconds=3)
        store = meanwhile(world.store, "save", lambda: world.clock.advance(1), times=5)
        assert world.sweep(store=store, ends_at=ends_at) == {"TicketResent": 3, "OutOfTime": 2}
        assert world.sweep() == {"TicketResent": 2}
        assert len(set(ticketed(world))) == len(jobs)

    def test_jobs_that_were_changed_get_their_tickets_even_if_the_time_is_over(self) -> None:
        world = World()
        job = an_unticketed_job(world)
        world.clock.advance(TICKET_GRACE)
        ends_at = world.clock() + timedelta(seconds=1)
        store = meanwhile(world.store, "save", lambda: world.clock.advance(2))
        assert world.sweep(store=store, ends_at=ends_at) == {"TicketResent": 1}
        assert ticketed(world) == [job.id]

    def test_one_call_sends_the_tickets_of_many_jobs(self) -> None:
        world, calls = World(), Counter[str]()
        jobs = {an_unticketed_job(world).id for _ in range(25)}
        world.clock.advance(TICKET_GRACE)
        queue = wrapped(
            world.queue, lambda name, method, *args: _counted(calls, name, method, args)
        )
        assert world.sweep(queue=queue) == {"TicketResent": 25}
        assert calls["send_many"] == 3
        assert set(ticketed(world)) == jobs

    def test_jobs_that_wait_in_a_long_queue_come_after_those_that_may_have_lost_something(
        self,
    ) -> None:
        world = World()
        waiting = world.submit({"prompt": "waits", "reuse": False}).job
        world.clock.advance(1)
        lost = an_unticketed_job(world, priority="high")
        for n in range(LONG_QUEUE):
            world.queue.send(JobId(f"job_{n}"), waiting.owner, waiting.priority)
        world.clock.advance(TICKET_GRACE)
        order: list[JobId] = []
        store = wrapped(world.store, lambda name, method, *args: _noted(order, name, method, args))
        assert world.sweep(store=store) == {"TicketResent": 1, "FoundWaiting": 1}
        assert order == [lost.id, waiting.id]

    def test_jobs_whose_worker_is_alive_come_after_those_that_nobody_holds(self) -> None:
        world = World()
        held = a_job_of_a_vanished_worker(world)
        world.store.renew(held, world.clock() + 10 * LEASE)
        world.clock.advance(1)
        lost = an_unticketed_job(world)
        world.clock.advance(LEASE)
        order: list[JobId] = []
        store = wrapped(world.store, lambda name, method, *args: _noted(order, name, method, args))
        world.sweep(store=store)
        assert order == [lost.id, held.id]

    def test_chores_come_before_the_settlement_and_the_removal(self) -> None:
        world, events = World(), list[str]()
        world.submit({"prompt": "a fox", "previews": True})
        world.succeeded()
        an_unticketed_job(world)
        world.clock.advance(TIDY_DELAY)

        def work(ends_at: datetime) -> int:
            assert ends_at == NEVER
            events.append("chore")
            return 3

        def note(name: str, method: Callable[..., object], *args: object) -> object:
            events.append(name)
            return method(*args)

        artifacts = wrapped(world.artifacts, note)
        done = world.sweep(artifacts=artifacts, chores=[Chore("SlotDropped", work)])
        assert done == {"TicketResent": 1, "SlotDropped": 3, "Settled": 1, "Tidied": 1}
        assert events == ["chore", "delete_prefix"]

    def test_a_chore_that_fails_stops_nothing(self) -> None:
        world = World()
        an_unticketed_job(world)
        world.clock.advance(TICKET_GRACE)

        def fail(_ends_at: datetime) -> int:
            raise Unavailable("throttled")

        chores = [Chore("SocketClosed", fail), Chore("SlotDropped", lambda _ends_at: 0)]
        assert world.sweep(chores=chores) == {"TicketResent": 1, "Unavailable": 1}

    def test_a_shard_that_cannot_be_read_stops_nothing(self) -> None:
        world = World()
        for n in range(40):
            an_unticketed_job(world, f"fox {n}")
        world.clock.advance(TICKET_GRACE)
        refused = raising(Unavailable("throttled"))
        store = meanwhile(world.store, "due", refused, times=LIVE_SHARDS // 2)
        first = world.sweep(store=store)["TicketResent"]
        assert 0 < first < 40
        assert world.sweep() == {"TicketResent": 40 - first}


def _noted(
    order: list[JobId], name: str, method: Callable[..., object], args: Sequence[Any]
) -> object:
    if name == "save":
        order.append(args[0].id)
    return method(*args)


def _counted(
    calls: Counter[str], name: str, method: Callable[..., object], args: Sequence[Any]
) -> object:
    calls[name] += 1
    return method(*args)


# --- crashes of the sweeper -----------------------------------------------------------------------


def a_lost_ticket(world: World) -> Job:
    job = an_unticketed_job(world)
    world.clock.advance(TICKET_GRACE)
    return job


def an_expired_lease(world: World) -> Job:
    job = a_job_of_a_vanished_worker(world)
    world.clock.advance(LEASE + LEASE_GRACE)
    world.tickets()
    return job


def an_expired_lease_while_canceling(world: World) -> Job:
    job = a_job_of_a_vanished_worker(world)
    cancel(job.id, world.owner, store=world.store, clock=world.clock)
    world.clock.advance(LEASE + LEASE_GRACE)
    return job


def an_overdue_job(world: World) -> Job:
    job = an_unticketed_job(world)
    world.clock.advance(DEFAULTS.start_deadline)
    return job


@pytest.mark.parametrize(
    "left", [a_lost_ticket, an_expired_lease, an_expired_lease_while_canceling, an_overdue_job]
)
def test_after_a_crash_the_next_sweep_completes_the_work(left: Callable[[World], Job]) -> None:
    worlds: list[tuple[World, Job]] = []

    def run(process: Process) -> None:
        world = World()
        worlds.append((world, left(world)))
        world.sweep(store=process.using(world.store), queue=process.using(world.queue))

    for _ in every_crash(run):
        world, job = worlds[-1]
        seen, found = Chronicle(), set(ticketed(world))
        for _ in range(5):
            seen.see(world.row(job.id))
            world.clock.advance(TICKET_GRACE)
            world.sweep()
            found |= set(ticketed(world))
        after = seen.see(world.row(job.id))
        assert (after.lease, after.failures) == (None, 1 if left is an_expired_lease else 0)
        check_ticketed(after, found)
    assert len(worlds) >= 4
