"""$disconnect of the WebSocket API: best effort by the gateway, so nothing depends on it."""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.service.settings import SocketDisconnectSettings
from functions import _wiring
from functions._socket import Event, connection_id, socket_handler

logger = Logger(service="socket_disconnect")


@socket_handler(logger)
def handler(event: Event) -> None:
    """The connection is forgotten."""
    settings = _wiring.settings(SocketDisconnectSettings)
    _wiring.connections(settings.connections_table).close(connection_id(event))
