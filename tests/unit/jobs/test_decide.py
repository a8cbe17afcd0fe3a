"""Which event an occurrence becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from comfyline.service.jobs import events as ev
from comfyline.service.jobs.decide import (
    MAX_FAILURES,
    MAX_FAULTS,
    MAX_INTERRUPTIONS,
    MAX_UNHEALTHY_WORKERS,
    on_cancel,
    on_failure,
    on_fault,
    on_interruption,
    on_lease_expiry,
)
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.lifecycle import RULES, advance
from tests.support.builders import LEASE, NOW, a_job, claimed, running
from tests.unit.jobs.specification import (
    ERROR,
    C,
    R,
)

SECOND = timedelta(seconds=1)


def test_the_third_failure_ends_the_job() -> None:
    kinds = [type(on_failure(running(a_job(failures=n)), 1, ERROR)) for n in range(3)]
    assert kinds == [ev.Failed, ev.Failed, ev.FailedForGood]
    assert MAX_FAILURES == 3


def test_the_tenth_interruption_ends_the_job() -> None:
    kinds = [type(on_interruption(running(a_job(interruptions=n)), 1)) for n in range(10)]
    assert kinds == [*[ev.Interrupted] * 9, ev.InterruptedForGood]
    assert MAX_INTERRUPTIONS == 10


def test_the_second_fault_on_a_healthy_worker_ends_the_job() -> None:
    jobs = [running(a_job(faults=n, failures=2, unhealthy_workers=2)) for n in range(2)]
    kinds = [type(on_fault(job, 1, ERROR, is_healthy=True)) for job in jobs]
    assert kinds == [ev.Faulted, ev.FaultedForGood]
    assert MAX_FAULTS == 2


def test_the_third_unhealthy_worker_ends_the_job() -> None:
    jobs = [running(a_job(unhealthy_workers=n, failures=2, faults=1)) for n in range(3)]
    kinds = [type(on_fault(job, 1, ERROR, is_healthy=False)) for job in jobs]
    assert kinds == [ev.WorkerUnhealthy, ev.WorkerUnhealthy, ev.WorkerUnhealthyForGood]
    assert MAX_UNHEALTHY_WORKERS == 3


def test_a_lost_worker_counts_as_a_failure() -> None:
    kinds = [type(on_lease_expiry(running(a_job(failures=n)), NOW)) for n in range(3)]
    assert kinds == [ev.LeaseExpired, ev.LeaseExpired, ev.LeaseExpiredForGood]


def test_a_lost_worker_past_the_execution_timeout_ends_the_job() -> None:
    job = running(a_job())
    just_before = on_lease_expiry(job, NOW + job.execution_timeout - SECOND)
    at_the_end = on_lease_expiry(job, NOW + job.execution_timeout)
    assert isinstance(just_before, ev.LeaseExpired)
    assert isinstance(at_the_end, ev.LeaseExpiredForGood)
    assert (at_the_end.error.type, at_the_end.error.attempt) == ("execution_timeout", 1)


def test_while_canceling_every_end_is_canceled() -> None:
    counters = {"failures": 2, "faults": 1, "unhealthy_workers": 2, "interruptions": 9}
    job = replace(running(a_job(**counters)), cancel_requested_at=NOW)
    kinds = [
        type(on_failure(job, 1, ERROR)),
        type(on_fault(job, 1, ERROR, is_healthy=True)),
        type(on_fault(job, 1, ERROR, is_healthy=False)),
        type(on_interruption(job, 1)),
        type(on_lease_expiry(job, NOW)),
    ]
    assert [RULES[kind].moves[R] for kind in kinds] == [C] * 5


@pytest.mark.parametrize(
    ("make", "later", "kind"),
    [
        (a_job, 0 * SECOND, ev.Canceled),
        (lambda: claimed(a_job()), 0 * SECOND, ev.CancelRequested),
        (lambda: claimed(a_job()), LEASE, ev.Canceled),
        (lambda: running(a_job()), 0 * SECOND, ev.CancelRequested),
        (lambda: running(a_job()), LEASE, ev.CancelRequested),
    ],
)
def test_a_cancel_ends_a_job_without_lease_and_is_requested_from_a_worker(
    make: Callable[[], Job], later: timedelta, kind: type[ev.Event]
) -> None:
    job = make()
    event = on_cancel(job, NOW + later)
    assert type(event) is kind
    assert advance(job, event, NOW + later).cancel_requested_at == NOW + later
