"""Groups of failures in the owners table, as the ledger writes and reads them.

    pk             sk              holds
    errors#<day>   kinds#<bucket>  the ids of the kinds that this bucket of owners has brought
    errors#<day>   <kind>#<part>   a group: its kind, its number, its times, some jobs

The transaction that counts a job adds to its group, so that it is added once. Only a kind that a
process does not know of that day costs a further write.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from comfyline.adapters.aws.attributes import Item, read_time, time_of, ttl_of
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.failures import (
    DAYS,
    KINDS_PER_BUCKET,
    MAX_SAMPLES,
    OTHER,
    FailureGroup,
    Kind,
    Sample,
    bucket_of,
    day_of,
    kind_of,
    sample_slot,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# A reader reads every part of every group, and an outage can make all jobs fail in the same way.
PARTS = 16
KEPT_FOR = timedelta(days=DAYS + 1)  # from the beginning of the day
MAX_REMEMBERED = 2_000  # decisions about kinds; all are forgotten beyond it

GroupKey = tuple[date, Kind]


class Kinds:
    """Decides which kinds of failures have groups of their own; for one process."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client, self._table = client, table
        self._known: dict[tuple[date, int, str], bool] = {}

    def of(self, job: Job) -> GroupKey | None:
        """The group of the job's failure; None if it has not failed."""
        kind, day = kind_of(job), day_of(job)
        if kind is None:
            return None
        return (day, kind if self._has_group(day, bucket_of(job.owner), kind) else OTHER)

    def _has_group(self, day: date, bucket: int, kind: Kind) -> bool:
        known = (day, bucket, kind.id)
        if known not in self._known:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[known] = self._admit(day, bucket, kind)
        return self._known[known]

    def _admit(self, day: date, bucket: int, kind: Kind) -> bool:
        """Whether the bucket has brought this kind, or now does. Kinds are never taken back."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": f"errors#{day}"}, "sk": {"S": f"kinds#{bucket}"}},
                UpdateExpression="SET #ttl = :ttl ADD kinds :kinds",
                ConditionExpression=(
                    "attribute_not_exists(kinds) OR size(kinds) < :max OR contains(kinds, :kind)"
                ),
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={
                    ":ttl": ttl_of(_ends_at(day)),
                    ":kinds": {"SS": [kind.id]},
                    ":kind": {"S": kind.id},
                    ":max": {"N": str(KINDS_PER_BUCKET)},
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True


def addition(table: str, group: GroupKey, jobs: list[Job], part: int) -> dict[str, Any]:
    """The update that adds the jobs to a part of their group."""
    day, kind = group
    times = sorted(job.finished_at or job.queued_at for job in jobs)
    samples = {f"sample{sample_slot(job.id)}": f"{job.owner} {job.id}" for job in jobs}
    values: dict[str, Any] = {
        "type": {"S": kind.type},
        "node_type": {"S": kind.node_type},
        "engine": {"S": kind.engine},
        "ttl": ttl_of(_ends_at(day)),
        "last_at": time_of(times[-1]),
        **{name: {"S": text} for name, text in samples.items()},
    }
    sets = [f"#{name} = :{name}" for name in values]
    return {
        "TableName": table,
        "Key": {"pk": {"S": f"errors#{day}"}, "sk": {"S": f"{kind.id}#{part}"}},
        "UpdateExpression": "SET first_at = if_not_exists(first_at, :first_at), "
        f"{', '.join(sets)} ADD jobs :jobs",
        "ExpressionAttributeNames": {f"#{name}": name for name in values},
        "ExpressionAttributeValues": {
            **{f":{name}": value for name, value in values.items()},
            ":first_at": time_of(times[0]),
            ":jobs": {"N": str(len(jobs))},
        },
    }


def is_group(item: Item) -> bool:
    """Whether it is a part of a group, and not a set of kinds."""
    return not item["sk"]["S"].startswith("kinds#")


def group_of(item: Item) -> FailureGroup:
    """The part of a group in an item."""
    first, last = read_time(item["first_at"]), read_time(item["last_at"])
    return FailureGroup(
        kind=Kind(item["type"]["S"], item["node_type"]["S"], item["engine"]["S"]),
        jobs=int(item["jobs"]["N"]),
        first_at=min(first, last),
        last_at=max(first, last),
        samples=tuple(_samples_of(item)),
    )


def _samples_of(item: Mapping[str, Any]) -> list[Sample]:
    names = (f"sample{slot}" for slot in range(MAX_SAMPLES))
    pairs = (item[name]["S"].split(" ") for name in names if name in item)
    return [Sample(JobId(job_id), OwnerId(owner)) for owner, job_id in pairs]


def _ends_at(day: date) -> datetime:
    return datetime.combine(day, time(), UTC) + KEPT_FOR
