"""The ledger in memory. It keeps the counted jobs, so it counts no job twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from threading import RLock

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.failures import (
    KINDS_PER_BUCKET,
    OTHER,
    FailureGroup,
    Kind,
    Sample,
    bucket_of,
    day_of,
    kind_of,
    merged,
)
from comfyline.service.ledger.months import month_of
from comfyline.service.ledger.store import Usage, UsageByMonth
from comfyline.service.ledger.totals import Totals, added, sums_of, totals_of


class InMemoryLedger:
    """`Ledger` in memory."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._counted: dict[tuple[JobId, str], Job] = {}
        self._failed: list[tuple[date, FailureGroup]] = []
        self._kinds: defaultdict[tuple[date, int], set[Kind]] = defaultdict(set)

    def count(self, ended: Sequence[Job]) -> list[Job]:
        """See Ledger."""
        with self._lock:
            by_key = {(job.id, job.incarnation): job for job in ended}
            new = {key: job for key, job in by_key.items() if key not in self._counted}
            self._counted.update(new)
            for job in new.values():
                self._add_failure(job)
            return [*new.values()]

    def _add_failure(self, job: Job) -> None:
        kind, day = kind_of(job), day_of(job)
        if kind is None:
            return
        known = self._kinds[day, bucket_of(job.owner)]
        if len(known) < KINDS_PER_BUCKET:
            known.add(kind)
        at = job.finished_at or job.queued_at
        found = kind if kind in known else OTHER
        samples = (Sample(job.id, job.owner),)
        self._failed.append((day, FailureGroup(found, 1, at, at, samples)))

    def usage(self, owner: OwnerId) -> Usage:
        """See Ledger."""
        return self.usage_by_month(owner).total

    def usage_by_month(self, owner: OwnerId) -> UsageByMonth:
        """See Ledger."""
        with self._lock:
            jobs = [j for j in self._counted.values() if j.owner == owner and j.gpu_seconds > 0]
        months: defaultdict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            months[month_of(job.finished_at or job.queued_at)].append(job)
        return UsageByMonth(_used(jobs), {month: _used(own) for month, own in months.items()})

    def failures(self, days: Sequence[date]) -> list[FailureGroup]:
        """See Ledger."""
        with self._lock:
            return merged(group for day, group in self._failed if day in days)

    def totals(self) -> Totals:
        """See Ledger."""
        with self._lock:
            return totals_of(added(map(sums_of, self._counted.values())))


def _used(jobs: Iterable[Job]) -> Usage:
    seconds = [job.gpu_seconds for job in jobs]
    return Usage(sum(seconds), len(seconds))
