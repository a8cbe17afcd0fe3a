"""Repair, once a minute, the jobs that a crash or a lost message has left unfinished.

The sweeper has no rules about states: it reads the jobs that are due, and `decide.on_due_time`
chooses the event. It works in the order of urgency, gives every owner a turn before another owner's
next, and starts nothing after the end of its time:

    live jobs, and beside them the urgent chores of other subjects
      ──> ended jobs that settle_jobs has missed ──> void files

It does not remove jobs past their retention: the store removes their items and the bucket their
files. Rows that earlier code has left due for their removal are the exception.

A row that cannot be read is moved out of the way by a write that needs nothing of it but its shard.
No error of one job, shard or chore stops the others.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import NamedTuple

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.clock import Clock
from comfyline.service.errors import JobNotFound, Unavailable
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.jobs.artifact_keys import void_prefixes
from comfyline.service.jobs.change import change
from comfyline.service.jobs.decide import on_due_time
from comfyline.service.jobs.due import MAX_TICKET_GRACE_STEPS, TIDY_DELAY
from comfyline.service.jobs.events import Event, Settled, SettlementFailed, TicketResent, Tidied
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.round import Round, outcome_of
from comfyline.service.jobs.settle import Settlement
from comfyline.service.jobs.store import JobStore, UnreadableRow, due_shards, other_quarantines
from comfyline.service.jobs.turns import in_turns
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import TICKET_BATCH, JobQueue

# Jobs read from a shard in a round; the next one continues a minute later. It is large, so that
# live jobs are found even after settle_jobs has stopped and has left thousands of ended jobs.
SHARD_BATCH = 2_000
# A younger end is left to settle_jobs, which usually settles it within seconds.
SETTLE_PATIENCE = timedelta(minutes=1)
SETTLE_BATCH = 49  # settled together: as many as one transaction of the ledger counts

# With fewer tickets in its lane, a job that is due gets a second ticket: it may have lost its own,
# and a few copies cost nothing. In a longer queue a copy for each job would double the queue, which
# is what the fleet is sized by.
LONG_QUEUE = 100
# How often the sweeper has found a job waiting before it sends one ticket even into a long queue,
# 100 minutes after the post: a lost ticket must not wait for ever behind a backlog that never ends.
LAST_PATIENT_LOOK = MAX_TICKET_GRACE_STEPS

# The outcome of rows that could not be read, which is no event.
SET_ASIDE = "SetAside"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chore:
    """Urgent work of another subject. `run` stops at the time that it is given.

    It returns how many things it has repaired; they are reported under `outcome`.
    """

    outcome: str
    run: Callable[[datetime], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """Handles due jobs so that a job that fails does not stop the others.

    `executor` handles them side by side, because they wait for the network. No task waits for
    another task of it. The chores run in the calling thread.
    """

    store: JobStore
    queue: JobQueue
    artifacts: ArtifactStore
    settlement: Settlement
    clock: Clock
    executor: Executor
    chores: Sequence[Chore] = ()

    def sweep(self, ends_at: datetime) -> Counter[str]:
        """Run one round, and start nothing more at `ends_at`.

        Returns the number of jobs by outcome, usually an event's name, and the chores' results.
        """
        round_ = Round(self.clock, self.executor, ends_at)
        due = self._due(round_, [*due_shards(settled=False), *other_quarantines()])
        unfinished = [job for job in due if not job.status.is_terminal]
        long_lanes = self._long_lanes(unfinished)
        live = round_.start_groups(
            lambda jobs: self._sweep_live(round_, jobs, long_lanes),
            self._most_urgent_first(unfinished, long_lanes),
            TICKET_BATCH,
        )
        for chore in self.chores:
            round_.outcomes += self._done(chore, ends_at)
        round_.finish(live)
        missed = [job for job in due if job.settle_pending and self._is_missed(job)]
        round_.finish(round_.start_groups(self._settle, _in_turns(missed), SETTLE_BATCH))
        settled = self._due(round_, due_shards(settled=True))
        # Some jobs were settled a moment ago.
        ended = {job.id: job for job in (*due, *settled)}
        void = [job for job in _in_turns(ended.values()) if self._is_void(job)]
        round_.finish(round_.start(self._clean_up, void))
        return round_.outcomes

    def repair(self, jobs: Sequence[Job], ends_at: datetime) -> Counter[str]:
        """Handle these jobs as if they were due, and start nothing more at `ends_at`.

        For an operator: the due times or the shards of such jobs may be wrong, so that no round
        finds them. The write of each event also corrects both.
        """
        round_ = Round(self.clock, self.executor, ends_at)
        live = [job for job in jobs if not job.status.is_terminal]
        sweep = partial(self._sweep_live, round_, long_lanes=set())
        round_.finish(round_.start_groups(sweep, live, TICKET_BATCH))
        missed = [job for job in jobs if job.settle_pending]
        round_.finish(round_.start_groups(self._settle, missed, SETTLE_BATCH))
        round_.finish(round_.start(self._clean_up, filter(self._is_void, jobs)))
        return round_.outcomes

    def _due(self, round_: Round, shards: Sequence[str]) -> list[Job]:
        """The due jobs of these shards. Rows that cannot be read are set aside."""
        found = [row for rows in self.executor.map(self._due_in, shards) for row in rows]
        unreadable = [row for row in found if isinstance(row, UnreadableRow)]
        round_.finish(round_.start(self._set_aside, unreadable))
        return [row for row in found if isinstance(row, Job)]

    def _due_in(self, shard: str) -> Sequence[Job | UnreadableRow]:
        try:
            return self.store.due(self.clock(), SHARD_BATCH, shard)
        except Unavailable:  # the other shards are swept all the same
            _log.exception("shard not read", extra={"action": "shard_not_read", "shard": shard})
            return ()

    def _set_aside(self, row: UnreadableRow) -> str:
        extra = {"action": "row_unreadable", "job_id": row.id, "reason": row.reason}
        _log.error("row set aside", extra=extra)
        self.store.set_aside(row)
        return SET_ASIDE

    def _done(self, chore: Chore, ends_at: datetime) -> Counter[str]:
        try:
            return Counter({chore.outcome: done} if (done := chore.run(ends_at)) else {})
        except Exception as error:  # noqa: BLE001 no chore may stop the sweep
            _log.exception("chore failed", extra={"action": "chore_failed", "chore": chore.outcome})
            return Counter({outcome_of(error): 1})

    # --- live jobs --------------------------------------------------------------------------------

    def _most_urgent_first(self, live: Iterable[Job], long_lanes: Set[Priority]) -> list[Job]:
        """Those that may have lost their worker or their ticket come first.

        Then those that wait in a long queue, and at last those of workers that are alive.
        """
        now = self.clock()

        def urgency(job: Job) -> tuple[bool, bool]:
            waits = job.lease is None and _is_patient(job, long_lanes)
            return job.has_live_lease(now), waits

        by_urgency = groupby(sorted(live, key=urgency), urgency)
        return [job for _, jobs in by_urgency for job in _in_turns(jobs)]

    def _long_lanes(self, live: Iterable[Job]) -> set[Priority]:
        """The lanes in which jobs wait because the queue is long, and not for a lost ticket.

        They hold at least as many tickets as jobs that are due.
        """
        due = Counter(job.priority for job in live if job.lease is None)
        return {lane for lane, jobs in due.items() if self._depth(lane) >= max(jobs, LONG_QUEUE)}

    def _depth(self, lane: Priority) -> int:
        try:
            return self.queue.depth(lane)
        except Unavailable:  # then each job gets a ticket, which is harmless
            return 0

    def _sweep_live(
        self, round_: Round, jobs: Sequence[Job], long_lanes: Set[Priority]
    ) -> Counter[str]:
        """Change the jobs one after another, then send the tickets that they need.

        A call of SQS takes as much CPU as a write, so one call for each lane halves the time. After
        a crash in between, the jobs are due again a little later.
        """
        outcomes, to_send = Counter[str](), defaultdict[Priority, list[_Ticketless]](list)

        def change_one(one: Sequence[Job]) -> Counter[str]:
            job, outcome, needs_ticket = self._change_live(one[0], long_lanes)
            if needs_ticket:
                to_send[job.priority].append(_Ticketless(job.id, job.owner, outcome))
            return Counter([] if needs_ticket else [outcome])

        for job in jobs:
            outcomes += round_.handle(change_one, [job])
        for lane, changed in to_send.items():
            outcomes += round_.guard(partial(self._send, lane), changed)
        return outcomes

    def _change_live(self, job: Job, long_lanes: Set[Priority]) -> tuple[Job, str, bool]:
        """The changed job, the outcome, and whether the job needs a ticket."""
        now, is_patient = self.clock(), _is_patient(job, long_lanes)
        event = on_due_time(job, now)
        job = change(self.store, lambda: now, job, lambda current: on_due_time(current, now))
        if isinstance(event, TicketResent) and is_patient:
            # At the end of a long queue, a copy would only be more work.
            return job, "FoundWaiting", False
        return job, type(event).__name__, job.lease is None and not job.status.is_terminal

    def _send(self, lane: Priority, changed: Sequence[_Ticketless]) -> Counter[str]:
        self.queue.send_many([(job.id, job.owner) for job in changed], lane)
        return Counter(job.outcome for job in changed)

    # --- ended jobs -------------------------------------------------------------------------------

    def _is_missed(self, job: Job) -> bool:
        return job.finished_at is not None and job.finished_at + SETTLE_PATIENCE <= self.clock()

    def _settle(self, missed: Sequence[Job]) -> Counter[str]:
        """Settle jobs that settle_jobs has missed; those that fail are tried again in an hour."""
        failed = {parked.job_id for parked in self.settlement.settle(missed)}
        for job in missed:
            if job.id in failed:
                with suppress(JobNotFound):
                    change(self.store, self.clock, job, _delayed_if_pending)
        done = {Settled.__name__: len(missed) - len(failed), SettlementFailed.__name__: len(failed)}
        return Counter({event: jobs for event, jobs in done.items() if jobs})

    def _is_void(self, job: Job) -> bool:
        """The job, or some of its files, are to be removed now."""
        end = job.finished_at
        is_untidy = job.tidy_pending and end is not None and end + TIDY_DELAY <= self.clock()
        return is_untidy or self._is_removable(job)

    def _is_removable(self, job: Job) -> bool:
        return job.is_settled and job.is_past_retention(self.clock())

    def _clean_up(self, job: Job) -> str:
        return self._remove(job) if self._is_removable(job) else self._tidy(job)

    def _tidy(self, job: Job) -> str:
        """Remove the void files of an ended job, then note it in the row.

        In this order, so that a crash in between repeats the removal instead of skipping it.
        """
        for prefix in void_prefixes(job):
            self.artifacts.delete_prefix(prefix)
        change(self.store, self.clock, job, _tidied_if_pending)
        return Tidied.__name__

    def _remove(self, job: Job) -> str:
        # Files first: after a crash in between, the next round finds a row without files again, but
        # nothing would find files without a row.
        self.artifacts.delete_prefix(job.artifact_prefix)
        self.store.delete(job)
        return "Removed"


class _Ticketless(NamedTuple):
    """A job that was changed and now needs a ticket."""

    id: JobId
    owner: OwnerId
    outcome: str


def _is_patient(job: Job, long_lanes: Set[Priority]) -> bool:
    return job.priority in long_lanes and job.ticket_sends != LAST_PATIENT_LOOK


def _in_turns(jobs: Iterable[Job]) -> list[Job]:
    """The jobs by due time, with a turn for each owner."""
    return in_turns(sorted(jobs, key=lambda job: job.due_at or job.queued_at), lambda j: j.owner)


def _tidied_if_pending(job: Job) -> Event | None:
    return Tidied() if job.tidy_pending else None


def _delayed_if_pending(job: Job) -> Event | None:
    return SettlementFailed() if job.settle_pending else None
