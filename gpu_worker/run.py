"""One attempt of one job, from its claim to its terminal write.

    claim ── graph ── engine ─────── off the GPU ── collect ── terminal write ── ticket ── clean
                       │  │                                         │
             heartbeat ┘  └ progress and previews, coalesced        └ fenced by the attempt: refused
                                                                      if the lease was lost

Whatever happens here, the row decides: each answer of it carries the cancel flag, and an attempt
that no longer holds the job stops and writes nothing more.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, LeaseLost, TransitionRefused, Unavailable
from comfyline.service.graphs.graph import with_output_folder
from comfyline.service.jobs.finish import (
    EndCanceled,
    Ending,
    Fail,
    Finisher,
    GiveBack,
    Retry,
    Succeed,
)
from comfyline.service.jobs.job import Artifact, Job, JobError, Status
from comfyline.service.jobs.report import report_started
from comfyline.service.jobs.store import JobStore
from comfyline.service.metrics import Metric, Metrics
from comfyline.service.queue.tickets import Ticket
from gpu_worker.comfy import protocol
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.http import EngineError, EngineUnreachable, PromptRejected
from gpu_worker.comfy.keeper import EngineCrashLoop
from gpu_worker.comfy.outputs import Output, outputs_of
from gpu_worker.faults import (
    ENGINE_LOST,
    TIMED_OUT,
    breaks_engine,
    input_error,
    job_error_of,
    rejection_error,
    retry_is_of_use,
)
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.inputs import InputMissing, Inputs
from gpu_worker.interruption import Reason, Stop
from gpu_worker.measures import Stage, timed
from gpu_worker.outputs import Collector
from gpu_worker.previews import Previews
from gpu_worker.reporter import Reporter
from gpu_worker.workspace import Workspace

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
    workspace: Workspace
    inputs: Inputs
    metrics: Metrics


class Attempt:
    """Runs one claimed job. `stop` may be asked of it at any time, from outside or by the row."""

    def __init__(
        self, job: Job, ticket: Ticket, tools: Toolbox, left_engine: Callable[[], None]
    ) -> None:
        """`left_engine` is called once the GPU is done with it."""
        self.stop = Stop()
        self._job_id, self._attempt, self._ticket, self._tools = job.id, job.attempt, ticket, tools
        self._folder = job.attempt_path
        self._prompt_id = str(uuid.uuid5(_PROMPTS, job.attempt_path))
        self._reporter = Reporter(job, tools.store, tools.clock, answered=self._heed)
        self._previews = Previews(
            job,
            tools.collector.artifacts,
            is_watched=lambda: self._reporter.is_watched,
            stored=self._reporter.previewed,
        )
        self._left_engine = left_engine
        self._given_at = time.monotonic()  # to the engine, once it is
        self._started_at: float | None = None
        self._gpu_seconds = 0.0
        self._timeout: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Run it to whatever end; only a bug of ours raises.

        Afterwards the row is ended, given back, or somebody else's, or it is out of reach and the
        lease will run out.
        """
        work = (self._beat(), self._report(), self._previews.store_for_ever())
        side_tasks = [asyncio.create_task(one) for one in work]
        try:
            with self._tools.engine.held():
                await self._run_and_end()
        except (LeaseLost, TransitionRefused, JobNotFound):
            _log.warning("lease lost", extra=self._context("lease_lost"))
            self._record_end("lease_lost")
        except Unavailable:
            _log.exception("row out of reach", extra=self._context("attempt_abandoned"))
            self._record_end("abandoned")
        finally:
            for task in side_tasks:
                task.cancel()
            await asyncio.gather(*side_tasks, return_exceptions=True)
            await self._clean()

    async def _clean(self) -> None:
        """After the last write: what is still needed after a crash is still there."""
        await self._tools.engine.forget(self._prompt_id)
        await asyncio.to_thread(self._tools.workspace.remove, self._folder)

    # --- from the engine to the end -----------------------------------------------------------

    async def _run_and_end(self) -> None:
        try:
            outcome = await self._outcome()
            if isinstance(outcome, protocol.Succeeded) and not self.stop.lost:
                return await self._succeed(outcome)
            return await self._end(outcome)
        except PromptRejected as rejected:
            return await self._finish(Fail(rejection_error(rejected)))
        except InputMissing as missing:
            return await self._finish(Fail(input_error(missing)))
        except (EngineUnreachable, EngineCrashLoop, Unavailable) as error:  # ours, not the job's
            _log.warning("given back", extra=self._context("given_back"), exc_info=error)
            return await self._finish(GiveBack())
        except EngineError as error:
            problem = JobError(type="engine_error", message=str(error))
            return await self._finish(Retry(problem))

    async def _outcome(self) -> protocol.Outcome | None:
        """How the prompt ended; None if a hurry left no time to learn it."""
        try:
            job = self._reporter.job
            with timed(self._tools.metrics, Stage.INPUTS):
                graph = await asyncio.to_thread(self._tools.store.graph, job)
                graph = await self._tools.inputs.placed(job, graph, self._folder)
            self._given_at = time.monotonic()
            running = self._tools.engine.run(
                with_output_folder(graph, self._folder),
                self._prompt_id,
                on_event=self._on_event,
                cancel=self.stop.requested,
                previews=job.wants_previews,
            )
            return await self._unless_hurried(running, OBEY_SECONDS)
        finally:
            self._leave_engine()

    def _leave_engine(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
        if self._started_at is not None:
            self._gpu_seconds = round(time.monotonic() - self._started_at, 3)
            self._tools.metrics.record(Metric.GPU_BUSY, self._gpu_seconds)
            self._record_stage(Stage.RUN, self._gpu_seconds)
        self._left_engine()

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
        artifacts = await self._collected(outcome.outputs)
        if artifacts is None:
            return await self._finish(GiveBack())
        return await self._finish(Succeed(cached=outcome.cached), artifacts)

    async def _collected(self, outputs: Mapping[str, Any]) -> list[Artifact] | None:
        """What the prompt made, stored; None if a hurry left no time."""
        with timed(self._tools.metrics, Stage.COLLECT):
            return await self._unless_hurried(self._collect(outputs_of(outputs)), COLLECT_SECONDS)

    async def _collect(self, outputs: Sequence[Output]) -> list[Artifact]:
        collect = partial(
            self._tools.collector.collect, self._reporter.job, outputs, stored=self._reporter.stored
        )
        try:
            return await collect()
        except EngineUnreachable:  # what it made lies on disk and outlives it
            await self._tools.engine.wait_answer()
            return await collect()

    async def _surely_started(self, job: Job) -> Job:
        """Whatever messages were lost, what has succeeded has run."""
        if job.status is not Status.QUEUED:
            return job
        return await asyncio.to_thread(
            report_started, job, store=self._tools.store, clock=self._tools.clock
        )

    async def _end(self, outcome: protocol.Outcome | None) -> None:
        reason = self.stop.reason
        if self.stop.lost:
            self._record_end("lease_lost")
            return None
        if isinstance(outcome, protocol.Failed):
            return await self._fail(outcome)
        if reason is Reason.TIMEOUT:
            return await self._finish(Fail(TIMED_OUT))
        if reason is Reason.CANCEL and outcome is not None:
            return await self._finish(EndCanceled())
        if reason is not None or self._started_at is None:
            # A prompt that only waited has no part in the death of its engine.
            return await self._finish(GiveBack())
        return await self._finish(Retry(ENGINE_LOST))

    async def _fail(self, outcome: protocol.Failed) -> None:
        if breaks_engine(outcome):
            self._tools.engine.restart("gpu_error")
        if retry_is_of_use(outcome):
            return await self._finish(Retry(job_error_of(outcome)))
        artifacts = await self._collected(outcome.outputs)
        return await self._finish(Fail(job_error_of(outcome)), artifacts or ())

    async def _finish(self, ending: Ending, artifacts: Sequence[Artifact] = ()) -> None:
        with timed(self._tools.metrics, Stage.FINISH):
            async with self._quiet() as job:
                known = await self._surely_started(job) if isinstance(ending, Succeed) else job
                ended = await asyncio.to_thread(
                    self._tools.finisher.end,
                    known,
                    self._ticket,
                    ending,
                    artifacts=artifacts,
                    gpu_seconds=self._gpu_seconds,
                )
        self._record_end(ended.status.value if ended.status.is_terminal else "given_back")

    def _record_end(self, outcome: str) -> None:
        self._tools.metrics.record(Metric.ATTEMPTS_ENDED, outcome=outcome)

    def _record_stage(self, stage: Stage, seconds: float) -> None:
        self._tools.metrics.record(Metric.STAGE_TIME, seconds, stage=stage.value)

    @asynccontextmanager
    async def _quiet(self) -> AsyncIterator[Job]:
        """The row, with nothing else of ours under way, for the write that ends the attempt."""
        await self._previews.end()
        async with self._reporter.quiet() as job:
            yield job

    # --- what is heard meanwhile --------------------------------------------------------------

    def _on_event(self, event: protocol.Event) -> None:
        match event:
            case protocol.Started():
                self._started_at = time.monotonic()
                self._record_stage(Stage.AHEAD, self._started_at - self._given_at)
                self._timeout = asyncio.get_running_loop().call_later(
                    self._reporter.job.execution_timeout.total_seconds(),
                    self.stop.request,
                    Reason.TIMEOUT,
                )
                self._reporter.started()
            case protocol.Progressed(progress):
                self._reporter.progressed(progress)
            case protocol.Previewed() if self._reporter.job.wants_previews:
                self._previews.offer(event)

    def _heed(self, job: Job) -> None:
        if job.is_canceling:
            self.stop.request(Reason.CANCEL)

    async def _report(self) -> None:
        try:
            await self._reporter.write_for_ever()
        except (LeaseLost, TransitionRefused, JobNotFound):
            self._lose()

    async def _beat(self) -> None:
        await self._tools.heartbeat.keep(
            self._reporter.job, self._ticket, renewed=self._reporter.heard, lost=self._lose
        )

    def _lose(self) -> None:
        self.stop.request(Reason.LEASE_LOST)

    def _context(self, action: str) -> dict[str, object]:
        return {"action": action, "job_id": self._job_id, "attempt": self._attempt}
