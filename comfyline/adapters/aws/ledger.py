"""The owners table's other rows: what ended jobs come to, and which of them are in it.

    pk              sk                     holds
    totals          <n>                    sums of all jobs, one of several parts
    usage#<owner>   <n>                    sums of the owner's jobs, likewise
    counted#<job>   counted#<incarnation>  the job is in the sums; goes by its TTL

Jobs are counted together with the note that they are, by one transaction, so none is counted twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from comfyline.adapters.aws.attributes import ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import OwnerId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.store import Usage
from comfyline.service.ledger.totals import Sums, Totals, added, sums_of, totals_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Transactions that meet on a row refuse each other; each draws the part that it adds to.
PARTS = 16
MAX_TRIES = 6  # with as many writers as parts, one in 50,000 still fails, and is told again
# A transaction takes 100 items: a note for each job, an owner's row for each at worst, the totals.
JOBS_AT_ONCE = 49
# From the end of a job. The last delivery that could count it again comes 15 days after the end:
# the stream holds its record for a day, and the queue of parked steps holds a step for 14 days
# more. The note lives for 14 days after that, and a day to spare.
COUNTED_FOR = timedelta(days=30)


class DynamoLedger:
    """`Ledger` in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    @translated()
    def count(self, ended: Sequence[Job]) -> list[Job]:
        """See Ledger: one write of each job, and few beside where several end together."""
        jobs = list({(job.id, job.incarnation): job for job in ended}.values())
        starts = range(0, len(jobs), JOBS_AT_ONCE)
        return [job for n in starts for job in self._count_some(jobs[n : n + JOBS_AT_ONCE])]

    def _count_some(self, jobs: list[Job]) -> list[Job]:
        for _ in range(MAX_TRIES):
            try:
                self._client.transact_write_items(TransactItems=[*self._writes(jobs)])
            except self._client.exceptions.TransactionCanceledException as error:
                jobs = _not_counted(jobs, error)
            else:
                return jobs
            if not jobs:
                return []
        raise Unavailable(f"{len(jobs)} jobs not counted: others were always faster")

    def _writes(self, jobs: Sequence[Job]) -> Iterator[Any]:
        """The notes come first, in the order of the jobs."""
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
        return added(_numbers(row) for page in pages for row in page["Items"])


def _numbers(row: Any) -> dict[str, float]:
    return {name: float(value["N"]) for name, value in row.items() if "N" in value}


def _sums_by_row(jobs: Sequence[Job]) -> dict[str, Sums]:
    rows: dict[str, Sums] = {"totals": added(map(sums_of, jobs))}
    for job in jobs:
        if job.gpu_seconds:
            pk, used = f"usage#{job.owner}", {"gpu_seconds": job.gpu_seconds, "jobs": 1.0}
            rows[pk] = added([rows.get(pk, {}), used])
    return rows


def _not_counted(jobs: Sequence[Job], error: ClientError) -> list[Job]:
    """Those that no earlier transaction has counted; all of them if this one met another."""
    reasons = cast(Any, error.response)["CancellationReasons"]
    known = [reason.get("Code") == "ConditionalCheckFailed" for reason in reasons]
    return [job for job, is_known in zip(jobs, known, strict=False) if not is_known]


def _note_key(job: Job) -> dict[str, Any]:
    return {"pk": {"S": f"counted#{job.id}"}, "sk": {"S": f"counted#{job.incarnation}"}}


def _ended_at(job: Job) -> datetime:
    return job.finished_at or job.queued_at


def _decimal(value: float) -> str:
    return format(value, ".6f").rstrip("0").rstrip(".")
