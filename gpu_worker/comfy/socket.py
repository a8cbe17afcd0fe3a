"""ComfyUI's socket, read by a task that does nothing else, so that it never stalls the engine.

One reader that stops reading stops the delivery to every client. A second socket with the same
client id silences the first for ever. So there is one socket, and a new one is opened only after
the old one is closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

import websockets
from websockets.asyncio.client import ClientConnection, connect

PING_TIMEOUT_SECONDS = 120  # a node that holds the GIL delays the pong by this much at most
BACKOFF_SECONDS = (0.05, 0.2, 0.5, 1.0)  # a restart takes seconds; the last pause repeats
_HELLO = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})

_log = logging.getLogger(__name__)


class ComfySocket:
    """The only socket of a client id. Calls `on_frame` for each frame, `on_open` per connection."""

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
        self.is_open = asyncio.Event()  # set while connected
        self._connection: ClientConnection | None = None  # the last one

    def renew(self) -> None:
        """Cut the connection, so that a new one is made: the engine delivers nothing over it."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def read_for_ever(self) -> None:
        """Connect, read, and connect again; ends only when it is canceled."""
        failures = 0  # in a row
        while True:
            try:
                async with self._connect() as connection:
                    failures = 0
                    await self._read(connection)
            except (OSError, websockets.WebSocketException, TimeoutError) as error:
                # A ComfyUI that starts refuses many tries. Only the first is worth a line.
                level = logging.DEBUG if failures else logging.INFO
                extra = {"action": "socket_down", "why": repr(error)}
                _log.log(level, "engine socket down", extra=extra)
            self.is_open.clear()
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    def _connect(self) -> connect:
        # A frame may have any size: a text output of 6 MiB is one frame of 6 MiB.
        return connect(
            self._url, max_size=None, ping_timeout=PING_TIMEOUT_SECONDS, open_timeout=5, proxy=None
        )

    async def _read(self, connection: ClientConnection) -> None:
        self._connection = connection
        await connection.send(_HELLO)  # ComfyUI reads it only from the first text frame
        self.is_open.set()
        self._on_open()
        async for frame in connection:
            try:
                self._on_frame(frame)
            except Exception:  # noqa: BLE001 - one bad frame must not end the reading
                _log.exception("frame not read", extra={"action": "frame_not_read"})
