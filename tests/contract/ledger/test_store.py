"""What every Ledger does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from comfyline.service.jobs.job import Job, Status
from comfyline.service.ledger.store import Ledger, Usage
from tests.support.builders import NOW, a_job, an_owner, canceled, succeeded

SECOND = timedelta(seconds=1)


def ended(**overrides: Any) -> Job:
    """A job that waited for 3 s and ran for 20 s."""
    job = replace(succeeded(a_job(), now=NOW), gpu_seconds=1.5, started_at=NOW + 3 * SECOND)
    times = {"finished_at": NOW + 23 * SECOND, **overrides}
    return replace(job, **times)


def test_an_empty_ledger_has_only_zeros(ledger: Ledger) -> None:
    totals = ledger.totals()
    assert set(totals.jobs.values()) == {0}
    assert totals.durations.buckets[-1] == (float("inf"), 0)
    assert ledger.usage(an_owner()) == Usage()


def test_each_end_is_counted_once_whatever_the_order_and_number_of_calls(ledger: Ledger) -> None:
    first, second, third = ended(), ended(interruptions=2), canceled(a_job())
    assert ledger.count([first]) == [first]
    assert ledger.count([first, second, second]) == [second]
    assert ledger.count([third, first, second]) == [third]
    assert ledger.count([first, second, third]) == []
    assert ledger.count([]) == []
    totals = ledger.totals()
    assert (totals.jobs[Status.SUCCEEDED], totals.jobs[Status.CANCELED]) == (2, 1)
    assert (totals.gpu_seconds, totals.interruptions) == (3.0, 2)


def test_a_later_job_of_the_same_id_is_counted_too(ledger: Ledger) -> None:
    job = ended()
    ledger.count([job])
    later = replace(job, queued_at=job.queued_at + timedelta.resolution)
    assert ledger.count([later, job]) == [later]


def test_buckets_are_cumulative(ledger: Ledger) -> None:
    ledger.count([ended(), ended(finished_at=NOW + timedelta(seconds=13)), canceled(a_job())])
    ledger.count([ended(finished_at=NOW + timedelta(hours=1, seconds=3))])
    found = ledger.totals().durations
    assert dict(found.buckets) == {
        10: 1, 30: 2, 60: 2, 120: 2, 300: 2, 600: 2, 1200: 2, float("inf"): 3
    }  # fmt: skip
    assert found.seconds == 10 + 20 + 3600
    waits = ledger.totals().waits
    assert (dict(waits.buckets)[1], dict(waits.buckets)[5], waits.seconds) == (0, 3, 9)


def test_more_jobs_than_one_transaction_can_hold(ledger: Ledger) -> None:
    owner = an_owner()
    jobs = [ended(owner=owner if n % 2 else an_owner()) for n in range(120)]
    assert ledger.count(jobs[:70]) == jobs[:70]
    assert ledger.count(jobs) == jobs[70:]
    assert ledger.totals().jobs[Status.SUCCEEDED] == 120
    assert ledger.usage(owner) == Usage(gpu_seconds=90.0, jobs=60)


def test_a_job_that_used_no_gpu_adds_nothing_to_the_usage(ledger: Ledger) -> None:
    job = canceled(a_job())
    ledger.count([job])
    assert ledger.usage(job.owner) == Usage()
