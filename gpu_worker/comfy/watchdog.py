"""Decide when an engine that should run a prompt must be given up. No I/O; `clock` has the time.

A good answer to `GET /queue` does not show that the engine works: the thread that executes prompts
may have died while HTTP still answers. Only a prompt that makes progress shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from gpu_worker.comfy.http import EngineGone, EngineQueue, EngineUnreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds after which the engine of a prompt counts as stuck, and for which a post waits."""

    silent: float = 900.0  # the prompt runs without a message, and the engine is idle
    pending: float = 60.0  # the prompt waits, and no other prompt runs
    gone: float = 10.0  # the engine refuses connections, so its queue is lost
    deaf: float = 120.0  # the engine does not answer; a node that holds the GIL has that effect
    start: float = 300.0  # the engine has not answered since its start; half a minute is usual
    disobedient: float = 30.0  # a prompt runs on although interrupts are repeated
    pictures: float = 30.0  # the socket shows neither a prompt's pictures nor its end
    socket: float = 1.0  # a prompt that does not need the socket waits for it, then it is posted


DEFAULT_PATIENCE = Patience()
QUIET_SHARE = 0.1  # of `silent`: after it the engine's processes are looked at


class Watchdog:
    """Watches the engine on behalf of one prompt."""

    def __init__(self, patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        now = clock()
        self._patience, self._clock = patience, clock
        self._made_at = now
        self._answered_at = now  # the last answer to GET /queue
        self._moved_at = now  # the last sign of progress; the last answer while it does not run
        self._due_at = now  # since then it should have started, because nothing ran before it
        self._gone_since: float | None = None  # set while the engine refuses connections
        self._cancel_requested_at: float | None = None

    @property
    def last_sign_at(self) -> float:
        """The last time at which the prompt is known to have been executed, by the clock."""
        if self.fault() == "prompt_silent":
            return self._moved_at
        return max(self._moved_at, self._answered_at)

    @property
    def quiet_seconds(self) -> float:
        """After so long without a sign of the prompt its engine should be looked at."""
        return self._patience.silent * QUIET_SHARE

    def is_quiet(self) -> bool:
        """Whether the prompt has given no sign for `quiet_seconds`."""
        return self._clock() - self._moved_at > self.quiet_seconds

    def engine_worked(self) -> None:
        """The engine's processes or its GPU are busy: a long node may send nothing for hours."""
        self.prompt_moved()

    def prompt_moved(self) -> None:
        """The engine sent a message about the prompt."""
        self._moved_at = self._due_at = self._clock()

    def queue_answered(self, prompt_id: str, queue: EngineQueue) -> None:
        """The engine answered with its queue."""
        self._answered_at, self._gone_since = self._clock(), None
        if queue.running:
            self._due_at = self._answered_at
        if prompt_id not in queue.running:
            self._moved_at = self._answered_at

    def unreachable(self, error: EngineUnreachable) -> None:
        """The engine did not answer."""
        if isinstance(error, EngineGone) and self._gone_since is None:
            self._gone_since = self._clock()

    def cancel_requested(self) -> None:
        """The engine was asked to interrupt the prompt; only the first call counts."""
        self._cancel_requested_at = self._cancel_requested_at or self._clock()

    def is_start_overdue(self) -> bool:
        """Whether an engine that was started with this watchdog should have answered by now."""
        return self._clock() - self._made_at > self._patience.start

    def fault(self) -> str | None:
        """The fault of the engine, if it has one by now."""
        patience, now, answered_at = self._patience, self._clock(), self._answered_at
        for since, until, seconds, fault in (
            (self._gone_since, now, patience.gone, "engine_gone"),
            (answered_at, now, patience.deaf, "engine_deaf"),
            # Which prompts wait and run is known only up to the last answer.
            (self._due_at, answered_at, patience.pending, "prompt_never_started"),
            (self._moved_at, answered_at, patience.silent, "prompt_silent"),
            (self._cancel_requested_at, now, patience.disobedient, "cancel_ignored"),
        ):
            if since is not None and until - since > seconds:
                return fault
        return None
