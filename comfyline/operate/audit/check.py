"""The whole audit, in the order that makes it right while the deployment works.

What refers to a job is read before the jobs, and files come last. Otherwise a job or file that is
created in between would seem to be missing.
"""

from __future__ import annotations

from collections.abc import Mapping

from comfyline.operate.audit import ledger, relations
from comfyline.operate.audit.files import Files
from comfyline.operate.audit.findings import Finding, Findings, Report
from comfyline.operate.audit.index import Index, temporary_index
from comfyline.operate.audit.jobs import Jobs
from comfyline.operate.audit.keys import Keys
from comfyline.operate.audit.live import Live
from comfyline.operate.audit.owners import Owners
from comfyline.operate.audit.source import Source, Terms
from comfyline.service.jobs.job import Status


def audit(source: Source, terms: Terms, *, with_bytes: bool = False) -> Report:
    """Check everything. `with_bytes` also reads every listed file, and compares its SHA-256.

    The memory that this needs does not grow with the deployment; the temporary file of the index
    has about 1 KB for each job.
    """
    with temporary_index() as index:
        return _Audit(source, index, terms).report(with_bytes=with_bytes)


class _Audit:
    def __init__(self, source: Source, index: Index, terms: Terms) -> None:
        self._source, self._index, self._terms = source, index, terms

    def report(self, *, with_bytes: bool) -> Report:
        source, index, terms = self._source, self._index, self._terms
        live, files = Live(source, index, terms), Files(source, index, terms)
        tickets, found = source.tickets(), Findings()
        found.add(Keys(source, index, terms).findings())
        found.add(live.findings())
        before = ledger.totals(source)
        found.add(Owners(source, index, terms).findings())
        after = ledger.totals(source)
        found.add(Jobs(source, index, terms).findings())
        found.add(files.findings())
        found.add(relations.findings(source, index, terms))
        found.add(ledger.findings(source, index, terms, before, after))
        found.add(files.missing_uploads())
        if with_bytes:
            found.add(files.altered())
        by_status = self._by_status()
        found.add(self._of_tickets(tickets, by_status))
        counts = {
            "tickets": tickets,
            "slots": index.count("slots"),
            "sockets": live.open_sockets,
            "subscriptions": index.count("subscriptions"),
            "files": files.count,
            "bytes": files.bytes,
        }
        return found.report({**by_status, **counts})

    def _by_status(self) -> dict[str, int]:
        query = "SELECT status, COUNT(*) AS jobs FROM jobs WHERE status NOT NULL GROUP BY status"
        found = {row["status"]: row["jobs"] for row in self._index.rows(query)}
        return {status.value: found.get(status.value, 0) for status in Status}

    def _of_tickets(self, tickets: int, by_status: Mapping[str, int]) -> list[Finding]:
        found = []
        live = by_status[Status.QUEUED] + by_status[Status.RUNNING]
        if tickets and not live:
            found.append(Finding("ticket", "lanes", f"{tickets} left, but every job has ended"))
        if dead := self._source.dead_tickets():
            text = f"{dead} waiting: see docs/runbook.md"
            found.append(Finding("ticket", "dead letters", text))
        return found
