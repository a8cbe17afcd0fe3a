"""The ledger: check the sums over ended jobs against each other, and against what was counted.

The sums are for ever and the notes of counted jobs are not, so in general there are only lower
bounds. While the table is younger than the oldest note can be, the numbers must be equal. Jobs are
counted while the audit reads, so it reads the totals before and after: what it has seen in between
must lie between both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from comfyline.adapters.aws.ledger.table import COUNTED_FOR, numbers_of
from comfyline.operate.audit.findings import Finding
from comfyline.operate.audit.index import Index
from comfyline.operate.audit.source import Source, Table, Terms, micro
from comfyline.service.jobs.job import TERMINAL
from comfyline.service.ledger.totals import added, totals_of

_ROUNDING = 0.001  # seconds of each addition: GPU time is in milliseconds

Sums = Mapping[str, float]


def totals(source: Source) -> Sums:
    """The sums over all jobs, as they are now."""
    return added(numbers_of(row) for row in source.query(Table.OWNERS, "totals"))


def findings(
    source: Source, index: Index, terms: Terms, before: Sums, after: Sums
) -> Iterator[Finding]:
    """Sums that cannot be right. `before` and `after`: the totals around the reading of notes."""
    for fault in (
        *_faults_of_totals(after),
        *_faults_of_usage(index, before, after),
        *_faults_of_counts(source, index, terms, before, after),
    ):
        yield Finding("ledger", "totals", fault)
    yield from _usage_below_jobs(index)
    yield from _months_below_jobs(index, terms)
    yield from _failures_not_as_noted(index, terms)


def _jobs(sums: Sums) -> float:
    return sum(sums.get(f"jobs_{status.value}", 0.0) for status in TERMINAL)


def _faults_of_totals(sums: Sums) -> Iterator[str]:
    shown = totals_of(sums)
    started, waited = shown.durations.buckets[-1][1], shown.waits.buckets[-1][1]
    succeeded = sums.get("jobs_succeeded", 0.0)
    if started != waited:
        yield f"{started:g} jobs have a duration, but {waited:g} have a wait"
    if not succeeded <= started <= _jobs(sums):
        yield f"of {_jobs(sums):g} jobs {started:g} have started and {succeeded:g} have succeeded"


def _faults_of_usage(index: Index, before: Sums, after: Sums) -> Iterator[str]:
    query = "SELECT COALESCE(SUM(gpu_seconds), 0) AS used, COALESCE(SUM(jobs), 0) AS n FROM usage"
    (row,) = index.rows(query)
    low, high = before.get("gpu_seconds", 0.0), after.get("gpu_seconds", 0.0)
    spare = _ROUNDING * (1 + row["n"])
    if not low - spare <= row["used"] <= high + spare:
        yield f"owners have used {row['used']:.3f} s of GPU, but the totals say {high:.3f} s"
    if row["n"] > _jobs(after):
        yield f"{row['n']:g} jobs of owners have used a GPU, but only {_jobs(after):g} have ended"


def _faults_of_counts(
    source: Source, index: Index, terms: Terms, before: Sums, after: Sums
) -> Iterator[str]:
    notes = index.count("notes")
    if notes > _jobs(after):
        yield f"{notes} jobs are noted as counted, but the totals say {_jobs(after):g}"
    is_young = source.created_at(Table.OWNERS) + COUNTED_FOR - timedelta(days=1) > terms.began_at
    if is_young and notes < _jobs(before):
        yield f"the totals say {_jobs(before):g} jobs, but {notes} are noted as counted"
    query = """SELECT j.status AS status, COUNT(*) AS jobs FROM notes n JOIN jobs j
        ON j.id = n.job_id AND j.queued_at = n.queued_at WHERE NOT j.is_live GROUP BY j.status"""
    for row in index.rows(query):
        counted = after.get(f"jobs_{row['status']}", 0.0)
        if row["jobs"] > counted:
            yield f"{row['jobs']} {row['status']} jobs are counted, but the totals say {counted:g}"


def _usage_below_jobs(index: Index) -> Iterator[Finding]:
    """Owners with a usage below that of their counted jobs, as far as their rows still exist."""
    query = """SELECT j.owner AS owner, SUM(j.gpu_seconds) AS used, COUNT(*) AS jobs,
        (SELECT COALESCE(SUM(u.gpu_seconds), 0) FROM usage u WHERE u.owner = j.owner) AS counted,
        (SELECT COALESCE(SUM(u.jobs), 0) FROM usage u WHERE u.owner = j.owner) AS counted_jobs
        FROM notes n JOIN jobs j ON j.id = n.job_id AND j.queued_at = n.queued_at
        WHERE NOT j.is_live AND j.gpu_seconds > 0
        GROUP BY j.owner HAVING used > counted + 0.001 * jobs OR jobs > counted_jobs"""
    for row in index.rows(query):
        text = (
            f"has {row['jobs']} counted jobs of {row['used']:.3f} s, but its usage is "
            f"{row['counted_jobs']:g} jobs of {row['counted']:.3f} s"
        )
        yield Finding("ledger", row["owner"], text)
    query = """SELECT owner, SUM(gpu_seconds) AS used, SUM(jobs) AS jobs FROM usage GROUP BY owner
        HAVING (used > 0) != (jobs > 0)"""
    for row in index.rows(query):
        text = f"has used {row['used']:.3f} s of GPU in {row['jobs']:g} jobs"
        yield Finding("ledger", row["owner"], text)


def _months_below_jobs(index: Index, terms: Terms) -> Iterator[Finding]:
    """Months with a usage below that of the jobs whose notes name them. Older notes name none."""
    query = """SELECT j.owner AS owner, n.month AS month, SUM(j.gpu_seconds) AS used,
        COUNT(*) AS jobs, (SELECT COALESCE(SUM(m.gpu_seconds), 0) FROM months m
            WHERE m.owner = j.owner AND m.month = n.month) AS counted,
        (SELECT COALESCE(SUM(m.jobs), 0) FROM months m
            WHERE m.owner = j.owner AND m.month = n.month) AS counted_jobs
        FROM notes n JOIN jobs j ON j.id = n.job_id AND j.queued_at = n.queued_at
        WHERE n.month NOT NULL AND j.finished_at < :settled
        GROUP BY j.owner, n.month HAVING used > counted + 0.001 * jobs OR jobs > counted_jobs"""
    for row in index.rows(query, {"settled": micro(terms.settled)}):
        text = (
            f"has {row['jobs']} counted jobs of {row['used']:.3f} s in {row['month']}, but its "
            f"usage is {row['counted_jobs']:g} jobs of {row['counted']:.3f} s"
        )
        yield Finding("ledger", row["owner"], text)


def _failures_not_as_noted(index: Index, terms: Terms) -> Iterator[Finding]:
    """Groups of failures with fewer jobs than the notes name. Groups live longer than notes."""
    query = """SELECT n.failure AS failure, COUNT(*) AS jobs,
        (SELECT COALESCE(SUM(f.jobs), 0) FROM failures f WHERE f.failure = n.failure) AS counted
        FROM notes n LEFT JOIN jobs j ON j.id = n.job_id AND j.queued_at = n.queued_at
        WHERE n.failure NOT NULL AND COALESCE(j.finished_at, 0) < :settled
        AND n.ends_at > :began GROUP BY n.failure HAVING jobs > counted"""
    times = {"settled": micro(terms.settled), "began": micro(terms.began_at)}
    for row in index.rows(query, times):
        text = f"{row['jobs']} jobs are noted, but the group counts {row['counted']}"
        yield Finding("failures", row["failure"], text)
