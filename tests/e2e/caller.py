"""A new owner in the deployment, and jobs that a smoke run prepares for this owner."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
from websockets.sync.client import ClientConnection

from comfyline.contract.ids import OwnerId
from comfyline.service.access.slots import Limits
from comfyline.service.jobs.artifact_keys import thumbnail_key
from comfyline.service.jobs.job import Job
from tests.e2e.account import Account, now
from tests.support import web
from tests.support.builders import running, succeeded
from tests.support.eventually import WITHIN, eventually_now

# Seconds in which a worker starts again, because a missing permission may have crashed it.
WORKER_STARTS = 7.0
LOOK_SECONDS = 0.5  # between two looks, many of which are requests that are limited
PAST = timedelta(hours=2)
ONE_JOB = Limits(max_active_jobs=1)
# So low that each call is counted in the table at once, and higher than what a smoke run needs.
COUNTED = Limits(requests_per_minute=199, sockets_per_minute=199)


@dataclass(frozen=True)
class Caller:
    """A new owner with a new key, so that no cached answer replaces the call of a function."""

    account: Account
    owner: OwnerId
    key: str
    patience: float = WITHIN  # seconds within which an immediate effect must be visible

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def comfy(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Call Comfy API v2."""
        return self.call(method, path, version="v2", **request)

    def call(
        self, method: str, path: str, *, version: str = "v1", **request: Any
    ) -> httpx.Response:
        base = f"{self.account.endpoints.api_url}/api/{version}"
        headers = {**self.headers, **request.pop("headers", {})}
        with web.Client() as http:
            return http.request(method, base + path, headers=headers, **request)

    @contextmanager
    def socket(self, query: str = "") -> Iterator[ClientConnection]:
        url = self.account.endpoints.ws_url + query
        with web.connect(url, additional_headers=self.headers) as one:
            yield one

    def eventually(self, look: Callable[[], Any]) -> None:
        """Wait for an immediate effect."""
        eventually_now(look, within=self.patience, every=LOOK_SECONDS)

    def eventually_by_a_worker(self, look: Callable[[], Any]) -> None:
        """Wait for an effect of a worker, which may have to start first."""
        eventually_now(look, within=self.patience + WORKER_STARTS, every=LOOK_SECONDS)

    def received(self, socket: ClientConnection, kind: str) -> dict[str, Any]:
        """The next message of that kind."""
        while True:
            message: dict[str, Any] = json.loads(socket.recv(timeout=self.patience))
            if message["type"] == kind:
                return message

    def overdue(self, **overrides: Any) -> Job:
        """A job that is past its start deadline but has not been ended yet."""
        return self.account.seeded(self.owner, queued_at=now() - PAST, **overrides)

    def ended(self, **overrides: Any) -> Job:
        """A job that has succeeded and stored an artifact."""
        account = self.account
        before = account.seeded(self.owner, **overrides)
        account.stored_artifact(running(before, now=before.queued_at))
        ended = replace(succeeded(before, now=before.queued_at), stored=1)
        return account.jobs.save(before, ended)

    def with_thumbnail(self) -> Job:
        """A job that has succeeded, and whose artifact has a thumbnail."""
        job = self.ended()
        self.account.artifacts.put(thumbnail_key(job, 0), io.BytesIO(b"made"), "image/webp")
        self.account.jobs.put_thumbnails(job, [0])
        return job

    def started(self) -> Job:
        """A running job that holds a slot of its owner."""
        before = self.account.seeded(self.owner, has_slot=True)
        return self.account.jobs.save(before, running(before, now=now()))


def a_caller(account: Account, patience: float = WITHIN) -> Caller:
    owner = OwnerId("smoke-" + secrets.token_hex(4))
    return Caller(account, owner, account.new_key(owner, COUNTED), patience)


def assert_fetched(url: str) -> None:
    assert web.get(url).content == b"made"
