"""Workers and functions are upgraded in any order: an older worker works behind a newer API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.queue import SqsJobQueue
from comfyline.service.jobs.events import Succeeded
from comfyline.service.jobs.job import SCHEMA, Job, JobParams, Priority
from comfyline.service.jobs.lifecycle import advance
from tests.contract.conftest import AwsClient
from tests.support.builders import NOW, a_graph, a_job, claimed, running

NEWS = {"tenant": {"S": "a field of the next schema"}, "weight": {"N": "3"}}


def as_newer_api_puts(client: Any, store: DynamoJobStore, job: Job) -> None:
    """The row as code of the next schema writes it: with a higher number and fields of its own."""
    store.put_request(job, JobParams(params={}), a_graph())
    row = {**codec.item_of(job), "sk": {"S": "job"}, "schema": {"N": str(SCHEMA + 1)}, **NEWS}
    client.put_item(TableName="jobs", Item=row)


def test_an_older_worker_runs_what_a_newer_api_accepted_and_loses_nothing(
    aws_client: AwsClient, dynamo_job_store: DynamoJobStore
) -> None:
    client, store, job = aws_client("dynamodb"), dynamo_job_store, a_job()
    as_newer_api_puts(client, store, job)
    found = store.get(job.id)
    assert found is not None
    assert store.graph(found) == a_graph()
    taken = store.save(found, claimed(found))
    started = store.save(taken, running(found))
    assert started.lease is not None
    store.renew(started, started.lease.expires_at)
    ended = store.save(started, advance(started, Succeeded(attempt=1, gpu_seconds=1.0), NOW))
    assert ended.status.is_terminal
    key = {"pk": {"S": job.id}, "sk": {"S": "job"}}
    row = client.get_item(TableName="jobs", Key=key)["Item"]
    assert NEWS.items() <= row.items()
    assert row["schema"] == {"N": str(SCHEMA + 1)}


@pytest.mark.parametrize("distance", [-2, 2])
def test_a_row_of_two_schemas_away_is_refused(distance: int) -> None:
    row = {**codec.item_of(a_job()), "schema": {"N": str(SCHEMA + distance)}}
    with pytest.raises(codec.UnsupportedSchema):
        codec.job_of(row)


def test_a_ticket_of_a_newer_api_is_read_by_its_job(aws_client: AwsClient) -> None:
    client, job = aws_client("sqs"), a_job()
    url = client.create_queue(QueueName="lane")["QueueUrl"]
    newer = {"schema": 2, "job_id": job.id, "region": "elsewhere"}
    client.send_message(QueueUrl=url, MessageBody=json.dumps(newer), MessageGroupId="fox")
    queue = SqsJobQueue(client, dict.fromkeys(Priority, url))
    (ticket,) = queue.receive(Priority.NORMAL, wait_seconds=0)
    assert ticket.job_id == job.id
