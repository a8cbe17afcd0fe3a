"""Simulates queue and fleet by events: jobs arrive, workers boot, work, stop and are reclaimed.

Jobs are simulated in groups: jobs of one tick with the same GPU time start and end together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import simpy

from bench.simulation.workload import DAY, Arrivals, Workload, figures
from comfyline.service.fleet.workers import FleetSize
from comfyline.service.queue.tickets import Depths

START = datetime(2026, 11, 23, tzinfo=UTC)
MINUTE = 60
# The time after the last day in which the remaining jobs must end.
AFTERWARDS = DAY
# From the first job for an empty fleet to the round of the scaler: the window of the stream, which
# is 1 s, and the cold starts of settle_jobs and of the scaler.
WAKE_SECONDS = 3


@dataclass(slots=True)
class _Group:
    arrived: float
    seconds: float
    count: int
    again: bool = False  # whether it started before and was interrupted


@dataclass(slots=True)
class Bill:
    """The paid and the used GPU seconds, and how long jobs waited for their first start."""

    paid: float = 0.0
    worked: float = 0.0
    reclaimed: int = 0
    waits: dict[float, int] = field(default_factory=dict)

    @property
    def jobs(self) -> int:
        """The number of jobs that have started."""
        return sum(self.waits.values())

    def wait(self, share: float) -> float:
        """The quantile of the waits, in seconds."""
        seen, jobs = 0, self.jobs
        for seconds in sorted(self.waits):
            seen += self.waits[seconds]
            if seen >= share * jobs:
                return seconds
        return 0.0


class Service:
    """The scaler's ports `Backlog`, `Fleet` and `Clock` in simulated time.

    Idle and booting workers are stopped at once. Busy workers are stopped when their job has ended,
    because their task is protected. A worker is paid from its order until its instance is released.
    """

    def __init__(self, workload: Workload) -> None:
        self.env = simpy.Environment()
        self.bill = Bill()
        self._load = workload
        self._rng = np.random.default_rng(workload.seed)
        self._queue: deque[_Group] = deque()
        self._running: dict[float, list[_Group]] = {}
        self._waiting = 0
        self._up = self._busy = self._booting = self._cancelled = self._desired = 0
        self._paid_until = self._launch_at = 0.0

    # --- the ports of a scaler ---

    def __call__(self) -> datetime:
        """The simulated time."""
        return START + timedelta(seconds=self.env.now)

    def depths(self) -> Depths:
        """See Backlog. A busy worker has received one more job, which counts as in flight."""
        ahead = min(self._waiting, self._busy)
        return Depths(self._waiting - ahead, self._busy + ahead)

    def oldest_wait(self, now: datetime) -> timedelta:
        """See Backlog. Running jobs count too, because SQS counts messages in flight."""
        running = (group.arrived for groups in self._running.values() for group in groups)
        waiting = now.timestamp() - START.timestamp() - self.waited()
        return timedelta(seconds=self.env.now - min(running, default=waiting))

    def waited(self) -> float:
        """The seconds for which the first waiting job has waited."""
        return self.env.now - self._queue[0].arrived if self._queue else 0.0

    def size(self) -> FleetSize:
        """See Fleet."""
        return FleetSize(desired=self._desired, running=self._up)

    def resize(self, workers: int) -> None:
        """See Fleet."""
        self._desired = workers
        self._settle()

    # --- the simulation ---

    def run(self, policy: Callable[[int], object], *, wakes: bool) -> Bill:
        """Simulate all days. The policy runs each minute and, if it `wakes`, with new jobs."""
        days = self._load.days * DAY
        self.env.process(self._arrive(self._load.arrivals(), policy if wakes else None))
        self.env.process(self._rounds(policy))
        self.env.run(until=days)
        while self._waiting or self._busy:
            self.env.run(until=self.env.now + MINUTE)
            if self.env.now > days + AFTERWARDS:
                raise RuntimeError(f"{self._waiting} jobs had not started a day after the end")
        self._pay()
        return self.bill

    def _arrive(
        self, arrivals: list[Arrivals], wake: Callable[[int], object] | None
    ) -> simpy.events.ProcessGenerator:
        for coming in arrivals:
            yield self.env.timeout(coming.at - self.env.now)
            self._waiting += coming.count
            self._queue.extend(_Group(coming.at, seconds, n) for n, seconds in coming.jobs)
            self._settle()
            if wake is not None and not self._desired:
                self._at(self.env.now + WAKE_SECONDS, partial(wake, coming.count))

    def _rounds(self, policy: Callable[[int], object]) -> simpy.events.ProcessGenerator:
        while True:
            self._reclaim()
            policy(0)
            yield self.env.timeout(MINUTE)

    def _reclaim(self) -> None:
        spot = figures()["spot"]
        chance = spot["share"] * MINUTE / 3600 / spot["hours_between_reclaims"]
        for _ in range(self._rng.binomial(self._up, chance)):
            if self._rng.random() < self._busy / self._up:
                self._interrupt()
            self._stop(1)
            self.bill.reclaimed += 1
        self._settle()

    def _interrupt(self) -> None:
        ends = self._rng.choice(np.array(list(self._running)))
        group = self._running[ends][0]
        group.count -= 1
        if not group.count:
            self._running[ends].pop(0)
        if not self._running[ends]:
            del self._running[ends]
        self._queue.appendleft(_Group(group.arrived, group.seconds, 1, again=True))
        self._waiting += 1
        self._busy -= 1
        self.bill.worked -= group.seconds

    def _settle(self) -> None:
        self._start()
        surplus = self._up + self._booting - self._desired
        if surplus < 0:
            self._boot(-surplus)
        if surplus > 0:
            early = min(surplus, self._booting)
            self._pay()
            self._booting -= early
            self._cancelled += early
            self._stop(min(surplus - early, self._up - self._busy))

    def _start(self) -> None:
        now, tick = self.env.now, self._load.tick
        while self._queue and self._busy < self._up:
            group = self._queue[0]
            count = min(group.count, self._up - self._busy)
            group.count -= count
            if not group.count:
                self._queue.popleft()
            self._waiting -= count
            self._busy += count
            self.bill.worked += count * group.seconds
            if not group.again:
                waited = now - group.arrived
                self.bill.waits[waited] = self.bill.waits.get(waited, 0) + count
            ends = now + max(tick, round(group.seconds / tick) * tick)
            if ends not in self._running:
                self._running[ends] = []
                self._at(ends, self._end)
            self._running[ends].append(_Group(group.arrived, group.seconds, count))

    def _end(self) -> None:
        groups = self._running.pop(self.env.now, [])
        self._busy -= sum(group.count for group in groups)
        self._settle()

    def _boot(self, workers: int) -> None:
        boot = figures()["boot"]
        services = -(-self._load.max_workers // boot["workers_of_a_service"])
        gap = MINUTE / boot["launches_a_minute"] / services
        takes = self._rng.lognormal(np.log(boot["median_seconds"]), boot["sigma"], workers)
        first = max(self._launch_at, self.env.now)
        self._launch_at = first + gap * workers
        self._pay()
        self._booting += workers
        tick = self._load.tick
        ready = np.ceil((first + gap * np.arange(1, workers + 1) + takes) / tick) * tick
        for at, count in zip(*np.unique(ready, return_counts=True), strict=True):
            self._at(float(at), partial(self._booted, int(count)))

    def _booted(self, workers: int) -> None:
        # A canceled order stops the first booting worker; which one makes no difference.
        gone = min(workers, self._cancelled)
        self._cancelled -= gone
        self._pay()
        self._booting -= workers - gone
        self._up += workers - gone
        self._settle()

    def _stop(self, workers: int) -> None:
        self._pay()
        self._up -= workers
        self.bill.paid += workers * figures()["boot"]["kept_seconds"]

    def _pay(self) -> None:
        self.bill.paid += (self._up + self._booting) * (self.env.now - self._paid_until)
        self._paid_until = self.env.now

    def _at(self, when: float, what: Callable[[], object]) -> None:
        def fire(_: simpy.events.Event) -> None:
            what()

        self.env.timeout(when - self.env.now).callbacks.append(fire)
