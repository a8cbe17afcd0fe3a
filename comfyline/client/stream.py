"""The messages of jobs, live, until all of them have ended.

HTTP is the truth and the socket is quick. A lost socket is opened again and resumes with what was
missed; while none can be opened, or one is silent for long, the jobs are read over HTTP, and what
that tells goes through the same sieve.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from comfyline.client.backoff import Backoff
from comfyline.client.calls import Calls
from comfyline.client.errors import (
    ApiError,
    RateLimited,
    ServiceUnavailable,
    SubscriptionRefused,
    TransportFailed,
    UnexpectedAnswer,
    WaitTimedOut,
)
from comfyline.client.flow import (
    CloseSocket,
    Flow,
    Hear,
    OpenSocket,
    Pause,
    Say,
    SocketLost,
    Tell,
)
from comfyline.client.order import Sieve
from comfyline.contract.v1 import responses
from comfyline.contract.v1.socket import ErrorMessage, JobMessage, PongMessage, server_message

IDLE_LIMIT_SECONDS = 10 * 60  # API Gateway ends a WebSocket connection that is idle so long
_TEMPORARY = (TransportFailed, ServiceUnavailable, RateLimited)
# Of error messages; all others are final.
_TEMPORARY_CODES = {"unavailable", "internal_error", "sockets_disabled"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The times of following, in seconds."""

    silence_seconds: float = 30  # then the jobs are read over HTTP: the socket may be dead
    queue_seconds: float = 10  # the same while a job waits: its place in the queue is not pushed
    place_seconds: float = 3  # the same, the first time: an idle worker has taken it by then
    ping_seconds: float = 8 * 60  # below IDLE_LIMIT_SECONDS by more than one silence
    poll_seconds: float = 2  # between reads where there is no socket to listen to
    outage_seconds: float = 5 * 60  # a laptop that wakes up, or a redeployment
    open_seconds: float = 10
    close_seconds: float = 1  # Ctrl-C must not hang on a server that is gone
    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=0.5, cap_seconds=10))


@dataclass(frozen=True, slots=True)
class Live:
    """Where the socket is, if there is one, and how patient to be with it."""

    url: str | None
    pace: Pace


def follow(calls: Calls, live: Live, job_ids: Sequence[str], timeout: float | None) -> Flow[None]:
    """Tell the jobs' messages: of each job each once, by (version, part), ending with `done`.

    `timeout` is in seconds, and approximate: a read that is under way is not cut off.

    Raises:
        WaitTimedOut: not all jobs have ended within `timeout`.
        SubscriptionRefused: the service refuses to follow a job.
        ComfylineClientError: a read was refused; an outage is borne for some minutes first.
    """
    return _Following(calls, live, job_ids, timeout).flow()


class _Following:
    def __init__(
        self, calls: Calls, live: Live, job_ids: Sequence[str], timeout: float | None
    ) -> None:
        self._calls, self._live, self._pace = calls, live, live.pace
        self._jobs = {job_id: Sieve(job_id) for job_id in job_ids}
        self._deadline = time.monotonic() + timeout if timeout is not None else None
        self._last_contact = time.monotonic()
        self._has_looked = False  # over HTTP
        self._open: dict[str, Sieve] = dict(self._jobs)  # those that have not ended

    def flow(self) -> Flow[None]:
        failures = 0
        while self._open:
            before = self._mark()
            if self._live.url is not None and self._left() > 0:
                yield from self._over_socket(self._live.url)
            # A socket that worked resumes; only where it does not is HTTP asked.
            if self._open and self._mark() == before:
                yield from self._over_http()
            if self._open:
                failures = 1 if self._mark() != before else failures + 1
                yield from self._pause(failures)

    def _mark(self) -> list[int]:
        return [sieve.version for sieve in self._jobs.values()]

    def _tell(self, messages: Sequence[JobMessage]) -> Flow[None]:
        for message in messages:
            yield Tell(message)
        self._open = {name: sieve for name, sieve in self._open.items() if not sieve.ended}

    # --- HTTP -------------------------------------------------------------------------------------

    def _over_http(self) -> Flow[None]:
        self._has_looked = True
        for sieve in list(self._open.values()):
            try:
                messages = yield from self._read(sieve)
            except _TEMPORARY:
                if time.monotonic() - self._last_contact > self._pace.outage_seconds:
                    raise
                return
            self._last_contact = time.monotonic()
            yield from self._tell(messages)

    def _read(self, sieve: Sieve) -> Flow[Sequence[JobMessage]]:
        view = yield from self._calls.get(sieve.job_id)
        missed: Sequence[responses.EventView] = ()
        if sieve.has_missed(view):
            try:
                missed = (yield from self._calls.history(sieve.job_id, sieve.version)).events
            except (ApiError, UnexpectedAnswer):  # the state is worth more than how it came about
                _log.debug("no history", extra={"action": "no_history", "job_id": sieve.job_id})
        return sieve.take_view(view, missed)

    # --- the socket -------------------------------------------------------------------------------

    def _over_socket(self, url: str) -> Flow[None]:
        """Tell what one connection brings; returns when it is lost or all jobs have ended."""
        try:
            yield OpenSocket(
                url,
                {"Authorization": f"Bearer {self._calls.api_key}"},
                min(self._pace.open_seconds, self._left()),
                self._pace.close_seconds,
            )
            for sieve in self._open.values():
                yield self._subscription(sieve)
            yield from self._listen()
        except SocketLost as error:
            # Also a refused handshake: whether the key is to blame is for HTTP to say.
            _log.debug("socket lost", extra={"action": "socket_lost", "error": str(error)})
        for sieve in self._open.values():
            sieve.unsubscribed()
        yield CloseSocket()

    def _subscription(self, sieve: Sieve) -> Say:
        sieve.subscribed()
        after = {"after": sieve.version} if sieve.version >= 0 else {}
        return Say(json.dumps({"action": "subscribe", "job_id": sieve.job_id, **after}))

    def _listen(self) -> Flow[None]:
        heard = pinged = time.monotonic()
        while self._open and self._left() > 0:
            now = time.monotonic()
            if now - pinged >= self._pace.ping_seconds:
                yield Say(json.dumps({"action": "ping"}))
                pinged = now
            if now - heard >= self._silence():
                before, heard = self._mark(), now
                yield from self._over_http()
                if self._mark() != before:
                    return  # the socket should have said that: connect again
                continue
            raw = yield Hear(self._patience(heard, pinged))
            if raw is None:
                continue
            heard = self._last_contact = time.monotonic()
            message = _parsed(raw)
            if isinstance(message, ErrorMessage):
                if message.code in _TEMPORARY_CODES:
                    return  # the next connection may fare better
                raise SubscriptionRefused(message.code, message.message)
            if message is not None and message.job_id in self._open:
                yield from self._tell(self._open[message.job_id].take(message))

    # --- time -------------------------------------------------------------------------------------

    def _left(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def _silence(self) -> float:
        pace = self._pace
        if not any(sieve.status == "queued" for sieve in self._open.values()):
            return pace.silence_seconds
        first = pace.queue_seconds if self._has_looked else pace.place_seconds
        return min(first, pace.queue_seconds, pace.silence_seconds)

    def _patience(self, heard: float, pinged: float) -> float:
        next_act = min(heard + self._silence(), pinged + self._pace.ping_seconds)
        return max(0.0, min(next_act - time.monotonic(), self._left()))

    def _pause(self, failures: int) -> Flow[None]:
        left = self._left()
        if left <= 0:
            which = ", ".join(self._open)
            raise WaitTimedOut(f"{which} has not ended in the time given; it goes on")
        no_socket = self._live.url is None
        wait = self._pace.poll_seconds if no_socket else self._pace.backoff.seconds(failures)
        yield Pause(min(wait, left))


def _parsed(raw: str | bytes) -> JobMessage | ErrorMessage | None:
    """The message; None for a pong and for kinds that only a newer service knows."""
    try:
        message = server_message.validate_json(raw)
    except ValidationError:
        return _gateway_error(raw)
    return None if isinstance(message, PongMessage) else message


def _gateway_error(raw: str | bytes) -> ErrorMessage | None:
    # API Gateway tells of a failed integration in its own shape, without a type:
    # {"message": "Internal server error", "connectionId": ..., "requestId": ...}
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    if isinstance(body, dict) and "type" not in body and "message" in body:
        return ErrorMessage(code="internal_error", message=str(body["message"]))
    return None
