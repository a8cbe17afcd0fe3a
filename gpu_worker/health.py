"""Whether this worker may run jobs, and whether it was at fault if one failed.

    fault ── engine restarted ── the job's files removed ── probe ─┬─ passed: the job is at fault
               no new jobs from here on                            └─ failed: the worker is
                                                     out of service, probed again until it passes

A worker that stays unhealthy ends, so that its platform replaces it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from comfyline.service.metrics import Metric, Metrics
from gpu_worker.machine_faults import FaultKind

_log = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[str | None]]
"""Why this worker cannot run jobs; None if it can."""


class WorkerUnhealthy(Exception):
    """The worker has been unhealthy for too long, so it must be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often an unhealthy worker is probed, and when it gives up."""

    pauses: Sequence[float] = (15.0, 30.0, 60.0)  # seconds between probes; the last is repeated
    give_up_seconds: float = 600.0  # after so long out of service, the worker ends


DEFAULT_PATIENCE = Patience()


async def _nothing() -> None:
    """There are no files to remove."""


class Health:
    """The health of one worker. At most one check runs at a time, for at most one job."""

    def __init__(
        self,
        probe: Probe,
        restart: Callable[[str], None],
        metrics: Metrics,
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        """`restart` ends the engine's process at once and starts another; it gets the reason."""
        self.reason: str | None = None  # why the worker is out of service; None if it is not
        self._probe, self._restart, self._metrics = probe, restart, metrics
        self._patience = patience
        self._check: asyncio.Task[None] | None = None  # the last one, under way or done

    @property
    def allows_jobs(self) -> bool:
        """Whether the worker may run jobs: it is neither being probed nor out of service."""
        check = self._check
        if check is None:
            return True
        return check.done() and not check.cancelled() and check.exception() is None

    async def wait(self) -> None:
        """Return once the worker may run jobs.

        Raises:
            WorkerUnhealthy: it has been out of service for too long.
            EngineCrashLoop: its engine does not stay up.
        """
        if self._check is not None:
            await asyncio.shield(self._check)

    def suspect(
        self,
        kind: FaultKind,
        *,
        restart: bool = True,
        clean_up: Callable[[], Awaitable[None]] = _nothing,
    ) -> asyncio.Future[bool] | None:
        """Check the worker after a fault; the result is whether it is healthy.

        `restart`: the engine's process still runs. `clean_up` removes the files of the job that ran
        at the time, before the probe.

        Returns None while the check of an earlier fault runs. That fault, or the restart after it,
        may have caused this one, so this one does not count against its job.
        """
        if not self.allows_jobs:
            return None
        _log.warning("worker suspected", extra={"action": "worker_suspected", "kind": kind})
        first_probe: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._check = asyncio.create_task(self._run(kind, first_probe, clean_up))
        if restart:  # at once, so that no other prompt starts on this engine
            self._restart(kind)
        return first_probe

    def require_end(self, since: float, reason: str) -> None:
        """End a worker that has been out of service for too long.

        `since`: when it left service, of `time.monotonic`.

        Raises:
            WorkerUnhealthy: it has been out of service for `give_up_seconds`.
        """
        if time.monotonic() - since > self._patience.give_up_seconds:
            raise WorkerUnhealthy(reason)

    async def close(self) -> None:
        """End a check that is under way."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.gather(self._check, return_exceptions=True)

    # --- one check --------------------------------------------------------------------------------

    async def _run(
        self,
        kind: FaultKind,
        first_probe: asyncio.Future[bool],
        clean_up: Callable[[], Awaitable[None]],
    ) -> None:
        try:
            with suppress(OSError):  # of a broken disk, which the probe then finds
                await clean_up()
            self.reason = await self._probe()
            first_probe.set_result(self.reason is None)
            if self.reason is not None:
                await self._stay_out(kind)
            _log.info("worker healthy", extra={"action": "worker_healthy"})
        finally:
            if not first_probe.done():
                first_probe.set_result(False)

    async def _stay_out(self, kind: FaultKind) -> None:
        since = time.monotonic()
        for number in itertools.count():
            self._metrics.record(Metric.WORKERS_UNHEALTHY, reason=kind.value)
            extra = {"action": "worker_unhealthy", "kind": kind, "why": self.reason}
            _log.error("worker unhealthy", extra=extra)
            self.require_end(since, self.reason or kind)
            await asyncio.sleep(self._pause(number))
            self._restart(kind)
            self.reason = await self._probe()
            if self.reason is None:
                return

    def _pause(self, number: int) -> float:
        pauses = self._patience.pauses
        return pauses[min(number, len(pauses) - 1)]
