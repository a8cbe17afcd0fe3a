"""Bring the fleet to the size that its work needs: each minute, and when work comes to an idle one.

look ──> decide ──> save ──> resize
   │                  │        └─ lost: the next round sees another size than it wants, and asks
   │                  └─ another round was faster: it has seen the same, so nothing is left to do
   └─ counts lag behind by moments; the next round is a minute away
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from comfyline.service.clock import Clock
from comfyline.service.fleet.scaling import Limits, Seen, decide
from comfyline.service.fleet.workers import Fleet, FleetSize, Recent, ScalingMemory
from comfyline.service.queue.tickets import Backlog

# A round that old must have been followed by another, unless the clock's schedule has stopped.
ROUND = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Scaled:
    """What was seen and what was asked for. `resized` if that differed from what was."""

    seen: Seen
    workers: int
    resized: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Rounds may overlap: only the one that saves first moves the fleet."""

    backlog: Backlog
    fleet: Fleet
    memory: ScalingMemory
    limits: Limits
    clock: Clock

    def scale(self, arrived: int = 0) -> Scaled | None:
        """One round; None if there was nothing to do or another was faster.

        `arrived` is how many jobs have just come, where that is why it is called: then it acts only
        on a fleet that nobody needed until now.
        """
        recent = self.memory.load()
        if arrived and self._is_awake(recent):
            return None
        size = self.fleet.size()
        seen = self._look(size, arrived)
        decision = decide(seen, self.limits, recent.needs)
        changed = decision.recent != recent.needs
        if changed and not self.memory.save(decision.recent, recent.version):
            return None
        if decision.workers != size.desired:
            self.fleet.resize(decision.workers)
        return Scaled(seen, decision.workers, resized=decision.workers != size.desired)

    def _is_awake(self, recent: Recent) -> bool:
        return any(need.at > self.clock() - ROUND for need in recent.needs)

    def _look(self, size: FleetSize, arrived: int) -> Seen:
        depths, now = self.backlog.depths(), self.clock()
        waiting = max(depths.waiting, arrived)  # the queue's own count may not have them yet
        return Seen(
            at=now,
            waiting=waiting,
            in_flight=depths.in_flight,
            running=size.running,
            oldest_wait=self.backlog.oldest_wait(now) if waiting else timedelta(0),
        )
