"""The law of a job's life.

Rule: everything that decides how a job may change lives in this file, and as much of it as
possible in the table. `advance` is the only function that makes a changed job. The table also
yields the `from` states of every conditional write, the diagram in docs/architecture.md and the
oracle of the property tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from comfyline.service.errors import LeaseLost, TransitionRefused
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import HistoryEntry, Job, JobError, Lease, Status, void_prefixes
from comfyline.service.jobs.progress import Progress

MAX_FAILURES = 3  # a fault that is not the job's own rarely strikes three workers in a row
MAX_INTERRUPTIONS = 10  # a spot pool that reclaims more often than this runs nothing anyhow
MAX_HISTORY = 20  # keeps the hot row, which every update is charged for, near 1 KB

TICKET_GRACE = timedelta(seconds=30)  # a ticket not claimed by then may have been lost
TICKET_GRACE_FACTOR = 4  # a backlog is not sent again each minute
MAX_TICKET_GRACE = timedelta(hours=1)
MAX_TICKET_GRACE_STEPS = 4  # past the hour by then; a power that went on would overflow in a day
# A worker that lost its lease hears of it within a lease and stores for a minute more at most; one
# that slept for longer leaves files that go with the record.
LOSERS_GRACE = timedelta(minutes=5)
LEASE_GRACE = timedelta(seconds=2)  # clocks differ; the worker's own view of its lease wins

Q, R = Status.QUEUED, Status.RUNNING
S, F, C, X = Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED

# Nothing that a client can see changes a job that has ended, whoever writes: the one row of those
# states is the sweeper's own note.
TRANSITIONS: Mapping[tuple[Status, type[ev.Event]], Status] = {
    (Q, ev.Claimed): Q,
    (Q, ev.Renewed): Q,
    (R, ev.Renewed): R,
    (Q, ev.Started): R,
    (R, ev.Progressed): R,
    (R, ev.Stored): R,
    (R, ev.Succeeded): S,
    (Q, ev.Failed): Q,
    (R, ev.Failed): Q,
    (Q, ev.FailedForGood): F,
    (R, ev.FailedForGood): F,
    (Q, ev.FailedWhileCanceling): C,
    (R, ev.FailedWhileCanceling): C,
    (Q, ev.Interrupted): Q,
    (R, ev.Interrupted): Q,
    (Q, ev.InterruptedForGood): F,
    (R, ev.InterruptedForGood): F,
    (Q, ev.InterruptedWhileCanceling): C,
    (R, ev.InterruptedWhileCanceling): C,
    (Q, ev.Stopped): C,
    (R, ev.Stopped): C,
    (Q, ev.Canceled): C,
    (Q, ev.CancelRequested): Q,
    (R, ev.CancelRequested): R,
    (Q, ev.Watched): Q,
    (R, ev.Watched): R,
    (Q, ev.Expired): X,
    (Q, ev.LeaseExpired): Q,
    (R, ev.LeaseExpired): Q,
    (Q, ev.LeaseExpiredForGood): F,
    (R, ev.LeaseExpiredForGood): F,
    (Q, ev.LeaseExpiredWhileCanceling): C,
    (R, ev.LeaseExpiredWhileCanceling): C,
    (Q, ev.TicketResent): Q,
    (Q, ev.FoundAlive): Q,
    (R, ev.FoundAlive): R,
    (S, ev.Tidied): S,
    (F, ev.Tidied): F,
    (C, ev.Tidied): C,
    (X, ev.Tidied): X,
}

# What no client can see does not raise the version, so it never disturbs a concurrent writer.
INVISIBLE = frozenset({ev.Renewed, ev.Watched, ev.TicketResent, ev.FoundAlive, ev.Tidied})

# Progress and files are visible but no change of state: they are not kept in the history.
UNRECORDED = INVISIBLE | {ev.Progressed, ev.Stored}


def from_states(event: type[ev.Event]) -> frozenset[Status]:
    """The states in which `event` may happen; what a conditional write must require."""
    return frozenset(status for status, kind in TRANSITIONS if kind is event)


def advance(job: Job, event: ev.Event, now: datetime) -> Job:
    """`job` after `event`, with version, history and the sweeper's due time kept.

    Raises:
        LeaseLost: the event's attempt no longer holds the job.
        TransitionRefused: the table or a guard forbids it.
    """
    kind = type(event)
    _guard(job, event, now)
    effect: _Effect = _EFFECTS.get(kind, _nothing)
    changed = replace(job, status=TRANSITIONS[job.status, kind], **effect(job, event, now))
    if changed.status.is_terminal and not job.status.is_terminal:
        changed = replace(changed, finished_at=now, expires_at=now + job.retention, lease=None)
    if kind not in INVISIBLE:
        changed = replace(changed, version=job.version + 1)
    if kind not in UNRECORDED:
        changed = replace(changed, history=_recorded(changed, kind, now))
    return replace(changed, due_at=_due_at(changed, event, now))


def submitted(job: Job) -> Job:
    """A job as it is first stored: version 1, one line of history, due if its ticket is lost."""
    line = HistoryEntry(job.version, job.queued_at, "submitted", job.status, job.attempt)
    return replace(job, history=(line,), due_at=_ticket_due_at(job, job.queued_at))


# --- which event an occurrence is -----------------------------------------------------------------


def on_failure(job: Job, attempt: int, error: JobError, *, gpu_seconds: float = 0.0) -> ev.Event:
    """`attempt` says that it failed by no fault of the job."""
    if job.is_canceling:
        return ev.FailedWhileCanceling(attempt=attempt, gpu_seconds=gpu_seconds)
    kind = ev.FailedForGood if job.failures + 1 >= MAX_FAILURES else ev.Failed
    return kind(attempt=attempt, error=error, gpu_seconds=gpu_seconds)


def on_interruption(job: Job, attempt: int, *, gpu_seconds: float = 0.0) -> ev.Event:
    """`attempt` says that its worker was told to go."""
    if job.is_canceling:
        return ev.InterruptedWhileCanceling(attempt=attempt, gpu_seconds=gpu_seconds)
    is_last = job.interruptions + 1 >= MAX_INTERRUPTIONS
    kind = ev.InterruptedForGood if is_last else ev.Interrupted
    return kind(attempt=attempt, gpu_seconds=gpu_seconds)


def on_dead_lease(job: Job, now: datetime) -> ev.Event:
    """The worker that held `job` has vanished."""
    if job.is_canceling:
        return ev.LeaseExpiredWhileCanceling()
    if job.attempt_started_at and now >= job.attempt_started_at + job.execution_timeout:
        return ev.LeaseExpiredForGood(error=_error(job, "execution_timeout", _TIMED_OUT))
    if job.failures + 1 >= MAX_FAILURES:
        return ev.LeaseExpiredForGood(error=_error(job, "worker_lost", _WORKER_LOST))
    return ev.LeaseExpired()


def on_cancel(job: Job, now: datetime) -> ev.Event:
    """The caller wants `job` to end."""
    held = job.has_live_lease(now) or job.status is Status.RUNNING
    return ev.CancelRequested() if held else ev.Canceled()


_TIMED_OUT = "The job ran longer than its execution timeout."
_WORKER_LOST = f"The worker was lost {MAX_FAILURES} times while it held this job."


def _error(job: Job, error_type: str, message: str) -> JobError:
    return JobError(type=error_type, message=message, attempt=job.attempt)


# --- guards -------------------------------------------------------------------------------------


def _guard(job: Job, event: ev.Event, now: datetime) -> None:
    if isinstance(event, ev.WorkerEvent) and event.attempt != job.attempt:
        raise LeaseLost(f"attempt {event.attempt} lost {job.id} to attempt {job.attempt}")
    if isinstance(event, ev.WorkerEvent) and job.lease is None:
        raise LeaseLost(f"attempt {event.attempt} no longer holds {job.id}")
    if (job.status, type(event)) not in TRANSITIONS:
        raise TransitionRefused(f"{type(event).__name__} cannot happen to a {job.status} job")
    guard = _GUARDS.get(type(event))
    if guard is not None and not guard(job, now):
        raise TransitionRefused(f"{type(event).__name__} is not allowed for {job.id} now")


def _is_free(job: Job, now: datetime) -> bool:
    return not job.has_live_lease(now)


def _is_held(job: Job, _now: datetime) -> bool:
    # A dead lease will do: who accounts for it sees the flag. Without one nobody would.
    return job.lease is not None


def _is_claimable(job: Job, now: datetime) -> bool:
    # A dead lease must be accounted for (LeaseExpired) before the next claim.
    return job.lease is None and not job.is_canceling and not job.is_past_start_deadline(now)


def _is_dead(job: Job, now: datetime) -> bool:
    return job.lease is not None and not job.has_live_lease(now)


def _is_canceling(job: Job, _now: datetime) -> bool:
    return job.is_canceling


def _is_wanted(job: Job, _now: datetime) -> bool:
    return not job.is_canceling


def _is_dead_and_canceling(job: Job, now: datetime) -> bool:
    return _is_dead(job, now) and job.is_canceling


def _is_dead_and_wanted(job: Job, now: datetime) -> bool:
    return _is_dead(job, now) and not job.is_canceling


def _is_overdue(job: Job, now: datetime) -> bool:
    return job.is_past_start_deadline(now) and _is_free(job, now)


_GUARDS: Mapping[type[ev.Event], Callable[[Job, datetime], bool]] = {
    ev.Claimed: _is_claimable,
    ev.Canceled: _is_free,
    ev.CancelRequested: _is_held,
    ev.Stopped: _is_canceling,
    ev.Failed: _is_wanted,
    ev.FailedWhileCanceling: _is_canceling,
    ev.Interrupted: _is_wanted,
    ev.InterruptedForGood: _is_wanted,
    ev.InterruptedWhileCanceling: _is_canceling,
    ev.Expired: _is_overdue,
    ev.LeaseExpired: _is_dead_and_wanted,
    ev.LeaseExpiredForGood: _is_dead_and_wanted,
    ev.LeaseExpiredWhileCanceling: _is_dead_and_canceling,
    ev.TicketResent: _is_free,
    ev.FoundAlive: lambda job, now: job.has_live_lease(now),
    ev.Tidied: lambda job, _now: job.is_untidy,
}


# --- effects: the fields that an event sets, beyond status, version, history and due time ---------

_Effect = Callable[[Job, Any, datetime], dict[str, Any]]

_NOTHING_DONE: Mapping[str, Any] = {"progress": Progress(), "stored": 0, "previewed": 0}


def _nothing(_job: Job, _event: ev.Event, _now: datetime) -> dict[str, Any]:
    return {}


def _claimed(job: Job, event: ev.Claimed, _now: datetime) -> dict[str, Any]:
    taken = {"lease": Lease(event.worker_id, event.lease_expires_at), "attempt": job.attempt + 1}
    # Its tickets arrive, so should it wait again, the next one is not held back by the last wait.
    return {**taken, **_NOTHING_DONE, "cached": False, "ticket_sends": 0}


def _renewed(job: Job, event: ev.Renewed, _now: datetime) -> dict[str, Any]:
    assert job.lease is not None  # the guard of every WorkerEvent
    return {"lease": replace(job.lease, expires_at=event.lease_expires_at)}


def _started(job: Job, _event: ev.Started, now: datetime) -> dict[str, Any]:
    return {"started_at": job.started_at or now, "attempt_started_at": now}


def _used(job: Job, event: ev.AttemptEnded, _now: datetime) -> dict[str, Any]:
    """Each attempt adds what it has used, with the write that ends it: once, and if it held."""
    return {"gpu_seconds": job.gpu_seconds + event.gpu_seconds}


def _succeeded(job: Job, event: ev.Succeeded, now: datetime) -> dict[str, Any]:
    done = replace(job.progress, fraction=1.0, message=None)
    return _used(job, event, now) | {"cached": event.cached, "progress": done, "error": None}


def _given_back() -> dict[str, Any]:
    return {"lease": None, "attempt_started_at": None, **_NOTHING_DONE}


def _failed(job: Job, event: ev.Failed, now: datetime) -> dict[str, Any]:
    return _given_back() | _failed_for_good(job, event, now)


def _failed_for_good(
    job: Job, event: ev.Failed | ev.FailedForGood, now: datetime
) -> dict[str, Any]:
    error = replace(event.error, attempt=job.attempt)
    return _used(job, event, now) | {"failures": job.failures + 1, "error": error}


def _interrupted(job: Job, event: ev.Interrupted, now: datetime) -> dict[str, Any]:
    return _given_back() | _used(job, event, now) | {"interruptions": job.interruptions + 1}


def _interrupted_for_good(job: Job, event: ev.InterruptedForGood, now: datetime) -> dict[str, Any]:
    message = f"The job was interrupted {MAX_INTERRUPTIONS} times."
    error = _error(job, "interrupted_too_often", message)
    return _used(job, event, now) | {"interruptions": job.interruptions + 1, "error": error}


def _lease_expired(job: Job, _event: ev.Event, _now: datetime) -> dict[str, Any]:
    lost = _error(job, "worker_lost", "The worker was lost while it held this job.")
    return _given_back() | {"failures": job.failures + 1, "error": lost}


def _cancel_requested(job: Job, _event: ev.Event, now: datetime) -> dict[str, Any]:
    return {"cancel_requested_at": job.cancel_requested_at or now}


_EFFECTS: Mapping[type[ev.Event], _Effect] = {
    ev.Claimed: _claimed,
    ev.Renewed: _renewed,
    ev.Started: _started,
    ev.Progressed: lambda job, event, _now: {
        "progress": event.progress,
        "previewed": max(job.previewed, event.previewed),
    },
    ev.Stored: lambda _job, event, _now: {"stored": event.count},
    ev.Succeeded: _succeeded,
    ev.Failed: _failed,
    ev.FailedForGood: _failed_for_good,
    ev.FailedWhileCanceling: _used,
    ev.Interrupted: _interrupted,
    ev.InterruptedForGood: _interrupted_for_good,
    ev.InterruptedWhileCanceling: _used,
    ev.Stopped: _used,
    ev.Canceled: _cancel_requested,
    ev.CancelRequested: _cancel_requested,
    ev.Watched: lambda _job, event, _now: {"watched_until": event.until},
    ev.LeaseExpired: _lease_expired,
    ev.LeaseExpiredForGood: lambda job, event, _now: {
        "failures": job.failures + 1,
        "error": event.error,
    },
    ev.TicketResent: lambda job, _event, _now: {"ticket_sends": job.ticket_sends + 1},
}


# --- bookkeeping ----------------------------------------------------------------------------------


def _recorded(job: Job, kind: type[ev.Event], now: datetime) -> tuple[HistoryEntry, ...]:
    line = HistoryEntry(job.version, now, _snake_case(kind.__name__), job.status, job.attempt)
    return (*job.history, line)[-MAX_HISTORY:]


def _snake_case(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


def _due_at(job: Job, event: ev.Event, now: datetime) -> datetime | None:
    if isinstance(event, ev.Renewed | ev.Watched | ev.Progressed | ev.Stored):
        return job.due_at  # an indexed field: frequent writes leave it alone
    if job.status.is_terminal:
        return job.expires_at if isinstance(event, ev.Tidied) else _first_due_at_of_ended(job)
    if job.lease is not None:
        return _due_at_of_held(job, event, job.lease.expires_at + LEASE_GRACE)
    return _ticket_due_at(job, now)


def _due_at_of_held(job: Job, event: ev.Event, lease_over: datetime) -> datetime:
    """By the end of the lease at the latest.

    A claim leaves an earlier time alone, since each change of an indexed field is two writes more,
    and a short job is over by then: who looks too soon finds it alive, and puts it off.
    """
    if job.due_at is None or isinstance(event, ev.FoundAlive):
        return lease_over
    return min(job.due_at, lease_over)


def _first_due_at_of_ended(job: Job) -> datetime | None:
    if job.finished_at is None or job.expires_at is None or not void_prefixes(job):
        return job.expires_at
    return min(job.finished_at + LOSERS_GRACE, job.expires_at)


def _ticket_due_at(job: Job, now: datetime) -> datetime:
    factor = int(TICKET_GRACE_FACTOR ** min(job.ticket_sends, MAX_TICKET_GRACE_STEPS))
    grace = min(TICKET_GRACE * factor, MAX_TICKET_GRACE)
    if job.started_at is None:
        return min(now + grace, job.start_deadline)
    return now + grace
