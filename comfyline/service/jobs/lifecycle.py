"""How a job may change: one table with one row per event.

Rule: a row of `RULES` says everything about its event, and `advance` is the only function that
makes a changed job. The functions that the rows name are in `effects.py` (the fields that an event
sets) and `due.py` (when the sweeper must look at the job next). `decide.py` chooses the event where
one occurrence can end in several ways.

Made from the table: the allowed states of every conditional write (`from_states`), the diagram in
docs/architecture.md, and the checks of tests/unit/jobs/test_lifecycle.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from comfyline.service.errors import LeaseLost, TransitionRefused
from comfyline.service.jobs import due, effects
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import HistoryEntry, Job, Status

_SUBMITTED = "submitted"  # the event of the first entry of a history
MAX_HISTORY = 20  # keeps the row near 1 KB, because DynamoDB charges each update for all of it


# --- guards: what must hold for an event, beyond the job's status ---------------------------------


def _always(_job: Job, _now: datetime) -> bool:
    return True


def _has_no_live_lease(job: Job, now: datetime) -> bool:
    return not job.has_live_lease(now)


def _has_live_lease(job: Job, now: datetime) -> bool:
    return job.has_live_lease(now)


def _is_leased(job: Job, _now: datetime) -> bool:
    # An expired lease is enough: the event that processes its expiry checks `cancel_requested_at`.
    # Without a lease, nothing would look at the flag again.
    return job.lease is not None


def _is_claimable(job: Job, now: datetime) -> bool:
    # An expired lease is processed first (LeaseExpired), so that it is counted as a failure.
    return job.lease is None and not job.is_canceling and not job.is_past_start_deadline(now)


def _is_canceling(job: Job, _now: datetime) -> bool:
    return job.is_canceling


def _is_not_canceling(job: Job, _now: datetime) -> bool:
    return not job.is_canceling


def _lease_has_expired(job: Job, now: datetime) -> bool:
    return job.lease is not None and not job.has_live_lease(now) and not job.is_canceling


def _lease_has_expired_while_canceling(job: Job, now: datetime) -> bool:
    return job.lease is not None and not job.has_live_lease(now) and job.is_canceling


def _is_overdue(job: Job, now: datetime) -> bool:
    return job.is_past_start_deadline(now) and not job.has_live_lease(now)


def _is_tidy_pending(job: Job, _now: datetime) -> bool:
    return job.tidy_pending


def _is_settle_pending(job: Job, _now: datetime) -> bool:
    return job.settle_pending


# --- the table ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """Everything about one event.

    Where a status is missing in `moves`, the event cannot happen to a job of that status. An event
    that no client sees does not raise the version, so that it never disturbs a concurrent writer.
    """

    moves: Mapping[Status, Status]  # from -> to
    when: Callable[[Job, datetime], bool] = _always
    sets: Callable[[Job, Any, datetime], dict[str, Any]] = effects.nothing
    due: Callable[[Job, datetime], datetime | None] = due.unchanged
    seen: bool = True  # by clients: raises the version
    recorded: bool = True  # in the job's history


Q, R = Status.QUEUED, Status.RUNNING
S, F, C, X = Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED

# No event changes an ended job in a way that a client can see. The only events that an ended job
# still has are the notes of settle_jobs and the sweeper about the steps that they have done for it.
RULES: Mapping[type[ev.Event], Rule] = {
    # From workers. `advance` also requires that the event's attempt still holds the job.
    ev.Claimed: Rule({Q: Q}, when=_is_claimable, sets=effects.claimed, due=due.by_end_of_lease),
    ev.Renewed: Rule({Q: Q, R: R}, sets=effects.renewed, seen=False, recorded=False),
    ev.Started: Rule({Q: R}, sets=effects.started, due=due.by_end_of_lease),
    ev.Progressed: Rule({R: R}, sets=effects.progressed, recorded=False),
    ev.Stored: Rule({R: R}, sets=effects.stored, recorded=False),
    ev.Succeeded: Rule({R: S}, sets=effects.succeeded, due=due.at_end),
    ev.Failed: Rule(
        {Q: Q, R: Q}, when=_is_not_canceling, sets=effects.failed, due=due.if_ticket_is_lost
    ),
    ev.FailedForGood: Rule({Q: F, R: F}, sets=effects.failed_for_good, due=due.at_end),
    ev.Faulted: Rule(
        {Q: Q, R: Q}, when=_is_not_canceling, sets=effects.faulted, due=due.if_ticket_is_lost
    ),
    ev.FaultedForGood: Rule({Q: F, R: F}, sets=effects.faulted_for_good, due=due.at_end),
    ev.WorkerUnhealthy: Rule(
        {Q: Q, R: Q},
        when=_is_not_canceling,
        sets=effects.worker_unhealthy,
        due=due.if_ticket_is_lost,
    ),
    ev.WorkerUnhealthyForGood: Rule(
        {Q: F, R: F},
        when=_is_not_canceling,
        sets=effects.worker_unhealthy_for_good,
        due=due.at_end,
    ),
    ev.FailedWhileCanceling: Rule(
        {Q: C, R: C}, when=_is_canceling, sets=effects.gpu_used, due=due.at_end
    ),
    ev.Interrupted: Rule(
        {Q: Q, R: Q}, when=_is_not_canceling, sets=effects.interrupted, due=due.if_ticket_is_lost
    ),
    ev.InterruptedForGood: Rule(
        {Q: F, R: F},
        when=_is_not_canceling,
        sets=effects.interrupted_for_good,
        due=due.at_end,
    ),
    ev.InterruptedWhileCanceling: Rule(
        {Q: C, R: C}, when=_is_canceling, sets=effects.gpu_used, due=due.at_end
    ),
    ev.Stopped: Rule({Q: C, R: C}, when=_is_canceling, sets=effects.gpu_used, due=due.at_end),
    # From callers.
    ev.Canceled: Rule(
        {Q: C}, when=_has_no_live_lease, sets=effects.cancel_requested, due=due.at_end
    ),
    ev.CancelRequested: Rule(
        {Q: Q, R: R}, when=_is_leased, sets=effects.cancel_requested, due=due.by_end_of_lease
    ),
    ev.Watched: Rule({Q: Q, R: R}, sets=effects.watched, seen=False, recorded=False),
    # From the clock.
    ev.Expired: Rule({Q: X}, when=_is_overdue, due=due.at_end),
    ev.LeaseExpired: Rule(
        {Q: Q, R: Q},
        when=_lease_has_expired,
        sets=effects.lease_expired,
        due=due.if_ticket_is_lost,
    ),
    ev.LeaseExpiredForGood: Rule(
        {Q: F, R: F},
        when=_lease_has_expired,
        sets=effects.lease_expired_for_good,
        due=due.at_end,
    ),
    ev.LeaseExpiredWhileCanceling: Rule(
        {Q: C, R: C}, when=_lease_has_expired_while_canceling, due=due.at_end
    ),
    ev.TicketResent: Rule(
        {Q: Q},
        when=_has_no_live_lease,
        sets=effects.ticket_resent,
        due=due.if_ticket_is_lost,
        seen=False,
        recorded=False,
    ),
    ev.FoundAlive: Rule(
        {Q: Q, R: R}, when=_has_live_lease, due=due.at_end_of_lease, seen=False, recorded=False
    ),
    ev.Tidied: Rule(
        {S: S, F: F, C: C, X: X},
        when=_is_tidy_pending,
        sets=effects.tidied,
        due=due.of_ended,
        seen=False,
        recorded=False,
    ),
    ev.Settled: Rule(
        {S: S, F: F, C: C, X: X},
        when=_is_settle_pending,
        sets=effects.settled,
        due=due.of_ended,
        seen=False,
        recorded=False,
    ),
    ev.SettlementFailed: Rule(
        {S: S, F: F, C: C, X: X},
        when=_is_settle_pending,
        due=due.next_settlement,
        seen=False,
        recorded=False,
    ),
}


def from_states(event: type[ev.Event]) -> frozenset[Status]:
    """The states in which `event` may happen; what a conditional write must require."""
    return frozenset(RULES[event].moves)


# --- reading the table ----------------------------------------------------------------------------


def advance(job: Job, event: ev.Event, now: datetime) -> Job:
    """`job` after `event`, with its version, history and due time kept up to date.

    Raises:
        LeaseLost: the event's attempt no longer holds the job.
        TransitionRefused: the table or a guard forbids the event.
    """
    _require_holder(job, event)
    rule = _allowing_rule(job, event, now)
    changed = replace(job, status=rule.moves[job.status], **rule.sets(job, event, now))
    if changed.status.is_terminal and not job.status.is_terminal:
        changed = effects.ended(changed, now)
    if rule.seen:
        changed = replace(changed, version=job.version + 1)
    if rule.recorded:
        changed = replace(changed, history=_history(changed, type(event), now))
    return replace(changed, due_at=rule.due(changed, now))


def submitted(job: Job) -> Job:
    """A new job, ready to be stored: with its first history entry and its first due time."""
    entry = HistoryEntry(job.version, job.queued_at, _SUBMITTED, job.status, job.attempt)
    return replace(job, history=(entry,), due_at=due.if_ticket_is_lost(job, job.queued_at))


def _require_holder(job: Job, event: ev.Event) -> None:
    if not isinstance(event, ev.WorkerEvent):
        return
    if event.attempt != job.attempt:
        raise LeaseLost(f"attempt {event.attempt} lost {job.id} to attempt {job.attempt}")
    if job.lease is None:
        raise LeaseLost(f"attempt {event.attempt} no longer holds {job.id}")


def _allowing_rule(job: Job, event: ev.Event, now: datetime) -> Rule:
    rule, name = RULES[type(event)], type(event).__name__
    if job.status not in rule.moves:
        raise TransitionRefused(f"{name} cannot happen to a {job.status} job")
    if not rule.when(job, now):
        raise TransitionRefused(f"{name} is not allowed for {job.id} now")
    return rule


def _history(job: Job, kind: type[ev.Event], now: datetime) -> tuple[HistoryEntry, ...]:
    name = _snake_case(kind.__name__)
    entry = HistoryEntry(job.version, now, name, job.status, job.attempt)
    return (*job.history, entry)[-MAX_HISTORY:]


def _snake_case(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


# The names of events in a job's history.
EVENT_NAMES = frozenset({_SUBMITTED, *(_snake_case(event.__name__) for event in RULES)})
