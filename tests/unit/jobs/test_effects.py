"""What events set: counters, times, progress and history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from comfyline.service.jobs import events as ev
from comfyline.service.jobs.decide import (
    on_failure,
    on_fault,
)
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.lifecycle import MAX_HISTORY, advance, submitted
from comfyline.service.jobs.progress import Progress
from tests.support.builders import LEASE, NOW, a_job, canceled, running, succeeded
from tests.unit.jobs.specification import (
    ERROR,
    event_of,
)

SECOND = timedelta(seconds=1)


class TestCounters:
    def test_a_lost_worker_leaves_its_error_and_no_progress(self) -> None:
        job = advance(running(a_job()), event_of(ev.Progressed, 1), NOW)
        job = advance(job, ev.LeaseExpired(), NOW + LEASE)
        assert (job.failures, job.interruptions, job.progress) == (1, 0, Progress())
        assert job.error is not None
        assert (job.error.type, job.error.attempt) == ("worker_lost", 1)

    def test_an_interruption_is_not_a_failure(self) -> None:
        job = advance(running(a_job()), ev.Interrupted(attempt=1), NOW)
        assert (job.failures, job.interruptions, job.error) == (0, 1, None)

    @pytest.mark.parametrize(
        ("is_healthy", "counters"), [(True, (0, 1, 0)), (False, (0, 0, 1))], ids=["job", "worker"]
    )
    def test_a_fault_counts_to_the_job_or_to_the_worker(
        self, is_healthy: bool, counters: tuple[int, int, int]
    ) -> None:
        event = on_fault(running(a_job()), 1, ERROR, is_healthy=is_healthy, gpu_seconds=2.0)
        job = advance(running(a_job()), event, NOW)
        assert (job.failures, job.faults, job.unhealthy_workers) == counters
        assert (job.status, job.lease, job.gpu_seconds) == (Status.QUEUED, None, 2.0)
        assert job.error == replace(ERROR, attempt=1)

    def test_a_job_that_met_too_many_unhealthy_workers_says_what_to_do(self) -> None:
        job = running(a_job(unhealthy_workers=2))
        job = advance(job, on_fault(job, 1, ERROR, is_healthy=False), NOW)
        assert job.error is not None
        assert job.error.type == "worker_unhealthy"
        assert "Retry the job later" in job.error.message
        assert ERROR.message in job.error.message

    def test_gpu_seconds_add_up_over_attempts(self) -> None:
        job = advance(running(a_job()), ev.Failed(attempt=1, error=ERROR, gpu_seconds=2), NOW)
        job = running(job)
        assert advance(job, ev.Succeeded(attempt=2, gpu_seconds=3), NOW).gpu_seconds == 5

    def test_the_sum_of_gpu_seconds_shows_no_rounding_error(self) -> None:
        job = replace(running(a_job()), gpu_seconds=0.1)
        assert advance(job, ev.Succeeded(attempt=1, gpu_seconds=0.2), NOW).gpu_seconds == 0.3

    def test_a_failure_while_canceling_adds_gpu_seconds_too(self) -> None:
        job = replace(running(a_job()), cancel_requested_at=NOW, gpu_seconds=1.0)
        event = on_failure(job, 1, ERROR, gpu_seconds=2.0)
        assert advance(job, event, NOW).gpu_seconds == 3.0

    def test_success_clears_the_error_of_earlier_attempts(self) -> None:
        job = running(advance(running(a_job()), ev.Failed(attempt=1, error=ERROR), NOW))
        done = advance(job, ev.Succeeded(attempt=2, cached=True), NOW)
        assert (done.error, done.cached, done.progress.fraction) == (None, True, 1.0)

    def test_the_progress_of_a_success_is_that_of_its_end(self) -> None:
        reached = Progress(fraction=0.9, node="5", step=9, steps=100, nodes_done=4, nodes_total=7)
        job = advance(running(a_job()), ev.Progressed(attempt=1, progress=reached), NOW)
        done = advance(job, ev.Succeeded(attempt=1, nodes_cached=3), NOW)
        assert done.progress == Progress(fraction=1.0, nodes_done=7, nodes_total=7)
        assert done.nodes_cached == 3

    def test_history_keeps_the_last_twenty(self) -> None:
        job = a_job()
        for _ in range(9):
            job = running(job)
            job = advance(job, ev.Interrupted(attempt=job.attempt), NOW)
        assert len(job.history) == MAX_HISTORY == 20
        assert [line.version for line in job.history] == list(range(9, 29))


class TestClocks:
    """`start_deadline`, `execution_timeout` and `retention` are independent."""

    def test_the_start_deadline_ends_with_the_first_start(self) -> None:
        job = a_job()
        assert not job.is_past_start_deadline(job.start_deadline - SECOND)
        assert job.is_past_start_deadline(job.start_deadline)
        started = advance(running(job), ev.Interrupted(attempt=1), NOW)
        assert not started.is_past_start_deadline(job.start_deadline)

    def test_the_execution_timeout_restarts_with_each_start(self) -> None:
        job = advance(running(a_job()), ev.Interrupted(attempt=1), NOW + SECOND)
        job = running(job, now=NOW + LEASE)
        assert (job.started_at, job.attempt_started_at) == (NOW, NOW + LEASE)

    @pytest.mark.parametrize("end", [canceled, succeeded])
    def test_retention_begins_with_the_end(self, end: Callable[..., Job]) -> None:
        job = end(a_job(), now=NOW + SECOND)
        assert (job.finished_at, job.expires_at) == (NOW + SECOND, NOW + SECOND + job.retention)
        assert not job.is_past_retention(NOW + job.retention)
        assert job.is_past_retention(NOW + SECOND + job.retention)


def test_a_job_that_replaces_a_record_continues_its_counters() -> None:
    job = submitted(replace(a_job(), attempt=3, version=8))
    assert [(line.version, line.attempt) for line in job.history] == [(8, 3)]
