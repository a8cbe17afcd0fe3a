"""When an engine that should run a prompt must be given up. No I/O; time comes from `clock`.

A good answer to `GET /queue` is no sign of work: the thread that executes may have died while HTTP
lives on. What counts is that the prompt moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from gpu_worker.comfy.http import EngineGone, EngineQueue, EngineUnreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds after which a prompt's engine counts as stuck."""

    silent: float = 900.0  # running, with no word of it; loading a large model takes minutes
    pending: float = 60.0  # waiting, with nothing before it
    gone: float = 10.0  # refusing connections: its queue is lost
    deaf: float = 120.0  # answering nothing; a node that holds the interpreter's lock does so
    start: float = 300.0  # started, and not answering yet; a busy machine takes half a minute
    disobedient: float = 30.0  # still running, after its interrupt was asked again and again


DEFAULT_LIMITS = Limits()


class Watchdog:
    """Watches one prompt."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._made_at = clock()
        self._moved_at = self._answered_at = self._due_at = self._made_at
        self._gone_since: float | None = None
        self._cancel_asked_at: float | None = None

    def heard(self) -> None:
        """The engine said something of the prompt."""
        self._moved_at = self._due_at = self._clock()

    def answered(self, prompt_id: str, queue: EngineQueue) -> None:
        """The engine told what is in its queue."""
        self._answered_at, self._gone_since = self._clock(), None
        if queue.running:
            self._due_at = self._answered_at
        if prompt_id not in queue.running:
            self._moved_at = self._answered_at

    def unreachable(self, error: EngineUnreachable) -> None:
        """The engine did not answer."""
        if isinstance(error, EngineGone) and self._gone_since is None:
            self._gone_since = self._clock()

    def cancel_asked(self) -> None:
        """The prompt was told to stop."""
        self._cancel_asked_at = self._cancel_asked_at or self._clock()

    def is_start_overdue(self) -> bool:
        """The engine should have answered by now."""
        return self._clock() - self._made_at > self._limits.start

    def fault(self) -> str | None:
        """What is wrong with the engine, if anything."""
        limits, now, told_at = self._limits, self._clock(), self._answered_at
        for since, until, limit, fault in (
            (self._gone_since, now, limits.gone, "engine_gone"),
            (told_at, now, limits.deaf, "engine_deaf"),
            # What waits or runs is known as of the last answer.
            (self._due_at, told_at, limits.pending, "prompt_never_started"),
            (self._moved_at, told_at, limits.silent, "prompt_silent"),
            (self._cancel_asked_at, now, limits.disobedient, "cancel_ignored"),
        ):
            if since is not None and until - since > limit:
                return fault
        return None
