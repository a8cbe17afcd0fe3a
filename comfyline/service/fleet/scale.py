"""The scaler: resize the fleet each minute, and at once when jobs arrive at an idle fleet.

look ──> decide ──> save ──> resize
   │                  │        └─ if this call is lost, the next round sees the wrong size and
   │                  │           resizes the fleet again
   │                  └─ if another round has saved first, this round stops: the other round saw
   │                     the same and acts on it
   └─ SQS's counts are a few seconds old; the next round, a minute later, sees the difference
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from comfyline.service.clock import Clock
from comfyline.service.fleet.scaling import ScalingPolicy, Seen, decide
from comfyline.service.fleet.workers import Fleet, FleetSize, Recent, ScalingMemory
from comfyline.service.queue.tickets import Backlog

# Rounds come every minute. If the last one is older than this, the schedule has stopped.
ROUND = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Scaled:
    """The result of a round: what the scaler saw, and the number of workers that it asked for.

    `resized`: that number differs from the number before.
    """

    seen: Seen
    workers: int
    resized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Resizes the fleet. Rounds may overlap: only the one that saves first resizes it."""

    backlog: Backlog
    fleet: Fleet
    memory: ScalingMemory
    policy: ScalingPolicy
    clock: Clock

    def scale(self, arrived: int = 0) -> Scaled | None:
        """Run one round. None if there was nothing to do, or another round saved first.

        `arrived` is the number of new jobs if these are the reason for the call. Such a round acts
        only on a fleet that was idle, because the rounds of each minute see to a busy one.
        """
        recent = self.memory.load()
        if arrived and last_need(recent) > self.clock() - ROUND:
            return None
        size = self.fleet.size()
        seen = self._look(size, arrived)
        decision = decide(seen, self.policy, recent.needs)
        changed = decision.recent != recent.needs
        if changed and not self.memory.save(decision.recent, recent.version):
            return None
        if decision.workers != size.desired:
            self.fleet.resize(decision.workers)
        return Scaled(seen, decision.workers, resized=decision.workers != size.desired)

    def _look(self, size: FleetSize, arrived: int) -> Seen:
        depths, now = self.backlog.depths(), self.clock()
        waiting = max(depths.waiting, arrived)  # the queue's count may lack the new ones
        return Seen(
            at=now,
            waiting=waiting,
            in_flight=depths.in_flight,
            running=size.running,
            oldest_wait=self.backlog.oldest_wait(now) if waiting else timedelta(0),
        )


def last_need(recent: Recent) -> datetime:
    """When the scaler last saw work. Within ROUND of it, new jobs need not call the scaler."""
    return max((need.at for need in recent.needs), default=datetime.min.replace(tzinfo=UTC))
