"""The lifecycle's table, held against its second copy in specification.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from comfyline.service.errors import LeaseLost, TransitionRefused
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.lifecycle import RULES, advance, from_states
from comfyline.service.jobs.progress import Progress
from tests.support.builders import NOW, a_job, claimed, running
from tests.support.invariants import check_job
from tests.unit.jobs.specification import (
    SPECIFICATION,
    UNSEEN,
    Q,
    R,
    S,
    a_job_before,
    event_of,
    job_for,
    state_after,
)

SECOND = timedelta(seconds=1)
BASES = {ev.Event, ev.WorkerEvent, ev.AttemptEnded, ev.AttemptFailed}


class TestTable:
    def test_every_event_has_a_specification(self) -> None:
        kinds = {k for k in vars(ev).values() if isinstance(k, type) and issubclass(k, ev.Event)}
        assert kinds - BASES == SPECIFICATION.keys()

    @pytest.mark.parametrize(("status", "kind"), list(product(Status, SPECIFICATION)))
    def test_each_event_in_each_state(self, status: Status, kind: type[ev.Event]) -> None:
        job = job_for(kind, status)
        expected = state_after(kind, status)
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
    def test_from_states_and_table_agree(self, kind: type[ev.Event]) -> None:
        states = {status for status in Status if state_after(kind, status) is not None}
        assert from_states(kind) == states
        assert RULES[kind].moves.keys() == states

    @pytest.mark.parametrize("kind", list(SPECIFICATION))
    def test_only_events_that_clients_see_raise_the_version(self, kind: type[ev.Event]) -> None:
        job = a_job_before(kind)
        after = advance(job, event_of(kind, job.attempt), NOW)
        assert after.version - job.version == (0 if kind in UNSEEN else 1)

    @pytest.mark.parametrize("kind", list(SPECIFICATION))
    def test_changes_of_state_are_in_the_history(self, kind: type[ev.Event]) -> None:
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
    def test_an_attempt_that_gave_the_job_back_is_refused(self, kind: type[ev.Event]) -> None:
        job = advance(claimed(a_job()), ev.Interrupted(attempt=1), NOW)
        with pytest.raises(LeaseLost):
            advance(job, event_of(kind, 1), NOW)

    def test_each_claim_starts_an_attempt(self) -> None:
        job = advance(running(a_job()), ev.Interrupted(attempt=1), NOW)
        again = claimed(job)
        assert (again.attempt, again.progress, again.attempt_started_at) == (2, Progress(), None)


REFUSED: list[tuple[str, Callable[[], Job], type[ev.Event]]] = [
    ("claimed while leased", lambda: claimed(a_job()), ev.Claimed),
    ("claimed over an expired lease", lambda: job_for(ev.LeaseExpired, Q), ev.Claimed),
    ("claimed past the start deadline", lambda: a_job(start_deadline=NOW), ev.Claimed),
    ("canceled at once while leased", lambda: claimed(a_job()), ev.Canceled),
    ("cancel requested without a lease", a_job, ev.CancelRequested),
    ("stopped without a cancel", lambda: running(a_job()), ev.Stopped),
    ("failed while canceling", lambda: job_for(ev.Stopped, R), ev.Failed),
    ("given back while canceling", lambda: job_for(ev.Stopped, R), ev.Interrupted),
    ("given back for good while canceling", lambda: job_for(ev.Stopped, R), ev.InterruptedForGood),
    ("failed while canceling, without a cancel", lambda: running(a_job()), ev.FailedWhileCanceling),
    (
        "given back while canceling, without a cancel",
        lambda: running(a_job()),
        ev.InterruptedWhileCanceling,
    ),
    ("expired too early", a_job, ev.Expired),
    ("expired while leased", lambda: claimed(a_job(start_deadline=NOW + SECOND)), ev.Expired),
    ("live lease expired", lambda: running(a_job()), ev.LeaseExpired),
    ("live lease expired for good", lambda: running(a_job()), ev.LeaseExpiredForGood),
    ("lease expired without a lease", a_job, ev.LeaseExpired),
    ("lease expired without regard to a cancel", lambda: job_for(ev.Stopped, R), ev.LeaseExpired),
    ("ticket resent for a leased job", lambda: claimed(a_job()), ev.TicketResent),
    ("found alive without a lease", a_job, ev.FoundAlive),
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
