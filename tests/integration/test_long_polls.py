"""Long polls of the emulator's queues, with the emulator's own module of SQS."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import uuid
from collections.abc import Callable, Coroutine
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from ministack.core.concurrency import esm_wake  # type: ignore[import-untyped]

from localcloud.long_polls import hasten

TICKET = "a ticket"


class FrozenLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still, so that no sleep ends because its time is over."""

    def time(self) -> float:
        return 0.0


@pytest.fixture
def sqs() -> ModuleType:
    """A copy of the module, so that other tests keep theirs."""
    spec = importlib.util.find_spec("ministack.services.sqs")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    hasten(module)
    return module


@pytest.fixture
def url(sqs: ModuleType) -> str:
    return str(sqs._act_create_queue({"QueueName": uuid.uuid4().hex}, "")["QueueUrl"])


def run(work: Coroutine[Any, Any, list[str]]) -> list[str]:
    with asyncio.Runner(loop_factory=FrozenLoop) as runner:
        return runner.run(work)


async def receive(sqs: ModuleType, url: str, wait: int) -> list[Any]:
    answer = await sqs._act_receive_message({"WaitTimeSeconds": wait}, url)
    return list(answer.get("Messages", []))


async def received(sqs: ModuleType, url: str, event: Callable[[], object]) -> list[str]:
    """What a poll brings that already waits when the event happens."""
    polling = asyncio.create_task(receive(sqs, url, wait=20))
    await asyncio.sleep(0)
    assert not polling.done()
    event()
    return [message["Body"] for message in await polling]


def send(sqs: ModuleType, url: str) -> None:
    sqs._act_send_message({"MessageBody": TICKET}, url)


def test_a_message_ends_a_poll_that_waits(sqs: ModuleType, url: str) -> None:
    assert run(received(sqs, url, partial(send, sqs, url))) == [TICKET]


def test_a_message_of_another_thread_ends_a_poll_that_waits(sqs: ModuleType, url: str) -> None:
    sending = threading.Thread(target=send, args=(sqs, url))
    assert run(received(sqs, url, sending.start)) == [TICKET]
    sending.join()


def test_a_message_that_was_given_back_ends_a_poll_that_waits(sqs: ModuleType, url: str) -> None:
    async def given_back() -> list[str]:
        send(sqs, url)
        (held,) = await receive(sqs, url, wait=0)
        visible = {"ReceiptHandle": held["ReceiptHandle"], "VisibilityTimeout": 0}
        return await received(sqs, url, partial(sqs._act_change_visibility, visible, url))

    assert run(given_back()) == [TICKET]


def test_the_emulators_event_is_set_by_a_message_too(sqs: ModuleType, url: str) -> None:
    esm_wake.clear()
    send(sqs, url)
    assert esm_wake.is_set()


def test_a_poll_of_an_empty_queue_ends_when_its_time_is_over(sqs: ModuleType, url: str) -> None:
    assert asyncio.run(receive(sqs, url, wait=1)) == []
