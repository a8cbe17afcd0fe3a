"""What every DeadLetters does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from comfyline.adapters.aws.queue import SqsDeadLetters
from comfyline.adapters.memory.queue import InMemoryDeadLetters
from comfyline.contract.ids import JobId, random_job_id
from comfyline.service.queue.tickets import DeadLetters
from tests.contract.conftest import Get, adapters
from tests.support.builders import NOW


@dataclass
class Queue:
    """A dead-letter queue, and how a message comes into it."""

    letters: DeadLetters
    add: Callable[[JobId | None], object]

    def filled(self, count: int) -> list[JobId]:
        ids = [random_job_id(NOW) for _ in range(count)]
        for job_id in ids:
            self.add(job_id)
        return ids


def _in_memory(get: Get) -> Queue:
    letters = InMemoryDeadLetters(get("clock"))
    return Queue(letters, lambda job_id: letters.add(job_id, "" if job_id else "'nonsense'"))


def _on_aws(get: Get) -> Queue:
    client = get("aws_client")("sqs")
    url = client.create_queue(QueueName="dead")["QueueUrl"]

    def add(job_id: JobId | None) -> None:
        body = json.dumps({"schema": 1, "job_id": job_id}) if job_id else "nonsense"
        client.send_message(QueueUrl=url, MessageBody=body)

    return Queue(SqsDeadLetters(client, url), add)


queue = adapters(_in_memory, _on_aws)


def test_a_look_loses_nothing_and_delays_nothing(queue: Queue) -> None:
    ids = queue.filled(3)
    for looks in (1, 2):
        seen = queue.letters.peek(10)
        assert sorted(letter.job_id or "" for letter in seen) == sorted(ids)
        assert {letter.received for letter in seen} == {looks}
    assert len(queue.letters.receive(10)) == 3


def test_a_look_is_bounded(queue: Queue) -> None:
    queue.filled(25)
    assert len(queue.letters.peek(12)) == 12
    assert len({letter.id for letter in queue.letters.peek(100)}) == 25


def test_a_message_that_is_no_ticket_is_shown_as_text(queue: Queue) -> None:
    queue.add(None)
    (letter,) = queue.letters.peek(10)
    assert (letter.job_id, letter.text) == (None, "'nonsense'")


def test_a_received_ticket_is_hidden_and_can_be_deleted(queue: Queue) -> None:
    (job_id,) = queue.filled(1)
    [(received, receipt)] = queue.letters.receive(10)
    assert received == job_id
    assert queue.letters.peek(10) == []
    queue.letters.delete(receipt)
    assert queue.letters.receive(10) == []
