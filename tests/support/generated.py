"""A deployment of any number of jobs that is made while it is read, so it needs no memory.

python -m tests.support.generated 100000     # audits it; prints the seconds and the peak memory
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from comfyline.adapters.aws.attributes import Item, ttl_of
from comfyline.adapters.aws.jobs import codec, results, siblings
from comfyline.adapters.aws.ledger.table import COUNTED_FOR
from comfyline.contract.ids import ConnectionId, JobId, derived_job_id
from comfyline.operate.audit.check import audit
from comfyline.operate.audit.findings import Report
from comfyline.operate.audit.source import StoredFile, Table, Terms
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.totals import sums_of
from tests.support.builders import a_graph, a_job, a_result, an_artifact, settled, some_params
from tests.support.builders import succeeded as succeeded_at

_USED = 1.25  # seconds of GPU of each job


@dataclass
class GeneratedSource:
    """A clean `Source` of this many ended jobs of one owner, each with one file."""

    jobs: int
    now: datetime

    def __post_init__(self) -> None:
        queued = self.now - timedelta(hours=1)
        self._template = settled(succeeded_at(a_job(queued_at=queued), now=queued), now=queued)
        request = siblings.request_items(self._template, some_params(), a_graph(), None)
        self._request = request[0]

    def items(self, table: Table) -> Iterator[Item]:
        if table is Table.JOBS:
            for job in self._jobs():
                yield from self._items_of(job)
        elif table is Table.OWNERS:
            yield from (self._note(job) for job in self._jobs())
            yield from self.query(Table.OWNERS, "totals")

    def item(self, table: Table, pk: str, sk: str) -> Item | None:
        raise AssertionError("a clean deployment needs no second look")

    def query(self, table: Table, pk: str, prefix: str = "") -> Iterator[Item]:
        sums = {name: {"N": str(n * self.jobs)} for name, n in sums_of(self._template).items()}
        names = {"pk": {"S": "totals"}, "sk": {"S": f"{self._template.owner}#0"}}
        yield {**names, **sums, "gpu_jobs": {"N": str(self.jobs)}}

    def created_at(self, table: Table) -> datetime:
        return self.now - timedelta(days=1)

    def files(self) -> Iterator[StoredFile]:
        for job in self._jobs():
            made = an_artifact(job)
            yield StoredFile(made.key, made.bytes, job.queued_at)

    def sha256(self, key: str) -> str | None:
        return "0" * 64

    def is_open(self, connection_id: ConnectionId) -> bool:
        return True

    def tickets(self) -> int:
        return 0

    def dead_tickets(self) -> int:
        return 0

    def _jobs(self) -> Iterator[Job]:
        for n in range(self.jobs):
            yield replace(self._template, id=_id_of(self._template, n))

    def _items_of(self, job: Job) -> Iterator[Item]:
        yield {**codec.item_of(job), "sk": {"S": siblings.ROW}}
        yield from results.result_items(job, a_result(an_artifact(job)))
        yield self._request | {"pk": {"S": job.id}}

    def _note(self, job: Job) -> Item:
        assert job.finished_at is not None
        names = {"pk": {"S": f"counted#{job.id}"}, "sk": {"S": f"counted#{job.incarnation}"}}
        return names | {"ttl": ttl_of(job.finished_at + COUNTED_FOR)}


def _id_of(template: Job, n: int) -> JobId:
    return derived_job_id(template.owner, hashlib.sha256(str(n).encode()).hexdigest())


def audited(jobs: int) -> Report:
    """Audit so many jobs."""
    now = datetime.now(UTC)
    return audit(GeneratedSource(jobs, now), Terms(clock=lambda: now, began_at=now))


def _measure(jobs: int) -> dict[str, float]:
    source = GeneratedSource(jobs, datetime.now(UTC))
    begun = time.perf_counter()
    for table in Table:
        for _ in source.items(table):
            pass
    for _ in source.files():
        pass
    made = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = audited(jobs)
    assert report.is_clean(strict=True), report
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time.perf_counter() - made
    return {
        "jobs": jobs,
        "making_seconds": round(made - begun, 1),
        "audit_seconds": round(seconds, 1),  # with making the items once more
        "memory_before_mib": round(before / 1024),
        "peak_memory_mib": round(peak / 1024),
    }


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
