"""Events over Comfy API v2: long polls that end when something changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from comfy_low import models as sdk

from comfyline.contract.ids import JobId
from comfyline.service.intake.wait import GATHER, LONGEST_HOLD
from comfyline.service.jobs.events import Succeeded
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.lifecycle import advance
from tests.integration.comfy_v2.requests import JOBS, refusal, submitted
from tests.support.builders import FrozenClock, a_result, an_artifact, running
from tests.support.gateway import Gateway, Reply


class Sleeper:
    """Advances the clock, and lets something happen during one of the pauses."""

    def __init__(self, clock: FrozenClock) -> None:
        self.clock = clock
        self.pauses: list[float] = []
        self.happenings: dict[int, Callable[[], object]] = {}

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)
        self.happenings.get(len(self.pauses), lambda: None)()


@pytest.fixture
def sleeper(gateway: Gateway, clock: FrozenClock) -> Sleeper:
    gateway.sleep = Sleeper(clock)
    return gateway.sleep


def row(gateway: Gateway, job_id: str) -> Job:
    job = gateway.aws.jobs.get(JobId(job_id))
    assert job is not None
    return job


def start(gateway: Gateway, job_id: str) -> None:
    job = row(gateway, job_id)
    gateway.aws.jobs.save(job, running(job, now=gateway.clock()))


def end(gateway: Gateway, job_id: str) -> None:
    job = row(gateway, job_id)
    now = gateway.clock()
    started = job if job.status is Status.RUNNING else running(job, now=now)
    after = advance(started, Succeeded(attempt=started.attempt, gpu_seconds=1.25), now)
    gateway.aws.jobs.put_result(after, a_result(an_artifact(after)))
    gateway.aws.jobs.save(job, after)


def events(reply: Reply) -> list[tuple[str, Any]]:
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream")
    frames = [frame.split("\n") for frame in reply.text.split("\n\n")[:-1]]
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in frames
    ]


def follow(gateway: Gateway, job_id: str) -> list[tuple[str, Any]]:
    return events(gateway("GET", f"{JOBS}/{job_id}/events"))


def test_an_ended_job_is_told_at_once_outputs_first(gateway: Gateway, sleeper: Sleeper) -> None:
    job_id = submitted(gateway).id
    end(gateway, job_id)
    told = follow(gateway, job_id)
    assert [name for name, _ in told] == ["progress", "output", "status"]
    sdk.Output.model_validate(told[1][1])
    assert told[2][1] == {"status": "succeeded", "queue_position": None}
    assert sleeper.pauses == []


def test_a_new_job_is_told_within_a_second(gateway: Gateway, sleeper: Sleeper) -> None:
    told = follow(gateway, submitted(gateway).id)
    assert [name for name, _ in told] == ["status"]
    assert told[0][1]["status"] == "queued"
    assert told[0][1]["queue_position"] >= 1
    assert sum(sleeper.pauses) == pytest.approx(1)


def test_a_job_that_waits_is_held(gateway: Gateway, clock: FrozenClock, sleeper: Sleeper) -> None:
    job_id = submitted(gateway).id
    clock.advance(3)
    follow(gateway, job_id)
    assert sum(sleeper.pauses) == pytest.approx(3)
    sleeper.pauses.clear()
    clock.advance(100)
    follow(gateway, job_id)
    assert sum(sleeper.pauses) == pytest.approx(LONGEST_HOLD.total_seconds())


def test_a_change_is_told_a_moment_later(
    gateway: Gateway, clock: FrozenClock, sleeper: Sleeper
) -> None:
    job_id = submitted(gateway).id
    clock.advance(60)
    sleeper.happenings[3] = lambda: start(gateway, job_id)
    told = follow(gateway, job_id)
    assert told[0] == ("status", {"status": "running", "queue_position": None})
    assert told[1][0] == "progress"
    assert sum(sleeper.pauses[3:]) == pytest.approx(GATHER)


def test_the_end_is_told_without_a_pause(
    gateway: Gateway, clock: FrozenClock, sleeper: Sleeper
) -> None:
    job_id = submitted(gateway).id
    clock.advance(60)
    sleeper.happenings[2] = lambda: end(gateway, job_id)
    told = follow(gateway, job_id)
    assert [name for name, _ in told] == ["progress", "output", "status"]
    assert len(sleeper.pauses) == 2


def test_an_end_soon_after_a_change_is_told_without_a_further_pause(
    gateway: Gateway, clock: FrozenClock, sleeper: Sleeper
) -> None:
    job_id = submitted(gateway).id
    clock.advance(60)
    sleeper.happenings[2] = lambda: start(gateway, job_id)
    sleeper.happenings[3] = lambda: end(gateway, job_id)
    assert follow(gateway, job_id)[-1][1]["status"] == "succeeded"
    assert sum(sleeper.pauses[2:]) < GATHER


def test_a_followed_job_is_watched(gateway: Gateway, clock: FrozenClock, sleeper: Sleeper) -> None:
    """So that its worker tells of progress at the fast pace."""
    job_id = submitted(gateway).id
    follow(gateway, job_id)
    assert row(gateway, job_id).is_watched(clock() + timedelta(seconds=30))


def test_an_owner_has_a_share_of_the_places(gateway: Gateway, sleeper: Sleeper) -> None:
    gateway.caller["max_waits"] = "1"
    job_id = submitted(gateway).id
    second: list[Reply] = []
    sleeper.happenings[1] = lambda: second.append(gateway("GET", f"{JOBS}/{job_id}/events"))
    follow(gateway, job_id)
    assert refusal(second[0]) == (501, "not_implemented")
    follow(gateway, job_id)  # the place is free again


def test_two_may_follow_one_job(gateway: Gateway, sleeper: Sleeper) -> None:
    job_id = submitted(gateway).id
    second: list[Reply] = []
    sleeper.happenings[1] = lambda: second.append(gateway("GET", f"{JOBS}/{job_id}/events"))
    follow(gateway, job_id)
    assert second[0].status == 200


def test_a_job_of_another_owner_is_not_told(gateway: Gateway) -> None:
    job_id = submitted(gateway).id
    reply = gateway("GET", f"{JOBS}/{job_id}/events", owner="another")
    assert refusal(reply) == (404, "not_found")
