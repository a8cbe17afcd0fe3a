"""Prepare a worker for its first job: fetch the models, and run one graph as a warm-up.

The first prompt of an engine loads its libraries and a model, which takes several times as long as
a job. It also shows what no file can show: that this engine can work on this GPU at all. A worker
that fails here leaves service before it has claimed a job.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.lock import EngineLock
from gpu_worker.comfy.cache_buster import never_cached
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.http import EngineError, EngineUnreachable, PromptRejected
from gpu_worker.comfy.outcomes import Outcome, PromptFailed, PromptSucceeded
from gpu_worker.comfy.protocol import Event
from gpu_worker.faults import job_error_of, rejection_error
from gpu_worker.models.download import ModelsUnusable
from gpu_worker.models.folder import ModelFolder
from gpu_worker.models.loading import Loading
from gpu_worker.racing import unless

TRIES = 3  # an engine may be lost once or twice; the Keeper detects a crash loop

_log = logging.getLogger(__name__)


class WarmUpFailed(Exception):
    """The engine does not run the lock's own graph, so no job would run either."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """The work that a lock requires before the first job."""

    lock: EngineLock
    warm_up: Graph | None
    models: ModelFolder | None  # None: this worker does not fetch the models
    loading: Loading | None = None  # None: all models must be there before the first job

    @classmethod
    def of_lock(cls, path: Path, models: ModelFolder | None) -> Preparation:
        """Read the lock at `path`, and the warm-up graph beside it if the lock names one.

        Raises:
            InvalidLock, OSError, ValueError: the lock or the graph cannot be read.
        """
        lock = EngineLock.parse(path.read_text(encoding="utf-8"))
        if lock.warm_up is None:
            return cls(lock, None, models)
        graph = json.loads(path.with_name(lock.warm_up).read_text(encoding="utf-8"))
        return cls(lock, graph, models)

    @asynccontextmanager
    async def filling(self, retire: asyncio.Event) -> AsyncIterator[None]:
        """In the block, models are fetched while jobs run, if that is allowed.

        If a model cannot be had, `retire` is set, so that the worker finishes its jobs and ends.

        Raises:
            ModelsUnusable: after the block; a model cannot be had.
        """
        models, loading = self.models, self.loading
        if models is None or loading is None:
            yield
            return
        stop = asyncio.Event()

        async def fill() -> None:
            try:
                await models.fill(self.lock.models, stop, loading.ready)
            except ModelsUnusable:
                loading.fail()
                retire.set()
                raise

        filling = asyncio.create_task(fill())
        try:
            yield
        finally:
            stop.set()
            await filling

    async def run(self, engine: ComfyEngine, drain: asyncio.Event) -> bool:
        """Whether the worker may claim jobs now; False if `drain` was set first.

        Raises:
            ModelsUnusable, WarmUpFailed, EngineCrashLoop: this worker cannot run jobs.
        """
        if self.loading is not None:  # `filling` fetches them
            graph = self.warm_up or {}
            if not await unless(drain, self._arrived(engine, self.loading, graph)):
                return False
        elif self.models is not None and not await self.models.fill(self.lock.models, drain):
            return False
        return self.warm_up is None or await warm_up(engine, self.warm_up, drain)

    async def _arrived(self, engine: ComfyEngine, loading: Loading, graph: Graph) -> bool:
        await engine.wait_ready()
        return await loading.arrive(graph, await engine.nodes.get())


async def warm_up(engine: ComfyEngine, graph: Graph, drain: asyncio.Event) -> bool:
    """Run the graph; False if `drain` was set first.

    Raises:
        WarmUpFailed: the graph did not succeed; the message says why.
        EngineCrashLoop: the engine does not stay up.
    """
    started_at = time.monotonic()
    for _ in range(TRIES):
        await unless(drain, engine.wait_ready())
        if drain.is_set():
            return False
        # An engine that is not restarted for a probe would otherwise answer from its cache.
        outcome = await _run(engine, never_cached(graph, str(uuid.uuid4())), drain)
        if isinstance(outcome, PromptSucceeded):
            seconds = round(time.monotonic() - started_at, 1)
            _log.info("engine warm", extra={"action": "engine_warm", "seconds": seconds})
            return True
        if drain.is_set():
            return False
        if isinstance(outcome, PromptFailed):
            raise WarmUpFailed(job_error_of(outcome).message)
    raise WarmUpFailed(f"the engine was lost {TRIES} times during the warm-up")


async def _run(engine: ComfyEngine, graph: Graph, drain: asyncio.Event) -> Outcome | None:
    try:
        return await engine.run(graph, str(uuid.uuid4()), on_event=_ignore, cancel=drain)
    except PromptRejected as rejected:
        raise WarmUpFailed(rejection_error(rejected).message) from rejected
    except (EngineUnreachable, EngineError):
        return None


def _ignore(_event: Event) -> None:
    """A warm-up reports no progress."""
