"""A relation between items of different tables: a query of the index that finds what breaks it.

The columns of the query's rows fill in the texts. The tables are read one after the other while the
service works. So where both things may have changed in between, they are read once more, and the
finding stands only if it still holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from comfyline.adapters.aws.jobs import codec
from comfyline.operate.audit.findings import Finding, Fix
from comfyline.operate.audit.index import Index
from comfyline.operate.audit.source import Source, Table, micro
from comfyline.service.errors import Unreadable

Row = sqlite3.Row
Recheck = Callable[[Source, Row], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """One relation. Texts may name columns: "{job_id}"."""

    kind: str
    subject: str
    message: str
    query: str
    is_leftover: bool = False
    fix: Fix | None = None
    target: str = ""  # names of columns
    still: Recheck | None = None  # None: what was read suffices

    def findings(self, source: Source, index: Index, times: dict[str, Any]) -> Iterator[Finding]:
        """Everything that breaks the relation."""
        for row in index.rows(self.query, times):
            if self.still is None or self.still(source, row):
                yield self._finding(row)

    def _finding(self, row: Row) -> Finding:
        texts = {name: row[name] for name in row.keys()}  # noqa: SIM118 a row is no mapping
        return Finding(
            kind=self.kind,
            subject=self.subject.format_map(texts),
            message=self.message.format_map(texts),
            is_leftover=self.is_leftover,
            fix=self.fix,
            target=tuple(str(row[name]) for name in self.target.split()),
        )


def job_is_as_read(source: Source, row: Row) -> bool:
    """Whether the job has neither changed its state nor was removed since it was read."""
    item = source.item(Table.JOBS, row["job_id"], "job")
    if item is None:
        return False
    try:
        job = codec.job_of(item)
    except Unreadable:
        return False
    return (micro(job.queued_at), job.status.value, job.attempt) == (
        row["queued_at"],
        row["status"],
        row["attempt"],
    )


# Ended jobs that are complete, and that are not being removed; and live jobs that are complete.
KEPT = "j.finished_at < :settled AND j.expires_at > :began"
POSTED = "j.is_live AND j.queued_at < :settled"
JOB = "j.id AS job_id, j.queued_at AS queued_at, j.status AS status, j.attempt AS attempt"
