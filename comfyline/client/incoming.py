"""What the live socket brings: messages of jobs, and errors that end a subscription."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator

from pydantic import ValidationError
from websockets.exceptions import WebSocketException

from comfyline.client.errors import SubscriptionRefused
from comfyline.contract.v1.socket import (
    ErrorMessage,
    JobMessage,
    PongMessage,
    SubscribedMessage,
    server_message,
)

# After an error message with one of these codes the next connection may work. All others are final.
_TEMPORARY_CODES = {"unavailable", "internal_error", "sockets_disabled", "too_many_requests"}

_log = logging.getLogger(__name__)


class SocketLost(Exception):
    """The socket cannot be opened, has broken, or the service cannot serve it for now."""


@contextlib.contextmanager
def errors_as_lost() -> Iterator[None]:
    """Raise what goes wrong on a socket as SocketLost."""
    try:
        yield
    except (OSError, WebSocketException) as error:
        raise SocketLost(repr(error)) from error


@contextlib.contextmanager
def until_lost() -> Iterator[None]:
    """End the block without an error when the socket is lost.

    A refused handshake is no error either: if the key is wrong, a read over HTTP says so.
    """
    try:
        yield
    except SocketLost as error:
        _log.debug("socket lost", extra={"action": "socket_lost", "error": str(error)})


def job_message(raw: str | bytes) -> JobMessage | None:
    """The message; None for answers to the client, and for types that only a newer service has.

    Raises:
        SocketLost: the service or the gateway has a temporary failure.
        SubscriptionRefused: the service will not serve the subscription.
    """
    try:
        message = server_message.validate_json(raw)
    except ValidationError:
        _raise_if_gateway_error(raw)
        return None
    if isinstance(message, PongMessage | SubscribedMessage):
        return None
    if isinstance(message, ErrorMessage):
        if message.code in _TEMPORARY_CODES:
            raise SocketLost(message.code)
        raise SubscriptionRefused(message.code, message.message)
    return message


def _raise_if_gateway_error(raw: str | bytes) -> None:
    # When an integration fails, API Gateway itself sends a message, in its own form without a type:
    # {"message": "Internal server error", "connectionId": ..., "requestId": ...}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return
    if isinstance(body, dict) and "type" not in body and "message" in body:
        raise SocketLost(str(body["message"]))
