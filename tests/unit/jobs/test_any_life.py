"""The lifecycle under any sequence of events."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from comfyline.service.errors import TransitionRefused
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.decide import (
    on_cancel,
    on_due_time,
    on_failure,
    on_fault,
    on_interruption,
    on_lease_expiry,
)
from comfyline.service.jobs.lifecycle import RULES, advance
from tests.support.builders import NOW, a_job
from tests.support.invariants import Chronicle, check_job
from tests.unit.jobs.specification import (
    ERROR,
    SPECIFICATION,
    event_of,
)

MOMENTS = st.sampled_from([1, 29, 61, 119, 121, 3600, 100_000])
# Added to the current attempt: most events come from the attempt that holds the job.
ATTEMPT_OFFSETS = st.sampled_from([0, 0, 0, 0, -1, 1])
# Seconds by which the clock of a worker may be wrong.
CLOCK_ERRORS = st.sampled_from([*[0] * 6, -180, 180, 1200])


class AnyLife(RuleBasedStateMachine):
    """Any event in any order. A refused event changes nothing, and every other event keeps the
    invariants. The sweeper always has an event that is allowed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = NOW
        self.job = a_job()
        self.seen = Chronicle()

    @rule(
        kind=st.sampled_from(list(SPECIFICATION)),
        off=ATTEMPT_OFFSETS,
        lease=MOMENTS,
        error=CLOCK_ERRORS,
    )
    def happens(self, kind: type[ev.Event], off: int, lease: int, error: int) -> None:
        event, now = event_of(kind, self.job.attempt + off), self.now + timedelta(seconds=error)
        if isinstance(event, ev.Claimed | ev.Renewed):
            event = replace(event, lease_expires_at=now + timedelta(seconds=lease))
        may_be_final = isinstance(
            event,
            ev.Failed | ev.Faulted | ev.WorkerUnhealthy | ev.LeaseExpired | ev.Interrupted,
        )
        if may_be_final and not self.chosen(event):
            return  # on_failure and the like choose between this event and its final form
        self.apply(event, now)

    def chosen(self, event: ev.Event) -> bool:
        if isinstance(event, ev.Interrupted):
            return type(on_interruption(self.job, event.attempt)) is ev.Interrupted
        if isinstance(event, ev.Failed):
            return type(on_failure(self.job, event.attempt, ERROR)) is ev.Failed
        if isinstance(event, ev.Faulted | ev.WorkerUnhealthy):
            is_healthy = isinstance(event, ev.Faulted)
            chosen = on_fault(self.job, event.attempt, ERROR, is_healthy=is_healthy)
            return type(chosen) is type(event)
        return type(on_lease_expiry(self.job, self.now)) is ev.LeaseExpired

    def apply(self, event: ev.Event, now: datetime) -> None:
        try:
            self.job = advance(self.job, event, now)
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

    @rule(is_healthy=st.booleans())
    def the_machine_fails(self, is_healthy: bool) -> None:
        if self.job.lease:
            event = on_fault(self.job, self.job.attempt, ERROR, is_healthy=is_healthy)
            self.job = advance(self.job, event, self.now)

    @rule()
    def the_worker_must_stop(self) -> None:
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
                return  # a job that has started before waits for a worker without a time limit
            now = max(now, job.due_at or now)
            job = advance(job, event, now)
        pytest.fail("the job does not end")


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True
)
