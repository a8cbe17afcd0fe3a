"""Simulates queue and fleet by events: jobs arrive, workers boot, work, stop and are reclaimed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf

import numpy as np
import simpy

from bench.simulation.bill import Bill
from bench.simulation.group import Group
from bench.simulation.sight import Copies, Sight
from bench.simulation.workload import DAY, Arrivals, Workload, figures
from comfyline.contract.ids import WorkerId
from comfyline.service.fleet.capacity import Capacity, FleetSize, Sizes
from comfyline.service.fleet.scale import CLAIM_COUNTS_FOR
from comfyline.service.fleet.workers import Presence
from comfyline.service.queue.tickets import Depths

START = datetime(2026, 11, 23, tzinfo=UTC)
MINUTE = 60
# The time after the last day in which the remaining jobs must end.
AFTERWARDS = DAY
# From the first job for an empty fleet to the round of the scaler: the window of the stream, which
# is 1 s, and the cold starts of settle_jobs and of the scaler.
WAKE_SECONDS = 3


@dataclass(slots=True)
class _Pool:
    """The workers of one capacity."""

    desired: int = 0
    up: int = 0
    booting: int = 0
    canceled: int = 0  # booting workers that were stopped: so many of the next ones never come


class Service:
    """The scaler's ports `Backlog`, `Fleet`, `PresenceStore` and `Clock` in simulated time.

    Idle and booting workers are stopped at once. Busy workers are stopped when their job has ended,
    because their task is protected. A worker is paid from its order until its instance is released.
    In some hours no spot instance can be had: an order waits, and those that run stay. The sweeper
    sends copies of tickets, which the queue counts. `sight` says what the scaler is shown.
    """

    def __init__(
        self,
        workload: Workload,
        sight: Sight = Sight.DEPLOYED,
        boot_seconds: float | None = None,
    ) -> None:
        """`boot_seconds`: the median time from an order to the first job, unless it is usual."""
        self.env = simpy.Environment()
        self.bill = Bill()
        self._load, self._sight = workload, sight
        self._boot_seconds = boot_seconds or figures()["boot"]["median_seconds"]
        self._copies = Copies(is_patient=sight is not Sight.COPIES)
        self._rng = np.random.default_rng(workload.seed)
        self._queue: deque[Group] = deque()
        self._running: dict[float, list[Group]] = {}
        self._claims: deque[tuple[float, float]] = deque()  # time and wait of the last minutes
        self._waiting = self._busy = 0
        self._pools = {capacity: _Pool() for capacity in Capacity}
        self._paid_until = self._launch_at = 0.0

    # --- the ports of a scaler ---

    def __call__(self) -> datetime:
        """The simulated time."""
        return START + timedelta(seconds=self.env.now)

    def depths(self) -> Depths:
        """See Backlog. A busy worker has received one more job, which counts as in flight."""
        ahead = min(self._waiting, self._busy)
        copies = self._copies.count(self._queue[0].arrived if self._queue else inf)
        return Depths(self._waiting - ahead + copies, self._busy + ahead)

    def active(self, now: datetime) -> list[Presence]:
        """See PresenceStore. Workers that do the same share one report."""
        ahead, busy = min(self._waiting, self._busy), self._busy
        kinds = ((2, ahead), (1, busy - ahead), (0, self._up - busy))
        return [worker for held, count in kinds for worker in [self._report(held, now)] * count]

    def _report(self, held: int, now: datetime) -> Presence:
        claims = self._recent_claims()
        return Presence(
            WorkerId("worker"),
            min(held, 1),
            now + timedelta(minutes=1),
            held_jobs=held,
            claimed_at=START + timedelta(seconds=claims[-1][0]) if claims else None,
            waited=timedelta(seconds=max((waited for _, waited in claims), default=0.0)),
        )

    def _recent_claims(self) -> Sequence[tuple[float, float]]:
        now, claims = self.env.now, self._claims
        if self._sight is Sight.AGE:
            return [(now, now - min(self._arrivals(), default=now))]
        while claims and now - claims[0][0] > CLAIM_COUNTS_FOR.total_seconds():
            claims.popleft()
        return claims

    def put(self, presence: Presence) -> frozenset[str]:  # noqa: ARG002 - the port's
        """See PresenceStore. Nothing is deployed on these days."""
        return frozenset()

    def want(self, revisions: frozenset[str]) -> None:
        """See PresenceStore."""

    def size(self) -> FleetSize:
        """See Fleet."""
        desired, running = (
            Sizes(**{c.value: getattr(pool, name) for c, pool in self._pools.items()})
            for name in ("desired", "up")
        )
        if self._sight is Sight.SPOT_ONLY:  # nothing seems to be missing
            running = replace(running, spot=desired.spot)
        return FleetSize(desired, running)

    def resize(self, capacity: Capacity, workers: int) -> None:
        """See Fleet."""
        self._pools[capacity].desired = workers
        self._settle()

    def _arrivals(self) -> Iterator[float]:
        """When the jobs arrived that wait or run."""
        yield from (group.arrived for group in self._queue)
        yield from (group.arrived for groups in self._running.values() for group in groups)

    # --- what the usual policies use ---

    def waited(self) -> float:
        """The seconds for which the first waiting job has waited."""
        return self.env.now - self._queue[0].arrived if self._queue else 0.0

    @property
    def desired(self) -> int:
        """The workers that were ordered."""
        return sum(pool.desired for pool in self._pools.values())

    def order(self, workers: int) -> None:
        """Order so many workers: the first on-demand, and of those above it the usual share spot.

        AWS moves no order from spot to on-demand.
        """
        spot = round(figures()["spot"]["share"] * max(0, workers - 1))
        self.resize(Capacity.SPOT, spot)
        self.resize(Capacity.ONDEMAND, workers - spot)

    @property
    def _up(self) -> int:
        return sum(pool.up for pool in self._pools.values())

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
            self._queue.extend(Group(coming.at, seconds, n) for n, seconds in coming.jobs)
            self._settle()
            if wake is not None and not self.desired:
                self._at(self.env.now + WAKE_SECONDS, partial(wake, coming.count))

    def _rounds(self, policy: Callable[[int], object]) -> simpy.events.ProcessGenerator:
        while True:
            self._reclaim()
            self._copies.sweep(self.env.now, self._unclaimed(), self.depths().waiting)
            policy(0)
            yield self.env.timeout(MINUTE)

    def _unclaimed(self) -> Iterator[Group]:
        """The jobs that no worker has received. Each busy worker has received one ahead."""
        ahead = min(self._waiting, self._busy)
        for group in self._queue:
            if ahead <= 0:
                yield group
            ahead -= group.count

    def _reclaim(self) -> None:
        chance = MINUTE / 3600 / figures()["spot"]["hours_between_reclaims"]
        for _ in range(self._rng.binomial(self._pools[Capacity.SPOT].up, chance)):
            if self._rng.random() < self._busy / self._up:
                self._interrupt()
            self._stop(Capacity.SPOT, 1)
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
        self._queue.appendleft(Group(group.arrived, group.seconds, 1, again=True))
        self._waiting += 1
        self._busy -= 1
        self.bill.worked -= group.seconds

    def _settle(self) -> None:
        self._start()
        for capacity, pool in self._pools.items():
            surplus = pool.up + pool.booting - pool.desired
            if surplus < 0 and not (capacity is Capacity.SPOT and self._spot_is_refused()):
                self._boot(capacity, -surplus)
            if surplus > 0:
                early = min(surplus, pool.booting)
                self._pay()
                pool.booting -= early
                pool.canceled += early
                self._stop(capacity, min(surplus - early, pool.up, self._up - self._busy))

    def _spot_is_refused(self) -> bool:
        hour = self.env.now / 3600 % 24
        return any(begin <= hour < end for begin, end in figures()["spot"]["refused_hours"])

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
                self._claims.append((now, waited))
                self.bill.waits[waited] = self.bill.waits.get(waited, 0) + count
            ends = now + max(tick, round(group.seconds / tick) * tick)
            if ends not in self._running:
                self._running[ends] = []
                self._at(ends, self._end)
            self._running[ends].append(Group(group.arrived, group.seconds, count))

    def _end(self) -> None:
        groups = self._running.pop(self.env.now, [])
        self._busy -= sum(group.count for group in groups)
        self._settle()

    def _boot(self, capacity: Capacity, workers: int) -> None:
        boot = figures()["boot"]
        services = -(-self._load.max_workers // boot["workers_of_a_service"])
        gap = MINUTE / boot["launches_a_minute"] / services
        takes = self._rng.lognormal(np.log(self._boot_seconds), boot["sigma"], workers)
        first = max(self._launch_at, self.env.now)
        self._launch_at = first + gap * workers
        self._pay()
        self._pools[capacity].booting += workers
        tick = self._load.tick
        ready = np.ceil((first + gap * np.arange(1, workers + 1) + takes) / tick) * tick
        for at, count in zip(*np.unique(ready, return_counts=True), strict=True):
            self._at(float(at), partial(self._booted, capacity, int(count)))

    def _booted(self, capacity: Capacity, workers: int) -> None:
        # A canceled order stops the first booting worker; which one makes no difference.
        pool = self._pools[capacity]
        gone = min(workers, pool.canceled)
        pool.canceled -= gone
        self._pay()
        pool.booting -= workers - gone
        pool.up += workers - gone
        self._settle()

    def _stop(self, capacity: Capacity, workers: int) -> None:
        self._pay()
        self._pools[capacity].up -= workers
        self.bill.pay(capacity, workers * figures()["boot"]["kept_seconds"])

    def _pay(self) -> None:
        seconds = self.env.now - self._paid_until
        for capacity, pool in self._pools.items():
            self.bill.pay(capacity, (pool.up + pool.booting) * seconds)
        self._paid_until = self.env.now

    def _at(self, when: float, what: Callable[[], object]) -> None:
        def fire(_: simpy.events.Event) -> None:
            what()

        self.env.timeout(when - self.env.now).callbacks.append(fire)
