"""Prompts in the engine that this worker does not follow. They are removed.

A node may queue prompts by itself: VHS_BatchManager runs a graph in rounds, each ahead of all other
prompts. No client waits for such a prompt, no owner is charged for it, and no timeout ends it.
Prompts that this worker has posted and given up, for instance with a lost lease, are removed too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from gpu_worker.comfy.followed import Followed
from gpu_worker.comfy.http import ComfyHttp, EngineError, EngineQueue, EngineUnreachable
from gpu_worker.comfy.keeper import Keeper

RESTART_REASON = "unfollowed_prompts"
_REMEMBERED = 1000  # ids of posted prompts; older ones have left the engine long ago

_log = logging.getLogger(__name__)


class UnfollowedPrompts:
    """Finds and removes prompts that are not followed."""

    def __init__(
        self,
        http: ComfyHttp,
        keeper: Keeper,
        followed: Mapping[str, Followed],
        *,
        follows: bool,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`followed` has the prompts that are followed now, by id.

        `follows`: a prompt that a node of such a prompt has queued becomes a round of it.
        `patience_seconds`: if the engine still has unfollowed prompts after it, it is restarted.
        """
        self.are_adopted = follows
        self.left_traces = False  # some were of unknown origin, so more may come
        self._http, self._keeper, self._followed = http, keeper, followed
        self._patience_seconds, self._clock = patience_seconds, clock
        self._posted: dict[str, None] = {}  # by this worker, in the order of the posts
        self._since: float | None = None  # when they were first seen; None: there are none

    @property
    def are_present(self) -> bool:
        """Whether some were seen and may still be there."""
        return self._since is not None

    def posted(self, prompt_id: str) -> None:
        """Note that this worker is about to post the prompt."""
        self._posted[prompt_id] = None
        if len(self._posted) > _REMEMBERED:
            del self._posted[next(iter(self._posted))]

    async def were_in(self, queue: EngineQueue) -> bool:
        """Whether the queue has unfollowed prompts, which this asks ComfyUI to remove.

        Repeat the call until they are gone. Rounds that are to be followed are adopted instead.
        """
        found = self.found_in(queue)
        if not found:
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock()
            extra = {"action": "unfollowed_prompts", "count": len(found)}
            _log.warning("unfollowed prompts", extra=extra)
        if self._clock() - self._since > self._patience_seconds:
            self.restart_engine()
        else:
            with suppress(EngineUnreachable, EngineError):
                await self._http.remove(self.found_in, queue)
        return True

    def found_in(self, queue: EngineQueue) -> Sequence[str]:
        """The unfollowed prompts in the queue. Rounds that are to be followed are adopted."""
        return [each for each in self._unknown(queue) if not self._adopts(each, queue)]

    def restart_engine(self) -> None:
        """Restart the engine, because more of them may come, or they cannot be removed."""
        self._since, self.left_traces = None, False
        self._keeper.restart(RESTART_REASON)

    def _unknown(self, queue: EngineQueue) -> list[str]:
        """The prompts to remove: all that are not followed, but not those of another worker."""
        followed = frozenset[str]().union(*(each.run.ids for each in self._followed.values()))
        unknown = sorted(queue.all - followed, key=str)
        return [each for each in unknown if not self._is_another_workers(each, queue)]

    def _is_another_workers(self, prompt_id: str, queue: EngineQueue) -> bool:
        is_marked = queue.origins.get(prompt_id) == prompt_id
        return self._keeper.has_other_workers and is_marked and prompt_id not in self._posted

    def _adopts(self, prompt_id: str, queue: EngineQueue) -> bool:
        culprit = self._culprit(prompt_id, queue.origins.get(prompt_id))
        if culprit is None:
            self.left_traces = self.left_traces or prompt_id not in self._posted
        elif self.are_adopted:
            culprit.run.adopt(prompt_id)
            return True
        else:
            culprit.has_queued = True
        return False

    def _culprit(self, prompt_id: str, origin: str | None) -> Followed | None:
        """The prompt of which a node has queued this one.

        Without a mark it is the one that runs, if only its nodes can reach the engine.
        """
        if origin is not None or self._keeper.is_foreign or prompt_id in self._posted:
            return self._followed.get(origin or "")
        return next((each for each in self._followed.values() if each.run.started), None)
