"""What a client says on its socket: subscribe, unsubscribe, ping, or something we do not know."""

from __future__ import annotations

from aws_lambda_powertools import Logger
from pydantic import BaseModel, ValidationError

from comfyline import wire
from comfyline.domain.errors import ConnectionGone, JobNotFound
from comfyline.domain.ids import ConnectionId, JobId
from comfyline.ports import ConnectionStore
from comfyline.settings import SocketSubscribeSettings
from comfyline.usecases.follow import follow
from comfyline.usecases.notify import Notifier
from functions import _wiring
from functions._socket import Event, connection_id, socket_handler

logger = Logger(service="socket_subscribe")


@socket_handler(logger)
def handler(event: Event) -> None:
    """The request is done, or the client is told on its socket what was wrong with it."""
    socket = connection_id(event)
    try:
        _answer(socket, event.get("body") or "")
    except ConnectionGone:
        logger.info("client left", extra={"action": "client_left"})


def _answer(socket: ConnectionId, body: str) -> None:
    try:
        message = wire.client_message.validate_json(body)
    except ValidationError as error:
        return _say(socket, wire.ErrorMessage(code="bad_message", message=_first_fault(error)))
    match message:
        case wire.Ping():
            return _say(socket, wire.PongMessage())
        case wire.Unsubscribe():
            return _connections().unsubscribe(socket, JobId(message.job_id))
        case wire.Subscribe():
            return _subscribe(socket, JobId(message.job_id))


def _subscribe(socket: ConnectionId, job_id: JobId) -> None:
    connection = _connections().get(socket)
    if connection is None:
        raise ConnectionGone(socket)
    jobs, notifier = _wiring.jobs(_settings().jobs_table), _notifier()
    try:
        follow(
            connection,
            job_id,
            jobs=jobs,
            connections=_connections(),
            notifier=notifier,
            clock=_wiring.clock,
        )
    except JobNotFound as error:
        _say(socket, wire.ErrorMessage(code=error.code, message=error.detail, job_id=job_id))


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]


def _say(socket: ConnectionId, message: BaseModel) -> None:
    _wiring.sockets(_settings()).post(socket, message.model_dump_json(exclude_none=True).encode())


def _settings() -> SocketSubscribeSettings:
    return _wiring.settings(SocketSubscribeSettings)


def _connections() -> ConnectionStore:
    return _wiring.connections(_settings().connections_table)


def _notifier() -> Notifier:
    settings = _settings()
    return Notifier(
        jobs=_wiring.jobs(settings.jobs_table),
        connections=_connections(),
        artifacts=_wiring.artifacts(settings.artifacts_bucket),
        sockets=_wiring.sockets(settings),
        clock=_wiring.clock,
    )
