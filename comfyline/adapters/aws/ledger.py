"""The ledger in the owners table: sums over ended jobs, and a note for each job in the sums.

    pk              sk                     holds
    totals          <n>                    sums of all jobs, in PARTS rows
    usage#<owner>   <n>                    sums of the owner's jobs, in PARTS rows
    counted#<job>   counted#<incarnation>  a note that the job is in the sums; its TTL removes it

One transaction adds a job to the sums and writes its note, so no job is counted twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from comfyline.adapters.aws.attributes import ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.pauses import jittered
from comfyline.contract.ids import OwnerId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.store import Usage
from comfyline.service.ledger.totals import Sums, Totals, added, sums_of, totals_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Of two concurrent transactions on one row, DynamoDB cancels one. Therefore the sums are split into
# parts, and each transaction adds to a random part. With 40 writers, which is what a new table's
# four stream shards can have, one try in four meets another.
PARTS = 128
# A try that met another is repeated after a random pause, with another part. The pauses add up to
# 2 s on average. Settlement repeats a call that fails nevertheless.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, MAX_TRIES = 0.02, 0.5, 14
# A transaction has at most 100 items: for each job its note and at worst a row of its owner, and
# one row of the totals.
JOBS_AT_ONCE = 49
# Counted from the end of the job. The last delivery that could count the job again comes 15 days
# after its end, because the stream holds a record for a day and the queue of parked steps holds a
# step for 14 days more. The note lives for 14 days after that, and one day is spare.
COUNTED_FOR = timedelta(days=30)


class DynamoLedger:
    """`Ledger` in DynamoDB."""

    def __init__(
        self, client: DynamoDBClient, table: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    @translated()
    def count(self, ended: Sequence[Job]) -> list[Job]:
        """See Ledger. Jobs that are counted together share the writes of the sums."""
        jobs = list({(job.id, job.incarnation): job for job in ended}.values())
        starts = range(0, len(jobs), JOBS_AT_ONCE)
        return [job for n in starts for job in self._count_batch(jobs[n : n + JOBS_AT_ONCE])]

    def _count_batch(self, jobs: list[Job]) -> list[Job]:
        pauses = jittered(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, MAX_TRIES)
        while jobs:
            try:
                self._client.transact_write_items(TransactItems=[*self._writes(jobs)])
            except self._client.exceptions.TransactionCanceledException as error:
                left = _not_counted(jobs, error)
            else:
                return jobs
            if len(left) == len(jobs):  # another transaction was in the way
                self._pause(pauses, left)
            jobs = left
        return []

    def _pause(self, pauses: Iterator[float], jobs: Sequence[Job]) -> None:
        pause = next(pauses, None)
        if pause is None:
            text = f"{len(jobs)} jobs not counted: {MAX_TRIES} transactions were canceled"
            raise Unavailable(text)
        self._sleep(pause)

    def _writes(self, jobs: Sequence[Job]) -> Iterator[Any]:
        """The notes come first, in the order of the jobs, because `_not_counted` relies on it."""
        for job in jobs:
            note = {**_note_key(job), "ttl": ttl_of(_ended_at(job) + COUNTED_FOR)}
            is_new = "attribute_not_exists(pk)"
            yield {"Put": {"TableName": self._table, "Item": note, "ConditionExpression": is_new}}
        part = str(random.randrange(PARTS))
        for pk, sums in _sums_by_row(jobs).items():
            yield {"Update": self._addition({"pk": {"S": pk}, "sk": {"S": part}}, sums)}

    def _addition(self, key: Mapping[str, Any], sums: Sums) -> dict[str, Any]:
        names = {f"#{n}": name for n, name in enumerate(sums)}
        values = {f":{n}": {"N": _decimal(value)} for n, value in enumerate(sums.values())}
        return {
            "TableName": self._table,
            "Key": key,
            "UpdateExpression": "ADD " + ", ".join(f"#{n} :{n}" for n in range(len(sums))),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }

    @translated()
    def usage(self, owner: OwnerId) -> Usage:
        """See Ledger."""
        sums = self._sums(f"usage#{owner}")
        return Usage(sums.get("gpu_seconds", 0.0), int(sums.get("jobs", 0)))

    @translated()
    def totals(self) -> Totals:
        """See Ledger."""
        return totals_of(self._sums("totals"))

    def _sums(self, pk: str) -> dict[str, float]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ConsistentRead=True,
        )
        return added(numbers_of(row) for page in pages for row in page["Items"])


def numbers_of(row: Any) -> dict[str, float]:
    """The sums in a row, by name."""
    return {name: float(value["N"]) for name, value in row.items() if "N" in value}


def _sums_by_row(jobs: Sequence[Job]) -> dict[str, Sums]:
    rows: dict[str, Sums] = {"totals": added(map(sums_of, jobs))}
    for job in jobs:
        if job.gpu_seconds:
            pk, used = f"usage#{job.owner}", {"gpu_seconds": job.gpu_seconds, "jobs": 1.0}
            rows[pk] = added([rows.get(pk, {}), used])
    return rows


def _not_counted(jobs: Sequence[Job], error: ClientError) -> list[Job]:
    """The jobs without a note. If another transaction was in the way, these are all jobs."""
    reasons = cast(Any, error.response)["CancellationReasons"]
    has_note = [reason.get("Code") == "ConditionalCheckFailed" for reason in reasons]
    return [job for job, is_counted in zip(jobs, has_note, strict=False) if not is_counted]


def _note_key(job: Job) -> dict[str, Any]:
    return {"pk": {"S": f"counted#{job.id}"}, "sk": {"S": f"counted#{job.incarnation}"}}


def _ended_at(job: Job) -> datetime:
    return job.finished_at or job.queued_at


def _decimal(value: float) -> str:
    return format(value, ".6f").rstrip("0").rstrip(".")
