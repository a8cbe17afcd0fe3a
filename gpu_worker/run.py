"""One attempt of one job, from its claim to its terminal write.

    claim ── graph ── engine ────────────── collect ── terminal write ── ticket
                       │  │                                 │
             heartbeat ┘  └ progress, coalesced             └ fenced by the attempt: refused if the
                                                              lease was lost meanwhile

Whatever happens here, the row decides: each answer of it carries the cancel flag, and an attempt
that no longer holds the job stops and writes nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from comfyline.domain.errors import LeaseLost, TransitionRefused, Unavailable
from comfyline.domain.job import Job, JobError, Status
from comfyline.domain.progress import Progress
from comfyline.domain.workflow import with_output_folder
from comfyline.ports import Clock, JobStore, Ticket
from comfyline.usecases.finish import Finisher
from comfyline.usecases.report import report_started
from gpu_worker.comfy import protocol
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.http import EngineError, EngineUnreachable, PromptRejected
from gpu_worker.comfy.outputs import outputs_of
from gpu_worker.comfy.progress import Snapshot
from gpu_worker.faults import job_error_of, rejection_error, retry_is_of_use
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.interruption import Reason, Stop
from gpu_worker.outputs import Collector
from gpu_worker.reporter import Reporter

OBEY_SECONDS = 1.0  # a draining worker gives the job back then, whether or not the engine obeyed
COLLECT_SECONDS = 60.0  # a draining worker may still store what a finished prompt has made

_PROMPTS = uuid.UUID("9d6f4c5e-2f0b-4b7e-9c55-3a7f0d6e1b11")  # a namespace of our own

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """What every attempt works with."""

    store: JobStore
    clock: Clock
    engine: ComfyEngine
    finisher: Finisher
    heartbeat: Heartbeat
    collector: Collector


class Attempt:
    """Runs one claimed job. `stop` may be asked of it at any time, from outside or by the row."""

    def __init__(self, job: Job, ticket: Ticket, tools: Toolbox) -> None:
        self.stop = Stop()
        self._job_id, self._attempt, self._ticket, self._tools = job.id, job.attempt, ticket, tools
        self._reporter = Reporter(job, tools.store, tools.clock, answered=self._heed)
        self._started_at: float | None = None
        self._timeout: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Run it to whatever end; only a bug of ours raises.

        Afterwards the row is ended, given back, or somebody else's, or it is out of reach and the
        lease will run out.
        """
        heart = asyncio.create_task(self._beat())
        reports = asyncio.create_task(self._report())
        try:
            await self._run_and_end()
        except (LeaseLost, TransitionRefused):
            _log.warning("lease lost", extra=self._context("lease_lost"))
        except Unavailable:
            _log.exception("row out of reach", extra=self._context("attempt_abandoned"))
        finally:
            if self._timeout is not None:
                self._timeout.cancel()
            heart.cancel()
            reports.cancel()
            await asyncio.gather(heart, reports, return_exceptions=True)

    # --- from the engine to the end -----------------------------------------------------------

    async def _run_and_end(self) -> None:
        try:
            outcome = await self._outcome()
            if isinstance(outcome, protocol.Succeeded) and not self.stop.lost:
                return await self._succeed(outcome)
        except PromptRejected as rejected:
            return await self._finish(self._tools.finisher.fail, rejection_error(rejected))
        except EngineUnreachable:
            _log.warning("engine unreachable", extra=self._context("engine_unreachable"))
            return await self._give_back()
        except EngineError as error:
            problem = JobError(type="engine_error", message=str(error))
            return await self._finish(self._tools.finisher.retry, problem)
        return await self._end(outcome)

    async def _outcome(self) -> protocol.Outcome | None:
        """How the prompt ended; None if a hurry left no time to learn it."""
        job = self._reporter.job
        graph = await asyncio.to_thread(self._tools.store.graph, job)
        graph = with_output_folder(graph, f"{job.id}/{self._attempt}")
        prompt_id = str(uuid.uuid5(_PROMPTS, f"{job.id}/{self._attempt}"))
        running = self._tools.engine.run(
            graph, prompt_id, on_event=self._on_event, cancel=self.stop.requested
        )
        return await self._unless_hurried(running, OBEY_SECONDS)

    async def _unless_hurried(self, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
        """What `work` returns; None if it takes longer than `seconds` once there is a hurry."""
        working = asyncio.create_task(work)
        hurry = asyncio.create_task(self.stop.hurry.wait())
        try:
            await asyncio.wait({working, hurry}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({working}, timeout=seconds if hurry.done() else None)
            return working.result() if working.done() else None
        finally:
            working.cancel()
            hurry.cancel()

    async def _succeed(self, outcome: protocol.Succeeded) -> None:
        gpu_seconds = self._gpu_seconds()
        collecting = self._tools.collector.collect(self._reporter.job, outputs_of(outcome.outputs))
        artifacts = await self._unless_hurried(collecting, COLLECT_SECONDS)
        if artifacts is None:
            await self._give_back()
            return
        async with self._reporter.quiet() as job:
            await asyncio.to_thread(
                self._tools.finisher.succeed,
                await self._surely_started(job),
                self._ticket,
                artifacts,
                cached=outcome.cached,
                gpu_seconds=gpu_seconds,
            )

    async def _surely_started(self, job: Job) -> Job:
        """Whatever messages were lost, what has succeeded has run."""
        if job.status is not Status.QUEUED:
            return job
        return await asyncio.to_thread(
            report_started, job, store=self._tools.store, clock=self._tools.clock
        )

    async def _end(self, outcome: protocol.Outcome | None) -> None:
        finisher, reason = self._tools.finisher, self.stop.reason
        if self.stop.lost:
            return None
        if isinstance(outcome, protocol.Failed):
            finish = finisher.retry if retry_is_of_use(outcome) else finisher.fail
            return await self._finish(finish, job_error_of(outcome))
        if reason is Reason.TIMEOUT:
            return await self._finish(finisher.fail, _TIMED_OUT)
        if reason is Reason.CANCEL and outcome is not None:
            async with self._reporter.quiet() as job:
                await asyncio.to_thread(
                    finisher.stop, job, self._ticket, gpu_seconds=self._gpu_seconds()
                )
            return None
        if reason is not None:
            return await self._give_back()
        return await self._finish(finisher.retry, _ENGINE_LOST)

    async def _finish(self, finish: Callable[..., Job], error: JobError) -> None:
        async with self._reporter.quiet() as job:
            await asyncio.to_thread(
                finish, job, self._ticket, error, gpu_seconds=self._gpu_seconds()
            )

    async def _give_back(self) -> None:
        async with self._reporter.quiet() as job:
            await asyncio.to_thread(self._tools.finisher.give_back, job, self._ticket)

    # --- what is heard meanwhile --------------------------------------------------------------

    def _on_event(self, event: protocol.Event) -> None:
        match event:
            case protocol.Started():
                self._started_at = time.monotonic()
                self._timeout = asyncio.get_running_loop().call_later(
                    self._reporter.job.execution_timeout.total_seconds(),
                    self.stop.request,
                    Reason.TIMEOUT,
                )
                self._reporter.started()
            case protocol.Progressed(snapshot):
                self._reporter.progressed(_progress_of(snapshot))

    def _heed(self, job: Job) -> None:
        if job.is_canceling:
            self.stop.request(Reason.CANCEL)

    async def _report(self) -> None:
        try:
            await self._reporter.write_for_ever()
        except (LeaseLost, TransitionRefused):
            self._lose()

    async def _beat(self) -> None:
        await self._tools.heartbeat.keep(
            self._reporter.job, self._ticket, renewed=self._reporter.heard, lost=self._lose
        )

    def _lose(self) -> None:
        self.stop.request(Reason.LEASE_LOST)

    def _gpu_seconds(self) -> float:
        return 0.0 if self._started_at is None else round(time.monotonic() - self._started_at, 3)

    def _context(self, action: str) -> dict[str, object]:
        return {"action": action, "job_id": self._job_id, "attempt": self._attempt}


def _progress_of(snapshot: Snapshot) -> Progress:
    return Progress(**asdict(snapshot), message=snapshot.message)


_TIMED_OUT = JobError(
    type="execution_timeout", message="The job ran longer than its execution timeout."
)
_ENGINE_LOST = JobError(
    type="engine_lost", message="ComfyUI stopped, or was restarted, while it ran this job."
)
