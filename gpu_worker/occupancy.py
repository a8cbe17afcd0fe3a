"""How many jobs one worker holds, and where they are.

    ahead ──> running ──> finishing          at most three in all, at most two in the engine

One job waits behind the running one, so that the GPU waits for no claim and no inputs. Its prompt
is in the engine, or waits at the turnstile until it may be. More are not claimed, because other
workers may be idle. If storing files takes longer than the GPU needs, the worker stops claiming.

The first job of an idle worker goes first: the next one is looked for when its prompt is given to
the engine, because the GPU waits for it, and the calls of both would share the CPU. In a backlog
nothing waits, so that short jobs are claimed side by side.
"""

from __future__ import annotations

import asyncio

from gpu_worker.racing import first_of

IN_ENGINE = 2
IN_ALL = 3
# From the ticket to the prompt's post it takes 20 to 50 ms. A job whose inputs take longer does not
# keep the worker from looking for another one.
ON_ITS_WAY_SECONDS = 0.25


class Occupancy:
    """Counts this worker's jobs. A place is taken with a ticket, and freed when the job ends."""

    def __init__(self, on_its_way_seconds: float = ON_ITS_WAY_SECONDS) -> None:
        self._on_its_way_seconds = on_its_way_seconds
        self._first: Place | None = None  # of the latest job that came while the worker was idle
        self._first_entered = asyncio.Event()  # set if its prompt was given to the engine
        self._first_entered.set()
        self.idle = asyncio.Event()  # set while no job is in the engine or on its way there
        self.idle.set()
        self.occupied = asyncio.Event()  # set while the worker holds at least one job
        self._in_engine = 0
        self._in_all = 0
        self._changed = asyncio.Event()  # wakes `room` after each change

    @property
    def held(self) -> int:
        """The jobs that the worker holds."""
        return self._in_all

    async def room(self) -> None:
        """Return once another job may be claimed, and it should not wait for the one before."""
        while self._in_engine >= IN_ENGINE or self._in_all >= IN_ALL:
            self._changed.clear()
            await self._changed.wait()
        if not self._first_entered.is_set():
            await first_of(self._first_entered.wait(), timeout=self._on_its_way_seconds)

    def enter(self) -> Place:
        """Take a place for a job that is about to be claimed."""
        place = Place(self)
        if self.idle.is_set():
            self._first = place
            self._first_entered.clear()
        self._change(in_engine=1, in_all=1)
        return place

    def _entered(self, place: Place) -> None:
        if place is self._first:
            self._first_entered.set()

    def _change(self, *, in_engine: int, in_all: int) -> None:
        self._in_engine += in_engine
        self._in_all += in_all
        _set(self.idle, self._in_engine == 0)
        _set(self.occupied, self._in_all > 0)
        self._changed.set()


class Place:
    """The place of one job."""

    def __init__(self, occupancy: Occupancy) -> None:
        self._occupancy = occupancy
        self._is_in_engine = True

    def enter_engine(self) -> None:
        """The job's prompt is given to the engine now."""
        self._occupancy._entered(self)

    def leave_engine(self) -> None:
        """The GPU has finished with the job. Further calls change nothing."""
        if self._is_in_engine:
            self.enter_engine()
            self._is_in_engine = False
            self._occupancy._change(in_engine=-1, in_all=0)

    def free(self) -> None:
        """The worker no longer holds the job. Must be called exactly once."""
        self.leave_engine()
        self._occupancy._change(in_engine=0, in_all=-1)


def _set(event: asyncio.Event, is_set: bool) -> None:
    if is_set:
        event.set()
    else:
        event.clear()
