"""Jobs in memory with two indexes that lag, as DynamoDB's may.

The functions that query the indexes of the real table query these.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from heapq import heappop, heappush
from itertools import count, islice
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

from comfyline.adapters.aws.attributes import time_of
from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.jobs import index as jobs_index
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.job import Job, JobRecord, Status
from comfyline.service.jobs.store import ListPosition, due_shard
from comfyline.service.storage_names import BY_DUE, BY_OWNER
from tests.scale.pace import DYNAMODB
from tests.scale.simulation import Simulation

Partition = tuple[str, ...]  # the index and the partition key
Place = tuple[Any, str]  # the sort key and the job


class Indexes:
    """by_due and by_owner. Each change is visible up to `lag` seconds later.

    A job that moves within an index is taken away and put in again after two separate delays,
    so it may be in no place for a moment.
    """

    def __init__(self, simulation: Simulation, lag: float) -> None:
        self._simulation, self._lag = simulation, lag
        self._order = count()
        self._coming: list[tuple[float, int, bool, Partition, Place]] = []
        self._visible_at = dict[JobId, float]()
        self._places = defaultdict[Partition, list[Place]](list)

    def change(self, before: Job | None, after: Job | None) -> None:
        """Take a write of the table: `before` and `after` are the row, or None."""
        was, now = (set(_places(job)) if job else set() for job in (before, after))
        job_id = (after or before).id  # type: ignore[union-attr]
        moves = [(False, *place) for place in was - now] + [(True, *place) for place in now - was]
        # Of one job, a later change is never visible before an earlier one.
        soonest = max(self._visible_at.get(job_id, 0.0), self._simulation.seconds)
        for move in moves:
            at = max(
                soonest, self._simulation.seconds + self._simulation.random.uniform(0, self._lag)
            )
            self._visible_at[job_id] = max(self._visible_at.get(job_id, 0.0), at)
            heappush(self._coming, (at, next(self._order), *move))

    def _catch_up(self) -> None:
        while self._coming and self._coming[0][0] <= self._simulation.seconds:
            _at, _n, is_there, partition, place = heappop(self._coming)
            places = self._places[partition]
            if is_there:
                insort(places, place)
            else:
                places.remove(place)

    # --- the part of a DynamoDB client that the queries use ---------------------------------------

    def get_paginator(self, operation: str) -> Any:
        assert operation == "query", operation
        return SimpleNamespace(paginate=self._pages)

    def _pages(self, **query: Any) -> Iterator[Any]:
        values = {n: _value(v) for n, v in query["ExpressionAttributeValues"].items()}
        size = query["PaginationConfig"]["PageSize"]
        if query["IndexName"] == BY_DUE:
            self._catch_up()
            places = self._places[BY_DUE, values[":shard"]]
            until = bisect_right(places, values[":now"], key=itemgetter(0))
            yield {"Items": [_item(place) for place in places[: min(until, size)]]}
            return
        after, found = values.get(":after", chr(sys.maxunicode)), [("", "")]
        while found:
            self._simulation.sleep(DYNAMODB)  # so that jobs change between two queries of a list
            self._catch_up()
            places = self._places[BY_OWNER, values[":owner"], values[":status"]]
            found = places[: bisect_left(places, (after,))][-size:][::-1]
            yield {"Items": [_item(place) for place in found]}
            after = found[-1][0] if found else after


def _places(job: Job) -> Iterator[tuple[Partition, Place]]:
    listed_at = codec.listed_at(job.queued_at, job.id)
    yield (BY_OWNER, job.owner, job.status.value), (listed_at, job.id)
    if job.due_at is not None:
        yield (BY_DUE, due_shard(job)), (_value(time_of(job.due_at)), job.id)


def _item(place: Place) -> Any:
    return {"pk": {"S": place[1]}, "listed_at": {"S": str(place[0])}}


def _value(attribute: Mapping[str, str]) -> Any:
    ((kind, value),) = attribute.items()
    return float(value) if kind == "N" else value


class LaggingJobStore(InMemoryJobStore):
    """`JobStore` in memory, where `due` and `page` find jobs through indexes that lag."""

    def __init__(
        self, simulation: Simulation, lag: float, on_change: Callable[[Change], object]
    ) -> None:
        super().__init__(self._changed)
        self._indexes: Any = Indexes(simulation, lag)
        self._tell = on_change

    def _changed(self, change: Change) -> None:
        self._indexes.change(*change)
        self._tell(change)

    def delete(self, job: Job) -> None:
        current = self.get(job.id)
        super().delete(job)
        self._indexes.change(current, None)

    def due(self, now: datetime, limit: int, shard: str) -> list[Job]:
        ids = [*jobs_index.due(self._indexes, "jobs", shard, now, limit)]
        return [job for job in self.get_many(ids) if job.due_at and job.due_at <= now]

    def page(
        self, owner: OwnerId, *, status: Status | None, limit: int, after: ListPosition | None
    ) -> list[JobRecord]:
        statuses = [status] if status else list(Status)
        listed = jobs_index.listed(self._indexes, "jobs", owner, statuses, limit, after)
        return self._records(listed, status, limit)

    def _records(
        self, listed: Iterator[JobId], status: Status | None, limit: int
    ) -> list[JobRecord]:
        """As the real store: each row that has changed since it was indexed is replaced."""
        records: list[JobRecord] = []
        while (missing := limit - len(records)) and (ids := list(islice(listed, missing))):
            rows = self.get_many(ids)
            records += [self._record(job) for job in rows if status in (None, job.status)]
        return records
