"""A deployment under load: its use cases at AWS's pace, with what AWS's parts may do meanwhile.

Posts, workers, settle_jobs and the sweeper are those of the deployment, on the slots and the ledger
of DynamoDB with its conflicts. Clients with a small cap post again at the moment at which one of
their jobs ends.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count as numbers
from typing import Any

from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.ledger.table import DynamoLedger
from comfyline.contract.ids import JobId, OwnerId, random_worker_id
from comfyline.service.access.slots import OWNER_SHARDS, Limits
from comfyline.service.errors import JobNotFound, TooManyJobs, TransitionRefused, Unavailable
from comfyline.service.intake.admit import CHECK_MINUTES, Admission
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.claim import Terms, claim
from comfyline.service.jobs.finish import Finisher, Succeed
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.report import report_started
from comfyline.service.jobs.settle import ParkedStep, Settlement, Step
from comfyline.service.jobs.store import JobStore
from comfyline.service.jobs.sweep import Chore, Sweeper
from comfyline.service.ledger.count import count
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import Ticket
from functions._wiring import SWEEPS_AT_ONCE
from tests.scale.indexes import LaggingJobStore
from tests.scale.pace import DYNAMODB, S3, SQS, Pace, Transactional
from tests.scale.simulation import Simulation, VirtualExecutor
from tests.scale.stream import Delivery, Stream
from tests.scale.table import Table
from tests.support.builders import LEASE
from tests.support.ports import wrapped
from tests.support.world import NEVER, SENT, InMemoryDeployment

SWEEP_SECONDS = timedelta(seconds=40)
PARKED_SECONDS = 60.0  # until SQS delivers a parked step
OWNERS = [OwnerId(f"owner-{n}") for n in range(20)]
LIMITS = Limits(max_active_jobs=2_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a deployment has to do, and what goes wrong meanwhile."""

    posts_per_second: float
    workers: int
    caps: tuple[int, ...] = ()  # of further owners, each with as many clients that post for ever
    index_lag: float = 0.0  # seconds
    delivery: Delivery = field(default_factory=Delivery)
    sweeper_down: tuple[float, float] = (0.0, 0.0)  # from when until when
    run_seconds: float = 4.0  # of a job, on average
    slots_left: float = 0.0  # the share of ends after which the worker does not free the slot
    tickets_lost: float = 0.0  # the share of posts that cannot send their ticket


@dataclass
class Minute:
    """The work that was not done at the end of a minute."""

    waiting: int  # tickets
    unsettled: int  # records of the stream
    sweep_seconds: float
    swept: Counter[str]


@dataclass
class Traffic:
    """A deployment under load."""

    simulation: Simulation
    load: Load
    minutes: list[Minute] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)  # seconds, for the first start of each job
    posted: int = 0
    ends: Counter[JobId] = field(default_factory=Counter)  # how often each job has ended
    refused: Counter[OwnerId] = field(default_factory=Counter)  # posts refused for the cap
    is_over: bool = False  # no client posts any more

    def __post_init__(self) -> None:
        self.store = LaggingJobStore(self.simulation, self.load.index_lag, self._changed)
        self.stream = Stream(self.simulation, self.load.delivery)
        self.world = InMemoryDeployment(self.simulation.clock, store=self.store)
        self._table, self._busy = Table(), Counter[str]()
        dynamodb: Any = self._table
        self.owners = DynamoOwnerStore(dynamodb, "owners")  # without AWS's pace, to look at them
        self.ledger = DynamoLedger(dynamodb, "owners")
        self._keys, self._at_end = numbers(), dict[JobId, deque[Any]]()
        self._changed_at = dict[JobId, float]()

    def _changed(self, change: Change) -> None:
        self._changed_at[change.after.id] = self.simulation.seconds
        if change.ends_the_job:
            self.ends[change.after.id] += 1
            self.stream.put(change.after)
            self.simulation.wake_all(self._at_end.pop(change.after.id, deque()))

    def quiet_jobs(self, owner: OwnerId, seconds: float) -> list[Job]:
        """The owner's jobs that have not changed for so long."""
        until = self.simulation.seconds - seconds
        quiet = [job_id for job_id, at in self._changed_at.items() if at < until]
        return [job for job in self.store.get_many(quiet) if job.owner == owner]

    @property
    def ended(self) -> int:
        """How many jobs have ended."""
        return len(self.ends)

    # --- the processes ----------------------------------------------------------------------------

    def run(self, minutes: int) -> None:
        """Let the traffic run."""
        simulation = self.simulation
        simulation.spawn(self._post_all)
        for cap in self.load.caps:
            for _ in range(cap):
                simulation.spawn(partial(self._post_for_ever, OwnerId(f"cap-{cap}"), cap))
        for _ in range(self.load.workers):
            simulation.spawn(self.work)
        self.stream.start(self.settle)
        for _ in range(minutes):
            self._one_minute()

    def _one_minute(self) -> None:
        simulation, began = self.simulation, self.simulation.seconds
        from_, until = self.load.sweeper_down
        swept = Counter[str]() if from_ <= began < until else self.sweep()
        took = simulation.seconds - began
        simulation.sleep(60 - took)
        depth = self.world.queue.depth(Priority.NORMAL)
        self.minutes.append(Minute(depth, self.stream.undelivered, took, swept))

    def finish(self) -> None:
        """Post nothing more, and wait until all jobs have ended; then check every slot."""
        self.is_over = True
        for _ in range(2):  # the sweeper settles an end that is a minute old
            while self.ended < self.posted or self.stream.undelivered:
                self._one_minute()
            self._one_minute()
        now = self.simulation.clock()
        for n in range(CHECK_MINUTES):  # the sweeper looks at each slot once in that time
            later = now + timedelta(minutes=n)
            admission = Admission(owners=self.owners, jobs=self.store, clock=lambda: later)  # noqa: B023
            admission.reconcile(NEVER)

    # --- clients ----------------------------------------------------------------------------------

    def _post_all(self) -> None:
        while not self.is_over:
            owner = self.simulation.random.choice(OWNERS)
            self.simulation.spawn(partial(self.post, owner, LIMITS))
            self.simulation.sleep(self.simulation.random.expovariate(self.load.posts_per_second))

    def post(
        self, owner: OwnerId, limits: Limits, key: str | None = None, pace: Pace | None = None
    ) -> Job | None:
        """One post; None if it is refused, or if the client gets 503."""
        pace = pace or Pace(self.simulation)
        try:
            accepted = self.world.submit(
                SENT,
                owner=owner,
                key=key,
                limits=limits,
                store=pace.of(self.store, DYNAMODB),
                queue=wrapped(pace.of(self.world.queue, SQS), self._send),
                owners=self._owners(pace),
            )
        except Unavailable:
            return None
        except TooManyJobs:
            self.refused[owner] += 1
            return None
        self.posted += not accepted.replayed
        return accepted.job

    def _send(self, _name: str, send: Callable[..., object], *args: Any) -> object:
        if self.simulation.random.random() < self.load.tickets_lost:
            raise Unavailable("no ticket is sent")
        return send(*args)

    def _post_for_ever(self, owner: OwnerId, cap: int) -> None:
        """A client that has one job after the other, and repeats a post with its key."""
        while not self.is_over:
            key = f"intent-{next(self._keys)}"
            while (job := self.post(owner, Limits(max_active_jobs=cap), key)) is None:
                self.simulation.sleep(1)
            if job.id not in self.ends:
                self.simulation.park(self._at_end.setdefault(job.id, deque()))

    # --- workers ----------------------------------------------------------------------------------

    def work(self) -> None:
        """One worker, until every job has ended and no client posts any more."""
        simulation, pace = self.simulation, Pace(self.simulation)
        store, queue = pace.of(self.store, DYNAMODB), pace.of(self.world.queue, SQS)
        admission = Admission(owners=self._owners(pace), jobs=store, clock=simulation.clock)
        free_slot = partial(self._free_slot, admission.free_slot)
        finisher = Finisher(store=store, queue=queue, clock=simulation.clock, free_slot=free_slot)
        terms = Terms(worker_id=random_worker_id(), lease=LEASE)
        simulation.sleep(simulation.random.uniform(0, 2))
        while not self.is_over or self.ended < self.posted:
            # A worker that AWS refuses is one that has died: the job's lease expires.
            with suppress(Unavailable, TransitionRefused, JobNotFound):
                tickets = queue.receive(Priority.NORMAL, wait_seconds=0, limit=1)
                work = tickets and claim(
                    tickets[0], terms, store=store, queue=queue, clock=simulation.clock
                )
                if work:
                    self._run_job(work.job, tickets[0], store, finisher)
                    continue
            simulation.sleep(1)

    def _free_slot(self, free_slot: Callable[[Job], object], ended: Job) -> None:
        if self.simulation.random.random() >= self.load.slots_left:
            free_slot(ended)

    def _run_job(self, job: Job, ticket: Ticket, store: JobStore, finisher: Finisher) -> None:
        simulation, is_first = self.simulation, job.started_at is None
        job = report_started(job, store=store, clock=simulation.clock)
        if is_first:
            self.waits.append((simulation.clock() - job.queued_at).total_seconds())
        mean = self.load.run_seconds  # bounded, because the lease is not renewed
        seconds = 0.1 + min(simulation.random.expovariate(1 / mean), 3 * mean)
        simulation.sleep(seconds)
        finisher.end(job, ticket, Succeed(cached=False, nodes_cached=0), gpu_seconds=seconds)

    # --- settle_jobs and the sweeper --------------------------------------------------------------

    def settle(self, batch: Sequence[Job]) -> None:
        """One call of settle_jobs."""
        for parked in self._settlement(Pace(self.simulation)).settle(batch):
            self.simulation.spawn(partial(self._settle_parked, parked))

    def _settle_parked(self, parked: ParkedStep) -> None:
        """The queue delivers the step until it is done."""
        is_done = False
        while not is_done:
            self.simulation.sleep(PARKED_SECONDS)
            with suppress(Unavailable):
                self._settlement(Pace(self.simulation)).settle_parked(parked)
                is_done = True

    def _settlement(self, pace: Pace) -> Settlement:
        store, clock = pace.of(self.store, DYNAMODB), self.simulation.clock
        ledger = DynamoLedger(self._dynamodb(pace), "owners", self.simulation.sleep)
        admission = Admission(owners=self._owners(pace), jobs=store, clock=clock)
        counting = partial(count, ledger=ledger, metrics=self.world.metrics)
        steps = (Step("free_slot", admission.free_slots), Step("count", counting))
        return Settlement(steps=steps, store=store, clock=clock)

    def sweep(self) -> Counter[str]:
        """One round of the sweeper."""
        simulation, pace = self.simulation, Pace(self.simulation)
        store = pace.of(self.store, DYNAMODB, due=4 * DYNAMODB)
        admission = Admission(owners=self._owners(pace), jobs=store, clock=simulation.clock)
        return Sweeper(
            store=store,
            queue=pace.of(self.world.queue, SQS),
            artifacts=pace.of(self.world.artifacts, 2 * S3),
            settlement=self._settlement(pace),
            clock=simulation.clock,
            executor=VirtualExecutor(simulation, SWEEPS_AT_ONCE),
            chores=(Chore("SlotDropped", admission.reconcile),),
        ).sweep(simulation.clock() + SWEEP_SECONDS)

    def _owners(self, pace: Pace) -> DynamoOwnerStore:
        return DynamoOwnerStore(self._dynamodb(pace), "owners", self.simulation.sleep)

    def _dynamodb(self, pace: Pace) -> Any:
        return Transactional(self._table, pace, self._busy)

    # --- the state after the traffic --------------------------------------------------------------

    def slots(self) -> int:
        """The slots that are taken."""
        return sum(len(self.owners.slots(shard)) for shard in range(OWNER_SHARDS))

    def unsettled(self, older_than: float) -> list[Job]:
        """The jobs that ended longer ago than these seconds and are not settled."""
        ended_at = self.simulation.clock() - timedelta(seconds=older_than)
        jobs = self.store.get_many([*self.ends])
        return [j for j in jobs if not j.is_settled and j.finished_at and j.finished_at <= ended_at]

    def swept(self, outcome: str) -> int:
        """How often the sweeper has had this outcome."""
        return sum(minute.swept[outcome] for minute in self.minutes)
