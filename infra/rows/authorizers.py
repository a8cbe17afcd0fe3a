"""The two authorizers, which API Gateway calls before the function of a route."""

from __future__ import annotations

from comfyline.service.settings import ConnectionsTable, EdgeSettings, KeysTable, SignInSettings
from infra import grants
from infra.declarations import Function
from infra.grants import Resource, may

# Every request with a key waits for an authorizer, so a burst elsewhere must not stop them.
RESERVED_FOR_HTTP, RESERVED_FOR_SOCKETS = 50, 20
# API Gateway waits 10 s for an authorizer.
AUTHORIZER_TIMEOUT = 8

ROWS = (
    Function(
        name="AuthorizeHttp",
        handler="authorize.http_handler",
        settings=(KeysTable, ConnectionsTable, EdgeSettings, SignInSettings),
        grants=(grants.READ_KEY, grants.READ_SECRETS),
        timeout=AUTHORIZER_TIMEOUT,
        reserved=RESERVED_FOR_HTTP,
    ),
    Function(
        name="AuthorizeSocket",
        handler="authorize.socket_handler",
        settings=(KeysTable, ConnectionsTable, EdgeSettings, SignInSettings),
        grants=(
            grants.READ_KEY,
            grants.READ_SECRETS,
            may("TakeSocketPass", Resource.CONNECTIONS, "dynamodb:DeleteItem"),
        ),
        timeout=AUTHORIZER_TIMEOUT,
        reserved=RESERVED_FOR_SOCKETS,
    ),
)
