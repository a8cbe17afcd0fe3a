"""Workers and functions can be upgraded in any order: an older worker works with a newer API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.queue import SqsJobQueue
from comfyline.service.errors import Unreadable
from comfyline.service.jobs.events import Succeeded
from comfyline.service.jobs.job import SCHEMA, Job, JobParams
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.queue.lanes import Priority
from tests.contract.conftest import AwsClient
from tests.support.builders import NOW, a_graph, a_job, claimed, running

NEW_FIELDS = {"tenant": {"S": "a field of the next schema"}, "weight": {"N": "3"}}


def put_as_a_newer_api(store: DynamoJobStore, job: Job) -> None:
    """Store the job as code of the next schema would: with a higher number and with new fields."""
    store.put_request(job, JobParams(params={}), a_graph())
    row: Any = {**codec.item_of(job), "sk": {"S": "job"}, "schema": {"N": str(SCHEMA + 1)}}
    store._client.put_item(TableName=store._table, Item=row | NEW_FIELDS)


def test_an_older_worker_runs_the_job_of_a_newer_api_and_keeps_its_new_fields(
    dynamo_job_store: DynamoJobStore,
) -> None:
    store, job = dynamo_job_store, a_job()
    put_as_a_newer_api(store, job)
    found = store.get(job.id)
    assert found is not None
    assert store.graph(found) == a_graph()
    taken = store.save(found, claimed(found))
    started = store.save(taken, running(found))
    assert started.lease is not None
    store.renew(started, started.lease.expires_at)
    ended = store.save(started, advance(started, Succeeded(attempt=1, gpu_seconds=1.0), NOW))
    assert ended.status.is_terminal
    key: Any = {"pk": {"S": job.id}, "sk": {"S": "job"}}
    row = store._client.get_item(TableName=store._table, Key=key)["Item"]
    assert NEW_FIELDS.items() <= row.items()
    assert row["schema"] == {"N": str(SCHEMA + 1)}


@pytest.mark.parametrize("distance", [-2, 2])
def test_a_row_that_is_two_schemas_away_is_refused(distance: int) -> None:
    row = {**codec.item_of(a_job()), "schema": {"N": str(SCHEMA + distance)}}
    with pytest.raises(Unreadable):
        codec.job_of(row)


def test_the_ticket_of_a_newer_api_is_read(aws_client: AwsClient) -> None:
    client, job = aws_client("sqs"), a_job()
    url = client.create_queue(QueueName="lane")["QueueUrl"]
    newer = {"schema": 2, "job_id": job.id, "region": "elsewhere"}
    client.send_message(QueueUrl=url, MessageBody=json.dumps(newer), MessageGroupId="fox")
    queue = SqsJobQueue(client, dict.fromkeys(Priority, url))
    (ticket,) = queue.receive(Priority.NORMAL, wait_seconds=0)
    assert ticket.job_id == job.id
