"""Parse the events of a WebSocket API.

A handler answers with a status and no body, because some gateways send a body to the client.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from comfyline.contract.ids import ConnectionId
from comfyline.service.errors import OverBudget, Unavailable
from functions._handlers import Event, Handler, lambda_handler, logger
from functions._wiring import Wiring


def connection_id(event: Event) -> ConnectionId:
    """The socket that the event is about."""
    return ConnectionId(event["requestContext"]["connectionId"])


def is_greeting(event: Event) -> bool:
    """Whether `LambdaGreeter` sent the event, for a client that named a job in its `$connect`."""
    return bool(event["requestContext"].get("greeting"))


def socket_handler(handle: Callable[[Event, Wiring], None]) -> Handler[dict[str, int]]:
    """Make a Lambda handler that answers 200.

    It answers 503 where a part of the service is unreachable, and 429 to a caller that has reached
    a limit. Of a `$connect`, the client sees the status.
    """

    @lambda_handler
    @wraps(handle)
    def handler(event: Event, wiring: Wiring) -> dict[str, int]:
        logger.set_correlation_id(event["requestContext"]["requestId"])
        try:
            handle(event, wiring)
        except OverBudget:
            return {"statusCode": 429}
        except Unavailable:
            logger.exception("out of reach", extra={"action": "unavailable"})
            return {"statusCode": 503}
        logger.debug("answered", extra={"action": "answered", "status": 200})
        return {"statusCode": 200}

    return handler
