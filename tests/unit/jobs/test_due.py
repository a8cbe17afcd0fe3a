"""When the sweeper must look at a job next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from comfyline.service.errors import TransitionRefused
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.artifact_keys import preview_key, void_prefixes
from comfyline.service.jobs.due import (
    LEASE_GRACE,
    MAX_TICKET_GRACE,
    SETTLE_DELAY,
    TICKET_GRACE,
    TIDY_DELAY,
)
from comfyline.service.jobs.job import Job, JobOptions
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.progress import Progress
from tests.support.builders import LEASE, NOW, a_job, canceled, claimed, running, succeeded
from tests.unit.jobs.specification import (
    R,
    event_of,
    job_for,
)

SECOND = timedelta(seconds=1)


class TestDue:
    def test_a_new_job_is_due_when_its_ticket_may_be_lost(self) -> None:
        assert a_job().due_at == NOW + timedelta(seconds=30)

    def test_each_resent_ticket_quadruples_the_wait_up_to_an_hour(self) -> None:
        job, waits = a_job(start_deadline=NOW + timedelta(days=7)), []
        for _ in range(5):
            job = advance(job, ev.TicketResent(), NOW)
            assert job.due_at is not None
            waits.append((job.due_at - NOW).total_seconds())
        assert waits == [120, 480, 1920, 3600, 3600]

    def test_after_a_week_of_resent_tickets_the_wait_is_an_hour(self) -> None:
        job = a_job(start_deadline=NOW + timedelta(days=7), ticket_sends=1000)
        assert advance(job, ev.TicketResent(), NOW).due_at == NOW + MAX_TICKET_GRACE

    def test_after_a_claim_the_first_wait_is_short_again(self) -> None:
        job = running(a_job(ticket_sends=4))
        job = advance(job, ev.Interrupted(attempt=1), NOW)
        assert (job.ticket_sends, job.due_at) == (0, NOW + TICKET_GRACE)

    def test_a_new_job_is_due_at_its_start_deadline_at_the_latest(self) -> None:
        deadline = NOW + TICKET_GRACE / 2
        assert a_job(start_deadline=deadline).due_at == deadline

    def test_a_leased_job_is_due_when_its_lease_has_surely_expired(self) -> None:
        waiting = advance(a_job(ticket_sends=4), ev.TicketResent(), NOW)
        assert waiting.due_at == NOW + MAX_TICKET_GRACE
        assert claimed(waiting).due_at == NOW + LEASE + LEASE_GRACE

    def test_a_claim_and_a_start_keep_an_earlier_due_time(self) -> None:
        job = a_job()
        assert running(job).due_at == claimed(job).due_at == job.due_at == NOW + TICKET_GRACE

    @pytest.mark.parametrize("kind", [ev.Renewed, ev.Watched, ev.Progressed, ev.Stored])
    def test_frequent_writes_keep_the_due_time(self, kind: type[ev.Event]) -> None:
        job = running(a_job())
        assert advance(job, event_of(kind, 1), NOW + SECOND).due_at == job.due_at

    def test_a_job_found_alive_is_due_after_its_renewed_lease(self) -> None:
        job = advance(
            claimed(a_job()), ev.Renewed(attempt=1, lease_expires_at=NOW + 2 * LEASE), NOW
        )
        assert advance(job, ev.FoundAlive(), NOW).due_at == NOW + 2 * LEASE + LEASE_GRACE

    @pytest.mark.parametrize("end", [canceled, succeeded])
    def test_the_end_leaves_the_indexed_field_alone_and_the_settlement_sets_it(
        self, end: Callable[..., Job]
    ) -> None:
        job = end(a_job())
        assert (job.due_at, job.settle_pending) == (a_job().due_at, True)
        done = advance(job, ev.Settled(), NOW + SECOND)
        assert done == replace(job, due_at=None, settle_pending=False)
        for event in (ev.Tidied(), ev.Settled(), ev.SettlementFailed()):
            with pytest.raises(TransitionRefused):
                advance(done, event, NOW)

    @pytest.mark.parametrize("before", [None, NOW + timedelta(days=1)])
    def test_an_ended_job_is_due_for_its_settlement_an_hour_later_at_the_latest(
        self, before: datetime | None
    ) -> None:
        assert canceled(a_job(due_at=before)).due_at == NOW + SETTLE_DELAY

    def test_a_settlement_that_failed_is_due_again_later(self) -> None:
        late = NOW + timedelta(days=8)  # past the retention: it is settled before it is removed
        job = advance(succeeded(a_job()), ev.SettlementFailed(), late)
        assert (job.due_at, job.settle_pending) == (late + SETTLE_DELAY, True)

    def test_a_job_with_lost_attempts_is_due_when_their_workers_have_surely_stopped(self) -> None:
        again = advance(running(a_job()), ev.Interrupted(attempt=1), NOW)
        job = succeeded(again, now=NOW + SECOND)
        assert job.due_at == NOW + SECOND + TIDY_DELAY
        tidy = advance(job, ev.Tidied(), NOW + LEASE)
        due_at = NOW + SECOND + SETTLE_DELAY
        assert tidy == replace(job, due_at=due_at, tidy_pending=False)

    def test_the_settlement_leaves_the_due_time_of_void_files(self) -> None:
        again = advance(running(a_job()), ev.Interrupted(attempt=1), NOW)
        job = succeeded(again)
        done = advance(job, ev.Settled(), NOW)
        assert done == replace(job, settle_pending=False)
        assert advance(done, ev.Tidied(), NOW).due_at is None

    def test_a_canceled_job_that_was_claimed_has_void_files(self) -> None:
        stopped = advance(job_for(ev.Stopped, R), ev.Stopped(attempt=1), NOW)
        assert stopped.due_at == NOW + TIDY_DELAY

    def test_a_job_with_previews_is_due_when_the_last_preview_has_surely_been_stored(self) -> None:
        job = succeeded(a_job(options=JobOptions(wants_previews=True)))
        assert job.due_at == NOW + TIDY_DELAY
        assert void_prefixes(job) == [preview_key(job)]

    def test_each_attempt_counts_its_previews_from_zero(self) -> None:
        job = running(a_job(options=JobOptions(wants_previews=True)))
        seen = advance(job, ev.Progressed(attempt=1, progress=Progress(), previewed=2), NOW)
        late = advance(seen, ev.Progressed(attempt=1, progress=Progress(), previewed=1), NOW)
        again = advance(late, ev.Interrupted(attempt=1), NOW)
        assert [state.previewed for state in (seen, late, again)] == [2, 2, 0]
