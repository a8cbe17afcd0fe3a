"""A fresh owner of the deployment, and the jobs that a smoke run finds there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from comfyline.contract.ids import OwnerId
from comfyline.service.access.slots import Limits
from comfyline.service.jobs.job import Job
from tests.e2e.account import Account, now
from tests.support.builders import running, succeeded

# Of what should happen at once. A run without a permission waits this long in vain.
SOON = 5.0
# The worker may have to be started again, after crashes that a missing permission caused.
WORKER_SOON = 12.0
PAST = timedelta(hours=2)
ONE_JOB = Limits(max_active_jobs=1)


@dataclass(frozen=True)
class Caller:
    """A fresh owner with a fresh key, so that no cache answers for a function."""

    account: Account
    owner: OwnerId
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        base = f"{self.account.endpoints.api_url}/api/v1"
        headers = {**self.headers, **request.pop("headers", {})}
        with httpx.Client(trust_env=False, timeout=30) as http:
            return http.request(method, base + path, headers=headers, **request)

    @contextmanager
    def socket(self, query: str = "") -> Iterator[ClientConnection]:
        url = self.account.endpoints.ws_url + query
        with connect(url, additional_headers=self.headers, proxy=None, close_timeout=1) as one:
            yield one

    def overdue(self, **overrides: Any) -> Job:
        """A job past its start deadline that nobody has ended yet."""
        return self.account.seeded(self.owner, queued_at=now() - PAST, **overrides)

    def ended(self, **overrides: Any) -> Job:
        """A job that has succeeded and made a file."""
        account = self.account
        before = account.seeded(self.owner, **overrides)
        account.stored_artifact(running(before, now=before.queued_at))
        return account.jobs.save(before, succeeded(before, now=before.queued_at))

    def started(self) -> Job:
        """A job that some worker runs, and that holds a slot of its owner."""
        before = self.account.seeded(self.owner, has_slot=True)
        return self.account.jobs.save(before, running(before, now=now()))


def a_caller(account: Account) -> Caller:
    owner = OwnerId("smoke-" + secrets.token_hex(4))
    return Caller(account, owner, account.new_key(owner))


def assert_fetched(url: str) -> None:
    assert httpx.get(url, trust_env=False).content == b"made"
