"""$connect of the WebSocket API: store the connection with its owner.

Nothing can be posted to the socket before this function has returned. A job in `?job_id=` is
therefore subscribed to by another function, which is called asynchronously.
"""

from __future__ import annotations

from datetime import datetime

from comfyline.service.access.budgets import OPEN_SOCKETS, SOCKETS, USER_SHARES, open_sockets_of
from comfyline.service.errors import SocketsDisabled, TooManyRequests
from comfyline.service.live.sockets import CONNECTION_LIFETIME, Connection
from functions._handlers import Event, Sender, at_start
from functions._socket import connection_id, socket_handler
from functions._wiring import Wiring

PATIENCE_SECONDS = 60


at_start(lambda wiring: wiring.aws.connections)


@socket_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Store the connection.

    Refuse it with 503 while live progress is switched off, and with 429 if its owner opens too many
    sockets or its key has too many.
    """
    authorizer = event["requestContext"]["authorizer"]
    if authorizer.get("websocket_enabled") == "false":
        raise SocketsDisabled("an operator has switched live progress off")
    sender, connections = Sender(authorizer), wiring.aws.connections
    wiring.access.budgets.spend(sender.principal, SOCKETS, sender.limits)
    connection = _connection(event, sender, wiring.clock())
    limit = open_sockets_of(sender.limits)
    has_room = connections.has_room(connection, limit)
    if has_room and sender.user is not None:
        has_room = connections.has_room(connection, max(1, limit // USER_SHARES), of_user=True)
    if not has_room:
        raise TooManyRequests("too many open sockets", PATIENCE_SECONDS, OPEN_SOCKETS)
    connections.open(connection)
    wanted = (event.get("queryStringParameters") or {}).get("job_id")
    if wanted is not None:
        wiring.aws.greeter.greet(connection.id, wanted)


def _connection(event: Event, sender: Sender, now: datetime) -> Connection:
    """The connection. Nothing is sent to it after the end of the token that opened it."""
    ends = [now + CONNECTION_LIFETIME, *([sender.ends_at] if sender.ends_at else [])]
    return Connection(
        connection_id(event),
        sender.owner,
        sender.key_id,
        min(ends),
        user=sender.user,
        session=sender.session,
    )
