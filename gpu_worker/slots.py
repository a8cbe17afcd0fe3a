"""How many jobs one worker may hold, and where they are.

    ahead ──> running ──> finishing          at most three in all, at most two in the engine

One prompt waits in the engine behind the running one, so the GPU never waits for us; no more is
taken from other workers. Where finishing is slower than the GPU, claiming stops.
"""

from __future__ import annotations

import asyncio

IN_ENGINE = 2
IN_ALL = 3


class Slots:
    """Counts jobs. A slot is taken before a ticket is, left with the GPU, and freed at the end."""

    def __init__(self) -> None:
        self.idle = asyncio.Event()  # nothing is in the engine or on its way there
        self.idle.set()
        self.taken = asyncio.Event()  # the worker holds at least one job
        self._in_engine = 0
        self._in_all = 0
        self._changed = asyncio.Event()

    async def room(self) -> None:
        """Return once another job may be claimed."""
        while self._in_engine >= IN_ENGINE or self._in_all >= IN_ALL:
            self._changed.clear()
            await self._changed.wait()

    def enter(self) -> Slot:
        """A job was claimed."""
        self._move(engine=1, all_=1)
        return Slot(self)

    def _move(self, *, engine: int, all_: int) -> None:
        self._in_engine += engine
        self._in_all += all_
        if self._in_engine:
            self.idle.clear()
        else:
            self.idle.set()
        if self._in_all:
            self.taken.set()
        else:
            self.taken.clear()
        self._changed.set()


class Slot:
    """One job's place."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._is_in_engine = True

    def leave_engine(self) -> None:
        """The GPU is done with it; again is fine."""
        if self._is_in_engine:
            self._is_in_engine = False
            self._slots._move(engine=-1, all_=0)

    def free(self) -> None:
        """The job is no longer ours. Once."""
        self.leave_engine()
        self._slots._move(engine=0, all_=-1)
