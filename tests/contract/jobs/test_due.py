"""Due jobs are shared among their owners by turns."""

from __future__ import annotations

from datetime import timedelta

from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.contract.ids import OwnerId
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore, due_shard
from tests.support.builders import NOW, a_job

LATER = NOW + timedelta(hours=1)
FOX, OWL = OwnerId("fox"), OwnerId("owl")


def due_in_one_shard(store: JobStore, owner: OwnerId, count: int, start: int = 0) -> list[Job]:
    """Due jobs of the owner, the most overdue first."""
    made: list[Job] = []
    while len(made) < count:
        queued_at = NOW + timedelta(seconds=start + len(made))
        job = a_job(owner=owner, queued_at=queued_at)
        if due_shard(job) == "3":
            store.add(job)
            made.append(job)
    return made


def test_the_jobs_of_one_owner_do_not_hide_those_of_another(job_store: JobStore) -> None:
    of_fox = due_in_one_shard(job_store, FOX, 12)
    of_owl = due_in_one_shard(job_store, OWL, 2, start=100)
    found = list(job_store.due(LATER, 6, "3"))
    assert found == [of_fox[0], of_owl[0], of_fox[1], of_owl[1], of_fox[2], of_fox[3]]


def test_without_a_shortage_the_most_overdue_come_first(job_store: JobStore) -> None:
    of_fox = due_in_one_shard(job_store, FOX, 3)
    of_owl = due_in_one_shard(job_store, OWL, 2, start=100)
    assert list(job_store.due(LATER, 5, "3")) == [*of_fox, *of_owl]


def test_on_aws_a_row_without_an_owner_is_still_found(dynamo_job_store: DynamoJobStore) -> None:
    of_fox = due_in_one_shard(dynamo_job_store, FOX, 4)
    (broken,) = due_in_one_shard(dynamo_job_store, OWL, 1, start=100)
    client, table = dynamo_job_store._client, dynamo_job_store._table
    client.update_item(
        TableName=table,
        Key={"pk": {"S": broken.id}, "sk": {"S": "job"}},
        UpdateExpression="REMOVE #owner",
        ExpressionAttributeNames={"#owner": "owner"},
    )
    found = dynamo_job_store.due(LATER, 2, "3")
    assert [row.id for row in found] == [of_fox[0].id, broken.id]
