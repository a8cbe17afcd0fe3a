"""What comes before a worker's first job: the models are there, and the engine has run once.

The first prompt of an engine loads its libraries and a model, which takes a job's time several
times over. It also shows what no file tells: that this engine can work on this GPU at all. A worker
that cannot is out of service before it has taken anybody's job.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

from comfyline.service.graphs.lock import EngineLock
from comfyline.service.jobs.job import Graph
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.http import EngineError, EngineUnreachable, PromptRejected
from gpu_worker.comfy.protocol import Event, Failed, Outcome, Succeeded
from gpu_worker.faults import job_error_of, rejection_error
from gpu_worker.models import ModelFolder

TRIES = 3  # an engine may be lost once or twice; whoever starts it knows a crash loop

_log = logging.getLogger(__name__)


class WarmUpFailed(Exception):
    """The engine does not run the lock's own graph: no job would fare better."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A lock to get ready; without `models`, the models are somebody else's concern."""

    lock: EngineLock
    warm_up: Graph | None
    models: ModelFolder | None

    @classmethod
    def of_lock(cls, path: Path, models: ModelFolder | None) -> Preparation:
        """What the lock at that path asks for.

        Raises:
            InvalidLock, OSError, ValueError: the lock, or the graph beside it, is none.
        """
        lock = EngineLock.parse(path.read_text(encoding="utf-8"))
        if lock.warm_up is None:
            return cls(lock, None, models)
        graph = json.loads(path.with_name(lock.warm_up).read_text(encoding="utf-8"))
        return cls(lock, graph, models)

    async def done(self, engine: ComfyEngine, drain: asyncio.Event) -> bool:
        """Whether jobs may be taken; False if `drain` came first.

        Raises:
            ModelsUnusable, WarmUpFailed, EngineCrashLoop: this worker is of no use.
        """
        if self.models is not None and not await self.models.fill(self.lock.models, drain):
            return False
        return self.warm_up is None or await warm_up(engine, self.warm_up, drain)


async def warm_up(engine: ComfyEngine, graph: Graph, drain: asyncio.Event) -> bool:
    """Whether the engine has run the graph; False if `drain` came first.

    Raises:
        WarmUpFailed: it has not; the message says why.
        EngineCrashLoop: it does not stay up.
    """
    started_at = time.monotonic()
    for _ in range(TRIES):
        if not await _unless(drain, engine.wait_ready()):
            return False
        outcome = await _run(engine, graph, drain)
        if isinstance(outcome, Succeeded):
            seconds = round(time.monotonic() - started_at, 1)
            _log.info("engine warm", extra={"action": "engine_warm", "seconds": seconds})
            return True
        if drain.is_set():
            return False
        if isinstance(outcome, Failed):
            raise WarmUpFailed(job_error_of(outcome).message)
    raise WarmUpFailed(f"the engine was lost {TRIES} times")


async def _run(engine: ComfyEngine, graph: Graph, drain: asyncio.Event) -> Outcome | None:
    try:
        return await engine.run(graph, str(uuid.uuid4()), on_event=_ignore, cancel=drain)
    except PromptRejected as rejected:
        raise WarmUpFailed(rejection_error(rejected).message) from rejected
    except (EngineUnreachable, EngineError):
        return None


def _ignore(_event: Event) -> None:
    """Nobody follows a warm-up."""


async def _unless(drain: asyncio.Event, ready: Awaitable[None]) -> bool:
    """Whether it is ready, and `drain` did not come first."""
    waiting, draining = asyncio.ensure_future(ready), asyncio.ensure_future(drain.wait())
    try:
        await asyncio.wait({waiting, draining}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
        return not drain.is_set()
    finally:
        waiting.cancel()
        draining.cancel()
