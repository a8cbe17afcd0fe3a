"""Long polls of the emulator's queues that end when a message comes, as on AWS.

The emulator looks into a queue every 100 ms while a poll waits, so a ticket would reach an idle
worker up to 100 ms late. It calls an event whenever a message has become visible; here that event
also ends the pause between two looks.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Event
from types import SimpleNamespace
from typing import Any


def hasten(queues: Any) -> None:
    """Let the polls of `ministack.services.sqs` wait for its own event of a new message."""
    looks = _Looks(queues.esm_wake)
    queues.esm_wake = looks
    queues.asyncio = SimpleNamespace(**vars(asyncio) | {"sleep": looks.pause})


class _Looks:
    """Takes the place of the emulator's event, and passes on what that is told."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._pauses = set[asyncio.Future[None]]()

    def set(self) -> None:
        """A message has become visible in some queue. Any thread may call this."""
        self._event.set()
        for pause in tuple(self._pauses):
            with suppress(RuntimeError):  # the loop has just been closed
                pause.get_loop().call_soon_threadsafe(_end, pause)

    async def pause(self, seconds: float) -> None:
        """Sleep until then, or until a message has become visible."""
        pause = asyncio.get_running_loop().create_future()
        self._pauses.add(pause)
        try:
            await asyncio.wait({pause}, timeout=seconds)
        finally:
            self._pauses.discard(pause)


def _end(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
