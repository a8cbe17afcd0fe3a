"""Post one prompt to the engine, when its socket is connected or the prompt can do without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpu_worker.comfy.followed import Followed
from gpu_worker.comfy.http import ComfyHttp, EngineGone, EngineUnreachable, Graph
from gpu_worker.comfy.marks import mark
from gpu_worker.comfy.socket import ComfySocket
from gpu_worker.comfy.unfollowed import UnfollowedPrompts
from gpu_worker.comfy.watchdog import Patience
from gpu_worker.racing import first_of

# A preview is 54 kB, so the engine makes none unless they are wanted. latent2rgb needs no model.
_PREVIEW_METHODS = {False: "none", True: "latent2rgb"}


@dataclass(frozen=True, slots=True)
class Posting:
    """How a worker posts prompts. The socket of `client_id` receives their messages."""

    client_id: str
    http: ComfyHttp
    socket: ComfySocket
    unfollowed: UnfollowedPrompts
    patience: Patience

    async def post(self, followed: Followed, graph: Graph, extra_data: Mapping[str, Any]) -> bool:
        """Post the prompt, and note which of its outputs the engine leaves out.

        False: it depends on the socket, which does not connect, so it was not posted.

        Raises:
            PromptRejected: the graph is not valid here, and does not run.
            EngineUnreachable: the engine does not have the prompt.
            EngineError: the engine's answers are not ComfyUI's.
        """
        if not await self._may_post(followed):
            return False
        prompt_id = followed.run.prompt_id
        self.unfollowed.posted(prompt_id)
        followed.is_posted = True
        try:
            followed.problems = await self.http.submit(
                graph, prompt_id=prompt_id, client_id=self.client_id, extra_data=extra_data
            )
        except EngineGone:
            raise
        except EngineUnreachable:
            if not await self._may_be_known(prompt_id):
                raise
        return True

    async def _may_post(self, followed: Followed) -> bool:
        """Whether the socket is connected, or the prompt does not depend on it."""
        is_needed = followed.depends_on_socket
        timeout = self.patience.pictures if is_needed else self.patience.socket
        await first_of(self.socket.is_open.wait(), timeout=timeout)
        followed.has_gap = not self.socket.is_open.is_set()
        return not (is_needed and followed.has_gap)

    async def _may_be_known(self, prompt_id: str) -> bool:
        """Whether the engine has the prompt, or may have had it when it ended.

        A prompt moves from the queue to the history, so in that order both are asked.
        """
        try:
            if prompt_id in (await self.http.queue()).all:
                return True
            return await self.http.history(prompt_id) is not None
        except EngineUnreachable:
            return True


def extra_data_of(
    prompt_id: str, previews: bool, extra_pnginfo: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a prompt carries besides its graph."""
    extra_data: dict[str, Any] = {"preview_method": _PREVIEW_METHODS[previews], **mark(prompt_id)}
    # ComfyUI's GET /api/jobs fails for as long as it knows a prompt with null here.
    return {**extra_data, "extra_pnginfo": dict(extra_pnginfo)} if extra_pnginfo else extra_data
