"""Dead letters: they are shown, and handled, without loss."""

from __future__ import annotations

import json
from typing import Any

from comfyline.contract.ids import random_job_id
from comfyline.service.admin.dead_letters import REDRIVEN_AT_ONCE
from comfyline.service.jobs.job import Job
from tests.integration.handlers.conftest import Cloud, read
from tests.support.builders import NOW, a_job, canceled


def bury(cloud: Cloud, *bodies: str) -> None:
    for body in bodies:
        url = cloud.gateway.environ["DEAD_LETTER_QUEUE_URL"]
        cloud.client("sqs").send_message(QueueUrl=url, MessageBody=body)


def ticket(job_id: str) -> str:
    return json.dumps({"schema": 1, "job_id": job_id})


def ended(cloud: Cloud) -> Job:
    job = cloud.has(a_job())
    return cloud.jobs.save(job, canceled(job))


def redriven(cloud: Cloud) -> Any:
    reply = cloud.gateway("POST", "/api/v1/admin/dead-letters/redrive")
    assert reply.status == 200
    return reply.json


def test_tickets_are_shown_with_their_jobs_and_stay(admin: Cloud, queued: Job) -> None:
    unknown = random_job_id(NOW)
    bury(admin, ticket(queued.id), ticket(unknown), "\x1b]0;evil\x07")
    for looks in (1, 2):
        answer = read(admin, "dead-letters")
        found = {letter["job_id"]: letter for letter in answer["dead_letters"]}
        assert (found[queued.id]["owner"], found[queued.id]["status"]) == (queued.owner, "queued")
        assert (found[unknown]["owner"], found[unknown]["status"]) == (None, None)
        assert found[None]["text"] == r"'\x1b]0;evil\x07'"
        assert {letter["received"] for letter in found.values()} == {looks}
        assert answer["depth"] == {"waiting": 3, "in_flight": 0}


def test_an_empty_queue(admin: Cloud) -> None:
    nothing = {"dead_letters": [], "depth": {"waiting": 0, "in_flight": 0}}
    assert read(admin, "dead-letters") == nothing


def test_live_jobs_get_new_tickets_and_the_other_tickets_are_dropped(
    admin: Cloud, queued: Job
) -> None:
    bury(admin, ticket(queued.id), ticket(ended(admin).id), "nonsense")
    assert redriven(admin) == {
        "sent_again": 1,
        "of_no_live_job": 2,
        "out_of_reach": 0,
        "more": False,
    }
    assert admin.tickets(queued.priority) == [queued.id]
    assert read(admin, "dead-letters")["dead_letters"] == []


def test_a_call_is_bounded_and_says_that_more_may_be_left(admin: Cloud) -> None:
    bury(admin, *("nonsense" for _ in range(REDRIVEN_AT_ONCE + 3)))
    first, second = redriven(admin), redriven(admin)
    assert (first["of_no_live_job"], first["more"]) == (REDRIVEN_AT_ONCE, True)
    assert (second["of_no_live_job"], second["more"]) == (3, False)
