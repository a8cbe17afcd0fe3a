"""What this worker is: its image, its GPU and the instance under it, for operators.

No job depends on it, so every source is asked at leisure, and a fact of a source that does not
answer stays unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from comfyline.service.fleet.capacity import Capacity
from gpu_worker.comfy.http import ComfyHttp, EngineError, EngineUnreachable
from gpu_worker.comfy.shapes import fields, items, text
from gpu_worker.ecs import METADATA_URL, InstanceMetadata, client_of, task_metadata
from gpu_worker.presence import Activity
from gpu_worker.protection import FleetUnreachable
from gpu_worker.racing import background

MOST = 2**53  # bytes
AGAIN_SECONDS = 5.0  # between two questions to an engine that has not started yet
# The life cycles of an instance, as its metadata names them.
_CAPACITIES = {"spot": Capacity.SPOT, "on-demand": Capacity.ONDEMAND}

_log = logging.getLogger(__name__)


@asynccontextmanager
async def learned_facts(
    activity: Activity,
    http: ComfyHttp,
    task_url: str | None,
    instance_url: str = METADATA_URL,
    *,
    again: float = AGAIN_SECONDS,
) -> AsyncIterator[None]:
    """The facts are learned in the block. `task_url`: ECS's metadata of the task, on ECS."""
    works = [_learn_gpu(activity, http, again)]
    if task_url is not None:
        works += [_learn_task(activity, task_url), _learn_instance(activity, instance_url)]
    async with background(*works):
        yield


async def _learn_gpu(activity: Activity, http: ComfyHttp, again: float) -> None:
    while True:
        try:
            stats = await http.system_stats()
        except (EngineUnreachable, EngineError):
            await asyncio.sleep(again)
            continue
        device = fields(next(iter(items(stats.get("devices"))), None))
        memory = device.get("vram_total")
        activity.facts = replace(
            activity.facts,
            gpu=text(device.get("name")),
            # DynamoDB refuses a number of many digits, and the whole report with it.
            gpu_memory_bytes=memory if type(memory) is int and 0 < memory < MOST else None,
        )
        return


async def _learn_task(activity: Activity, url: str) -> None:
    async with client_of(url) as client:
        try:
            task = await task_metadata(client)
        except FleetUnreachable:
            _unknown("task")
            return
    activity.facts = replace(activity.facts, image=task.image, revision=task.revision)


async def _learn_instance(activity: Activity, url: str) -> None:
    async with client_of(url) as client:
        metadata = InstanceMetadata(client)
        try:
            life_cycle = await metadata.read("instance-life-cycle")
            instance_id = await metadata.read("instance-id")
            instance_type = await metadata.read("instance-type")
            zone = await metadata.read("placement/availability-zone")
        except FleetUnreachable:
            _unknown("instance")
            return
    activity.facts = replace(
        activity.facts,
        capacity=_CAPACITIES.get(life_cycle or ""),
        instance_id=instance_id,
        instance_type=instance_type,
        zone=zone,
    )


def _unknown(source: str) -> None:
    _log.warning(
        "facts unknown", exc_info=True, extra={"action": "facts_unknown", "source": source}
    )
