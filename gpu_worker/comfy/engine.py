"""Run prompts on one ComfyUI: the socket tells at once, the history tells the truth.

Completion is a race of both. The socket only ever says "look now"; a poll looks anyway, so a
muted socket, a reconnect or a lost message costs at most a second. An engine that answers but does
not move is given up (`Watchdog`), and whoever keeps it (`Keeper`) is asked to start it again.
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
from gpu_worker.comfy.protocol import Event, HistoryWanted, Interrupted, Lost, Outcome, PromptRun
from gpu_worker.comfy.socket import ComfySocket
from gpu_worker.comfy.watchdog import DEFAULT_LIMITS, Limits, Watchdog

POLL_SECONDS = 1.0  # the most that a silent socket can cost
EAGER_SECONDS = 0.02  # between success and the history entry lie a few milliseconds
EAGER_LOOKS = 50
CANCEL_SECONDS = 0.25  # an interrupt may get lost, so it is repeated
READY_SECONDS = 0.25  # between looks at an engine that does not answer yet
SOCKET_SECONDS = 1.0  # how long a prompt waits for the socket before it goes without

# Each is 54 kB, so there are none unless they are asked for. The cheap method needs no model.
_PREVIEW_METHODS = {False: "none", True: "latent2rgb"}


@dataclass(slots=True)
class _Following:
    run: PromptRun
    on_event: Callable[[Event], None]
    watchdog: Watchdog
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0  # how many eager looks at the history are left
    is_lost: bool = False  # its engine has ended


class ComfyEngine:
    """One ComfyUI with one socket; any number of prompts may be followed at once."""

    def __init__(
        self, http: ComfyHttp, socket_url: str, keeper: Keeper, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.http = http
        self._keeper, self._limits = keeper, limits
        self._client_id = str(uuid.uuid4())
        self._following: dict[str, _Following] = {}
        self._held = 0
        self._socket = ComfySocket(
            socket_url, self._client_id, on_frame=self._dispatch, on_open=self._wake_all
        )
        keeper.on_end = self._lose_all

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, url: str, keeper: Keeper, limits: Limits = DEFAULT_LIMITS
    ) -> AsyncIterator[ComfyEngine]:
        """The engine at `url` (http://…), its socket kept open in the background."""
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, trust_env=False) as client:
            engine = cls(ComfyHttp(client), "ws" + url.removeprefix("http"), keeper, limits)
            reader = asyncio.create_task(engine._socket.read_for_ever())
            try:
                yield engine
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def wait_ready(self) -> None:
        """Return once the engine answers and may be given a prompt.

        Raises:
            EngineCrashLoop: it will not stay up.
        """
        while not self._keeper.admits(await self.wait_answer(), is_idle=self._held == 0):
            await asyncio.sleep(READY_SECONDS)

    async def is_ready(self) -> bool:
        """It answers; asked only where its socket does not show it."""
        if self.is_up:
            return True
        with suppress(EngineUnreachable, EngineError):
            await self.http.queue()
            return True
        return False

    async def wait_answer(self) -> EngineQueue:
        """What is in its queue, as soon as it answers.

        Raises:
            EngineCrashLoop: it will not stay up.
        """
        watchdog = Watchdog(self._limits)
        while True:
            await self._keeper.wait_up()
            try:
                return await self.http.queue()
            except (EngineUnreachable, EngineError):
                if watchdog.is_start_overdue():
                    self._keeper.restart("never_ready")
                    watchdog = Watchdog(self._limits)
            await asyncio.sleep(READY_SECONDS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The engine is in use, its output files included: it is not recycled meanwhile."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    @property
    def holders(self) -> int:
        """How many hold it in use."""
        return self._held

    @property
    def is_up(self) -> bool:
        """It is connected."""
        return self._socket.is_open.is_set()

    @property
    def running(self) -> int:
        """How many prompts have started and not ended: one at most, or ComfyUI has changed."""
        runs = [following.run for following in self._following.values()]
        return sum(run.started and run.outcome is None for run in runs)

    def restart(self, why: str) -> None:
        """It is of no use any more: what it was given is lost."""
        self._keeper.restart(why)

    async def run(
        self,
        graph: Graph,
        prompt_id: str,
        *,
        on_event: Callable[[Event], None],
        cancel: asyncio.Event,
        previews: bool = False,
    ) -> Outcome:
        """Run the graph to its end and tell how it ended; `cancel` ends it early.

        A cancel is repeated until the prompt has ended, however it ends; an engine that does not
        obey is started again.

        Raises:
            PromptRejected: it is not valid here; it does not run.
            EngineUnreachable: it could not be submitted.
            EngineError: the engine answers nonsense.
        """
        following = _Following(PromptRun(prompt_id, graph), on_event, Watchdog(self._limits))
        self._following[prompt_id] = following
        try:
            await self._submit(graph, prompt_id, {"preview_method": _PREVIEW_METHODS[previews]})
            return await self._follow(following, cancel)
        finally:
            del self._following[prompt_id]
            if following.run.outcome is not None:
                self._keeper.count_prompt()

    async def forget(self, prompt_id: str) -> None:
        """Drop what the engine remembers of it; an engine out of reach has forgotten it anyway."""
        with suppress(EngineUnreachable, EngineError):
            await self.http.forget(prompt_id)

    async def _submit(self, graph: Graph, prompt_id: str, extra_data: Mapping[str, Any]) -> None:
        await _within(self._socket.is_open.wait(), SOCKET_SECONDS)
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
        """It is in the queue or in the history. In that order: it moves from one to the other."""
        queue = await self.http.queue()
        if prompt_id in queue.running | queue.pending:
            return True
        return await self.http.history(prompt_id) is not None

    async def _follow(self, following: _Following, cancel: asyncio.Event) -> Outcome:
        watchdog = following.watchdog
        while True:
            await self._pause(following, cancel)
            if cancel.is_set():
                watchdog.cancel_asked()
            try:
                outcome = await self._look(following, canceled=cancel.is_set())
            except EngineUnreachable as error:
                outcome = None
                watchdog.unreachable(error)
            if outcome is None and (fault := watchdog.fault()) is not None:
                self._keeper.restart(fault)
                outcome = self._vanished(cancel.is_set())
            if outcome is not None:
                return outcome

    async def _pause(self, following: _Following, cancel: asyncio.Event) -> None:
        """Until there is a reason to look, or it is time to look anyway."""
        if following.looks > 0:
            following.looks -= 1
            return await asyncio.sleep(EAGER_SECONDS)
        if cancel.is_set():
            await _within(following.wake.wait(), CANCEL_SECONDS)
        else:
            await _first_of(following.wake.wait(), cancel.wait(), timeout=POLL_SECONDS)
        following.wake.clear()
        return None

    async def _look(self, following: _Following, *, canceled: bool) -> Outcome | None:
        run = following.run
        if following.is_lost:
            with suppress(EngineUnreachable, EngineError):
                await self.http.cancel(run.prompt_id)  # a foreign engine may still have it
            return self._vanished(canceled)
        if canceled:
            await self.http.cancel(run.prompt_id)
        queue = await self.http.queue()
        self._heed(following, queue)
        outcome = run.receive_history(await self.http.history(run.prompt_id))
        if outcome is None and run.prompt_id not in queue.running | queue.pending:
            return self._vanished(canceled)
        return outcome

    def _heed(self, following: _Following, queue: EngineQueue) -> None:
        following.watchdog.answered(following.run.prompt_id, queue)
        if following.run.prompt_id in queue.running:
            # A muted socket tells of no start, but the job's time runs.
            for event in following.run.seen_running():
                following.on_event(event)

    def _vanished(self, canceled: bool) -> Outcome:
        # A deleted prompt leaves no trace, and neither does a restart: we know what we asked.
        return Interrupted() if canceled else Lost()

    def _dispatch(self, frame: str | bytes) -> None:
        for following in self._following.values():
            for event in following.run.receive(frame):
                following.watchdog.heard()
                following.on_event(event)
                if isinstance(event, HistoryWanted):
                    following.looks = EAGER_LOOKS
                    following.wake.set()

    def _wake_all(self) -> None:
        # Nothing is replayed to a new socket: what was missed is in the history.
        for following in self._following.values():
            following.wake.set()

    def _lose_all(self) -> None:
        for following in self._following.values():
            following.is_lost = True
            following.wake.set()


async def _within(waiting: Any, seconds: float) -> None:
    await _first_of(waiting, timeout=seconds)


async def _first_of(*waiting: Any, timeout: float) -> None:
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
