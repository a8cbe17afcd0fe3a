"""Who keeps the engine up: we, as its parent (`gpu_worker.supervisor`), or somebody else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from gpu_worker.comfy.http import EngineQueue

_log = logging.getLogger(__name__)


class EngineCrashLoop(Exception):
    """The engine does not stay up: this worker is of no use."""


class Keeper(Protocol):
    """Keeps one engine."""

    on_end: Callable[[], None]  # called whenever the engine has ended, with all that it was given

    async def wait_up(self) -> None:
        """Return once the engine is there, whether or not it answers yet.

        Raises:
            EngineCrashLoop: it never will be.
        """

    def admits(self, queue: EngineQueue, *, is_idle: bool) -> bool:
        """It may be given a prompt now; `is_idle`: nothing of ours is in it."""

    def restart(self, why: str) -> None:
        """It is of no use any more: start it again, at once."""

    def count_prompt(self) -> None:
        """It has ended one more prompt."""


class ForeignEngine:
    """An engine that somebody else keeps is never killed: a stuck one gets no work until idle."""

    def __init__(self) -> None:
        self.on_end: Callable[[], None] = lambda: None
        self._is_healthy = True

    async def wait_up(self) -> None:
        """See Keeper."""

    def admits(self, queue: EngineQueue, *, is_idle: bool) -> bool:  # noqa: ARG002 - the port's
        """See Keeper."""
        self._is_healthy = self._is_healthy or not queue.running
        return self._is_healthy

    def restart(self, why: str) -> None:
        """See Keeper: only said aloud, and what it was given is given back."""
        _log.error("engine unhealthy", extra={"action": "engine_unhealthy", "why": why})
        self._is_healthy = False
        self.on_end()

    def count_prompt(self) -> None:
        """See Keeper."""
