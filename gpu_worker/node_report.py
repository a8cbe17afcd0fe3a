"""Publish the engine's node classes after each of its starts, for the functions that take jobs."""

from __future__ import annotations

import asyncio
import logging

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.published_nodes import EngineNodesStore
from gpu_worker.comfy.node_classes import NodeClasses

AGAIN_SECONDS = 60.0  # after a failure

_log = logging.getLogger(__name__)


async def publish_for_ever(
    nodes: NodeClasses, store: EngineNodesStore, version: str, again_seconds: float = AGAIN_SECONDS
) -> None:
    """Publish the classes of the engine after each start, until they are stored."""
    while True:
        await nodes.wait_started()
        while not await _is_published(await nodes.get(), store, version):
            await asyncio.sleep(again_seconds)


async def _is_published(known: EngineNodes, store: EngineNodesStore, version: str) -> bool:
    if not known:
        return False
    try:
        is_new = await asyncio.to_thread(store.publish, version, known)
    except Exception:  # noqa: BLE001 - no job depends on it, so no error may end the worker
        extra = {"action": "nodes_not_published"}
        _log.warning("nodes not published", exc_info=True, extra=extra)
        return False
    if is_new:
        _log.info("nodes published", extra={"action": "nodes_published", "version": version})
    return True
