"""$disconnect of the WebSocket API. The gateway may skip the call, so nothing depends on it."""

from __future__ import annotations

from functions._handlers import Event, at_start
from functions._socket import connection_id, socket_handler
from functions._wiring import Wiring

at_start(lambda wiring: wiring.aws.connections)


@socket_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Remove the connection."""
    wiring.aws.connections.close(connection_id(event))
