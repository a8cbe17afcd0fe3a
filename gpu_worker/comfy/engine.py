"""Run prompts on one ComfyUI: the socket tells at once, the history tells the truth.

Completion is a race of both. The socket only ever says "look now"; a poll looks anyway, so a
muted socket, a reconnect or a lost message costs at most a second.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from gpu_worker.comfy.http import TIMEOUT, ComfyHttp, EngineUnreachable, Graph, PromptRejected
from gpu_worker.comfy.protocol import Event, HistoryWanted, Interrupted, Lost, Outcome, PromptRun
from gpu_worker.comfy.socket import ComfySocket

POLL_SECONDS = 1.0  # the most that a silent socket can cost
EAGER_SECONDS = 0.02  # between success and the history entry lie a few milliseconds
EAGER_LOOKS = 50
CANCEL_SECONDS = 0.25  # an interrupt may get lost, so it is repeated
GONE_SECONDS = 10.0  # an engine that does not answer for so long has lost its queue
SOCKET_SECONDS = 1.0  # how long a prompt waits for the socket before it goes without

# Nobody sees previews yet, and each is 54 kB.
_EXTRA_DATA: Mapping[str, Any] = {"preview_method": "none"}


@dataclass(slots=True)
class _Following:
    run: PromptRun
    on_event: Callable[[Event], None]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0  # how many eager looks at the history are left


class ComfyEngine:
    """One ComfyUI with one socket; any number of prompts may be followed at once."""

    def __init__(self, http: ComfyHttp, socket_url: str) -> None:
        self.http = http
        self._client_id = str(uuid.uuid4())
        self._following: dict[str, _Following] = {}
        self._socket = ComfySocket(
            socket_url, self._client_id, on_frame=self._dispatch, on_open=self._wake_all
        )

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str) -> AsyncIterator[ComfyEngine]:
        """The engine at `url` (http://…), its socket kept open in the background."""
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, trust_env=False) as client:
            engine = cls(ComfyHttp(client), "ws" + url.removeprefix("http"))
            reader = asyncio.create_task(engine._socket.read_for_ever())
            try:
                yield engine
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def wait_ready(self) -> None:
        """Return once the engine answers."""
        while True:
            try:
                await self.http.is_queued("")
            except EngineUnreachable:
                await asyncio.sleep(CANCEL_SECONDS)
            else:
                return

    async def run(
        self,
        graph: Graph,
        prompt_id: str,
        *,
        on_event: Callable[[Event], None],
        cancel: asyncio.Event,
    ) -> Outcome:
        """Run the graph to its end and tell how it ended; `cancel` ends it early.

        A cancel is repeated until the prompt has ended, however it ends.

        Raises:
            PromptRejected: it is not valid here; it does not run.
            EngineUnreachable: it could not be submitted.
            EngineError: the engine answers nonsense.
        """
        following = _Following(PromptRun(prompt_id, graph), on_event)
        self._following[prompt_id] = following
        try:
            await self._submit(graph, prompt_id)
            return await self._follow(following, cancel)
        finally:
            del self._following[prompt_id]

    async def _submit(self, graph: Graph, prompt_id: str) -> None:
        await _within(self._socket.is_open.wait(), SOCKET_SECONDS)
        try:
            await self.http.submit(
                graph, prompt_id=prompt_id, client_id=self._client_id, extra_data=_EXTRA_DATA
            )
        except PromptRejected:
            # Where another output was valid, the rest of it has been queued.
            await self.http.cancel(prompt_id)
            raise
        except EngineUnreachable:
            if not await self._is_known(prompt_id):
                raise

    async def _is_known(self, prompt_id: str) -> bool:
        """It is in the queue or in the history. In that order: it moves from one to the other."""
        return (
            await self.http.is_queued(prompt_id) or await self.http.history(prompt_id) is not None
        )

    async def _follow(self, following: _Following, cancel: asyncio.Event) -> Outcome:
        answered_at = time.monotonic()
        while True:
            await self._pause(following, cancel)
            try:
                outcome = await self._look(following.run, canceled=cancel.is_set())
            except EngineUnreachable:
                if time.monotonic() - answered_at > GONE_SECONDS:
                    return Lost()
                continue
            answered_at = time.monotonic()
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

    async def _look(self, run: PromptRun, *, canceled: bool) -> Outcome | None:
        if canceled:
            await self.http.cancel(run.prompt_id)
        queued = await self.http.is_queued(run.prompt_id)
        outcome = run.receive_history(await self.http.history(run.prompt_id))
        if outcome is None and not queued:
            # A deleted prompt leaves no trace, and neither does a restart: we know what we asked.
            return Interrupted() if canceled else Lost()
        return outcome

    def _dispatch(self, frame: str | bytes) -> None:
        for following in self._following.values():
            for event in following.run.receive(frame):
                following.on_event(event)
                if isinstance(event, HistoryWanted):
                    following.looks = EAGER_LOOKS
                    following.wake.set()

    def _wake_all(self) -> None:
        # Nothing is replayed to a new socket: what was missed is in the history.
        for following in self._following.values():
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
