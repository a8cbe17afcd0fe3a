"""The whole service in memory, on one clock, and what happens to it in tests."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from comfyline.adapters.memory.access import InMemoryAllowanceStore, InMemoryOwnerStore
from comfyline.adapters.memory.files import InMemoryArtifactStore, InMemoryUploadStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.ledger import InMemoryLedger
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.api.v1 import commands
from comfyline.contract.ids import JobId, OwnerId, WorkerId, random_worker_id
from comfyline.service.access.slots import Limits, OwnerStore
from comfyline.service.clock import Clock
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph, fingerprint
from comfyline.service.intake.accept import Acceptance
from comfyline.service.intake.admit import Admission
from comfyline.service.intake.submission import Accepted, Caller
from comfyline.service.intake.submit import Defaults, Submitter
from comfyline.service.jobs.cancel import cancel, purge
from comfyline.service.jobs.claim import Terms, claim
from comfyline.service.jobs.events import Event
from comfyline.service.jobs.finish import Finisher, Succeed
from comfyline.service.jobs.job import Job, JobParams, JobRecord
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.report import report_started
from comfyline.service.jobs.result import Artifact
from comfyline.service.jobs.settle import Settlement, Step
from comfyline.service.jobs.store import JobStore
from comfyline.service.jobs.sweep import Chore, Sweeper
from comfyline.service.ledger.count import count
from comfyline.service.ledger.store import Ledger
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import JobQueue, Ticket
from tests.support.builders import (
    LEASE,
    FrozenClock,
    a_graph,
    a_job,
    a_result,
    an_artifact,
    an_owner,
)
from tests.support.happenings import Happening
from tests.support.inline_executor import InlineExecutor

UNLIMITED = Limits()
NEVER = datetime.max.replace(tzinfo=UTC)  # the end of a round of the sweeper that has time

# `reuse` is false, so that each post without a key makes a new job.
SENT: Mapping[str, Any] = {"prompt": "a red fox", "seed": 42, "reuse": False}
DEFAULTS = Defaults(
    checkpoint="model.safetensors",
    start_deadline=timedelta(days=1),
    execution_timeout=timedelta(minutes=10),
    retention=timedelta(days=7),
)


class InMemoryDeployment:
    """The ports in memory on one clock, and what users, workers and the sweeper do with them."""

    def __init__(
        self, clock: Clock, *, store: InMemoryJobStore | None = None, lease: timedelta = LEASE
    ) -> None:
        self.clock = clock
        self.store = InMemoryJobStore() if store is None else store
        self.queue = InMemoryJobQueue(clock, visibility=lease)
        self.artifacts = InMemoryArtifactStore()
        self.owners = InMemoryOwnerStore()
        self.allowances = InMemoryAllowanceStore()
        self.uploads = InMemoryUploadStore()
        self.ledger = InMemoryLedger()
        self.metrics = InMemoryMetrics()
        self.owner = an_owner()
        self.lease = lease
        self.nodes = EngineNodes()  # what the workers have published
        self.graph: Graph = a_graph()  # the graph that `queued` uses by default

    # --- users ------------------------------------------------------------------------------------

    def queued(self, graph: Graph | None = None, **overrides: Any) -> Job:
        """A queued job with its graph and its ticket, stored directly, without the intake."""
        graph = graph or self.graph
        start = {"owner": self.owner, "queued_at": self.clock(), "fingerprint": fingerprint(graph)}
        job = a_job(**{**start, **overrides})
        self.store.put_request(job, JobParams(params={}), graph)
        assert self.store.add(job) is None
        self.queue.send(job.id, job.owner, job.priority)
        return job

    def submit(
        self,
        sent: Mapping[str, Any] = SENT,
        *,
        key: str | None = None,
        owner: OwnerId | None = None,
        limits: Limits = UNLIMITED,
        store: JobStore | None = None,
        queue: JobQueue | None = None,
        owners: OwnerStore | None = None,
    ) -> Accepted:
        submitter = self.submitter(store=store, queue=queue, owners=owners)
        return submitter.submit(commands.submission(sent), self.caller(limits, key, owner))

    def submitter(
        self,
        catalogue: Catalogue | None = None,
        *,
        store: JobStore | None = None,
        queue: JobQueue | None = None,
        owners: OwnerStore | None = None,
    ) -> Submitter:
        """Accepts posts; the ports that are given replace those of the deployment."""
        jobs = store or self.store
        acceptance = Acceptance(
            store=jobs,
            queue=queue or self.queue,
            uploads=self.uploads,
            admission=self.admission(owners=owners, store=store),
            allowances=self.allowances,
            settle=self.settlement(owners=owners, store=store).complete,
            clock=self.clock,
            nodes=lambda: self.nodes,
        )
        return Submitter(
            acceptance=acceptance,
            store=jobs,
            metrics=self.metrics,
            clock=self.clock,
            defaults=DEFAULTS,
            catalogue=catalogue or Catalogue(),
            nodes=lambda: self.nodes,
        )

    def caller(
        self, limits: Limits, key: str | None = None, owner: OwnerId | None = None
    ) -> Caller:
        """Who posts: the owner of this world, unless another is given."""
        return Caller(
            owner=owner or self.owner, limits=limits, idempotency_key=key, request_id="request-1"
        )

    def cancel(self, job_id: JobId) -> Job:
        """The owner cancels a job; returns its row."""
        return cancel(job_id, self.owner, store=self.store, clock=self.clock).job

    def purge(
        self,
        job_id: JobId,
        *,
        store: JobStore | None = None,
        artifacts: ArtifactStore | None = None,
        settlement: Settlement | None = None,
    ) -> str:
        """Purge a job of the owner; returns the message."""
        settlement = settlement or self.settlement(store=store)
        return purge(
            job_id,
            self.owner,
            store=store or self.store,
            artifacts=artifacts or self.artifacts,
            settle=settlement.complete,
            clock=self.clock,
        ).message

    # --- workers ----------------------------------------------------------------------------------

    def tickets(self, priority: Priority = Priority.NORMAL) -> list[Ticket]:
        """Every ticket that is visible, received."""
        return self.queue.receive(priority, wait_seconds=0, limit=100)

    def ticket(self) -> Ticket:
        """The one ticket that is visible, received."""
        [ticket] = self.tickets()
        return ticket

    def claim(
        self,
        ticket: Ticket,
        *,
        worker_id: WorkerId | None = None,
        store: JobStore | None = None,
        queue: JobQueue | None = None,
        clock: Clock | None = None,
    ) -> Job | None:
        terms = Terms(worker_id=worker_id or random_worker_id(), lease=self.lease)
        jobs, tickets = store or self.store, queue or self.queue
        work = claim(ticket, terms, store=jobs, queue=tickets, clock=clock or self.clock)
        return work and work.job

    def claimed(self) -> tuple[Job, Ticket]:
        """The job of the one ticket, claimed by a worker."""
        ticket = self.ticket()
        job = self.claim(ticket)
        assert job is not None
        return job, ticket

    def started(self) -> tuple[Job, Ticket]:
        """The job of the one ticket, running."""
        job, ticket = self.claimed()
        return report_started(job, store=self.store, clock=self.clock), ticket

    def succeeded(self) -> Job:
        """The job of the one ticket, succeeded with one file."""
        job, ticket = self.started()
        files = [self.upload(job)]
        return self.finisher().end(
            job,
            ticket,
            Succeed(cached=False, nodes_cached=0),
            result=a_result(*files),
            gpu_seconds=1.5,
        )

    def happens(self, job: Job, *happenings: Happening) -> Job:
        """Write these events, one after another, each made of the row before it."""
        current = self.row(job.id)
        for happening in happenings:
            event = happening if isinstance(happening, Event) else happening(current)
            current = self.store.save(current, advance(current, event, self.clock()))
        return current

    def upload(self, job: Job, artifacts: ArtifactStore | None = None) -> Artifact:
        """Store a file of the job's attempt."""
        artifact = an_artifact(job)
        (artifacts or self.artifacts).put(artifact.key, io.BytesIO(b"png"), artifact.content_type)
        return artifact

    def finisher(self, store: JobStore | None = None, queue: JobQueue | None = None) -> Finisher:
        return Finisher(
            store=store or self.store,
            queue=queue or self.queue,
            clock=self.clock,
            free_slot=self.admission().free_slot,
        )

    # --- the settlement of ended jobs -------------------------------------------------------------

    def admission(
        self, owners: OwnerStore | None = None, store: JobStore | None = None
    ) -> Admission:
        return Admission(owners=owners or self.owners, jobs=store or self.store, clock=self.clock)

    def settlement(
        self,
        *,
        store: JobStore | None = None,
        owners: OwnerStore | None = None,
        ledger: Ledger | None = None,
    ) -> Settlement:
        """The steps of a deployment; the ports that are given replace those of this one."""
        counting = partial(count, ledger=ledger or self.ledger, metrics=self.metrics)
        admission = self.admission(owners=owners, store=store)
        return Settlement(
            steps=(Step("free_slot", admission.free_slots), Step("count", counting)),
            store=store or self.store,
            clock=self.clock,
        )

    def settle(self, job_id: JobId) -> Job:
        """Settle the job as the function SettleJobs does; returns its row."""
        assert self.settlement().settle([self.row(job_id)]) == []
        return self.row(job_id)

    # --- the sweeper, and stored jobs ----------------------------------------------------------

    def sweep(
        self,
        *,
        store: JobStore | None = None,
        queue: JobQueue | None = None,
        artifacts: ArtifactStore | None = None,
        settlement: Settlement | None = None,
        clock: Clock | None = None,
        chores: Sequence[Chore] = (),
        ends_at: datetime = NEVER,
    ) -> Counter[str]:
        """One round of the sweeper; the ports that are given replace those of the deployment."""
        return Sweeper(
            store=store or self.store,
            queue=queue or self.queue,
            artifacts=artifacts or self.artifacts,
            settlement=settlement or self.settlement(store=store),
            clock=clock or self.clock,
            executor=InlineExecutor(),
            chores=chores,
        ).sweep(ends_at)

    def row(self, job_id: JobId) -> Job:
        """The stored job."""
        job = self.store.get(job_id)
        assert job is not None
        return job

    def listed(self) -> list[Job]:
        """Every job of the owner, up to 100."""
        records = self.store.page(self.owner, status=None, limit=100, after=None)
        return [record.job for record in records]

    def record(self, job_id: JobId) -> JobRecord:
        """The stored job, with its parameters and files."""
        record = self.store.read(job_id)
        assert record is not None
        return record


class World(InMemoryDeployment):
    """A deployment in memory with a clock that only the test moves."""

    clock: FrozenClock

    def __init__(self) -> None:
        super().__init__(FrozenClock())
