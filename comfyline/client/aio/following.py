"""Follows jobs: yields their messages, live, until all of them have ended.

HTTP is always right, and the socket is fast. After a socket is lost, a new one resumes with the
missed messages. While no socket can be opened, or one is silent for long, the jobs are read over
HTTP, and the messages made from a read pass through the same sieve.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager

from comfyline.client.aio.api import AsyncApi
from comfyline.client.aio.socket import AsyncLiveSocket, live_socket
from comfyline.client.errors import (
    ApiError,
    RateLimited,
    ServiceUnavailable,
    TransportFailed,
    UnexpectedAnswer,
    WaitTimedOut,
)
from comfyline.client.incoming import until_lost
from comfyline.client.options import job_path
from comfyline.client.pace import Pace
from comfyline.client.sieve import Sieve
from comfyline.contract.v1.responses import JobView
from comfyline.contract.v1.socket import JobMessage, StatusMessage

_TEMPORARY = (TransportFailed, ServiceUnavailable, RateLimited)

_log = logging.getLogger(__name__)


class AsyncFollowing:
    """Several jobs that are followed over one socket at a time.

    `timeout` is in seconds, and approximate: a read that has begun is not cut off.

    Raises:
        ValueError: one of the ids is not a job id.
    """

    def __init__(
        self,
        api: AsyncApi,
        ws_url: str | None,
        pace: Pace,
        job_ids: Iterable[str],
        timeout: float | None,
    ) -> None:
        self._api, self._ws_url, self._pace = api, ws_url, pace
        self._open = {job_id: Sieve(job_id) for job_id in job_ids}  # jobs that have not ended
        self._deadline = float("inf") if timeout is None else time.monotonic() + timeout
        self._last_contact = time.monotonic()
        self._has_read = False  # over HTTP
        for job_id in self._open:
            job_path(job_id)

    async def messages(self) -> AsyncIterator[JobMessage]:
        """Of each job each message once, in the order of (version, part); the last one is `done`.

        Raises:
            WaitTimedOut: not all jobs have ended in time.
            SubscriptionRefused: the service refuses to let this client follow a job.
            ComfylineClientError: a read failed, for good or for longer than an outage.
        """
        failures = 0
        while self._open:
            before = self._versions()
            if self._ws_url is not None and self._seconds_left() > 0:
                async with self._socket(self._ws_url) as socket:
                    async for message in self._from_socket(socket):
                        yield message
            # A socket that has worked resumes, so the jobs are read only if it has not.
            if self._open and self._versions() == before:
                async for message in self._from_reads():
                    yield message
            if self._open:
                failures = failures + 1 if self._versions() == before else 1
                await self._pause(failures)

    def _socket(self, url: str) -> AbstractAsyncContextManager[AsyncLiveSocket | None]:
        return live_socket(url, self._api.api_key, self._pace, self._seconds_left())

    def _versions(self) -> dict[str, int]:
        return {job_id: sieve.version for job_id, sieve in self._open.items()}

    def _close_if_ended(self, sieve: Sieve) -> None:
        if sieve.ended:
            del self._open[sieve.job_id]

    # --- the socket -------------------------------------------------------------------------------

    async def _from_socket(self, socket: AsyncLiveSocket | None) -> AsyncIterator[JobMessage]:
        """What one connection brings, until it is lost or all jobs have ended."""
        if socket is None:
            return
        with until_lost():
            for job_id, sieve in self._open.items():
                sieve.subscribed()
                await socket.subscribe(job_id, sieve.version if sieve.version >= 0 else None)
            async for message in self._listen(socket):
                yield message
        for sieve in self._open.values():
            sieve.unsubscribed()

    async def _listen(self, socket: AsyncLiveSocket) -> AsyncIterator[JobMessage]:
        while self._open and self._seconds_left() > 0:
            patience = socket.quiet_since + self._silence() - time.monotonic()
            if patience > 0:
                for message in self._sifted(await socket.next_message(self._at_most(patience))):
                    yield message
                continue
            socket.quiet_since, before = time.monotonic(), self._versions()
            async for message in self._from_reads():
                yield message
            if self._versions() != before:
                return  # the socket should have brought this, so open another one

    def _sifted(self, message: JobMessage | None) -> Sequence[JobMessage]:
        if message is None:
            return []
        self._last_contact = time.monotonic()
        sieve = self._open.get(message.job_id)
        if sieve is None:
            return []
        messages = sieve.take(message)
        self._close_if_ended(sieve)
        return messages

    # --- reads over HTTP --------------------------------------------------------------------------

    async def _from_reads(self) -> AsyncIterator[JobMessage]:
        """The new messages of each job, until a read fails temporarily."""
        self._has_read = True
        for sieve in list(self._open.values()):
            try:
                messages = await self._read(sieve)
            except _TEMPORARY:
                if time.monotonic() - self._last_contact > self._pace.outage_seconds:
                    raise
                return
            self._last_contact = time.monotonic()
            for message in messages:
                yield message

    async def _read(self, sieve: Sieve) -> Sequence[JobMessage]:
        view = await self._api.job(sieve.job_id)
        missed = await self._missed(sieve, view) if sieve.may_have_missed(view) else []
        messages = sieve.take_view(view, missed)
        self._close_if_ended(sieve)
        return messages

    async def _missed(self, sieve: Sieve, view: JobView) -> list[StatusMessage]:
        """The changes of state before the view; none if the service is older than that field."""
        try:
            history = await self._api.history(sieve.job_id, sieve.version)
        except (ApiError, UnexpectedAnswer):
            # The present state matters more than how the job got there.
            _log.debug("no history", extra={"action": "no_history", "job_id": sieve.job_id})
            return []
        return [message for message in history.messages if message.version < view.version]

    # --- time -------------------------------------------------------------------------------------

    def _seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    def _at_most(self, seconds: float) -> float:
        return max(0.0, min(seconds, self._seconds_left()))

    def _silence(self) -> float:
        any_queued = any(sieve.status == "queued" for sieve in self._open.values())
        return self._pace.silence(any_queued=any_queued, has_read=self._has_read)

    async def _pause(self, failures: int) -> None:
        if self._seconds_left() <= 0:
            jobs = ", ".join(self._open)
            raise WaitTimedOut(f"not ended within the given time: {jobs}; the service continues")
        pace = self._pace
        wait = pace.poll_seconds if self._ws_url is None else pace.backoff.seconds(failures)
        await self._api.pause(self._at_most(wait))
