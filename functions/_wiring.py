"""The composition root of the Lambdas: it assembles each use case from its adapters.

A use case that is a class is a property, and a use case that is a function is a method. Each is
assembled at its first use, so that a cold start loads only what the function needs. Tests construct
a `Wiring` with their own environment variables, clock and adapters, and patch nothing.

Jobs are here. `access`, `admin`, `files`, `fleet`, `intake` and `live` have the use cases of those
subjects of the service.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from comfyline.service.clock import Clock, utc_now
from functions._addresses import origin_of
from functions._aws import Aws

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, OwnerId, Principal
    from comfyline.service.cached import Cached
    from comfyline.service.graphs.graph import Graph
    from comfyline.service.jobs.cancel import Cancellation
    from comfyline.service.jobs.job import Job, JobRecord
    from comfyline.service.jobs.read import ListFilter
    from comfyline.service.jobs.result import Artifact
    from comfyline.service.jobs.settle import Settlement
    from comfyline.service.jobs.sweep import Sweeper
    from comfyline.service.ledger.count import Meter
    from comfyline.service.queue.lanes import Priority
    from functions._access import Access
    from functions._admin import Admin
    from functions._files import Files
    from functions._fleet import Fleet
    from functions._intake import Intake
    from functions._live import Live

# In a deployed function this file is the deployment's own lock.
ENGINE_LOCK = Path(__file__).parents[1] / "gpu_worker" / "engine.lock.toml"

# A place in the queue is approximate anyway. Clients may poll a waiting job once a second, and each
# read of a depth is a billed request of 10 to 30 ms.
DEPTH_LIFETIME = timedelta(seconds=3)
# Threads of the sweeper, which wait for two calls per job: 10,000 jobs take 10 s of waiting.
SWEEPS_AT_ONCE = 32


class Wiring:
    """The use cases of one process, and its adapters: `aws`."""

    def __init__(
        self,
        environ: Mapping[str, str],
        clock: Clock = utc_now,
        *,
        aws: Aws | None = None,
        lock_file: Path = ENGINE_LOCK,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.clock, self.sleep = clock, sleep
        self.aws = aws or Aws(environ)
        self._lock_file = lock_file

    @cached_property
    def access(self) -> Access:
        """Keys, tokens, switches, socket passes and budgets."""
        from functions._access import Access

        return Access(self.aws, self.clock)

    @cached_property
    def admin(self) -> Admin:
        """What operators see and do."""
        from functions._admin import Admin

        return Admin(self.aws, self.clock)

    @cached_property
    def files(self) -> Files:
        """Uploads and assets."""
        from functions._files import Files

        return Files(self.aws, self.clock)

    @cached_property
    def intake(self) -> Intake:
        """Accepts jobs, and takes and frees the slots of owners."""
        from functions._intake import Intake

        return Intake(
            self.aws,
            self.clock,
            files=self.files,
            settle=self._settle,
            lock_file=self._lock_file,
            sleep=self.sleep,
        )

    @cached_property
    def live(self) -> Live:
        """Sockets and their messages."""
        from functions._live import Live

        return Live(self.aws, self.clock)

    @cached_property
    def fleet(self) -> Fleet:
        """The scaler and the calls to it."""
        from functions._fleet import Fleet

        return Fleet(self.aws, self.clock)

    # --- reading and ending jobs ------------------------------------------------------------------

    @property
    def page_origins(self) -> tuple[str, str]:
        """The origins of files and of sockets, with which the console's page speaks."""
        files = self.aws.artifacts.sign("any", name="any", seconds=1)
        return origin_of(files), origin_of(self.aws.socket_url)

    def read_job(self, job_id: JobId, caller: Principal) -> JobRecord:
        """One job of the caller."""
        from comfyline.service.jobs.read import read_job

        return read_job(job_id, caller, store=self.aws.jobs, clock=self.clock)

    def read_artifacts(
        self, job_id: JobId, caller: Principal, numbers: range
    ) -> tuple[JobRecord, tuple[Artifact, ...]]:
        """One job of the caller, and the artifacts with these numbers."""
        from comfyline.service.jobs.artifacts import read_artifacts

        return read_artifacts(job_id, caller, numbers, store=self.aws.jobs, clock=self.clock)

    def read_artifact(
        self, job_id: JobId, caller: Principal, number: int, *, as_thumbnail: bool
    ) -> Artifact:
        """One file of a job of the caller, or its thumbnail."""
        from comfyline.service.jobs.artifacts import read_artifact

        return read_artifact(
            job_id,
            caller,
            number,
            store=self.aws.jobs,
            clock=self.clock,
            as_thumbnail=as_thumbnail,
        )

    def queue_position(self, job: Job) -> int | None:
        """About where a queued job stands."""
        from comfyline.service.jobs.read import queue_position

        return queue_position(job, depth=lambda lane: self._depths[lane]())

    @cached_property
    def _depths(self) -> Mapping[Priority, Cached[int]]:
        """The depth of each lane. All clients that wait in a lane read the same number."""
        from comfyline.service.cached import Cached
        from comfyline.service.queue.lanes import Priority

        def of(lane: Priority) -> Cached[int]:
            return Cached(lambda: self.aws.queue.depth(lane), DEPTH_LIFETIME, self.clock)

        return {lane: of(lane) for lane in Priority}

    def read_page(
        self, owner: OwnerId, *, asked: ListFilter, limit: int, cursor: str | None
    ) -> tuple[list[JobRecord], str | None]:
        """One page of the owner's jobs."""
        from comfyline.service.jobs.read import read_page

        return read_page(
            owner,
            asked=asked,
            limit=limit,
            cursor=cursor,
            store=self.aws.jobs,
            clock=self.clock,
        )

    def read_graph(self, job_id: JobId, caller: Principal) -> Graph:
        """The graph of a job of the caller."""
        from comfyline.service.jobs.read import read_graph

        return read_graph(job_id, caller, store=self.aws.jobs, clock=self.clock)

    def cancel(self, job_id: JobId, caller: Principal) -> Cancellation:
        """Cancel a job of the caller."""
        from comfyline.service.jobs.cancel import cancel

        return cancel(
            job_id,
            caller,
            store=self.aws.jobs,
            clock=self.clock,
            free_slot=self.intake.admission.free_slot,
        )

    def purge(self, job_id: JobId, caller: Principal) -> Cancellation:
        """Remove an ended job of the caller."""
        from comfyline.service.jobs.cancel import purge

        return purge(
            job_id,
            caller,
            store=self.aws.jobs,
            artifacts=self.aws.artifacts,
            settle=self._settle,
            clock=self.clock,
            free_slot=self.intake.admission.free_slot,
        )

    # --- repairs and totals -----------------------------------------------------------------------

    @cached_property
    def sweeper(self) -> Sweeper:
        """Repairs jobs after a crash or a lost message."""
        from comfyline.service.jobs.sweep import Chore, Sweeper

        return Sweeper(
            store=self.aws.jobs,
            queue=self.aws.queue,
            artifacts=self.aws.artifacts,
            settlement=self.settlement,
            clock=self.clock,
            executor=ThreadPoolExecutor(SWEEPS_AT_ONCE),
            chores=(
                Chore("SocketClosed", self.live.socket_closer.close_unwanted),
                Chore("SlotDropped", self.intake.admission.reconcile),
            ),
        )

    @cached_property
    def settlement(self) -> Settlement:
        """Runs the steps that follow the end of a job; they are all named here."""
        from comfyline.service.jobs.settle import Settlement, Step

        return Settlement(
            steps=(Step("free_slot", self.intake.admission.free_slots), Step("count", self._count)),
            store=self.aws.jobs,
            clock=self.clock,
        )

    def _count(self, ended: Sequence[Job]) -> None:
        from comfyline.service.ledger.count import count

        with self.aws.grouped_metrics() as metrics:
            count(ended, ledger=self.aws.ledger, metrics=metrics)

    def _settle(self, job: Job) -> Job:
        # The few calls that need the settlement load it then, and no cold start does.
        return self.settlement.complete(job)

    def send_again(self, job_id: JobId) -> bool:
        """Send a new ticket for a job, because its old one reached the dead-letter queue."""
        from comfyline.service.jobs.redrive import send_again

        store, queue = self.aws.jobs, self.aws.queue
        return send_again(job_id, store=store, queue=queue, clock=self.clock)

    @cached_property
    def meter(self) -> Meter:
        """Reads what Prometheus is shown."""
        from comfyline.service.ledger.count import Meter

        return Meter(
            ledger=self.aws.ledger,
            queue=self.aws.queue,
            presence=self.aws.presence,
            clock=self.clock,
        )
