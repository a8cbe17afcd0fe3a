"""Run prompts on one ComfyUI. Its socket is fast, its history is reliable.

A message on the socket is only a reason to read the engine's history and queue at once
(`Following`). They are also read once a second, so a lost message costs at most a second. Prompts
that this worker does not follow are removed (`UnfollowedPrompts`).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from gpu_worker.comfy.followed import Followed, FollowedPrompts
from gpu_worker.comfy.following import CANCEL_SECONDS, EAGER_POLLS, Following
from gpu_worker.comfy.http import (
    ComfyHttp,
    EngineError,
    EngineQueue,
    EngineUnreachable,
    Graph,
    PromptRejected,
    session_of,
)
from gpu_worker.comfy.keeper import ENDED, Keeper
from gpu_worker.comfy.node_classes import NodeClasses
from gpu_worker.comfy.outcomes import Outcome, PromptInterrupted
from gpu_worker.comfy.posting import Posting, extra_data_of
from gpu_worker.comfy.protocol import Event, PromptRun
from gpu_worker.comfy.senders import Senders
from gpu_worker.comfy.socket import ComfySocket
from gpu_worker.comfy.unfollowed import UnfollowedPrompts
from gpu_worker.comfy.watchdog import DEFAULT_PATIENCE, Patience, Watchdog
from gpu_worker.machine_faults import FaultKind
from gpu_worker.racing import background, first_of

READY_SECONDS = 0.25  # between requests to an engine that does not answer yet


class ComfyEngine:
    """One ComfyUI with one socket. Any number of prompts may be followed at the same time."""

    def __init__(
        self,
        http: ComfyHttp,
        socket_url: str,
        keeper: Keeper,
        patience: Patience = DEFAULT_PATIENCE,
        *,
        follows_queued: bool = False,
    ) -> None:
        """`follows_queued`: prompts that a node queues are run to their end as one with its own.

        Then the engine holds one prompt at a time, and the next one waits outside.
        """
        self.http = http
        # Called when the engine has ended; the argument says whether a prompt ran in it then.
        self.on_end: Callable[[bool], None] = lambda _had_prompt: None
        # A prompt was given up while it ran, and the process that ran it has not ended yet.
        self._gave_up_prompt = False
        self.nodes = NodeClasses(http)
        self._keeper, self._patience = keeper, patience
        self._client_id = str(uuid.uuid4())
        self._followed = FollowedPrompts()
        self._holders = 0  # how many blocks of `held` are open
        self._unfollowed = UnfollowedPrompts(
            http,
            keeper,
            self._followed,
            follows=follows_queued,
            patience_seconds=patience.disobedient,
        )
        self._alone = asyncio.Lock() if follows_queued else None
        self._socket = ComfySocket(
            socket_url, self._client_id, on_frame=self._dispatch, on_open=self._socket_opened
        )
        self._posting = Posting(self._client_id, http, self._socket, self._unfollowed, patience)
        keeper.on_end = self._lose_all

    @classmethod
    @asynccontextmanager
    async def connected(
        cls,
        url: str,
        keeper: Keeper,
        patience: Patience = DEFAULT_PATIENCE,
        *,
        follows_queued: bool = False,
    ) -> AsyncIterator[ComfyEngine]:
        """The engine at `url` (http://…), with its socket kept open in the background."""
        async with session_of(url) as session:
            http, socket_url = ComfyHttp(session), "ws" + url.removeprefix("http")
            engine = cls(http, socket_url, keeper, patience, follows_queued=follows_queued)
            async with background(engine._socket.read_for_ever()):
                yield engine

    # --- the engine as a whole ------------------------------------------------------------------

    async def wait_ready(self) -> None:
        """Return once the engine answers and may be given a prompt.

        Raises:
            EngineCrashLoop: the engine does not stay up.
        """
        while not await self._is_fit(await self.wait_answer()):
            await asyncio.sleep(READY_SECONDS)

    async def _is_fit(self, queue: EngineQueue) -> bool:
        is_idle = self._holders == 0
        if await self._unfollowed.were_in(queue):
            return False
        if self._unfollowed.left_traces and is_idle:
            self._unfollowed.restart_engine()
            return False
        return self._keeper.admits(queue, is_idle=is_idle)

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
        return self._followed.running

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
        strict: bool = False,
        before_post: Callable[[], Awaitable[None]] | None = None,
    ) -> Outcome:
        """Run the graph to its end, and return how it ended. Setting `cancel` ends it early.

        ComfyUI writes `extra_pnginfo` into the pictures and hands it to nodes that ask for it.

        A cancel is repeated until the prompt has ended in one way or another. An engine that does
        not obey is restarted. This returns only after the engine's queue was seen without prompts
        that nodes have queued, or the engine was restarted.

        `strict`: refuse a graph of which ComfyUI would leave out some outputs.
        `before_post`: awaited when no unfollowed prompt is left that may still write files.

        Raises:
            PromptRejected: the graph is not valid here, and does not run.
            EngineUnreachable: the prompt could not be submitted.
            EngineError: the engine's answers are not ComfyUI's.
        """
        senders = Senders(await self.nodes.get(), previews)
        async with self._turn(cancel) as has_turn:
            if not has_turn:
                return PromptInterrupted()
            run = PromptRun(prompt_id, graph, senders, adopts=self._alone is not None)
            followed = Followed(run, on_event, Watchdog(self._patience))
            extra_data = extra_data_of(prompt_id, previews, extra_pnginfo)
            await self._clear(cancel)
            if before_post is not None:
                await before_post()
            return await self._run(followed, graph, extra_data, cancel, strict=strict)

    async def forget(self, prompt_id: str) -> None:
        """Delete the prompt's history entry. An engine that is down has lost it anyway."""
        with suppress(EngineUnreachable, EngineError):
            await self.http.forget(prompt_id)

    @asynccontextmanager
    async def _turn(self, cancel: asyncio.Event) -> AsyncIterator[bool]:
        """Whether the prompt may be posted now, after a wait for others if it must run alone."""
        if self._alone is None:
            yield not cancel.is_set()
            return
        acquiring = asyncio.ensure_future(self._alone.acquire())
        try:
            await first_of(asyncio.wait({acquiring}), cancel.wait())
            yield acquiring.done() and not cancel.is_set()
        finally:
            if not acquiring.cancel():
                self._alone.release()

    async def _run(
        self,
        followed: Followed,
        graph: Graph,
        extra_data: Mapping[str, Any],
        cancel: asyncio.Event,
        *,
        strict: bool,
    ) -> Outcome:
        prompt_id = followed.run.prompt_id
        self._followed[prompt_id] = followed
        try:
            if not await self._posting.post(followed, graph, extra_data):
                return followed.pictures_lost
            if not (strict and followed.problems):
                return await self._following(followed, cancel).outcome()
        finally:
            del self._followed[prompt_id]
            if followed.run.outcome is not None:
                self._keeper.count_prompt()
            elif followed.run.started and not followed.is_lost:
                self._gave_up_prompt = True
        await self._clear(cancel)
        await self.forget(prompt_id)
        raise PromptRejected.of_outputs(followed.problems)

    async def _clear(self, cancel: asyncio.Event) -> None:
        """Return once the engine has no unfollowed prompt, or `cancel` is set."""
        while await self._unfollowed.were_in(await self.http.queue()):
            await first_of(cancel.wait(), timeout=CANCEL_SECONDS)
            if cancel.is_set():
                return

    def _following(self, followed: Followed, cancel: asyncio.Event) -> Following:
        return Following(
            followed,
            cancel,
            http=self.http,
            keeper=self._keeper,
            socket=self._socket,
            unfollowed=self._unfollowed,
            patience=self._patience,
        )

    # --- what the socket and the keeper call ----------------------------------------------------

    def _dispatch(self, frame: str | bytes) -> None:
        for followed in list(self._followed.values()):
            if followed.receive(frame):
                followed.eager_polls = EAGER_POLLS
                followed.wake.set()

    def _socket_opened(self) -> None:
        self.nodes.engine_started()
        self._followed.socket_opened()

    def _lose_all(self) -> None:
        if self._keeper.end_reason in (ENDED, FaultKind.OUT_OF_MEMORY):
            self._followed.note_culprit()
        had_prompt = self.running > 0 or self._gave_up_prompt
        self._gave_up_prompt = False
        self._followed.lose()
        self.on_end(had_prompt)
