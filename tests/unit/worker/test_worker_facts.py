"""What a worker learns of its image, its GPU and its instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from comfyline.service.fleet.workers import WorkerFacts
from gpu_worker.comfy.http import ComfyHttp
from gpu_worker.facts import learned_facts
from gpu_worker.presence import Activity
from tests.support import mocked_engine
from tests.support.ecs_double import ecs
from tests.support.eventually import eventually

GPU = {"devices": [{"name": "cuda:0 NVIDIA L4 : cudaMallocAsync", "vram_total": 24 * 2**30}]}
TASK = {
    "TaskARN": "arn:aws:ecs:eu-west-1:1:task/fleet/7",
    "Family": "worker",
    "Revision": "12",
    "Containers": [{"Image": "repository/worker:3"}],
}
INSTANCE = {
    "instance-life-cycle": "spot",
    "instance-id": "i-0123",
    "instance-type": "g6.xlarge",
    "placement/availability-zone": "eu-west-1b",
}


def engine(*answers: Mapping[str, Any] | None) -> ComfyHttp:
    """An engine with these answers in turn, the last one for ever; None: it is not up."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/system_stats"
        found = left.pop(0) if len(left) > 1 else left[0]
        if found is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json=found)

    return ComfyHttp(mocked_engine.session(answer))


async def learned(http: ComfyHttp, is_known: Callable[[WorkerFacts], object], **urls: str) -> Any:
    activity = Activity()
    task, instance = urls.get("task"), urls.get("instance", "http://127.0.0.1:9")
    async with learned_facts(activity, http, task, instance, again=0.001):
        await eventually(lambda: is_known(activity.facts))
    return activity.facts


async def test_the_gpu_is_known_once_the_engine_is_up() -> None:
    facts = await learned(engine(None, None, GPU), lambda known: known.gpu)
    assert facts == WorkerFacts(gpu=GPU["devices"][0]["name"], gpu_memory_bytes=24 * 2**30)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"devices": 7},
        {"devices": [{"name": 7, "vram_total": -1}]},
        {"devices": [{"vram_total": 10**60}]},
    ],
)
async def test_an_engine_that_says_nothing_of_its_gpu_leaves_it_unknown(odd: Any) -> None:
    with ecs() as double:
        double.task, double.instance = TASK, INSTANCE
        urls = {"task": double.url, "instance": double.url}
        facts = await learned(engine(odd), lambda known: known.image and known.zone, **urls)
    assert facts.gpu is None
    assert facts.gpu_memory_bytes is None


async def test_a_task_knows_its_image_its_revision_and_its_instance() -> None:
    with ecs() as double:
        double.task, double.instance = TASK, INSTANCE
        urls = {"task": double.url, "instance": double.url}
        facts = await learned(
            engine(GPU), lambda known: known.gpu and known.image and known.zone, **urls
        )
    assert (facts.image, facts.revision) == (
        "repository/worker:3",
        "arn:aws:ecs:eu-west-1:1:task-definition/worker:12",
    )
    assert (facts.capacity, facts.instance_id) == ("spot", "i-0123")
    assert (facts.instance_type, facts.zone) == ("g6.xlarge", "eu-west-1b")


async def test_without_an_answer_of_the_platform_the_gpu_is_known_all_the_same() -> None:
    facts = await learned(engine(GPU), lambda known: known.gpu, task="http://127.0.0.1:9")
    assert (facts.image, facts.instance_id) == (None, None)
