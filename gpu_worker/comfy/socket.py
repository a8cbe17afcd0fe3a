"""ComfyUI's socket: read by a task that does nothing else, so that it never stalls the engine.

(One reader that stops stops the delivery to all; a second socket of the same client id silences
the first for ever. So there is one socket, and a new one is opened only when the old is closed.)
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

import websockets
from websockets.asyncio.client import ClientConnection, connect

PING_TIMEOUT_SECONDS = 120  # a node that holds the interpreter's lock delays the pong, not more
BACKOFF_SECONDS = (0.05, 0.2, 0.5, 1.0)  # a restarting engine takes seconds; the last one repeats
_HELLO = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})

_log = logging.getLogger(__name__)


class ComfySocket:
    """The one socket of a client id; frames go to `on_frame`, each (re)connection to `on_open`."""

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        on_frame: Callable[[str | bytes], None],
        on_open: Callable[[], None],
    ) -> None:
        self._url = f"{url}/ws?clientId={client_id}"
        self._on_frame, self._on_open = on_frame, on_open
        self.is_open = asyncio.Event()

    async def read_for_ever(self) -> None:
        """Connect, read, reconnect; ends only by cancellation."""
        failures = 0
        while True:
            try:
                async with self._connect() as connection:
                    failures = 0
                    await self._read(connection)
            except (OSError, websockets.WebSocketException, TimeoutError) as error:
                # A ComfyUI that starts is away for many tries: one line tells it.
                level = logging.DEBUG if failures else logging.INFO
                extra = {"action": "socket_down", "why": repr(error)}
                _log.log(level, "engine socket down", extra=extra)
            self.is_open.clear()
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    def _connect(self) -> connect:
        # Frames have any size: a text output of 6 MiB is one frame of 6 MiB.
        return connect(
            self._url, max_size=None, ping_timeout=PING_TIMEOUT_SECONDS, open_timeout=5, proxy=None
        )

    async def _read(self, connection: ClientConnection) -> None:
        await connection.send(_HELLO)  # must be the first text frame
        self.is_open.set()
        self._on_open()
        async for frame in connection:
            self._on_frame(frame)
