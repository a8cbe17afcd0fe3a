"""The scaler: resize the fleet each minute, and at once when jobs arrive at an idle fleet.

look ──> decide ──> save ──> resize
   │                  │        └─ if this call is lost, the next round sees the wrong size and
   │                  │           resizes the fleet again
   │                  └─ if another round has saved first, this round stops: the other round saw
   │                     the same and acts on it
   └─ counts are a few seconds old; the next round, a minute later, sees the difference

What workers have is taken from their own reports, and not from SQS, which also counts the copies of
a ticket. How long jobs wait is taken from the claims that workers report, and not from the age of
SQS's messages, which includes those that workers have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from comfyline.service.clock import Clock
from comfyline.service.fleet.capacity import Capacity, FleetSize, Sizes, split, watch_spot
from comfyline.service.fleet.scaling import ScalingPolicy, Seen, decide, view_of
from comfyline.service.fleet.workers import (
    Fleet,
    Presence,
    PresenceStore,
    Recent,
    ScalingMemory,
)
from comfyline.service.queue.tickets import Backlog

# Rounds come every minute. If the last one is older than this, the schedule has stopped.
ROUND = timedelta(minutes=2)
# A claim that is older says little about how long jobs wait now.
CLAIM_COUNTS_FOR = timedelta(minutes=2)
# So many crashes in CRASH_WINDOW have one cause, such as an image that does not start or a missing
# model. Further workers would only cost money.
CRASH_LOOP = 3


@dataclass(frozen=True, slots=True)
class Scaled:
    """The result of a round: what the scaler saw, and the number of workers that it asked for."""

    seen: Seen
    size: FleetSize  # before the round
    asked: Sizes
    is_held: bool = False  # whether crashes keep the fleet small

    @property
    def resized(self) -> bool:
        """Whether it asked for another number than before."""
        return self.asked != self.size.desired

    @property
    def unfilled(self) -> int:
        """The workers that were ordered before this round and have not started."""
        desired, running = self.size.desired, self.size.running
        return sum(max(0, desired.of(c) - running.of(c)) for c in Capacity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Resizes the fleet. Rounds may overlap: only the one that saves first resizes it."""

    backlog: Backlog
    fleet: Fleet
    presence: PresenceStore
    memory: ScalingMemory
    policy: ScalingPolicy
    clock: Clock

    def scale(self, arrived: int = 0) -> Scaled | None:
        """Run one round. None if there was nothing to do, or another round saved first.

        `arrived` is the number of new jobs if these are the reason for the call. Such a round acts
        only on a fleet that was idle, because the rounds of each minute see to a busy one.
        """
        before = self.memory.load()
        if arrived and last_need(before) > self.clock() - ROUND:
            return None
        deployed = self.fleet.size()
        size = deployed or FleetSize()
        seen, since = self._look(size, arrived, before.waiting_since)
        decision = decide(seen, self.policy, before.needs)
        after = self._watched(
            replace(before, needs=decision.recent, waiting_since=since), size, seen.at
        )
        asked, is_held = Sizes(), False
        if deployed is not None:  # the queues are deployed before the fleet
            workers, is_held = self._held(decision.workers, seen)
            asked = split(workers, self.policy.ondemand_workers, after.spot, size, seen.at)
        view = view_of(seen, self.policy, size, asked, is_held=is_held).follows(before.view)
        after = replace(after, view=view)
        if after != before and not self.memory.save(after):
            return None
        if deployed is not None:
            self._resize(size, asked)
        return Scaled(seen, size, asked, is_held)

    def _resize(self, size: FleetSize, asked: Sizes) -> None:
        for capacity in Capacity:
            if asked.of(capacity) != size.desired.of(capacity):
                self.fleet.resize(capacity, asked.of(capacity))

    def _look(
        self, size: FleetSize, arrived: int, waiting_since: datetime | None
    ) -> tuple[Seen, datetime | None]:
        depths, now = self.backlog.depths(), self.clock()
        reports = self.presence.active(now) if size.desired.total or size.running.total else []
        waiting = max(depths.waiting, arrived)  # the queue's count may lack the new ones
        ready = sum(report.takes_jobs for report in reports)
        since = (waiting_since or now) if waiting else None
        seen = Seen(
            at=now,
            waiting=waiting,
            # A report is up to 20 s old, so a ticket may be with a worker that does not say so yet.
            # SQS counts copies too, so each worker counts once.
            in_flight=max(sum(r.held_jobs for r in reports), min(depths.in_flight, ready)),
            running=ready,
            busy=sum(report.held_jobs > 0 for report in reports),
            oldest_wait=longest_wait(reports, since, now) if since else timedelta(0),
        )
        return seen, since

    def _held(self, workers: int, seen: Seen) -> tuple[int, bool]:
        """While workers crash one after the other, order only one beyond those that are ready."""
        if workers <= seen.running + 1 or self.memory.crashes(seen.at) < CRASH_LOOP:
            return workers, False
        return seen.running + 1, True

    def _watched(self, recent: Recent, size: FleetSize, now: datetime) -> Recent:
        patience = 2 * timedelta(seconds=self.policy.boot_seconds)
        if size.revisions and size.revisions != recent.revisions:
            # Before it is noted, in case the process ends here; and before workers of a new
            # revision are ordered, because they would retire.
            self.presence.want(size.revisions)
            recent = replace(recent, revisions=size.revisions)
        return replace(recent, spot=watch_spot(recent.spot, size, patience, now))


def longest_wait(reports: Sequence[Presence], since: datetime, now: datetime) -> timedelta:
    """How long jobs wait: as long as those that were claimed lately, or since the last claim.

    `since` is when tickets began to wait.
    """
    claims = [(r.claimed_at, r.waited) for r in reports if r.claimed_at is not None]
    lately = [waited for at, waited in claims if now - at <= CLAIM_COUNTS_FOR]
    stalled = now - max([since, *(at for at, _ in claims)])
    return max([stalled, timedelta(0), *lately])


def last_need(recent: Recent) -> datetime:
    """When the scaler last saw work. Within ROUND of it, new jobs need not call the scaler."""
    return max((need.at for need in recent.needs), default=datetime.min.replace(tzinfo=UTC))
