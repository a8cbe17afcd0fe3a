"""What keeps the engine up: this worker (`gpu_worker.supervisor`), or something outside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from gpu_worker.comfy.http import EngineQueue

RECYCLED = "recycled"  # the reason of a restart between two jobs, because it was due
ENDED = "ended"  # the reason of an end that nothing has requested

_log = logging.getLogger(__name__)


class EngineCrashLoop(Exception):
    """The engine does not stay up, so this worker cannot run jobs."""


class Keeper(Protocol):
    """Keeps one engine up."""

    on_end: Callable[[], None]  # called when the engine has ended, and its prompts are lost
    end_reason: str  # why the engine ended last: `ended`, or the reason of a restart
    is_foreign: bool  # others can reach the engine too, and this worker never kills it
    has_other_workers: bool  # other workers may give prompts to the engine, too

    async def wait_up(self) -> None:
        """Return once the engine's process runs, whether or not it answers yet.

        Raises:
            EngineCrashLoop: the keeper has given the engine up.
        """

    def admits(self, queue: EngineQueue, *, is_idle: bool) -> bool:
        """Whether the engine may be given a prompt now.

        `is_idle`: no prompt and no file of this worker is in it.
        """

    async def is_busy(self, window_seconds: float) -> bool:
        """Whether the engine's processes have worked since a call so long ago, or its GPU works."""

    def restart(self, reason: str) -> None:
        """Restart the engine at once, because it is of no more use."""

    def answered(self) -> None:
        """The engine has answered as ComfyUI does, so its start has succeeded."""

    def count_prompt(self) -> None:
        """Count a prompt that the engine has ended."""


class ForeignEngine:
    """A `Keeper` of an engine that this worker did not start, and therefore never kills.

    A stuck engine gets no more prompts until it is idle.
    """

    is_foreign = True

    def __init__(self, *, has_other_workers: bool = True) -> None:
        self.has_other_workers = has_other_workers
        self.on_end: Callable[[], None] = lambda: None
        self.end_reason = ENDED
        self._is_healthy = True

    async def wait_up(self) -> None:
        """See Keeper."""

    def admits(self, queue: EngineQueue, *, is_idle: bool) -> bool:  # noqa: ARG002 - the port's
        """See Keeper."""
        self._is_healthy = self._is_healthy or not queue.running
        return self._is_healthy

    async def is_busy(self, window_seconds: float) -> bool:  # noqa: ARG002 - the port's
        """See Keeper: its processes cannot be seen, so that it answers must be enough."""
        return True

    def restart(self, reason: str) -> None:
        """See Keeper: it is only logged, and the prompts count as lost."""
        _log.error("engine unhealthy", extra={"action": "engine_unhealthy", "why": reason})
        self._is_healthy = False
        self.end_reason = reason
        self.on_end()

    def answered(self) -> None:
        """See Keeper."""

    def count_prompt(self) -> None:
        """See Keeper."""
