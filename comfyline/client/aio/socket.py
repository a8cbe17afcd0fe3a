"""One connection of the live socket."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect

from comfyline.client.incoming import errors_as_lost, job_message, until_lost
from comfyline.client.pace import Pace
from comfyline.client.primitives import receive_async
from comfyline.contract.v1.socket import JobMessage


class AsyncLiveSocket:
    """An open connection; silence is counted from `quiet_since` on."""

    def __init__(self, connection: ClientConnection, pace: Pace) -> None:
        self._connection = connection
        self._ping_seconds = pace.ping_seconds
        self._pinged_at = time.monotonic()
        self.quiet_since = self._pinged_at

    async def subscribe(self, job_id: str, after: int | None) -> None:
        """Ask for the job's messages; `after` is the last version that the client has.

        Raises:
            SocketLost: the connection has broken.
        """
        since = {} if after is None else {"after": after}
        await self._send({"action": "subscribe", "job_id": job_id, **since})

    async def next_message(self, patience: float) -> JobMessage | None:
        """The next message of a job; None if there is none within about `patience` seconds.

        Raises:
            SocketLost: the connection has broken, or the service cannot serve it for now.
            SubscriptionRefused: the service will not serve a subscription.
        """
        until_ping = self._pinged_at + self._ping_seconds - time.monotonic()
        if until_ping <= 0:
            await self._send({"action": "ping"})
            self._pinged_at = time.monotonic()
            return None
        with errors_as_lost():
            raw = await receive_async(self._connection, max(0.0, min(patience, until_ping)))
        if raw is None:
            return None
        self.quiet_since = time.monotonic()
        return job_message(raw)

    async def _send(self, message: dict[str, str | int]) -> None:
        with errors_as_lost():
            await self._connection.send(json.dumps(message))


@asynccontextmanager
async def live_socket(
    url: str, api_key: str, pace: Pace, seconds: float
) -> AsyncIterator[AsyncLiveSocket | None]:
    """Open a socket within so many seconds, and close it at the end; None if that fails."""
    socket = None
    async with AsyncExitStack() as stack:
        with until_lost(), errors_as_lost():
            connecting = connect(
                url,
                additional_headers={"Authorization": f"Bearer {api_key}"},
                open_timeout=min(pace.open_seconds, seconds),
                close_timeout=pace.close_seconds,
                ping_interval=None,  # `next_message` pings, and silence finds a dead connection
            )
            socket = AsyncLiveSocket(await stack.enter_async_context(connecting), pace)
        yield socket
