"""Follow one prompt to its outcome: poll the engine when there is a reason, and once a second.

Each poll reads the history first and the queue second. So a prompt that a node queued before its
own prompt ended is still in the queue, and it is removed before the outcome is returned. If the
engine answers but makes no progress, `Watchdog` reports a fault, and `Keeper` restarts the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress

from gpu_worker.comfy.followed import Followed
from gpu_worker.comfy.http import (
    ComfyHttp,
    EngineError,
    EngineFailed,
    EngineQueue,
    EngineUnreachable,
)
from gpu_worker.comfy.keeper import Keeper
from gpu_worker.comfy.outcomes import Outcome
from gpu_worker.comfy.socket import ComfySocket
from gpu_worker.comfy.unfollowed import UnfollowedPrompts
from gpu_worker.comfy.watchdog import Patience
from gpu_worker.racing import first_of

POLL_SECONDS = 1.0  # the most that a silent socket can cost
EAGER_SECONDS = 0.02  # the history entry follows a success after a few milliseconds
EAGER_POLLS = 50
CANCEL_SECONDS = 0.25  # between interrupts, because one may get lost


class Following:
    """Looks at the engine on behalf of one prompt that was posted."""

    def __init__(
        self,
        followed: Followed,
        cancel: asyncio.Event,
        *,
        http: ComfyHttp,
        keeper: Keeper,
        socket: ComfySocket,
        unfollowed: UnfollowedPrompts,
        patience: Patience,
    ) -> None:
        """Setting `cancel` ends the prompt early."""
        self._followed, self._run, self._watchdog = followed, followed.run, followed.watchdog
        self._cancel, self._http, self._keeper, self._socket = cancel, http, keeper, socket
        self._unfollowed, self._patience = unfollowed, patience

    async def outcome(self) -> Outcome:
        """How the prompt ended. A cancel is repeated until the prompt has ended.

        Raises:
            EngineError: the engine's answers are not ComfyUI's.
        """
        while True:
            await self._pause()
            if self._cancel.is_set():
                self._followed.stop_asked()
            try:
                is_over = await self._look()
            except EngineUnreachable as error:
                is_over = False
                self._watchdog.unreachable(error)
            except EngineFailed:
                # A node has reported a value that is no JSON. ComfyUI often ends because of it.
                is_over = False
            if not is_over and (fault := self._watchdog.fault()) is not None:
                self._keeper.restart(fault)
                is_over = True
            if is_over:
                return self._followed.outcome(canceled=self._cancel.is_set())

    async def _pause(self) -> None:
        """Return when there is a reason to poll the engine, or when the next poll is due."""
        followed, wake = self._followed, self._followed.wake
        if followed.eager_polls > 0:
            followed.eager_polls -= 1
            await first_of(wake.wait(), timeout=EAGER_SECONDS)
        elif self._cancel.is_set() or self._unfollowed.are_present:
            await first_of(wake.wait(), timeout=CANCEL_SECONDS)
        else:
            await first_of(wake.wait(), self._cancel.wait(), timeout=POLL_SECONDS)
        wake.clear()

    async def _look(self) -> bool:
        """Poll once; whether the prompt has ended, and none that its nodes queued is left."""
        if self._followed.is_lost:
            with suppress(EngineUnreachable, EngineError):
                await self._remove()  # a foreign engine may still have the prompt
            return True
        if self._cancel.is_set() and not await self._is_removed():
            return False
        if not await self._read_history(self._run.open_ids):
            return False
        were_open = self._run.open_ids  # further rounds may begin after the queue was read
        queue = await self._http.queue()
        await self._note(queue)
        has_unfollowed = await self._unfollowed.were_in(queue)
        if await self._has_left(queue, were_open):
            return True
        if self._run.outcome is None or has_unfollowed or await self._goes_on():
            return False
        return not self._awaits_pictures()

    async def _is_removed(self) -> bool:
        """Whether the prompt and its rounds have left the queue, after they were asked to.

        Until then the history need not be read, which many short rounds would make long.
        """
        queue = await self._remove()
        await self._note(queue)
        return queue.all.isdisjoint(self._run.open_ids)

    async def _remove(self) -> EngineQueue:
        """Ask ComfyUI to end the prompt, with the rounds that its nodes may still queue."""

        def open_ids(queue: EngineQueue) -> Collection[str]:
            self._unfollowed.found_in(queue)  # it adopts the rounds
            return queue.all.intersection(self._run.open_ids)

        return await self._http.remove(open_ids, await self._http.queue())

    async def _read_history(self, prompt_ids: Sequence[str]) -> bool:
        """Whether all was read. Short rounds may come faster, so a new cancel ends the reading."""
        was_canceled = self._cancel.is_set()
        for prompt_id in prompt_ids:
            if self._cancel.is_set() is not was_canceled:
                return False
            self._run.receive_history(await self._http.history(prompt_id), prompt_id)
            if self._run.outcome is not None:
                self._followed.ended()
        return True

    async def _note(self, queue: EngineQueue) -> None:
        self._keeper.answered()
        running = next((each for each in self._run.open_ids if each in queue.running), None)
        self._watchdog.queue_answered(running or self._run.prompt_id, queue)
        if running is not None:
            self._followed.runs_now()
            window = self._watchdog.quiet_seconds
            if self._watchdog.is_quiet() and await self._keeper.is_busy(window):
                self._watchdog.engine_worked()

    async def _has_left(self, queue: EngineQueue, were_open: Sequence[str]) -> bool:
        """Whether a prompt that was open is in neither queue nor history; after a cancel, all are.

        A prompt that moved from one to the other between the two requests is looked for again.
        """
        missing = [each for each in were_open if each not in queue.all]
        if not await self._read_history(missing):
            return False
        has_left = any(each in self._run.open_ids for each in missing)
        return has_left and (not self._cancel.is_set() or queue.all.isdisjoint(were_open))

    async def _goes_on(self) -> bool:
        """Whether further rounds of the prompt must be followed, which are adopted now.

        A short round may have ended before it was seen in the queue.
        """
        if not self._unfollowed.are_adopted or self._run.unfinished_node is None:
            return False
        for prompt_id, origin in (await self._http.recent_origins()).items():
            if origin == self._run.prompt_id:
                self._run.adopt(prompt_id)
                self._followed.wake.set()
        return self._run.outcome is None

    def _awaits_pictures(self) -> bool:
        followed = self._followed
        if not self._socket.is_open.is_set() and self._run.pending_end:
            followed.has_gap = True
        if followed.awaits_pictures(self._patience.pictures):
            return True
        if followed.has_lost_pictures and not followed.has_gap:
            self._socket.renew()  # it is open, but the engine does not deliver
        return False
