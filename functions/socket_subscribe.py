"""Handle a client's message on its socket: subscribe, unsubscribe or ping.

A job that a client names in `?job_id=` at connect comes here too: `socket_connect` calls this
function with a subscription.
"""

from __future__ import annotations

import json

from pydantic import BaseModel, ValidationError

from comfyline.api.v1.messages import encoded
from comfyline.contract.ids import ConnectionId, JobId
from comfyline.contract.limits import MAX_CLIENT_MESSAGE_BYTES
from comfyline.contract.v1.socket import (
    ErrorMessage,
    Ping,
    PongMessage,
    Subscribe,
    SubscribedMessage,
    Unsubscribe,
    client_message,
)
from comfyline.service.access.budgets import MESSAGES
from comfyline.service.access.slots import Limits
from comfyline.service.errors import ConnectionGone, RequestRefused, TooManyRequests
from comfyline.service.live.sockets import OWNER_MARK_LAG
from functions._handlers import Event, at_start, logger
from functions._http import shown
from functions._socket import connection_id, is_greeting, socket_handler
from functions._wiring import Wiring

ACTIONS = ("subscribe", "unsubscribe", "ping")


at_start(lambda wiring: (wiring.live.subscriptions, wiring.aws.sockets))


@socket_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Do what the message asks, or send the client an `error` message on its socket."""
    socket = connection_id(event)
    try:
        _answer(socket, event, wiring)
    except ConnectionGone:
        # The client has left, or its socket is open and unknown because $connect finished too late.
        # Such a client connects again once its socket is closed.
        logger.info("client left", extra={"action": "client_left"})
        wiring.aws.sockets.close(socket)
        wiring.aws.connections.close(socket)


def _answer(socket: ConnectionId, event: Event, wiring: Wiring) -> None:
    body = event.get("body") or ""
    if not is_greeting(event) and (refusal := _over_budget(socket, wiring)):
        return _say(wiring, socket, refusal)
    if len(body.encode(errors="surrogatepass")) > MAX_CLIENT_MESSAGE_BYTES:
        text = f"A message has at most {MAX_CLIENT_MESSAGE_BYTES} bytes."
        return _say(wiring, socket, ErrorMessage(code="message_too_large", message=text))
    try:
        message = client_message.validate_json(body)
    except ValidationError as error:
        return _say(wiring, socket, _fault(body, error))
    match message:
        case Ping():
            return _say(wiring, socket, PongMessage())
        case Unsubscribe(job_id=str(job_id)):
            return wiring.aws.connections.unsubscribe(socket, JobId(job_id))
        case Unsubscribe():
            return wiring.live.subscriptions.unsubscribe_from_all(socket)
        case Subscribe(job_id=str(job_id), after=after):
            job = JobId(job_id)
            return _subscribe(socket, job, after, wiring, is_greeting=is_greeting(event))
        case Subscribe():
            return _subscribe_to_all(socket, wiring)


def _over_budget(socket: ConnectionId, wiring: Wiring) -> ErrorMessage | None:
    """Count the message for the socket's owner; the refusal, if these are too many.

    Raises:
        ConnectionGone: the socket is not stored or its token has expired, so nothing would be sent
            to it later.
    """
    connection = wiring.aws.connections.get(socket)
    if connection is None:
        raise ConnectionGone(socket)
    if wiring.clock() >= connection.expires_at:
        text = "The token of this connection has expired. Connect again with a new one."
        _say(wiring, socket, ErrorMessage(code="key_void", message=text))
        raise ConnectionGone(socket)
    try:
        wiring.access.budgets.spend(connection.principal, MESSAGES, Limits())
    except TooManyRequests as error:
        return ErrorMessage(code=error.code, message=error.detail, budget=error.budget)
    return None


def _subscribe(
    socket: ConnectionId, job_id: JobId, after: int | None, wiring: Wiring, *, is_greeting: bool
) -> None:
    subscriptions = wiring.live.subscriptions
    try:
        if is_greeting:
            subscriptions.greet(socket, job_id)
        else:
            subscriptions.subscribe(socket, job_id, after=after)
    except RequestRefused as error:
        _say(wiring, socket, ErrorMessage(code=error.code, message=error.detail, job_id=job_id))


def _subscribe_to_all(socket: ConnectionId, wiring: Wiring) -> None:
    try:
        wiring.live.subscriptions.subscribe_to_all(socket)
    except RequestRefused as error:
        return _say(wiring, socket, ErrorMessage(code=error.code, message=error.detail))
    seconds = int(OWNER_MARK_LAG.total_seconds())
    return _say(wiring, socket, SubscribedMessage(repeat_after_seconds=seconds))


def _fault(body: str, error: ValidationError) -> ErrorMessage:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return ErrorMessage(code="bad_json", message="The message is not JSON.")
    if not isinstance(asked, dict) or asked.get("action") not in ACTIONS:
        known = ", ".join(ACTIONS)
        return ErrorMessage(code="unknown_action", message=f"The actions are {known}.")
    first = error.errors()[0]
    place = shown(".".join(str(part) for part in first["loc"][1:]))
    text = f"{place}: {first['msg']}" if place else first["msg"]
    return ErrorMessage(code="bad_message", message=text)


def _say(wiring: Wiring, socket: ConnectionId, message: BaseModel) -> None:
    wiring.aws.sockets.post(socket, encoded(message))
