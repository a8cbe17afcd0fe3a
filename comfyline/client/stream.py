"""A job's messages, live, until it has ended.

HTTP is the truth and the socket is quick: whenever the socket is lost, or silent for long, the job
is read over HTTP, and what it tells goes through the same sieve as what the socket tells.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import get_args

from pydantic import ValidationError
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from comfyline import wire
from comfyline.client.backoff import Backoff
from comfyline.client.errors import (
    RateLimited,
    ServiceUnavailable,
    SubscriptionRefused,
    TransportFailed,
    WaitTimedOut,
)

IDLE_LIMIT_SECONDS = 10 * 60  # API Gateway ends a WebSocket connection that is idle so long
_TEMPORARY = (TransportFailed, ServiceUnavailable, RateLimited)
_TEMPORARY_CODES = {"unavailable", "internal_error"}  # of error messages; all others are final

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The times of following, in seconds."""

    silence_seconds: float = 30  # then the job is read over HTTP: the socket may be dead
    ping_seconds: float = 8 * 60  # below IDLE_LIMIT_SECONDS by more than one silence
    poll_seconds: float = 2  # between reads where there is no socket to listen to
    outage_seconds: float = 5 * 60  # a laptop that wakes up, or a redeployment
    open_seconds: float = 10
    close_seconds: float = 1  # Ctrl-C must not hang on a server that is gone
    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=0.5, cap_seconds=10))


def follow(
    ws_url: str | None,
    api_key: str,
    job_id: str,
    *,
    poll: Callable[[], wire.JobView],
    timeout: float | None = None,
    pace: Pace | None = None,
) -> Iterator[wire.JobMessage]:
    """Yield the job's messages, each once and in the order of (version, part), ending with `done`.

    Reconnects and resubscribes by itself. Without `ws_url`, or while sockets fail, the same kinds
    of messages are made from what `poll` reads. `timeout` is in seconds, and approximate: a read
    that is under way is not cut off.

    Raises:
        WaitTimedOut: the job has not ended within `timeout`.
        SubscriptionRefused: the service refuses to follow the job.
        ComfylineClientError: what `poll` raised; an outage is borne for some minutes first.
    """
    return _Follower(ws_url, api_key, job_id, poll, timeout, pace or Pace()).messages()


def messages_of(view: wire.JobView, *, news: bool) -> Iterator[wire.JobMessage]:
    """What the service would say of this version of the job, in the same order and numbering.

    `news` tells whether the state itself is new; if not, and the job runs, it is progress.
    """
    at: dict[str, str | int] = {"job_id": view.job_id, "version": view.version}
    state = {"status": view.status, "progress": view.progress, "attempt": view.attempt}
    if news or view.status != "running":
        yield wire.StatusMessage.model_validate({**at, **state})
    else:
        detail = view.progress_detail.model_dump()
        yield wire.ProgressMessage.model_validate({**detail, **at, "progress": view.progress})
    if view.status in get_args(wire.EndStatus):
        yield from _ending(view, at)


def _ending(view: wire.JobView, at: dict[str, str | int]) -> Iterator[wire.JobMessage]:
    artifacts = view.result.artifacts if view.result else []
    for part, artifact in enumerate(artifacts, start=1):
        told = artifact.model_dump() | at | {"part": part, "attempt": view.attempt}
        yield wire.ArtifactMessage.model_validate(told)
    end = {"status": view.status, "result": view.result, "error": view.error}
    yield wire.DoneMessage.model_validate({**at, "part": len(artifacts) + 1, **end})


class _Follower:
    def __init__(
        self,
        ws_url: str | None,
        api_key: str,
        job_id: str,
        poll: Callable[[], wire.JobView],
        timeout: float | None,
        pace: Pace,
    ) -> None:
        self._ws_url = ws_url
        self._api_key = api_key
        self._job_id = job_id
        self._poll = poll
        self._pace = pace
        self._deadline = time.monotonic() + timeout if timeout is not None else None
        self._seen = (-1, -1)  # (version, part) of the last message let through
        self._state: tuple[str, int] | None = None  # (status, attempt), as last told
        self._ended = False
        self._last_contact = time.monotonic()

    def messages(self) -> Iterator[wire.JobMessage]:
        failures = 0
        while True:
            before = self._seen
            if self._ws_url is not None and self._left() > 0:
                yield from self._over_socket(self._ws_url)
            if not self._ended:
                yield from self._over_http()
            if self._ended:
                return
            failures = 1 if self._seen != before else failures + 1
            self._pause(failures)

    # --- the order ------------------------------------------------------------------------------

    def _fresh(self, messages: Iterable[wire.JobMessage]) -> Iterator[wire.JobMessage]:
        for message in messages:
            if message.job_id != self._job_id or (message.version, message.part) <= self._seen:
                continue
            self._seen = (message.version, message.part)
            if isinstance(message, wire.StatusMessage):
                self._state = (message.status, message.attempt)
            self._ended = isinstance(message, wire.DoneMessage)
            yield message

    # --- HTTP -----------------------------------------------------------------------------------

    def _over_http(self) -> Iterator[wire.JobMessage]:
        try:
            view = self._poll()
        except _TEMPORARY:
            if time.monotonic() - self._last_contact > self._pace.outage_seconds:
                raise
            return
        self._last_contact = time.monotonic()
        news = (view.status, view.attempt) != self._state
        yield from self._fresh(messages_of(view, news=news))

    # --- the socket -----------------------------------------------------------------------------

    def _over_socket(self, url: str) -> Iterator[wire.JobMessage]:
        """Yield what one connection brings; returns when it is lost or the job has ended."""
        try:
            with connect(
                url,
                additional_headers={"Authorization": f"Bearer {self._api_key}"},
                open_timeout=min(self._pace.open_seconds, self._left()),
                close_timeout=self._pace.close_seconds,
                ping_interval=None,  # silence finds a dead one, our own ping keeps a live one
            ) as socket:
                self._send(socket, action="subscribe", job_id=self._job_id, **self._after())
                yield from self._heard(socket)
        except (OSError, WebSocketException) as error:
            # Also a refused handshake: whether the key is to blame is for HTTP to say.
            _log.debug("socket lost", extra={"action": "socket_lost", "error": repr(error)})

    def _heard(self, socket: ClientConnection) -> Iterator[wire.JobMessage]:
        heard = pinged = time.monotonic()
        while not self._ended and self._left() > 0:
            now = time.monotonic()
            if now - pinged >= self._pace.ping_seconds:
                self._send(socket, action="ping")
                pinged = now
            if now - heard >= self._pace.silence_seconds:
                before, heard = self._seen, now
                yield from self._over_http()
                if self._seen != before:
                    return  # the socket should have said that: connect again
            try:
                raw = socket.recv(timeout=self._patience(heard, pinged))
            except TimeoutError:
                continue
            heard = self._last_contact = time.monotonic()
            message = _parsed(raw)
            if isinstance(message, wire.ErrorMessage):
                if message.code in _TEMPORARY_CODES:
                    return  # the next connection may fare better
                raise SubscriptionRefused(message.code, message.message)
            if message is not None:
                yield from self._fresh([message])

    def _send(self, socket: ClientConnection, **message: str | int) -> None:
        socket.send(json.dumps(message))

    def _after(self) -> dict[str, int]:
        return {"after": self._seen[0]} if self._seen[0] >= 0 else {}

    # --- time -----------------------------------------------------------------------------------

    def _left(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def _patience(self, heard: float, pinged: float) -> float:
        next_act = min(heard + self._pace.silence_seconds, pinged + self._pace.ping_seconds)
        return max(0.0, min(next_act - time.monotonic(), self._left()))

    def _pause(self, failures: int) -> None:
        left = self._left()
        if left <= 0:
            raise WaitTimedOut(f"job {self._job_id} has not ended in the time given; it goes on")
        no_socket = self._ws_url is None
        wait = self._pace.poll_seconds if no_socket else self._pace.backoff.seconds(failures)
        time.sleep(min(wait, left))


def _parsed(raw: str | bytes) -> wire.JobMessage | wire.ErrorMessage | None:
    """The message; None for a pong and for kinds that only a newer service knows."""
    try:
        message = wire.server_message.validate_json(raw)
    except ValidationError:
        return _gateway_error(raw)
    return None if isinstance(message, wire.PongMessage) else message


def _gateway_error(raw: str | bytes) -> wire.ErrorMessage | None:
    # API Gateway tells of a failed integration in its own shape, without a type:
    # {"message": "Internal server error", "connectionId": ..., "requestId": ...}
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    if isinstance(body, dict) and "type" not in body and "message" in body:
        return wire.ErrorMessage(code="internal_error", message=str(body["message"]))
    return None
