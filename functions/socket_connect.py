"""$connect of the WebSocket API: store the connection with its owner.

Nothing can be posted to the socket before this function has returned. A job in `?job_id=` is
therefore subscribed to by another function, which is called asynchronously.
"""

from __future__ import annotations

from comfyline.service.errors import SocketsDisabled
from comfyline.service.live.sockets import CONNECTION_LIFETIME, Connection
from functions._handlers import Event
from functions._socket import caller, connection_id, socket_handler
from functions._wiring import Wiring


@socket_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Store the connection, or refuse it with 503 while live progress is switched off."""
    if event["requestContext"]["authorizer"].get("websocket_enabled") == "false":
        raise SocketsDisabled("an operator has switched live progress off")
    owner, key_id = caller(event)
    expires_at = wiring.clock() + CONNECTION_LIFETIME
    connection = Connection(connection_id(event), owner, key_id, expires_at)
    wiring.aws.connections.open(connection)
    wanted = (event.get("queryStringParameters") or {}).get("job_id")
    if wanted is not None:
        wiring.aws.greeter.greet(connection.id, wanted)
