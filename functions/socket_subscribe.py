"""What a client says on its socket: subscribe, unsubscribe, ping, or something we do not know.

Also what its `?job_id=` at connect says, which `socket_connect` hands over as a subscription.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from aws_lambda_powertools import Logger
from pydantic import BaseModel, ValidationError

from comfyline.contract.ids import ConnectionId, JobId
from comfyline.contract.limits import MAX_CLIENT_MESSAGE_BYTES
from comfyline.contract.v1.socket import (
    ErrorMessage,
    Ping,
    PongMessage,
    Subscribe,
    Unsubscribe,
    client_message,
)
from comfyline.service.errors import ConnectionGone, RequestRefused
from comfyline.service.live.follow import Follower
from comfyline.service.live.sockets import ConnectionStore
from comfyline.service.settings import SocketSubscribeSettings
from functions import _wiring
from functions._http import shown
from functions._socket import Event, connection_id, is_greeting, socket_handler

ACTIONS = ("subscribe", "unsubscribe", "ping")

logger = Logger(service="socket_subscribe")


@socket_handler(logger)
def handler(event: Event) -> None:
    """The request is done, or the client is told on its socket what was wrong with it."""
    socket, follower = connection_id(event), _follower()
    follow = follower.greet if is_greeting(event) else follower.follow
    try:
        _answer(socket, event.get("body") or "", follow)
    except ConnectionGone:
        logger.info("client left", extra={"action": "client_left"})
        _connections().close(socket)


def _answer(socket: ConnectionId, body: str, follow: Callable[..., None]) -> None:
    try:
        message = client_message.validate_json(_within_limit(body))
    except ValidationError as error:
        return _say(socket, _fault(body, error))
    except RequestRefused as refused:
        return _say(socket, ErrorMessage(code=refused.code, message=refused.detail))
    match message:
        case Ping():
            return _say(socket, PongMessage())
        case Unsubscribe():
            return _connections().unsubscribe(socket, JobId(message.job_id))
        case Subscribe():
            return _subscribe(socket, message, follow)


def _subscribe(socket: ConnectionId, message: Subscribe, follow: Callable[..., None]) -> None:
    job_id = JobId(message.job_id)
    try:
        follow(socket, job_id, **({} if message.after is None else {"after": message.after}))
    except RequestRefused as error:
        _say(socket, ErrorMessage(code=error.code, message=error.detail, job_id=job_id))


def _within_limit(body: str) -> str:
    if len(body.encode()) > MAX_CLIENT_MESSAGE_BYTES:
        raise MessageTooLarge(f"A message has at most {MAX_CLIENT_MESSAGE_BYTES} bytes.")
    return body


class MessageTooLarge(RequestRefused):
    """The client's message is longer than any that means something."""

    code = "message_too_large"


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


def _say(socket: ConnectionId, message: BaseModel) -> None:
    _wiring.sockets(_settings()).post(socket, message.model_dump_json(exclude_none=True).encode())


def _settings() -> SocketSubscribeSettings:
    return _wiring.settings(SocketSubscribeSettings)


def _connections() -> ConnectionStore:
    return _wiring.connections(_settings().connections_table)


@cache
def _no_posts_aside() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)  # an answer goes to one socket; its thread is never started


def _follower() -> Follower:
    settings = _settings()
    return Follower(
        jobs=_wiring.jobs(settings.jobs_table),
        connections=_connections(),
        notifier=_wiring.notifier(settings, _no_posts_aside()),
        clock=_wiring.clock,
    )
