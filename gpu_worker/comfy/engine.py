"""Run prompts on one ComfyUI. Its socket is fast, its history is reliable.

The two race to show that a prompt has ended. A message on the socket only means "look at the
history now"; a poll looks anyway, so a muted socket, a reconnect or a lost message costs at most a
second. If the engine answers but makes no progress, `Watchdog` reports a fault, and `Keeper` is
asked to restart the engine.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from gpu_worker.comfy.http import (
    TIMEOUT,
    ComfyHttp,
    EngineError,
    EngineQueue,
    EngineUnreachable,
    Graph,
    PromptRejected,
)
from gpu_worker.comfy.keeper import Keeper
from gpu_worker.comfy.node_classes import NodeClasses
from gpu_worker.comfy.protocol import (
    Event,
    HistoryWanted,
    Outcome,
    PromptInterrupted,
    PromptLost,
    PromptRun,
)
from gpu_worker.comfy.socket import ComfySocket
from gpu_worker.comfy.watchdog import DEFAULT_PATIENCE, Patience, Watchdog
from gpu_worker.racing import background, first_of

POLL_SECONDS = 1.0  # the most that a silent socket can cost
EAGER_SECONDS = 0.02  # the history entry follows a success after a few milliseconds
EAGER_POLLS = 50
CANCEL_SECONDS = 0.25  # between interrupts, because one may get lost
READY_SECONDS = 0.25  # between requests to an engine that does not answer yet
SOCKET_SECONDS = 1.0  # a prompt waits this long for the socket, then it is submitted without

# A preview is 54 kB, so the engine makes none unless they are wanted. latent2rgb needs no model.
_PREVIEW_METHODS = {False: "none", True: "latent2rgb"}


@dataclass(slots=True)
class _Followed:
    """A prompt that was submitted and has not ended."""

    run: PromptRun
    on_event: Callable[[Event], None]
    watchdog: Watchdog
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # a reason to look at the history
    eager_polls: int = 0  # how many are left
    is_lost: bool = False  # its engine has ended


class ComfyEngine:
    """One ComfyUI with one socket. Any number of prompts may be followed at the same time."""

    def __init__(
        self,
        http: ComfyHttp,
        socket_url: str,
        keeper: Keeper,
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        self.http = http
        self.on_end: Callable[[], None] = lambda: None  # called when the engine has ended
        self.nodes = NodeClasses(http)
        self._keeper, self._patience = keeper, patience
        self._client_id = str(uuid.uuid4())
        self._followed: dict[str, _Followed] = {}  # by prompt id
        self._holders = 0  # how many blocks of `held` are open
        self._socket = ComfySocket(
            socket_url, self._client_id, on_frame=self._dispatch, on_open=self._socket_opened
        )
        keeper.on_end = self._lose_all

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, url: str, keeper: Keeper, patience: Patience = DEFAULT_PATIENCE
    ) -> AsyncIterator[ComfyEngine]:
        """The engine at `url` (http://…), with its socket kept open in the background."""
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, trust_env=False) as client:
            engine = cls(ComfyHttp(client), "ws" + url.removeprefix("http"), keeper, patience)
            async with background(engine._socket.read_for_ever()):
                yield engine

    # --- the engine as a whole ------------------------------------------------------------------

    async def wait_ready(self) -> None:
        """Return once the engine answers and may be given a prompt.

        Raises:
            EngineCrashLoop: the engine does not stay up.
        """
        while not self._keeper.admits(await self.wait_answer(), is_idle=self._holders == 0):
            await asyncio.sleep(READY_SECONDS)

    async def is_ready(self) -> bool:
        """Whether the engine answers. It is asked only if its socket is not connected."""
        if self._socket.is_open.is_set():
            return True
        with suppress(EngineUnreachable, EngineError):
            await self.http.queue()
            return True
        return False

    async def wait_answer(self) -> EngineQueue:
        """The engine's queue, as soon as the engine answers.

        Raises:
            EngineCrashLoop: the engine does not stay up.
        """
        watchdog = Watchdog(self._patience)
        while True:
            await self._keeper.wait_up()
            try:
                queue = await self.http.queue()
            except (EngineUnreachable, EngineError):
                if watchdog.is_start_overdue():
                    self._keeper.restart("never_ready")
                    watchdog = Watchdog(self._patience)
            else:
                self._keeper.answered()
                return queue
            await asyncio.sleep(READY_SECONDS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the engine from being recycled during the block: it or its files are in use."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1

    @property
    def running(self) -> int:
        """How many prompts have started and not ended; at most one, as ComfyUI works today."""
        runs = [followed.run for followed in self._followed.values()]
        return sum(run.started and run.outcome is None for run in runs)

    @property
    def end_reason(self) -> str:
        """Why the engine's process ended last: `ended`, or the reason of a restart."""
        return self._keeper.end_reason

    def restart(self, reason: str) -> None:
        """Restart the engine, because it is of no more use. The prompts in it are lost."""
        self._keeper.restart(reason)

    # --- one prompt -----------------------------------------------------------------------------

    async def run(
        self,
        graph: Graph,
        prompt_id: str,
        *,
        on_event: Callable[[Event], None],
        cancel: asyncio.Event,
        previews: bool = False,
        extra_pnginfo: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Run the graph to its end; how it ended. Setting `cancel` ends it early.

        ComfyUI writes `extra_pnginfo` into the pictures and hands it to nodes that ask for it.

        A cancel is repeated until the prompt has ended in one way or another. An engine that does
        not obey is restarted.

        Raises:
            PromptRejected: the graph is not valid here, and does not run.
            EngineUnreachable: the prompt could not be submitted.
            EngineError: the engine's answers are not ComfyUI's.
        """
        followed = _Followed(PromptRun(prompt_id, graph), on_event, Watchdog(self._patience))
        self._followed[prompt_id] = followed
        try:
            await self._submit(graph, prompt_id, _extra_data(previews, extra_pnginfo))
            return await self._follow(followed, cancel)
        finally:
            del self._followed[prompt_id]
            if followed.run.outcome is not None:
                self._keeper.count_prompt()

    async def forget(self, prompt_id: str) -> None:
        """Delete the prompt's history entry. An engine that is down has lost it anyway."""
        with suppress(EngineUnreachable, EngineError):
            await self.http.forget(prompt_id)

    async def _submit(self, graph: Graph, prompt_id: str, extra_data: Mapping[str, Any]) -> None:
        await first_of(self._socket.is_open.wait(), timeout=SOCKET_SECONDS)
        try:
            await self.http.submit(
                graph, prompt_id=prompt_id, client_id=self._client_id, extra_data=extra_data
            )
        except PromptRejected as rejected:
            if rejected.queued:
                await self.http.cancel(prompt_id)
            raise
        except EngineUnreachable:
            if not await self._is_known(prompt_id):
                raise

    async def _is_known(self, prompt_id: str) -> bool:
        """Whether the engine has the prompt. It moves from the queue to the history, so in that
        order both are asked.
        """
        queue = await self.http.queue()
        if prompt_id in queue.running | queue.pending:
            return True
        return await self.http.history(prompt_id) is not None

    async def _follow(self, followed: _Followed, cancel: asyncio.Event) -> Outcome:
        watchdog = followed.watchdog
        while True:
            await self._pause(followed, cancel)
            if cancel.is_set():
                watchdog.cancel_requested()
            try:
                outcome = await self._look(followed, canceled=cancel.is_set())
            except EngineUnreachable as error:
                outcome = None
                watchdog.unreachable(error)
            if outcome is None and (fault := watchdog.fault()) is not None:
                self._keeper.restart(fault)
                outcome = _outcome_without_trace(canceled=cancel.is_set())
            if outcome is not None:
                return outcome

    async def _pause(self, followed: _Followed, cancel: asyncio.Event) -> None:
        """Return when there is a reason to look at the engine, or when the next poll is due."""
        if followed.eager_polls > 0:
            followed.eager_polls -= 1
            await first_of(followed.wake.wait(), timeout=EAGER_SECONDS)
        elif cancel.is_set():
            await first_of(followed.wake.wait(), timeout=CANCEL_SECONDS)
        else:
            await first_of(followed.wake.wait(), cancel.wait(), timeout=POLL_SECONDS)
        followed.wake.clear()

    async def _look(self, followed: _Followed, *, canceled: bool) -> Outcome | None:
        run = followed.run
        if followed.is_lost:
            with suppress(EngineUnreachable, EngineError):
                await self.http.cancel(run.prompt_id)  # a foreign engine may still have the prompt
            return _outcome_without_trace(canceled=canceled)
        if canceled:
            await self.http.cancel(run.prompt_id)
        queue = await self.http.queue()
        self._note_queue(followed, queue)
        outcome = run.receive_history(await self.http.history(run.prompt_id))
        if outcome is None and run.prompt_id not in queue.running | queue.pending:
            return _outcome_without_trace(canceled=canceled)
        return outcome

    def _note_queue(self, followed: _Followed, queue: EngineQueue) -> None:
        self._keeper.answered()
        followed.watchdog.queue_answered(followed.run.prompt_id, queue)
        if followed.run.prompt_id in queue.running:
            # A muted socket sends no start, but the job's execution timeout must begin.
            for event in followed.run.start():
                followed.on_event(event)

    # --- what the socket and the keeper call ----------------------------------------------------

    def _dispatch(self, frame: str | bytes) -> None:
        for followed in self._followed.values():
            for event in followed.run.receive(frame):
                followed.watchdog.prompt_moved()
                followed.on_event(event)
                if isinstance(event, HistoryWanted):
                    followed.eager_polls = EAGER_POLLS
                    followed.wake.set()

    def _socket_opened(self) -> None:
        self.nodes.engine_started()
        self._wake_all()

    def _wake_all(self) -> None:
        # ComfyUI does not replay messages to a new socket, so a prompt's end may have been missed.
        for followed in self._followed.values():
            followed.wake.set()

    def _lose_all(self) -> None:
        for followed in self._followed.values():
            followed.is_lost = True
            followed.wake.set()
        self.on_end()


def _extra_data(previews: bool, extra_pnginfo: Mapping[str, Any] | None) -> dict[str, Any]:
    extra_data: dict[str, Any] = {"preview_method": _PREVIEW_METHODS[previews]}
    # ComfyUI's GET /api/jobs fails for as long as it knows a prompt with null here.
    return {**extra_data, "extra_pnginfo": dict(extra_pnginfo)} if extra_pnginfo else extra_data


def _outcome_without_trace(*, canceled: bool) -> Outcome:
    """The outcome of a prompt that is in neither queue nor history.

    A deleted prompt leaves no trace, and a restart leaves none either. Which of them it was follows
    from whether the prompt was canceled.
    """
    return PromptInterrupted() if canceled else PromptLost()
