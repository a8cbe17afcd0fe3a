"""The use cases in any order, with lost, late and repeated deliveries and with crashes at any call.

The invariants hold after each step. Once no process crashes any more, every job ends, its end is
counted once, and nothing of it is left to do: neither its slot nor a file that no reader is shown.
test_any_life.py does the same for the lifecycle alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.access.slots import Limits
from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, TransitionRefused
from comfyline.service.intake.admit import CHECK_MINUTES
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.due import SETTLE_DELAY, TIDY_DELAY
from comfyline.service.jobs.finish import (
    EndCanceled,
    Ending,
    Fail,
    GiveBack,
    Retry,
    RetryAfterFault,
    Succeed,
)
from comfyline.service.jobs.job import Job, JobError, JobRecord
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.redrive import send_again
from comfyline.service.jobs.report import report_progress, report_started
from comfyline.service.jobs.result import Artifact
from comfyline.service.queue.tickets import Ticket
from tests.support.builders import LEASE, NOW, a_result
from tests.support.crashes import Crash, Process
from tests.support.invariants import Chronicle, check_record, check_tidy
from tests.support.world import DEFAULTS, NEVER, World

BROKE = JobError(type="boom", message="it broke")

# A process that dies before or right after one of its first calls, or (99) that survives.
PROCESSES = st.builds(Process, st.sampled_from([*[99] * 12, 1, 2, 3, 4]), st.booleans())
NUMBERS = st.integers(0, 5)
DAY = 24 * 3600
MOMENTS = st.sampled_from([1, 1, 5, 5, 19, 21, 30, 120, 3600, DAY])
# Seconds by which the clock of a worker is wrong. It corrects the clock by AWS's answers before it
# takes a job, and yet no clock may break an invariant.
CLOCK_ERRORS = st.sampled_from([*[0] * 6, -180, 180, 1200])
INTENTS = 2  # number of Idempotency-Keys; a second post with the same key is a replay
LIMITS = Limits(max_active_jobs=INTENTS)  # so no post is ever refused for the cap


@dataclass
class WrongClock:
    """The clock of a worker, which is wrong by `error` seconds."""

    right: Clock
    error: int

    def __call__(self) -> datetime:
        return self.right() + timedelta(seconds=self.error)


@dataclass
class Holding:
    """A job that a worker believes to hold. It may have lost the job meanwhile."""

    job: Job
    ticket: Ticket
    clock: WrongClock
    files: list[Artifact] = field(default_factory=list)


ENDINGS: list[Ending] = [Succeed(cached=False, nodes_cached=0), Fail(BROKE)]
FAULTS: list[Ending] = [RetryAfterFault(BROKE, is_healthy) for is_healthy in (True, False)]
RETURNS: list[Ending] = [Retry(BROKE), *FAULTS, GiveBack(), EndCanceled()]


class AnyOrder(RuleBasedStateMachine):
    """The service in memory; Hypothesis draws what its processes do and when they die."""

    met: ClassVar[set[str]] = set()  # the history events of all examples

    def __init__(self) -> None:
        super().__init__()
        self.world, self.seen = World(), Chronicle()
        self.world.owner = OwnerId(
            "fox"
        )  # job ids derive from it, and a repeated example must be the same
        self.jobs: list[JobId] = []
        self.ends: dict[JobId, Job] = {}  # the first row that was seen of each ended job
        self.tickets: list[Ticket] = []  # every delivery, also after its visibility timeout
        self.workers: list[Holding] = []

    @initialize(steps=st.integers(0, 4))
    def begin(self, steps: int) -> None:
        """Most examples begin with a job that was posted, claimed, started or given back already.

        What Hypothesis draws depends on the modules that are loaded, so few rules are certain.
        """
        survivor = Process(dies_at=99, answered=True)
        first_steps = (
            lambda: self.post(1, survivor),
            lambda: self.claim(0, survivor, 0),
            lambda: self.start(0, survivor),
            lambda: self.let_go(0, FAULTS[0], survivor),
        )
        for step in first_steps[:steps]:
            step()

    def attempt(self, act: Callable[[], object]) -> None:
        # A refusal is a valid answer. The invariants find what must not happen.
        with suppress(Crash, TransitionRefused, JobNotFound):
            act()

    @rule(intent=st.integers(1, INTENTS), process=PROCESSES)
    def post(self, intent: int, process: Process) -> None:
        world, key = self.world, f"intent-{intent}"
        store, queue = process.using(world.store), process.using(world.queue)
        self.attempt(lambda: world.submit(key=key, limits=LIMITS, store=store, queue=queue))
        self.jobs = sorted({*self.jobs, *(record.job.id for record in self.listed())})

    def listed(self) -> list[JobRecord]:
        store, owner = self.world.store, self.world.owner
        return store.page(owner, status=None, limit=99, after=None)

    @precondition(lambda self: self.jobs)
    @rule(which=NUMBERS, process=PROCESSES, error=CLOCK_ERRORS)
    def claim(self, which: int, process: Process, error: int) -> None:
        """Claim by a ticket that was just delivered, or by one of an earlier delivery."""
        world, clock = self.world, WrongClock(self.world.clock, error)
        self.tickets += world.tickets()
        if not self.tickets:
            return
        ticket = self.tickets[-1 - which % len(self.tickets)]

        def take() -> None:
            store, queue = process.using(world.store), process.using(world.queue)
            if (job := world.claim(ticket, store=store, queue=queue, clock=clock)) is not None:
                self.workers.append(Holding(job, ticket, clock))

        self.attempt(take)

    @precondition(lambda self: self.workers)
    @rule(which=NUMBERS, error=CLOCK_ERRORS)
    def the_clock_of_a_worker_jumps(self, which: int, error: int) -> None:
        self.workers[-1 - which % len(self.workers)].clock.error = error

    @precondition(lambda self: self.workers)
    @rule(which=NUMBERS, process=PROCESSES)
    def start(self, which: int, process: Process) -> None:
        held, store = self.workers[-1 - which % len(self.workers)], process.using(self.world.store)

        def report() -> None:
            held.job = report_started(held.job, store=store, clock=held.clock)

        self.attempt(report)

    @precondition(lambda self: self.workers)
    @rule(which=NUMBERS, process=PROCESSES)
    def progress(self, which: int, process: Process) -> None:
        held, store = self.workers[-1 - which % len(self.workers)], process.using(self.world.store)

        def report() -> None:
            half = Progress(fraction=0.5)
            held.job = report_progress(held.job, half, store=store, clock=held.clock)

        self.attempt(report)

    @precondition(lambda self: self.workers)
    @rule(which=NUMBERS, process=PROCESSES)
    def beat(self, which: int, process: Process) -> None:
        """Renew the lease. The answer contains a request to cancel."""
        held, store = self.workers[-1 - which % len(self.workers)], process.using(self.world.store)

        def renew() -> None:
            held.job = store.renew(held.job, held.clock() + LEASE)

        self.attempt(renew)

    @precondition(lambda self: self.workers)
    @rule(which=NUMBERS)
    def store_a_file(self, which: int) -> None:
        held = self.workers[-1 - which % len(self.workers)]
        row = self.world.store.get(held.job.id)
        if row is not None and row.status.is_terminal and not row.tidy_pending:
            return  # what a worker stores after such a stall is left to the lifecycle rule
        if not held.files:
            held.files.append(self.world.upload(held.job))

    @precondition(lambda self: self.workers)
    @rule(which=NUMBERS, ending=st.sampled_from(ENDINGS), process=PROCESSES)
    def end(self, which: int, ending: Ending, process: Process) -> None:
        self.let_go(which, ending, process)

    @precondition(lambda self: self.workers)
    @rule(which=NUMBERS, ending=st.sampled_from(RETURNS), process=PROCESSES)
    def hand_back(self, which: int, ending: Ending, process: Process) -> None:
        self.let_go(which, ending, process)

    def let_go(self, which: int, ending: Ending, process: Process) -> None:
        held, world = self.workers[-1 - which % len(self.workers)], self.world
        finisher = replace(
            world.finisher(process.using(world.store), process.using(world.queue)), clock=held.clock
        )
        files = held.files if isinstance(ending, Succeed) else []
        self.attempt(lambda: finisher.end(held.job, held.ticket, ending, result=a_result(*files)))

    @precondition(lambda self: self.jobs)
    @rule(which=NUMBERS, process=PROCESSES)
    def cancel(self, which: int, process: Process) -> None:
        job_id, world = self.jobs[which % len(self.jobs)], self.world
        store = process.using(world.store)
        self.attempt(lambda: cancel(job_id, world.owner, store=store, clock=world.clock))

    @precondition(lambda self: self.jobs)
    @rule(which=NUMBERS, process=PROCESSES)
    def redrive(self, which: int, process: Process) -> None:
        job_id, world = self.jobs[which % len(self.jobs)], self.world
        store, queue = process.using(world.store), process.using(world.queue)
        self.attempt(lambda: send_again(job_id, store=store, queue=queue, clock=world.clock))

    @precondition(lambda self: self.ends)
    @rule(which=NUMBERS, process=PROCESSES)
    def settle(self, which: int, process: Process) -> None:
        """The stream delivers the end of a job to settle_jobs, for the first time or once more."""
        world, ends = self.world, list(self.ends.values())
        settlement = world.settlement(
            store=process.using(world.store),
            owners=process.using(world.owners),
            ledger=process.using(world.ledger),
        )
        self.attempt(lambda: settlement.settle([ends[which % len(ends)]]))

    @rule(process=PROCESSES)
    def sweep(self, process: Process) -> None:
        world = self.world
        ports = process.using(world.store), process.using(world.queue)
        files = process.using(world.artifacts)
        self.attempt(lambda: world.sweep(store=ports[0], queue=ports[1], artifacts=files))

    # The retention of a job must not end within an example, because a later job may have its id.
    @precondition(lambda self: self.world.clock() < NOW + DEFAULTS.retention / 2)
    @rule(seconds=MOMENTS)
    def time_passes(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    @invariant()
    def the_invariants_hold(self) -> None:
        assert len(self.jobs) <= INTENTS, "a replay has made a second job"
        for job_id in self.jobs:
            record = self.world.record(job_id)
            check_record(record)
            self.seen.see(record.job)
            self.met.update(line.event for line in record.job.history)
            if record.job.status.is_terminal:
                self.ends.setdefault(job_id, record.job)
            listed = {artifact.key for artifact in record.artifacts}
            assert listed <= self.world.artifacts.files.keys(), "a listed file does not exist"
        assert self.counted() <= len(self.ends), "an end is counted twice"

    def counted(self) -> int:
        return sum(self.world.ledger.totals().jobs.values())

    def teardown(self) -> None:
        """No process dies from now on: all jobs end and are removed."""
        for _ in range(30):
            self.world.clock.advance(LEASE + timedelta(seconds=3))
            self.world.sweep()
            self.work()
            self.the_invariants_hold()
            if all(self.world.row(job_id).status.is_terminal for job_id in self.jobs):
                break
        self.world.clock.advance(max(TIDY_DELAY, SETTLE_DELAY))
        self.world.sweep()
        for _ in range(CHECK_MINUTES):  # the sweeper looks at each slot once in that time
            self.world.clock.advance(60)
            self.world.admission().reconcile(NEVER)
        self.the_invariants_hold()
        for job_id in self.jobs:
            row = self.world.row(job_id)
            assert row.status.is_terminal, "the job does not end"
            assert row.is_settled, "the end is not settled"
            check_tidy(row, self.world.artifacts.files)
        assert self.counted() == len(self.jobs), "an end is not counted"
        assert list(self.world.owners.slots(0)) == [], "a slot is left"
        self.world.clock.advance(DEFAULTS.retention)
        assert self.world.sweep() == {}, "something is left to do"
        self.world.store.expire(self.world.clock())
        assert [job_id for job_id in self.jobs if self.world.store.get(job_id)] == []

    def work(self) -> None:
        for ticket in self.world.tickets():
            if (job := self.world.claim(ticket)) is not None:
                job = report_started(job, store=self.world.store, clock=self.world.clock)
                files = [self.world.upload(job)]
                self.world.finisher().end(
                    job, ticket, Succeed(cached=False, nodes_cached=0), result=a_result(*files)
                )


def test_any_order() -> None:
    """Also checks that the examples are not trivial: together they reach every kind of end."""
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=150, stateful_step_count=50, deadline=None, derandomize=True
        ),
    )
    assert AnyOrder.met >= {"succeeded", "failed_for_good", "canceled", "expired", "lease_expired"}
    assert AnyOrder.met & {"failed", "interrupted"}
    assert AnyOrder.met & {"faulted", "worker_unhealthy"}
