"""What workers publish of their engines, in memory."""

from __future__ import annotations

from comfyline.service.graphs.engine_nodes import EngineNodes


class InMemoryEngineNodesStore:
    """`EngineNodesStore` in memory."""

    def __init__(self) -> None:
        self._published: dict[str, EngineNodes] = {}

    def publish(self, version: str, nodes: EngineNodes) -> bool:
        """See EngineNodesStore."""
        is_new = self._published.get(version) != nodes
        self._published[version] = nodes
        return is_new

    def read(self, version: str) -> EngineNodes:
        """See EngineNodesStore."""
        return self._published.get(version, EngineNodes())
