"""The ledger in memory. It keeps the counted jobs, so it counts no job twice."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.store import Usage
from comfyline.service.ledger.totals import Totals, added, sums_of, totals_of


class InMemoryLedger:
    """`Ledger` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._counted: dict[tuple[JobId, str], Job] = {}

    def count(self, ended: Sequence[Job]) -> list[Job]:
        """See Ledger."""
        with self._lock:
            by_key = {(job.id, job.incarnation): job for job in ended}
            new = {key: job for key, job in by_key.items() if key not in self._counted}
            self._counted.update(new)
            return [*new.values()]

    def usage(self, owner: OwnerId) -> Usage:
        """See Ledger."""
        with self._lock:
            gpu_seconds = [j.gpu_seconds for j in self._counted.values() if j.owner == owner]
        return Usage(sum(gpu_seconds), sum(seconds > 0 for seconds in gpu_seconds))

    def totals(self) -> Totals:
        """See Ledger."""
        with self._lock:
            return totals_of(added(map(sums_of, self._counted.values())))
