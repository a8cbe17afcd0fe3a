"""$disconnect of the WebSocket API. The gateway may skip the call, so nothing depends on it."""

from __future__ import annotations

from functions._handlers import Event
from functions._socket import connection_id, socket_handler
from functions._wiring import Wiring


@socket_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Remove the connection."""
    wiring.aws.connections.close(connection_id(event))
