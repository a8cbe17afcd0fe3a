"""One attempt of one job, from its claim to its terminal write.

    claim ── graph ── engine ──── off the GPU ── store files ── terminal write ── ticket ── clean up
                       │  │                                       │
             heartbeat ┘  └ progress and previews, coalesced      └ refused if the lease was lost

The job's row decides: the answer of each write carries the cancel flag. An attempt that no longer
holds the job stops and writes nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from comfyline.service.errors import JobNotFound, TransitionRefused, Unavailable
from comfyline.service.jobs.finish import (
    NOT_STORED,
    NOTHING,
    Ending,
    Fail,
    GiveBack,
    Retry,
    Succeed,
)
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.report import report_started
from comfyline.service.jobs.result import JobResult, ResultWarning
from comfyline.service.jobs.store import Work
from comfyline.service.metrics import Metric
from comfyline.service.queue.tickets import Ticket
from gpu_worker.comfy.outcomes import Outcome, PromptFailed, PromptSucceeded
from gpu_worker.comfy.scrub import without_server_paths
from gpu_worker.execution import Execution
from gpu_worker.machine_faults import FaultKind
from gpu_worker.made import Made
from gpu_worker.occupancy import Place
from gpu_worker.phases import Phase, timed
from gpu_worker.previews import Previews
from gpu_worker.racing import background, unless
from gpu_worker.reporter import Reporter
from gpu_worker.stop import Stop, StopReason
from gpu_worker.thumbnails import Pictures
from gpu_worker.toolbox import Toolbox
from gpu_worker.verdict import FAULTS, NotStored, Result, Suspected, judged, verdict

COLLECT_SECONDS = 60.0  # a draining worker may still store what a finished prompt has made
DISK_SECONDS = 1.0  # between two checks of the free space

_log = logging.getLogger(__name__)


class Attempt:
    """Runs one claimed job. The worker may ask it to `stop` at any time, and so may the row."""

    def __init__(self, work: Work, ticket: Ticket, tools: Toolbox, place: Place) -> None:
        """`place` is told when the job's prompt enters the engine and leaves it."""
        job = work.job
        self.stop = Stop()
        self._has_left_gpu = False
        self._made: Sequence[Made] = ()
        self._ticket, self._tools, self._place = ticket, tools, place
        self._reporter = Reporter(
            job,
            tools.store,
            tools.clock,
            on_row=self._stop_if_canceling,
            unwatched=tools.progress_interval,
        )
        self._previews = Previews(
            job,
            tools.collector.artifacts,
            is_watched=lambda: self._reporter.is_watched,
            stored=self._reporter.previewed,
        )
        self._execution = Execution(
            work,
            tools,
            self.stop,
            self._reporter,
            self._previews,
            enters_engine=place.enter_engine,
        )

    async def run(self) -> None:
        """Run the job until the attempt has ended; raises only on a bug.

        Afterwards the job has ended, or was given back, or another attempt holds it, or its row
        cannot be reached and the lease will expire.
        """
        try:
            async with background(
                self._beat(), self._report(), self._watch_disk(), self._previews.store_for_ever()
            ):
                with self._tools.engine.held():
                    await self._run_and_end()
        except (TransitionRefused, JobNotFound):
            _log.warning("lease lost", extra=self._context("lease_lost"))
            self._count("lease_lost")
        except Unavailable:
            _log.exception("attempt abandoned", extra=self._context("attempt_abandoned"))
            self._count("abandoned")
        finally:
            # After the last write: a worker that dies before it must not have removed the files.
            await self._execution.clean_up()

    # --- the end --------------------------------------------------------------------------------

    async def _run_and_end(self) -> None:
        outcome = None
        try:
            outcome = await self._outcome()
            await self._end(outcome)
        except FAULTS as fault:
            ending = self._verdict(fault)
            if isinstance(ending, GiveBack):
                _log.warning("job given back", extra=self._context("given_back"), exc_info=fault)
            await self._write(ending)
        except (TransitionRefused, JobNotFound):
            raise
        except Exception:
            # A bug of ours, after the GPU's work. Another run would cost that work again and end in
            # the same way.
            if outcome is None:
                raise
            _log.exception("result not stored", extra=self._context("result_not_stored"))
            is_success = isinstance(outcome, PromptSucceeded)
            await self._write(Fail(NOT_STORED) if is_success else self._verdict(outcome))

    async def _outcome(self) -> Outcome | None:
        try:
            return await self._execution.run()
        finally:
            self._has_left_gpu = True
            self._place.leave_engine()

    @property
    def _is_on_gpu(self) -> bool:
        return self._execution.has_started and not self._has_left_gpu

    async def _end(self, outcome: Outcome | None) -> None:
        ending = self._verdict(outcome)
        match outcome, ending:
            case PromptSucceeded(), Succeed():
                result = await self._stored_result()
                ending = self._verdict(outcome if result is not None else NotStored())
                await self._write(ending, result or NOTHING)
            case PromptFailed(), Fail():
                await self._write(ending, await self._stored_result() or NOTHING)
            case _:
                await self._write(ending)

    async def _stored_result(self) -> JobResult | None:
        """What the prompt made, stored; None if the worker had to stop before it was stored."""
        with timed(self._tools.metrics, Phase.COLLECT):
            collecting = self._collect()
            return await unless(self.stop.hurry, collecting, grace_seconds=COLLECT_SECONDS)

    async def _collect(self) -> JobResult:
        made, missing = await asyncio.to_thread(self._execution.made)
        self._made = made
        artifacts, not_stored = await self._tools.collector.collect(
            self._reporter.job, made, stored=self._reporter.stored
        )
        return JobResult(
            artifacts=tuple(artifacts),
            values=self._execution.values,
            warnings=tuple(map(self._shown_warning, [*missing, *not_stored])),
            is_partial=self._execution.is_partial,
        )

    async def _judge(self, suspected: Suspected) -> Ending | None:
        """The ending after a probe of this worker has shown whether the machine is at fault."""
        probing = self._tools.health.suspect(
            FaultKind(suspected.error.type),
            restart=not suspected.engine_has_ended,
            clean_up=self._execution.clean_up,
        )
        if probing is None:
            return GiveBack()
        is_healthy = await unless(self.stop.moot, _result_of(probing))
        if is_healthy is None:
            return None if self.stop.reason is StopReason.LEASE_LOST else GiveBack()
        return judged(suspected, is_healthy=is_healthy)

    async def _write(self, ending: Ending | Suspected | None, result: JobResult = NOTHING) -> None:
        """Make the write that ends the attempt, while no other write of the attempt is under way.

        Nothing is written for None.
        """
        if isinstance(ending, Suspected):
            return await self._write(await self._judge(ending))
        if ending is None:
            return self._count("lease_lost")
        with timed(self._tools.metrics, Phase.FINISH):
            await self._previews.end()
            async with self._reporter.paused() as job:
                is_success = isinstance(ending, Succeed)
                ended = await asyncio.to_thread(
                    self._tools.finisher.end,
                    await self._reported_started(job) if is_success else job,
                    self._ticket,
                    ending,
                    result=result,
                    gpu_seconds=self._execution.gpu_seconds,
                )
        self._count("ended" if ended.status.is_terminal else "given_back")
        if ended.status.is_terminal and ended.lists_files and result.artifacts:
            await self._offer_pictures(ended, result)
        return None

    async def _offer_pictures(self, ended: Job, result: JobResult) -> None:
        """Have thumbnails made of the job's pictures, if the deployment has them."""
        thumbnails = self._tools.thumbnails
        if thumbnails is None:
            return
        try:
            opening = asyncio.to_thread(Pictures.opened, ended, self._made, result.artifacts)
            thumbnails.offer(await opening)
        except Exception:  # noqa: BLE001 - the job has ended, whatever becomes of them
            _log.exception("no thumbnails", extra=self._context("thumbnails_failed"))

    async def _reported_started(self, job: Job) -> Job:
        """The job, marked as started: the messages about the start may have been lost."""
        if job.status is not Status.QUEUED:
            return job
        return await asyncio.to_thread(
            report_started, job, store=self._tools.store, clock=self._tools.clock
        )

    def _verdict(self, result: Result) -> Ending | Suspected | None:
        ending = verdict(
            result,
            self.stop.reason,
            has_started=self._execution.has_started,
            end_reason=self._tools.engine.end_reason,
        )
        if isinstance(ending, (Fail, Retry, Suspected)):
            error = replace(ending.error, message=self._shown(ending.error.message))
            return replace(ending, error=error)
        return ending

    def _shown(self, message: str) -> str:
        """The message as a client may see it."""
        return without_server_paths(message, self._tools.files.base)

    def _shown_warning(self, warning: ResultWarning) -> ResultWarning:
        return replace(warning, message=self._shown(warning.message))

    def _count(self, outcome: str) -> None:
        self._tools.metrics.record(Metric.ATTEMPTS_ENDED, outcome=outcome)

    # --- beside the prompt ----------------------------------------------------------------------

    async def _beat(self) -> None:
        keeping = self._tools.heartbeat.keep(
            self._reporter.job, self._ticket, renewed=self._reporter.received, lost=self._lose
        )
        try:
            await keeping
        except Exception:  # noqa: BLE001 - a bug; without heartbeats the lease is lost soon
            _log.exception("heartbeat broke", extra=self._context("heartbeat_broke"))
            self._lose()

    async def _watch_disk(self) -> None:
        """End the prompt before it has filled the disk that the whole worker uses."""
        while not (self._is_on_gpu and await asyncio.to_thread(self._tools.disk.is_low)):
            await asyncio.sleep(DISK_SECONDS)
        self.stop.request(StopReason.OUT_OF_DISK)
        self._tools.engine.restart(FaultKind.OUT_OF_DISK.value)

    async def _report(self) -> None:
        try:
            await self._reporter.write_for_ever()
        except (TransitionRefused, JobNotFound):
            self._lose()
        except Exception:  # noqa: BLE001 - a bug; the write that ends the job needs no progress
            _log.exception("progress not written", extra=self._context("progress_broke"))

    def _lose(self) -> None:
        self.stop.request(StopReason.LEASE_LOST)

    def _stop_if_canceling(self, job: Job) -> None:
        if job.is_canceling:
            self.stop.request(StopReason.CANCEL)

    def _context(self, action: str) -> dict[str, object]:
        job = self._reporter.job
        return {"action": action, "job_id": job.id, "attempt": job.attempt}


async def _result_of(probing: asyncio.Future[bool]) -> bool:
    """The result of a probe, which goes on if this is canceled."""
    return await asyncio.shield(probing)
