"""$disconnect of the WebSocket API. The gateway may skip the call, so nothing depends on it."""

from __future__ import annotations

from aws_lambda_powertools import Logger

from functions._handlers import Event
from functions._socket import connection_id, socket_handler
from functions._wiring import Wiring

logger = Logger(service="socket_disconnect")


@socket_handler(logger)
def handler(event: Event, wiring: Wiring) -> None:
    """Remove the connection."""
    wiring.connections.close(connection_id(event))
