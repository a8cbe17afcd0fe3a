"""Which jobs a worker may take while it still fetches models.

A job must not start before its models are there, because ComfyUI would refuse it. No graph says for
certain which models it needs: custom nodes may load files that no input names. So a graph that has
a node that is not ComfyUI's own waits for all models. Any other graph waits for each model whose
name a text in it resembles, which may be more models than it needs but never fewer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.lock import Model
from gpu_worker.racing import first_of


class Loading:
    """The models of one lock that are not there yet."""

    def __init__(self, models: Sequence[Model]) -> None:
        """Call it on the event loop on which the others wait."""
        self.has_failed = False
        self._missing = frozenset(model.path for model in models)
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()  # set when a model has come, or when the fetching has failed

    @property
    def is_under_way(self) -> bool:
        """Whether some model is not there yet."""
        return bool(self._missing)

    def ready(self, model: Model) -> None:
        """The engine can load this model now. Any thread may call this."""
        self._loop.call_soon_threadsafe(self._arrived, model.path)

    def fail(self) -> None:
        """The models that are missing will not come."""
        self.has_failed = True
        self._news.set()

    def lacks(self, graph: Graph, nodes: EngineNodes) -> bool:
        """Whether a model that the graph may need is missing. Any thread may call this."""
        missing = self._missing
        if not missing:
            return False
        if not all(nodes.is_core(node["class_type"]) for node in graph.values()):
            return True
        texts = {text.lower() for node in graph.values() for text in _texts(node["inputs"])}
        return any(_resembles(text, path) for path in missing for text in texts if text)

    async def arrive(self, graph: Graph, nodes: EngineNodes) -> bool:
        """Return True once the graph's models are there; False if they will not come."""
        while self.lacks(graph, nodes):
            if self.has_failed:
                return False
            await self.news(None)
        return True

    async def news(self, timeout: float | None) -> None:
        """Return when another model has come, or after `timeout` seconds."""
        await first_of(self._news.wait(), timeout=timeout)
        if not self.has_failed:
            self._news.clear()

    def _arrived(self, path: str) -> None:
        self._missing -= {path}
        self._news.set()


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)


def _resembles(text: str, path: str) -> bool:
    """Whether a text in lower case may name the model, whole or in part, with or without suffix."""
    below = PurePosixPath(*PurePosixPath(path.lower()).parts[1:])
    names = (below.stem, *below.parts[:-1])
    return any(name in text for name in names) or text in str(below)
