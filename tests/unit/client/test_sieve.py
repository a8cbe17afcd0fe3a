"""The sieve passes each message on once and in order, from any source."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from comfyline.client.polled import messages_of
from comfyline.client.sieve import Sieve
from comfyline.contract.v1 import responses
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    ProgressMessage,
    server_message,
)
from tests.unit.client.fakes import (
    JOB,
    RUNNING,
    done,
    job_view,
    progress,
    snapshot,
    status,
)

SENT = [
    status(1, "queued"),
    status(2, "running"),
    progress(3),
    status(4, "queued"),
    status(5, "running"),
    progress(6),
    status(7, "succeeded"),
    done(7),
]


@given(st.integers())
def test_each_message_passes_once_and_in_order(seed: int) -> None:
    """Connections break anywhere. Each answers with missed messages, mixed with live ones."""
    chance, sieve, passed = random.Random(seed), Sieve(JOB), []
    while not sieve.ended:
        sieve.subscribed()
        since = sieve.version
        now = chance.randint(max(since, 1), 7)  # the row's version
        missed = [m for m in SENT[:-1] if since < m["version"] < now and m["type"] == "status"]
        (at,) = [m for m in SENT if m["version"] == now and m["type"] != "done"]
        answer = [*missed, {**snapshot(now, at.get("status", "running"))}]
        answer += [SENT[-1]] if now == 7 else []
        pushed = [m for m in SENT if m["version"] > now]
        merged = _merged(chance, answer, pushed)
        cut = chance.randint(0, len(merged))
        for message in merged[:cut]:
            passed += sieve.take(server_message.validate_python(message))  # type: ignore[arg-type]
        sieve.unsubscribed()
    numbers = [(m.version, m.part) for m in passed]
    assert numbers == sorted(set(numbers))
    states = {m["version"] for m in SENT if m["type"] == "status"} - {1}
    assert states - {m.version for m in passed} <= {v for v in states if v < passed[0].version}
    assert [m.type for m in passed].count("done") == 1


def _merged(chance: random.Random, first: list[Any], second: list[Any]) -> list[Any]:
    """Both lists' messages; those of one list keep their order."""
    merged, first, second = [], list(first), list(second)
    while first or second:
        take_first = first and (not second or chance.random() < 0.5)
        merged.append((first if take_first else second).pop(0))
    return merged


def test_each_file_passes_once_in_an_attempt() -> None:
    def file(version: int, number: int, attempt: int = 1) -> ArtifactMessage:
        return ArtifactMessage(
            job_id=JOB,
            version=version,
            part=number + 1,
            number=number,
            url="https://files.example/1",
            name="a.png",
            kind="image",
            node="7",
            attempt=attempt,
        )

    sieve = Sieve(JOB)
    first = sieve.take(file(4, 0))
    after_reconnect = [*sieve.take(file(5, 0)), *sieve.take(file(5, 1))]
    next_attempt = sieve.take(file(9, 0, attempt=2))
    passed = [(m.version, m.part) for m in [*first, *after_reconnect, *next_attempt]]
    assert passed == [(4, 1), (5, 2), (9, 1)]


def test_a_read_job_becomes_the_messages_of_its_present_state() -> None:
    ended = responses.JobView.model_validate(
        job_view("failed", 7, error={"type": "node_error", "message": "no", "node_id": "3"})
    )
    first, last = messages_of(ended, state_is_new=True)
    assert (first.type, last.type, last.version, last.part) == ("status", "done", 7, 1)
    assert isinstance(last, DoneMessage)
    assert last.status == "failed"
    assert last.error is not None
    assert last.error.node_id == "3"
    (message,) = messages_of(responses.JobView.model_validate(RUNNING), state_is_new=False)
    assert isinstance(message, ProgressMessage)
    assert (message.node_type, message.step, message.steps) == ("KSampler", 8, 20)
    assert message.progress == 0.42
