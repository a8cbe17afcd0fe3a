"""What every JobQueue does."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from comfyline.adapters.aws.queue import SqsJobQueue
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.contract.ids import JobId, OwnerId, random_job_id
from comfyline.service.errors import Unavailable
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import JobQueue, Ticket
from tests.contract.conftest import AwsClient
from tests.support.builders import NOW, FrozenClock, an_owner

NORMAL = Priority.NORMAL


def received(queue: JobQueue, lane: Priority = NORMAL, limit: int = 10) -> list[Ticket]:
    return queue.receive(lane, wait_seconds=0, limit=limit)


def sent(queue: JobQueue, lane: Priority = NORMAL) -> JobId:
    job_id = random_job_id(NOW)
    queue.send(job_id, an_owner(), lane)
    return job_id


class TestJobQueue:
    @pytest.mark.parametrize("lane", Priority)
    def test_a_ticket_arrives_in_its_lane(self, job_queue: JobQueue, lane: Priority) -> None:
        job_id = sent(job_queue, lane)
        assert all(not received(job_queue, other) for other in Priority if other is not lane)
        [ticket] = received(job_queue, lane)
        assert (ticket.job_id, ticket.priority) == (job_id, lane)

    def test_many_tickets_are_sent_at_once(self, job_queue: JobQueue) -> None:
        ids = {random_job_id(NOW) for _ in range(23)}  # more than SQS takes in one call
        job_queue.send_many([(job_id, an_owner()) for job_id in ids], Priority.HIGH)
        tickets = [t for _ in range(3) for t in received(job_queue, Priority.HIGH)]
        assert {ticket.job_id for ticket in tickets} == ids
        assert received(job_queue) == []

    def test_no_ticket_is_sent_for_no_job(self, job_queue: JobQueue) -> None:
        job_queue.send_many([], NORMAL)
        assert received(job_queue) == []

    def test_an_empty_lane_has_no_ticket(self, job_queue: JobQueue) -> None:
        assert received(job_queue) == []

    def test_a_delivered_ticket_is_hidden(self, job_queue: JobQueue) -> None:
        sent(job_queue)
        assert len(received(job_queue)) == 1
        assert received(job_queue) == []

    def test_receive_returns_up_to_the_limit(self, job_queue: JobQueue) -> None:
        ids = {sent(job_queue) for _ in range(3)}
        some = received(job_queue, limit=2)
        rest = received(job_queue, limit=2)
        assert (len(some), len(rest)) == (2, 1)
        assert {ticket.job_id for ticket in some + rest} == ids

    def test_a_ticket_hidden_for_no_time_is_visible_at_once(self, job_queue: JobQueue) -> None:
        sent(job_queue)
        [first] = received(job_queue)
        job_queue.hide(first, 0)
        [second] = received(job_queue)
        assert second.job_id == first.job_id
        assert second.receipt != first.receipt

    def test_a_ticket_hidden_for_long_is_not_received(self, job_queue: JobQueue) -> None:
        sent(job_queue)
        [ticket] = received(job_queue)
        job_queue.hide(ticket, 10**6)
        assert received(job_queue) == []

    def test_a_deleted_ticket_is_gone(self, job_queue: JobQueue) -> None:
        sent(job_queue)
        [ticket] = received(job_queue)
        job_queue.delete(ticket)
        job_queue.delete(ticket)
        job_queue.hide(ticket, 0)
        assert received(job_queue) == []

    @pytest.mark.parametrize("owner", ["team a/ümläut", "x" * 500, "plain-owner_1"])
    def test_a_ticket_may_have_any_owner(self, job_queue: JobQueue, owner: str) -> None:
        job_id = random_job_id(NOW)
        job_queue.send(job_id, OwnerId(owner), NORMAL)
        assert [ticket.job_id for ticket in received(job_queue)] == [job_id]


def test_in_memory_a_ticket_is_visible_again_after_its_time(clock: FrozenClock) -> None:
    queue = InMemoryJobQueue(clock, visibility=timedelta(seconds=20))
    job_id = sent(queue)
    received(queue)
    clock.advance(19)
    assert received(queue) == []
    clock.advance(1)
    assert [ticket.job_id for ticket in received(queue)] == [job_id]


async def test_in_memory_the_open_long_polls_can_be_ended(clock: FrozenClock) -> None:
    queue = InMemoryJobQueue(clock)
    polls = [
        asyncio.create_task(asyncio.to_thread(queue.receive, lane, wait_seconds=60))
        for lane in Priority
    ]
    while any(not poll.done() for poll in polls):
        queue.end_polls()
        await asyncio.wait(polls, timeout=0.005)
    assert [poll.result() for poll in polls] == [[], [], []]


def test_in_memory_the_receipt_of_an_earlier_delivery_does_nothing(clock: FrozenClock) -> None:
    queue = InMemoryJobQueue(clock)
    sent(queue)
    [first] = received(queue)
    queue.hide(first, 0)
    [second] = received(queue)
    queue.delete(first)
    queue.hide(second, 0)
    queue.hide(first, 600)
    assert len(received(queue)) == 1


STALE = ["AWS.SimpleQueueService.MessageNotInflight", "ReceiptHandleIsInvalid"]


@pytest.mark.parametrize("code", [*STALE, "InvalidParameterValue"])
def test_hiding_a_ticket_that_is_no_longer_held_does_nothing(aws_session: Any, code: str) -> None:
    client = aws_session.client("sqs")
    queue = SqsJobQueue(client, dict.fromkeys(Priority, "https://queue"))
    with Stubber(client) as stub:
        stub.add_client_error("change_message_visibility", code, http_status_code=400)
        queue.hide(Ticket(JobId("job_1"), NORMAL, "receipt"), 10)
        stub.assert_no_pending_responses()


def test_any_other_refusal_is_an_error(aws_session: Any) -> None:
    client = aws_session.client("sqs")
    queue = SqsJobQueue(client, dict.fromkeys(Priority, "https://queue"))
    with Stubber(client) as stub:
        stub.add_client_error("delete_message", "AccessDenied", http_status_code=403)
        with pytest.raises(ClientError):
            queue.delete(Ticket(JobId("job_1"), NORMAL, "receipt"))


@pytest.mark.parametrize("body", ["no json", "[1]", "{}", '{"job_id": 1}', '{"job_id": ""}'])
def test_a_message_that_is_not_a_ticket_is_logged_and_deleted(
    aws_client: AwsClient,
    queue_urls: dict[Priority, str],
    body: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client, url = aws_client("sqs"), queue_urls[NORMAL]
    client.send_message(QueueUrl=url, MessageBody=body)
    with caplog.at_level(logging.ERROR):
        assert received(SqsJobQueue(client, queue_urls)) == []
    assert [record.__dict__["action"] for record in caplog.records] == ["ticket_unreadable"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert set(counts.values()) == {"0"}


def test_a_ticket_of_a_newer_schema_is_read(
    aws_client: AwsClient, queue_urls: dict[Priority, str]
) -> None:
    client = aws_client("sqs")
    body = '{"schema": 2, "job_id": "job_11111111111111111111111111", "more": true}'
    client.send_message(QueueUrl=queue_urls[NORMAL], MessageBody=body)
    [ticket] = received(SqsJobQueue(client, queue_urls))
    assert ticket.job_id == "job_11111111111111111111111111"


@pytest.mark.parametrize(
    ("owner", "hashed"),
    [("plain-owner_1", False), ("o" * 128, False), ("o" * 129, True), ("with blank", True)],
)
def test_the_message_group_is_the_owner_or_its_hash(
    aws_client: AwsClient, queue_urls: dict[Priority, str], owner: str, hashed: bool
) -> None:
    client = aws_client("sqs")
    SqsJobQueue(client, queue_urls).send(JobId("job_1"), OwnerId(owner), NORMAL)
    answer = client.receive_message(
        QueueUrl=queue_urls[NORMAL], MessageSystemAttributeNames=["MessageGroupId"]
    )
    group = answer["Messages"][0]["Attributes"]["MessageGroupId"]
    assert (group != owner) is hashed
    assert len(group) <= 128


def test_a_ticket_that_sqs_refuses_is_reported(queue_urls: dict[Priority, str]) -> None:
    """SQS may take some tickets of a call and refuse others."""

    class Refusing:
        def send_message_batch(self, **_: object) -> object:
            return {"Successful": [{"Id": "0"}], "Failed": [{"Id": "1", "Code": "InternalError"}]}

    jobs = [(random_job_id(NOW), an_owner()) for _ in range(2)]
    with pytest.raises(Unavailable, match="InternalError"):
        SqsJobQueue(Refusing(), queue_urls).send_many(jobs, NORMAL)  # type: ignore[arg-type]


HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
ROOT = "1-5759e988-bd862e3fe1be46a994272793"


@pytest.mark.parametrize(
    ("header", "trace_id"),
    # A header that SQS might refuse is not sent, so that the ticket is not lost.
    [(HEADER, ROOT), (None, None), ("", None), ("Root=nothing", None), ("x" * 300, None)],
)
def test_a_ticket_has_the_trace_of_its_sender(
    aws_client: AwsClient,
    queue_urls: dict[Priority, str],
    header: str | None,
    trace_id: str | None,
) -> None:
    queue = SqsJobQueue(aws_client("sqs"), queue_urls, lambda: header)
    sent(queue)
    [ticket] = received(queue)
    assert ticket.trace_id == trace_id
