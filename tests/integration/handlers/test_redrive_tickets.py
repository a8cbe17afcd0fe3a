"""The function behind the dead-letter queue, on events of SQS."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from comfyline.contract.ids import random_job_id
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job
from tests.integration.handlers.conftest import Cloud
from tests.support.builders import NOW
from tests.support.events import load
from tests.support.ports import wrapped


def event(*bodies: str) -> dict[str, Any]:
    """A batch of messages with these bodies, as Lambda passes it on."""
    whole = load("sqs_dead_letters")
    (record,) = whole["Records"]
    records = [record | {"messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]
    return {"Records": records}


def ticket(job_id: str) -> str:
    return json.dumps({"schema": 1, "job_id": job_id})


def test_a_live_job_gets_a_fresh_ticket(cloud: Cloud, queued: Job) -> None:
    answer = cloud.call("RedriveTickets", event(ticket(queued.id)))
    assert answer == {"batchItemFailures": []}
    assert cloud.tickets(queued.priority) == [queued.id]
    assert cloud.job(queued.id).ticket_sends == 1


@pytest.mark.parametrize("body", ["", "nonsense", "[]", "{}", '{"job_id": 7}', ticket("unknown")])
def test_a_ticket_without_a_job_is_dropped(cloud: Cloud, queued: Job, body: str) -> None:
    answer = cloud.call("RedriveTickets", event(body))
    assert answer == {"batchItemFailures": []}
    assert cloud.tickets(queued.priority) == []


def test_only_a_ticket_whose_job_is_out_of_reach_comes_again(cloud: Cloud, queued: Job) -> None:
    throttled_id = random_job_id(NOW)

    def throttled(_name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if args == (throttled_id,):
            raise Unavailable("throttled")
        return call(*args, **kwargs)

    out_of_reach = cloud.gateway.altered(jobs=wrapped(cloud.jobs, throttled))
    answer = out_of_reach.call("RedriveTickets", event(ticket(throttled_id), ticket(queued.id)))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "m0"}]}
    assert cloud.tickets(queued.priority) == [queued.id]
