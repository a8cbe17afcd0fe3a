"""The stream of the jobs table, and the instances of settle_jobs that read it."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from comfyline.service.jobs.job import Job
from tests.scale.simulation import Simulation

WINDOW, BATCH = 1.0, 100  # seconds and records: of the stream's reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How a stream delivers: the worst that AWS may do."""

    readers: int = 16  # four shards, four batches of each at once
    repeated: float = 0.02  # the share of records that is delivered again, by another reader
    late: float = 0.0  # seconds: the most by which a repetition comes later
    stalls: float = 0.0  # the share of batches before which its reader stalls, for `late` at most
    down: tuple[float, float] = (0.0, 0.0)  # from when until when nothing is delivered


@dataclass(slots=True)
class Stream:
    """Delivers each record at least once. The readers do not wait for each other."""

    simulation: Simulation
    delivery: Delivery
    delivered: int = 0
    _order: count[int] = field(default_factory=count)
    _readers: list[list[tuple[float, int, Job]]] = field(init=False)

    def __post_init__(self) -> None:
        self._readers = [[] for _ in range(self.delivery.readers)]

    def put(self, job: Job) -> None:
        """A record of the job's end."""
        random, now = self.simulation.random, self.simulation.seconds
        self._deliver(zlib.crc32(job.id.encode()), now, job)
        if random.random() < self.delivery.repeated:
            again = now + random.uniform(0, self.delivery.late)
            self._deliver(random.randrange(self.delivery.readers), again, job)

    def _deliver(self, reader: int, at: float, job: Job) -> None:
        heappush(self._readers[reader % self.delivery.readers], (at, next(self._order), job))

    def start(self, settle: Callable[[Sequence[Job]], object]) -> None:
        """Start the readers. `settle` is called with each batch, as in one instance."""
        for waiting in self._readers:
            self.simulation.spawn(lambda waiting=waiting: self._read(waiting, settle))

    def _read(
        self, waiting: list[tuple[float, int, Job]], settle: Callable[[Sequence[Job]], object]
    ) -> None:
        simulation, delivery = self.simulation, self.delivery
        begin, end = delivery.down
        while True:
            simulation.sleep(WINDOW)
            if begin <= simulation.seconds < end:
                simulation.sleep(end - simulation.seconds)
            elif simulation.random.random() < delivery.stalls:
                simulation.sleep(simulation.random.uniform(0, delivery.late))
            batch = list[Job]()
            while waiting and waiting[0][0] <= simulation.seconds and len(batch) < BATCH:
                batch.append(heappop(waiting)[2])
            if batch:
                self.delivered += len(batch)
                settle(batch)

    @property
    def undelivered(self) -> int:
        """The records that no reader has had."""
        return sum(map(len, self._readers))
