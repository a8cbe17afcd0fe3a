"""$connect of the WebSocket API: store the connection with its owner.

Nothing can be posted to the socket before this function has returned. A job in `?job_id=` is
therefore subscribed to by another function, which is called asynchronously.
"""

from __future__ import annotations

from comfyline.service.access.budgets import OPEN_SOCKETS, SOCKETS, open_sockets_of
from comfyline.service.errors import SocketsDisabled, TooManyRequests
from comfyline.service.live.sockets import CONNECTION_LIFETIME, Connection
from functions._handlers import Event, limits_of
from functions._socket import caller, connection_id, socket_handler
from functions._wiring import Wiring

PATIENCE_SECONDS = 60


@socket_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Store the connection.

    Refuse it with 503 while live progress is switched off, and with 429 if its owner opens too many
    sockets or its key has too many.
    """
    authorizer = event["requestContext"]["authorizer"]
    if authorizer.get("websocket_enabled") == "false":
        raise SocketsDisabled("an operator has switched live progress off")
    owner, key_id = caller(event)
    limits, connections = limits_of(authorizer), wiring.aws.connections
    wiring.access.budgets.spend(owner, SOCKETS, limits)
    expires_at = wiring.clock() + CONNECTION_LIFETIME
    connection = Connection(connection_id(event), owner, key_id, expires_at)
    if not connections.has_room(connection, open_sockets_of(limits)):
        raise TooManyRequests("too many open sockets", PATIENCE_SECONDS, OPEN_SOCKETS)
    connections.open(connection)
    wanted = (event.get("queryStringParameters") or {}).get("job_id")
    if wanted is not None:
        wiring.aws.greeter.greet(connection.id, wanted)
