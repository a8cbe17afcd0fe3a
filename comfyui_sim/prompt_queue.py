"""Pending, running and finished prompts: ComfyUI's heap and history."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

HISTORY_LIMIT = 10_000
SENSITIVE = ("auth_token_comfy_org", "api_key_comfy_org")  # never shown in queue or history


@dataclass(order=True, slots=True)
class QueueItem:
    """A prompt in the heap. The lowest number is first; ties are ordered by prompt id."""

    number: float
    prompt_id: str
    serial: int
    prompt: dict[str, Any] = field(compare=False)
    extra_data: dict[str, Any] = field(compare=False)
    outputs: list[str] = field(compare=False)

    def listing(self) -> list[Any]:
        """The list of five parts by which `/queue` and `/history` show a prompt."""
        shown = {key: value for key, value in self.extra_data.items() if key not in SENSITIVE}
        return [self.number, self.prompt_id, self.prompt, shown, self.outputs]


class PromptQueue:
    """The queue and the history. It calls `changed` whenever a `status` message is due."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._heap: list[QueueItem] = []
        self._running: list[QueueItem] = []
        self._history: dict[str, dict[str, Any]] = {}
        self._serials = itertools.count()
        self._numbers = itertools.count()
        self._has_pending = asyncio.Event()
        self._changed = changed

    @property
    def running(self) -> list[QueueItem]:
        """The prompts that the executor has taken: none or one."""
        return list(self._running)

    @property
    def pending(self) -> list[QueueItem]:
        """The pending prompts in the order of the heap, which is not sorted."""
        return list(self._heap)

    @property
    def remaining(self) -> int:
        """`queue_remaining`: the number of running and pending prompts together."""
        return len(self._running) + len(self._heap)

    def next_number(self, *, front: bool = False) -> int:
        """The place of a new prompt: behind all that are pending, or ahead of them.

        As in ComfyUI, the first prompt cannot be put ahead, because its number is 0.
        """
        number = next(self._numbers)
        return -number if front else number

    def put(
        self,
        number: float,
        prompt_id: str,
        prompt: dict[str, Any],
        extra_data: dict[str, Any],
        outputs: list[str],
    ) -> None:
        """Add a prompt. Its id may be in use already."""
        item = QueueItem(number, prompt_id, next(self._serials), prompt, extra_data, outputs)
        heapq.heappush(self._heap, item)
        self._has_pending.set()
        self._changed()

    async def wait_pending(self) -> None:
        """Wait until a prompt is pending."""
        await self._has_pending.wait()

    def take(self) -> QueueItem | None:
        """Move the first pending prompt to running; None if none is pending any more."""
        if not self._heap:
            return None
        item = heapq.heappop(self._heap)
        self._running.append(item)
        self._settle()
        return item

    def finish(self, item: QueueItem, result: dict[str, Any]) -> None:
        """Write the history entry of a prompt that has run."""
        self._running.remove(item)
        while len(self._history) >= HISTORY_LIMIT:
            self._history.pop(next(iter(self._history)))
        self._history[item.prompt_id] = {"prompt": item.listing(), **result}
        self._changed()

    def delete(self, prompt_id: str) -> bool:
        """Remove a pending prompt without a history entry; False if it is not pending."""
        for item in self._heap:
            if item.prompt_id == prompt_id:
                self._heap.remove(item)
                heapq.heapify(self._heap)
                self._settle()
                return True
        return False

    def clear(self) -> None:
        """Remove all pending prompts."""
        self._heap.clear()
        self._settle()

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, Any]:
        """The last `max_items` entries, in the order in which they were written."""
        ids = list(self._history)
        if max_items is not None:
            start = len(ids) - max_items if offset < 0 else offset
            ids = ids[max(start, 0) :][:max_items]
        return {prompt_id: self._history[prompt_id] for prompt_id in ids}

    def history_of(self, prompt_id: str) -> dict[str, Any] | None:
        """One entry, or None."""
        return self._history.get(prompt_id)

    def forget(self, prompt_id: str) -> None:
        """Delete one history entry, but not its files."""
        self._history.pop(prompt_id, None)

    def forget_all(self) -> None:
        """Delete the history, but no files."""
        self._history.clear()

    def _settle(self) -> None:
        if not self._heap:
            self._has_pending.clear()
        self._changed()


def queue_status(queue: PromptQueue) -> dict[str, Any]:
    """The data of a `status` message."""
    return {"status": {"exec_info": {"queue_remaining": queue.remaining}}}
