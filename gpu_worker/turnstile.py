"""Admit prompts to the engine so that each new file is known to be of one prompt.

While only one prompt is in the engine, every new file in ComfyUI's folders is its own. A second
prompt may wait in the engine only if both report all files that they write:

    in the engine              the next prompt
    ------------------------   ---------------------------------------------------------
    nothing                    enters
    one, whose files are       waits: they must be out of the engine's reach first
      being taken away
    one that waits or runs     enters if both are of one owner, and of one user of it, and tidy
    two                        waits

A prompt is tidy if all its nodes choose names that are not used yet, and report each file that they
write (`gpu_worker.comfy.tidy`). Its files can be taken by their names while the next prompt runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from comfyline.contract.ids import Principal


@dataclass(eq=False, slots=True)
class Visit:
    """One prompt's stay in the engine, from its admission until its files are taken away."""

    principal: Principal  # in whose name the prompt's job was made
    is_tidy: bool
    was_shared: bool = False  # another prompt was in the engine at some time of this visit
    is_leaving: bool = False  # its prompt has ended, and its files are being taken away


def may_enter(visit: Visit, inside: Sequence[Visit]) -> bool:
    """Whether a prompt may be given to the engine while those others are in it."""
    match inside:
        case []:
            return True
        case [other]:
            is_same_caller = visit.principal == other.principal
            return not other.is_leaving and is_same_caller and visit.is_tidy and other.is_tidy
        case _:
            return False


class Turnstile:
    """Admits prompts to one engine, in the order in which they came."""

    def __init__(self) -> None:
        self._inside: list[Visit] = []
        self._entering = asyncio.Lock()  # held by the first of those that wait; it is fair
        self._leaving = asyncio.Lock()  # held by the prompt while its files are taken away
        self._changed = asyncio.Event()

    async def enter(self, visit: Visit) -> bool:
        """Return True once the prompt may be given to the engine. Then `leaving` must follow."""
        async with self._entering:
            while not may_enter(visit, self._inside):
                self._changed.clear()
                await self._changed.wait()
            for other in self._inside:
                other.was_shared = visit.was_shared = True
            self._inside.append(visit)
        return True

    @asynccontextmanager
    async def leaving(self, visit: Visit) -> AsyncIterator[bool]:
        """The prompt has ended; in this block its files are taken away, and no other enters.

        Yields whether no other prompt is in the engine: then files that are left are of no prompt.
        """
        visit.is_leaving = True
        try:
            async with self._leaving:
                yield self._inside == [visit]
        finally:
            self._inside.remove(visit)
            self._changed.set()
