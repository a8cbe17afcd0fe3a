"""The lifecycle, checked against a second copy of its table and under any sequence of events.

`SPECIFICATION` repeats the table of lifecycle.py on purpose: a change of the lifecycle has to be
made in both places, so that no row changes by accident.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from comfyline.contract.ids import random_worker_id
from comfyline.service.errors import LeaseLost, TransitionRefused
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.decide import (
    MAX_FAILURES,
    MAX_INTERRUPTIONS,
    on_cancel,
    on_due_time,
    on_failure,
    on_interruption,
    on_lease_expiry,
)
from comfyline.service.jobs.due import (
    LEASE_GRACE,
    MAX_TICKET_GRACE,
    SETTLE_DELAY,
    TICKET_GRACE,
    TIDY_DELAY,
)
from comfyline.service.jobs.job import Job, JobError, Lease, Status, preview_key, void_prefixes
from comfyline.service.jobs.lifecycle import MAX_HISTORY, RULES, advance, from_states, submitted
from comfyline.service.jobs.progress import Progress
from tests.support.builders import LEASE, NOW, a_job, canceled, claimed, running, succeeded
from tests.support.invariants import Chronicle, check_job

SECOND = timedelta(seconds=1)
ERROR = JobError(type="boom", message="it broke")

Q, R = Status.QUEUED, Status.RUNNING
S, F, C, X = Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED

# Event: what it makes of a queued and of a running job; None where it cannot happen.
SPECIFICATION: dict[type[ev.Event], tuple[Status | None, Status | None]] = {
    ev.Claimed: (Q, None),
    ev.Renewed: (Q, R),
    ev.Started: (R, None),
    ev.Progressed: (None, R),
    ev.Stored: (None, R),
    ev.Succeeded: (None, S),
    ev.Failed: (Q, Q),
    ev.FailedForGood: (F, F),
    ev.FailedWhileCanceling: (C, C),
    ev.Interrupted: (Q, Q),
    ev.InterruptedForGood: (F, F),
    ev.InterruptedWhileCanceling: (C, C),
    ev.Stopped: (C, C),
    ev.Canceled: (C, None),
    ev.CancelRequested: (Q, R),
    ev.Watched: (Q, R),
    ev.Expired: (X, None),
    ev.LeaseExpired: (Q, Q),
    ev.LeaseExpiredForGood: (F, F),
    ev.LeaseExpiredWhileCanceling: (C, C),
    ev.TicketResent: (Q, None),
    ev.FoundAlive: (Q, R),
    ev.Tidied: (None, None),
    ev.Settled: (None, None),
    ev.SettlementFailed: (None, None),
}
# The events of a job that has ended: it stays as it is.
OF_ENDED = {ev.Tidied, ev.Settled, ev.SettlementFailed}

FREE = {ev.Claimed, ev.Canceled, ev.Expired, ev.TicketResent}
DEAD = {ev.LeaseExpired, ev.LeaseExpiredForGood, ev.LeaseExpiredWhileCanceling}
CANCELING = {
    ev.Stopped,
    ev.FailedWhileCanceling,
    ev.InterruptedWhileCanceling,
    ev.LeaseExpiredWhileCanceling,
}
# Heartbeats, watches and the sweeper's own notes: what no client can see.
UNSEEN = {ev.Renewed, ev.Watched, ev.TicketResent, ev.FoundAlive} | OF_ENDED

_ARGUMENTS: dict[type[ev.Event], dict[str, Any]] = {
    ev.Claimed: {"worker_id": random_worker_id(), "lease_expires_at": NOW + LEASE},
    ev.Renewed: {"lease_expires_at": NOW + 2 * LEASE},
    ev.Progressed: {"progress": Progress(fraction=0.5)},
    ev.Stored: {"count": 2},
    ev.Failed: {"error": ERROR},
    ev.FailedForGood: {"error": ERROR},
    ev.LeaseExpiredForGood: {"error": ERROR},
    ev.Watched: {"until": NOW + LEASE},
}


def event_of(kind: type[ev.Event], attempt: int) -> ev.Event:
    """One such event, of that attempt if a worker reports it."""
    arguments = dict(_ARGUMENTS.get(kind, {}))
    if issubclass(kind, ev.WorkerEvent):
        arguments["attempt"] = attempt
    return kind(**arguments)


def job_for(kind: type[ev.Event], status: Status) -> Job:
    """A job in that state, otherwise as `kind` needs it: leased or not, its cancel asked or not."""
    job = running(a_job()) if status is R else claimed(a_job())
    if kind in FREE and status is Q:
        job = a_job()
    if kind in DEAD:
        assert job.lease is not None
        job = replace(job, lease=Lease(job.lease.worker_id, NOW))
    if kind in CANCELING:
        job = replace(job, cancel_requested_at=NOW)
    if kind is ev.Expired:
        job = replace(job, start_deadline=NOW)
    if status.is_terminal:
        job = replace(job, status=status, finished_at=NOW, expires_at=NOW + job.retention)
        job = replace(job, tidy_pending=True, settle_pending=True)
    return job


def made_of(kind: type[ev.Event], status: Status) -> Status | None:
    """What `kind` makes of a job in that state; None where it cannot happen."""
    if status.is_terminal:
        return status if kind in OF_ENDED else None
    return dict(zip((Q, R), SPECIFICATION[kind], strict=True))[status]


def a_job_before(kind: type[ev.Event]) -> Job:
    """A job to which it can happen."""
    return job_for(kind, next(status for status in Status if made_of(kind, status) is not None))


class TestTable:
    def test_every_event_is_specified(self) -> None:
        leaves = {k for k in vars(ev).values() if isinstance(k, type) and issubclass(k, ev.Event)}
        assert leaves - {ev.Event, ev.WorkerEvent, ev.AttemptEnded} == SPECIFICATION.keys()

    @pytest.mark.parametrize(("status", "kind"), list(product(Status, SPECIFICATION)))
    def test_each_event_in_each_state(self, status: Status, kind: type[ev.Event]) -> None:
        job = job_for(kind, status)
        expected = made_of(kind, status)
        event = event_of(kind, job.attempt)
        if expected is None:
            with pytest.raises(TransitionRefused):
                advance(job, event, NOW)
        else:
            after = advance(job, event, NOW)
            assert after.status is expected
            if not status.is_terminal:
                check_job(after)

    @pytest.mark.parametrize("kind", list(SPECIFICATION))
    def test_the_from_states_are_those_of_the_table(self, kind: type[ev.Event]) -> None:
        states = {status for status in Status if made_of(kind, status) is not None}
        assert from_states(kind) == states
        assert RULES[kind].moves.keys() == states

    @pytest.mark.parametrize("kind", list(SPECIFICATION))
    def test_versions_rise_for_what_a_client_can_see_and_for_nothing_else(
        self, kind: type[ev.Event]
    ) -> None:
        job = a_job_before(kind)
        after = advance(job, event_of(kind, job.attempt), NOW)
        assert after.version - job.version == (0 if kind in UNSEEN else 1)

    @pytest.mark.parametrize("kind", list(SPECIFICATION))
    def test_changes_of_state_are_recorded(self, kind: type[ev.Event]) -> None:
        job = a_job_before(kind)
        after = advance(job, event_of(kind, job.attempt), NOW)
        new = after.history[len(job.history) :]
        if kind in UNSEEN | {ev.Progressed, ev.Stored}:
            assert new == ()
        else:
            [line] = new
            assert (line.version, line.at, line.status) == (after.version, NOW, after.status)
            assert line.event.replace("_", "") == kind.__name__.lower()


class TestFencing:
    WORKERS = tuple(k for k in SPECIFICATION if issubclass(k, ev.WorkerEvent))

    @pytest.mark.parametrize("kind", WORKERS)
    @pytest.mark.parametrize("off", [-1, 1])
    def test_another_attempt_is_refused(self, kind: type[ev.Event], off: int) -> None:
        job = job_for(kind, R)
        with pytest.raises(LeaseLost):
            advance(job, event_of(kind, job.attempt + off), NOW)

    @pytest.mark.parametrize("kind", WORKERS)
    def test_an_attempt_that_was_given_back_is_refused(self, kind: type[ev.Event]) -> None:
        job = advance(claimed(a_job()), ev.Interrupted(attempt=1), NOW)
        with pytest.raises(LeaseLost):
            advance(job, event_of(kind, 1), NOW)

    def test_each_claim_is_an_attempt(self) -> None:
        job = advance(running(a_job()), ev.Interrupted(attempt=1), NOW)
        again = claimed(job)
        assert (again.attempt, again.progress, again.attempt_started_at) == (2, Progress(), None)


REFUSED: list[tuple[str, Callable[[], Job], type[ev.Event]]] = [
    ("claimed while leased", lambda: claimed(a_job()), ev.Claimed),
    ("claimed over a dead lease", lambda: job_for(ev.LeaseExpired, Q), ev.Claimed),
    ("claimed past the start deadline", lambda: a_job(start_deadline=NOW), ev.Claimed),
    ("canceled at once while leased", lambda: claimed(a_job()), ev.Canceled),
    ("a cancel asked of nobody", a_job, ev.CancelRequested),
    ("stopped without a cancel", lambda: running(a_job()), ev.Stopped),
    ("failed while canceling", lambda: job_for(ev.Stopped, R), ev.Failed),
    ("given back while canceling", lambda: job_for(ev.Stopped, R), ev.Interrupted),
    ("given back for good while canceling", lambda: job_for(ev.Stopped, R), ev.InterruptedForGood),
    ("canceling failure without cancel", lambda: running(a_job()), ev.FailedWhileCanceling),
    ("canceling return without cancel", lambda: running(a_job()), ev.InterruptedWhileCanceling),
    ("expired too early", a_job, ev.Expired),
    ("expired while leased", lambda: claimed(a_job(start_deadline=NOW + SECOND)), ev.Expired),
    ("a live lease expired", lambda: running(a_job()), ev.LeaseExpired),
    ("a live lease expired for good", lambda: running(a_job()), ev.LeaseExpiredForGood),
    ("no lease expired", a_job, ev.LeaseExpired),
    ("a dead lease under cancel", lambda: job_for(ev.Stopped, R), ev.LeaseExpired),
    ("a ticket for a leased job", lambda: claimed(a_job()), ev.TicketResent),
    ("alive without a lease", a_job, ev.FoundAlive),
]


class TestGuards:
    @pytest.mark.parametrize(("_name", "make", "kind"), REFUSED, ids=[r[0] for r in REFUSED])
    def test_refused(self, _name: str, make: Callable[[], Job], kind: type[ev.Event]) -> None:
        job = make()
        with pytest.raises(TransitionRefused):
            advance(job, event_of(kind, job.attempt), NOW)

    def test_a_started_job_never_expires(self) -> None:
        job = advance(running(a_job()), ev.Interrupted(attempt=1), NOW)
        with pytest.raises(TransitionRefused):
            advance(job, ev.Expired(), job.start_deadline + SECOND)

    def test_a_job_that_succeeds_while_canceling_has_succeeded(self) -> None:
        job = replace(running(a_job()), cancel_requested_at=NOW)
        assert advance(job, ev.Succeeded(attempt=1), NOW).status is S


class TestOccurrences:
    def test_a_failure_is_retried_until_the_third(self) -> None:
        kinds = [type(on_failure(running(a_job(failures=n)), 1, ERROR)) for n in range(3)]
        assert kinds == [ev.Failed, ev.Failed, ev.FailedForGood]
        assert MAX_FAILURES == 3

    def test_an_interruption_is_forgiven_until_the_tenth(self) -> None:
        kinds = [type(on_interruption(running(a_job(interruptions=n)), 1)) for n in range(10)]
        assert kinds == [*[ev.Interrupted] * 9, ev.InterruptedForGood]
        assert MAX_INTERRUPTIONS == 10

    def test_a_lost_worker_counts_as_a_failure(self) -> None:
        kinds = [type(on_lease_expiry(running(a_job(failures=n)), NOW)) for n in range(3)]
        assert kinds == [ev.LeaseExpired, ev.LeaseExpired, ev.LeaseExpiredForGood]

    def test_a_lost_worker_past_the_execution_timeout_is_the_end(self) -> None:
        job = running(a_job())
        just_before = on_lease_expiry(job, NOW + job.execution_timeout - SECOND)
        at_the_end = on_lease_expiry(job, NOW + job.execution_timeout)
        assert isinstance(just_before, ev.LeaseExpired)
        assert isinstance(at_the_end, ev.LeaseExpiredForGood)
        assert (at_the_end.error.type, at_the_end.error.attempt) == ("execution_timeout", 1)

    def test_under_a_cancel_every_end_is_canceled(self) -> None:
        job = replace(running(a_job(failures=2, interruptions=9)), cancel_requested_at=NOW)
        kinds = [
            type(on_failure(job, 1, ERROR)),
            type(on_interruption(job, 1)),
            type(on_lease_expiry(job, NOW)),
        ]
        assert [RULES[kind].moves[R] for kind in kinds] == [C, C, C]

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
    def test_a_cancel_ends_what_nobody_holds_and_asks_otherwise(
        self, make: Callable[[], Job], later: timedelta, kind: type[ev.Event]
    ) -> None:
        job = make()
        event = on_cancel(job, NOW + later)
        assert type(event) is kind
        assert advance(job, event, NOW + later).cancel_requested_at == NOW + later


class TestCounters:
    def test_a_lost_worker_leaves_its_error_and_no_progress(self) -> None:
        job = advance(running(a_job()), event_of(ev.Progressed, 1), NOW)
        job = advance(job, ev.LeaseExpired(), NOW + LEASE)
        assert (job.failures, job.interruptions, job.progress) == (1, 0, Progress())
        assert job.error is not None
        assert (job.error.type, job.error.attempt) == ("worker_lost", 1)

    def test_an_interruption_is_no_failure(self) -> None:
        job = advance(running(a_job()), ev.Interrupted(attempt=1), NOW)
        assert (job.failures, job.interruptions, job.error) == (0, 1, None)

    def test_gpu_seconds_add_up_over_attempts(self) -> None:
        job = advance(running(a_job()), ev.Failed(attempt=1, error=ERROR, gpu_seconds=2), NOW)
        job = running(job)
        assert advance(job, ev.Succeeded(attempt=2, gpu_seconds=3), NOW).gpu_seconds == 5

    def test_a_failure_under_a_cancel_has_cost_gpu_seconds_too(self) -> None:
        job = replace(running(a_job()), cancel_requested_at=NOW, gpu_seconds=1.0)
        event = on_failure(job, 1, ERROR, gpu_seconds=2.0)
        assert advance(job, event, NOW).gpu_seconds == 3.0

    def test_success_forgets_what_earlier_attempts_died_of(self) -> None:
        job = running(advance(running(a_job()), ev.Failed(attempt=1, error=ERROR), NOW))
        done = advance(job, ev.Succeeded(attempt=2, cached=True), NOW)
        assert (done.error, done.cached, done.progress.fraction) == (None, True, 1.0)

    def test_history_keeps_the_last_twenty(self) -> None:
        job = a_job()
        for _ in range(9):
            job = running(job)
            job = advance(job, ev.Interrupted(attempt=job.attempt), NOW)
        assert len(job.history) == MAX_HISTORY == 20
        assert [line.version for line in job.history] == list(range(9, 29))


class TestClocks:
    """`start_deadline`, `execution_timeout` and `retention` are never mixed."""

    def test_the_start_deadline_ends_with_the_first_start(self) -> None:
        job = a_job()
        assert not job.is_past_start_deadline(job.start_deadline - SECOND)
        assert job.is_past_start_deadline(job.start_deadline)
        started = advance(running(job), ev.Interrupted(attempt=1), NOW)
        assert not started.is_past_start_deadline(job.start_deadline)

    def test_the_execution_timeout_begins_anew_with_each_start(self) -> None:
        job = advance(running(a_job()), ev.Interrupted(attempt=1), NOW + SECOND)
        job = running(job, now=NOW + LEASE)
        assert (job.started_at, job.attempt_started_at) == (NOW, NOW + LEASE)

    @pytest.mark.parametrize("end", [canceled, succeeded])
    def test_retention_begins_with_the_end(self, end: Callable[..., Job]) -> None:
        job = end(a_job(), now=NOW + SECOND)
        assert (job.finished_at, job.expires_at) == (NOW + SECOND, NOW + SECOND + job.retention)
        assert not job.is_past_retention(NOW + job.retention)
        assert job.is_past_retention(NOW + SECOND + job.retention)


class TestDue:
    def test_a_new_job_is_due_when_its_ticket_may_be_lost(self) -> None:
        assert a_job().due_at == NOW + timedelta(seconds=30)

    def test_each_ticket_sent_again_quadruples_the_wait_up_to_an_hour(self) -> None:
        job, waits = a_job(start_deadline=NOW + timedelta(days=7)), []
        for _ in range(5):
            job = advance(job, ev.TicketResent(), NOW)
            assert job.due_at is not None
            waits.append((job.due_at - NOW).total_seconds())
        assert waits == [120, 480, 1920, 3600, 3600]

    def test_a_week_of_tickets_sent_again(self) -> None:
        job = a_job(start_deadline=NOW + timedelta(days=7), ticket_sends=1000)
        assert advance(job, ev.TicketResent(), NOW).due_at == NOW + MAX_TICKET_GRACE

    def test_a_claim_shows_that_tickets_arrive_so_the_waits_begin_anew(self) -> None:
        job = running(a_job(ticket_sends=4))
        job = advance(job, ev.Interrupted(attempt=1), NOW)
        assert (job.ticket_sends, job.due_at) == (0, NOW + TICKET_GRACE)

    def test_never_later_than_the_start_deadline(self) -> None:
        deadline = NOW + TICKET_GRACE / 2
        assert a_job(start_deadline=deadline).due_at == deadline

    def test_a_leased_job_is_due_when_the_lease_is_surely_over(self) -> None:
        waiting = advance(a_job(ticket_sends=4), ev.TicketResent(), NOW)
        assert waiting.due_at == NOW + MAX_TICKET_GRACE
        assert claimed(waiting).due_at == NOW + LEASE + LEASE_GRACE

    def test_or_sooner_so_that_a_short_job_leaves_the_indexed_field_alone(self) -> None:
        job = a_job()
        assert running(job).due_at == claimed(job).due_at == job.due_at == NOW + TICKET_GRACE

    @pytest.mark.parametrize("kind", [ev.Renewed, ev.Watched, ev.Progressed, ev.Stored])
    def test_frequent_writes_leave_the_indexed_field_alone(self, kind: type[ev.Event]) -> None:
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
        assert done == replace(job, due_at=job.expires_at, settle_pending=False)
        for event in (ev.Tidied(), ev.Settled(), ev.SettlementFailed()):
            with pytest.raises(TransitionRefused):
                advance(done, event, NOW)

    @pytest.mark.parametrize("before", [None, NOW + timedelta(days=1)])
    def test_an_ended_job_is_due_for_its_settlement_an_hour_later_at_the_latest(
        self, before: datetime | None
    ) -> None:
        assert canceled(a_job(due_at=before)).due_at == NOW + SETTLE_DELAY

    def test_a_short_retention_never_puts_the_removal_off(self) -> None:
        job = succeeded(a_job(retention=SECOND))
        assert job.due_at == job.expires_at == NOW + SECOND
        assert (job.tidy_pending, job.settle_pending) == (False, True)

    def test_a_settlement_that_failed_is_due_again_later(self) -> None:
        late = NOW + timedelta(days=8)  # past the retention: it is settled before it is removed
        job = advance(succeeded(a_job()), ev.SettlementFailed(), late)
        assert (job.due_at, job.settle_pending) == (late + SETTLE_DELAY, True)

    def test_one_that_had_losing_attempts_is_due_when_those_have_surely_stopped(self) -> None:
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
        assert advance(done, ev.Tidied(), NOW).due_at == job.expires_at

    def test_a_claimed_job_that_shows_nothing_has_only_losing_attempts(self) -> None:
        stopped = advance(job_for(ev.Stopped, R), ev.Stopped(attempt=1), NOW)
        assert stopped.due_at == NOW + TIDY_DELAY

    def test_one_that_had_previews_is_due_when_the_last_has_surely_come(self) -> None:
        job = succeeded(a_job(wants_previews=True))
        assert job.due_at == NOW + TIDY_DELAY
        assert void_prefixes(job) == [preview_key(job)]

    def test_previews_are_counted_anew_in_each_attempt(self) -> None:
        job = running(a_job(wants_previews=True))
        seen = advance(job, ev.Progressed(attempt=1, progress=Progress(), previewed=2), NOW)
        late = advance(seen, ev.Progressed(attempt=1, progress=Progress(), previewed=1), NOW)
        again = advance(late, ev.Interrupted(attempt=1), NOW)
        assert [one.previewed for one in (seen, late, again)] == [2, 2, 0]

    def test_never_later_than_its_removal(self) -> None:
        job = a_job(retention=SECOND)
        again = advance(running(job), ev.Interrupted(attempt=1), NOW)
        assert succeeded(again).due_at == NOW + SECOND


# --- any sequence of events -----------------------------------------------------------------------

MOMENTS = st.sampled_from([1, 29, 61, 119, 121, 3600, 100_000])
ATTEMPTS = st.sampled_from([0, 0, 0, 0, -1, 1])  # off the current one; mostly the holder speaks


class AnyLife(RuleBasedStateMachine):
    """Whoever reports whatever, in any order: what is refused changes nothing, what is not keeps
    the invariants, and the sweeper always finds a way on."""

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOW
        self.job = a_job()
        self.seen = Chronicle()

    @rule(kind=st.sampled_from(list(SPECIFICATION)), off=ATTEMPTS, lease=MOMENTS)
    def happens(self, kind: type[ev.Event], off: int, lease: int) -> None:
        event = event_of(kind, self.job.attempt + off)
        if isinstance(event, ev.Claimed | ev.Renewed):
            event = replace(event, lease_expires_at=self.now + timedelta(seconds=lease))
        for_good = isinstance(event, ev.Failed | ev.LeaseExpired | ev.Interrupted)
        if for_good and not self.chosen(event):
            return  # which of two endings it is, is asked of on_failure and its like
        self.apply(event)

    def chosen(self, event: ev.Event) -> bool:
        if isinstance(event, ev.Interrupted):
            return type(on_interruption(self.job, event.attempt)) is ev.Interrupted
        if isinstance(event, ev.Failed):
            return type(on_failure(self.job, event.attempt, ERROR)) is ev.Failed
        return type(on_lease_expiry(self.job, self.now)) is ev.LeaseExpired

    def apply(self, event: ev.Event) -> None:
        try:
            self.job = advance(self.job, event, self.now)
        except TransitionRefused:
            allowed = self.job.status in RULES[type(event)].moves
            assert not (allowed and isinstance(event, ev.Watched)), "a watch was refused"

    @rule()
    def the_owner_cancels(self) -> None:
        if not (self.job.status.is_terminal or self.job.is_canceling):
            self.job = advance(self.job, on_cancel(self.job, self.now), self.now)

    @rule()
    def the_worker_fails(self) -> None:
        if self.job.lease:
            event = on_failure(self.job, self.job.attempt, ERROR)
            self.job = advance(self.job, event, self.now)

    @rule()
    def the_worker_is_told_to_go(self) -> None:
        if self.job.lease:
            event = on_interruption(self.job, self.job.attempt)
            self.job = advance(self.job, event, self.now)

    @rule(seconds=MOMENTS)
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def the_invariants_hold(self) -> None:
        self.seen.see(self.job)

    @invariant()
    def the_sweeper_is_never_refused(self) -> None:
        event = on_due_time(self.job, self.now)
        assert (event is None) == self.job.status.is_terminal
        if event is not None:
            check_job(advance(self.job, event, self.now))

    @invariant()
    def left_alone_it_ends(self) -> None:
        job, now = self.job, self.now
        for _ in range(400):
            event = on_due_time(job, max(now, job.due_at or now))
            if event is None or job.started_at is not None:
                return  # a started job that nobody takes waits: its worker decides, not the clock
            now = max(now, job.due_at or now)
            job = advance(job, event, now)
        pytest.fail("it waits for ever")


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True
)


def test_a_taken_over_record_goes_on_counting() -> None:
    heir = submitted(replace(a_job(), attempt=3, version=8))
    assert [(line.version, line.attempt) for line in heir.history] == [(8, 3)]
