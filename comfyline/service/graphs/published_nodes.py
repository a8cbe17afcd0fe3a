"""The node classes of the deployment's engine, as a worker has published them.

No job depends on them: while they are unknown, a graph is left to the engine to judge.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Protocol

from comfyline.service.clock import Clock
from comfyline.service.graphs.engine_nodes import EngineNodes

KEPT = timedelta(minutes=10)  # an engine's classes change with a deployment only
# The first worker of a new engine publishes its classes minutes after the deployment, and a store
# that is out of reach is usually back by then.
KEPT_UNKNOWN = timedelta(seconds=30)

_log = logging.getLogger(__name__)


class EngineNodesStore(Protocol):
    """The published classes, one value for each version of the engine."""

    def publish(self, version: str, nodes: EngineNodes) -> bool:
        """Store the classes of that version; False if exactly these are stored already.

        Raises:
            ValueError: they are too large to be stored.
        """

    def read(self, version: str) -> EngineNodes:
        """The classes of that version; empty if no worker has published them."""


class PublishedNodes:
    """Reads the classes of one version when they are first needed, and again after `KEPT`.

    Several threads may use it.
    """

    def __init__(self, store: EngineNodesStore, version: str, clock: Clock) -> None:
        self._store, self._version, self._clock = store, version, clock
        self._last: _Read | None = None
        self._reading = Lock()

    def get(self) -> EngineNodes:
        """The classes; empty if they are unknown or cannot be read."""
        with self._reading:
            now = self._clock()
            if self._last is None or now >= self._last.good_until:
                nodes = self._read()
                self._last = _Read(nodes, now + (KEPT if nodes else KEPT_UNKNOWN))
            return self._last.nodes

    def _read(self) -> EngineNodes:
        try:
            return self._store.read(self._version)
        except Exception:  # noqa: BLE001 - no job depends on them, so no error may refuse one
            _log.warning("nodes not read", exc_info=True, extra={"action": "nodes_not_read"})
            return EngineNodes()


@dataclass(frozen=True, slots=True)
class _Read:
    nodes: EngineNodes
    good_until: datetime
