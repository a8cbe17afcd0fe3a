"""The ledger in the owners table: sums over ended jobs, and a note for each job in the sums.

    pk              sk                     holds
    totals          <owner>#<n>            sums of the owner's jobs, in up to PARTS rows
    errors#<day>    ...                    groups of failures, see failures.py
    counted#<job>   counted#<incarnation>  a note that the job is in the sums; its TTL removes it

One transaction adds a job to the sums and writes its note, so no job is counted twice. The sums of
one owner are its usage, and all sums together are the totals, so each job is added once. The usage
of a month is two more sums in the same row, with short names: `s2611` and `j2611` are the seconds
and the jobs of November 2026. A write removes those of the year before the last MONTHS, so that the
row stays below one kilobyte, for which DynamoDB charges a write unit.

Older code kept the two apart, as `totals`, `<n>` and as `usage#<owner>`, `<n>`, which are still
read.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from comfyline.adapters.aws.attributes import readable_items, ttl_of
from comfyline.adapters.aws.errors import translated
from comfyline.adapters.aws.ledger import failures
from comfyline.adapters.aws.ledger.failures import GroupKey
from comfyline.adapters.aws.pauses import jittered
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.failures import FailureGroup, merged
from comfyline.service.ledger.months import MONTHS, month_of, months_before
from comfyline.service.ledger.store import Usage, UsageByMonth, counted_together
from comfyline.service.ledger.totals import Sums, Totals, added, sums_of, totals_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Of two concurrent transactions on one row, DynamoDB cancels one. Therefore an owner's sums are
# split into parts, and each transaction adds to a random part. With 40 writers, which is what a new
# table's four stream shards can have, one try in four meets another if all use all parts. The
# totals are read from all rows of all owners, so a process uses one part until it meets another,
# and then more and more: an owner with few jobs has one row.
PARTS = 128
MORE_PARTS = 4  # times as many after each meeting
# A try that met another is repeated after a random pause, with another part. The pauses add up to
# 2 s on average. Settlement repeats a call that fails nevertheless.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, MAX_TRIES = 0.02, 0.5, 14
# Counted from the end of the job. The last delivery that could count the job again comes 15 days
# after its end, because the stream holds a record for a day and the queue of parked steps holds a
# step for 14 days more. The note lives for 14 days after that, and one day is spare.
COUNTED_FOR = timedelta(days=30)

JobKey = tuple[JobId, str]

_TOTALS = "totals"
_SECONDS_OF_MONTH = re.compile("s[0-9]{4}")
_GPU_JOBS = "gpu_jobs"  # the sum of jobs that used a GPU


class DynamoLedger:
    """`Ledger` in DynamoDB."""

    def __init__(
        self, client: DynamoDBClient, table: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep
        self._parts = 1  # that this process uses
        self._kinds = failures.Kinds(client, table)

    @translated()
    def count(self, ended: Sequence[Job]) -> list[Job]:
        """See Ledger. Jobs that are counted together share the writes of the sums."""
        jobs = list({(job.id, job.incarnation): job for job in ended}.values())
        return [job for part in counted_together(jobs) for job in self._count_batch(part)]

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
                self._parts = min(self._parts * MORE_PARTS, PARTS)
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
        groups = {_key_of(job): self._kinds.of(job) for job in jobs}
        for job in jobs:
            is_new = "attribute_not_exists(pk)"
            note = _note_of(job, groups[_key_of(job)])
            yield {"Put": {"TableName": self._table, "Item": note, "ConditionExpression": is_new}}
        part = random.randrange(self._parts)
        for owner, sums in _sums_by_owner(jobs).items():
            row = {"pk": {"S": _TOTALS}, "sk": {"S": f"{owner}#{part}"}}
            yield {"Update": self._addition(row, sums)}
        for group, failed in _by_group(jobs, groups).items():
            part_of_group = part % failures.PARTS
            yield {"Update": failures.addition(self._table, group, failed, part_of_group)}

    def _addition(self, key: Mapping[str, Any], sums: Sums) -> dict[str, Any]:
        names = {f"#{n}": name for n, name in enumerate(sums)}
        values = {f":{n}": {"N": _decimal(value)} for n, value in enumerate(sums.values())}
        over = {f"#o{n}": name for n, name in enumerate(_over(sums))}
        removed = f"REMOVE {', '.join(over)} " if over else ""
        return {
            "TableName": self._table,
            "Key": key,
            "UpdateExpression": removed
            + "ADD "
            + ", ".join(f"#{n} :{n}" for n in range(len(sums))),
            "ExpressionAttributeNames": names | over,
            "ExpressionAttributeValues": values,
        }

    @translated()
    def usage(self, owner: OwnerId) -> Usage:
        """See Ledger."""
        return self.usage_by_month(owner).total

    @translated()
    def usage_by_month(self, owner: OwnerId) -> UsageByMonth:
        """See Ledger. The months cost no further read."""
        rows = (*self._rows(_TOTALS, f"{owner}#"), *self._rows(f"usage#{owner}"))
        sums = added(map(numbers_of, rows))
        return UsageByMonth(usage_of(sums), months_of(sums))

    @translated()
    def failures(self, days: Sequence[date]) -> list[FailureGroup]:
        """See Ledger. A read unit holds some ten groups, each in up to 16 parts."""
        items = [item for day in days for item in self._rows(f"errors#{day}")]
        groups = filter(failures.is_group, items)
        return merged(readable_items(failures.group_of, groups))

    @translated()
    def totals(self) -> Totals:
        """See Ledger. A read unit holds the rows of some 20 owners."""
        return totals_of(added(map(numbers_of, self._rows(_TOTALS))))

    def _rows(self, pk: str, prefix: str = "") -> Iterator[Any]:
        condition, values = "pk = :pk", {":pk": {"S": pk}}
        if prefix:
            condition += " AND begins_with(sk, :prefix)"
            values[":prefix"] = {"S": prefix}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
        )
        return (row for page in pages for row in page["Items"])


def numbers_of(row: Any) -> dict[str, float]:
    """The sums in a row, by name."""
    return {name: float(value["N"]) for name, value in row.items() if "N" in value}


def usage_of(sums: Sums) -> Usage:
    """The usage in the sums of an owner. In rows of older code, `jobs` are those with a GPU."""
    jobs = sums.get(_GPU_JOBS, 0.0) + sums.get("jobs", 0.0)
    return Usage(sums.get("gpu_seconds", 0.0), int(jobs))


def months_of(sums: Sums) -> dict[str, Usage]:
    """The usage of each month in the sums of an owner."""
    return {
        f"20{name[1:3]}-{name[3:]}": Usage(seconds, int(sums.get(f"j{name[1:]}", 0)))
        for name, seconds in sums.items()
        if _SECONDS_OF_MONTH.fullmatch(name)
    }


def _names_of(month: str) -> tuple[str, str]:
    """The names of a month's sums of seconds and of jobs."""
    digits = month[2:].replace("-", "")
    return f"s{digits}", f"j{digits}"


def _over(sums: Sums) -> list[str]:
    """The names of months that are not kept beside the newest month in `sums`."""
    months = months_of(sums)
    if not months:
        return []
    found = months_before(max(months), 2 * MONTHS)[MONTHS:]
    return [name for month in found for name in _names_of(month) if name not in sums]


def _sums_by_owner(jobs: Sequence[Job]) -> dict[OwnerId, Sums]:
    rows: dict[OwnerId, Sums] = {}
    for job in jobs:
        rows[job.owner] = added([rows.get(job.owner, {}), sums_of(job), _used(job)])
    return rows


def _used(job: Job) -> Sums:
    if not job.gpu_seconds:
        return {}
    seconds, jobs = _names_of(month_of(_ended_at(job)))
    return {_GPU_JOBS: 1.0, seconds: job.gpu_seconds, jobs: 1.0}


def _by_group(
    jobs: Sequence[Job], groups: Mapping[JobKey, GroupKey | None]
) -> dict[GroupKey, list[Job]]:
    found: dict[GroupKey, list[Job]] = {}
    for job in jobs:
        if group := groups[_key_of(job)]:
            found.setdefault(group, []).append(job)
    return found


def _not_counted(jobs: Sequence[Job], error: ClientError) -> list[Job]:
    """The jobs without a note. If another transaction was in the way, these are all jobs."""
    reasons = cast(Any, error.response)["CancellationReasons"]
    has_note = [reason.get("Code") == "ConditionalCheckFailed" for reason in reasons]
    return [job for job, is_counted in zip(jobs, has_note, strict=False) if not is_counted]


def _key_of(job: Job) -> JobKey:
    return job.id, job.incarnation


def _note_of(job: Job, group: GroupKey | None) -> dict[str, Any]:
    """The note, with what the audit compares: the month and the group that the job is added to."""
    note = {**_note_key(job), "ttl": ttl_of(_ended_at(job) + COUNTED_FOR)}
    if job.gpu_seconds:
        note["month"] = {"S": month_of(_ended_at(job))}
    if group is not None:
        day, kind = group
        note["group"] = {"S": f"{day} {kind.id}"}
    return note


def _note_key(job: Job) -> dict[str, Any]:
    return {"pk": {"S": f"counted#{job.id}"}, "sk": {"S": f"counted#{job.incarnation}"}}


def _ended_at(job: Job) -> datetime:
    return job.finished_at or job.queued_at


def _decimal(value: float) -> str:
    return format(value, ".6f").rstrip("0").rstrip(".")
