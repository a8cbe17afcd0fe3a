"""The node classes of the engine, fetched once after each of its starts."""

from __future__ import annotations

import asyncio
import logging

from comfyline.service.graphs.engine_nodes import EngineNodes
from gpu_worker.comfy.http import ComfyHttp, EngineError, EngineUnreachable

_log = logging.getLogger(__name__)


class NodeClasses:
    """The engine's node classes. They are fetched again after each possible restart."""

    def __init__(self, http: ComfyHttp) -> None:
        self._http = http
        self._known: EngineNodes | None = None  # None: not fetched yet
        self._starts = 0  # so that an answer from before a start is not kept after it
        self._started = asyncio.Event()
        self._asking = asyncio.Lock()  # one caller fetches them while the others wait

    def engine_started(self) -> None:
        """Note that the engine may have started anew."""
        self._known = None
        self._starts += 1
        self._started.set()

    async def wait_started(self) -> None:
        """Return once the engine has started since the last call."""
        await self._started.wait()
        self._started.clear()

    async def get(self) -> EngineNodes:
        """The classes; empty, which means unknown, if the engine does not answer."""
        async with self._asking:
            if self._known is not None:
                return self._known
            starts = self._starts
            try:
                nodes = EngineNodes.parse(await self._http.object_info())
            except (EngineUnreachable, EngineError):
                _log.warning("nodes unknown", exc_info=True, extra={"action": "nodes_unknown"})
                return EngineNodes()
            if starts == self._starts:
                self._known = nodes
            return nodes
