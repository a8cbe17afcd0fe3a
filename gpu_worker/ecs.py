"""The fleet as a task on ECS sees it: its agent beside it, and the instance's metadata below."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from gpu_worker.protection import EXPIRES_MINUTES, FleetUnreachable

METADATA_URL = "http://169.254.169.254"

# Both answer in milliseconds; the agent calls ECS, which may throttle.
TIMEOUT_SECONDS = 5.0
TOKEN_SECONDS = 21_600  # AWS's maximum


@asynccontextmanager
async def task_protection(agent_url: str) -> AsyncIterator[EcsTaskProtection]:
    """The protection of this task, by the agent at `ECS_AGENT_URI`."""
    async with _client(agent_url) as client:
        yield EcsTaskProtection(client)


@asynccontextmanager
async def spot_notices(metadata_url: str = METADATA_URL) -> AsyncIterator[SpotNotices]:
    """The notices of the instance below."""
    async with _client(metadata_url) as client:
        yield SpotNotices(client)


def _client(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)


@dataclass(frozen=True, slots=True)
class EcsTaskProtection:
    """`Protection` by the ECS agent, which asks with the task's own role."""

    client: httpx.AsyncClient

    async def ask(self, *, protected: bool) -> None:
        """See Protection."""
        wish: dict[str, Any] = {"ProtectionEnabled": protected}
        if protected:
            wish["ExpiresInMinutes"] = EXPIRES_MINUTES
        response = await _answer(self.client, "PUT", "/task-protection/v1/state", json=wish)
        if not response.is_success or "protection" not in _object(response):
            raise FleetUnreachable(f"{response.status_code}: {response.text[:200]}")


class SpotNotices:
    """`Notices` from the instance's metadata, version 2."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._token: str | None = None

    async def is_leaving(self) -> bool:
        """See Notices; whether it is to be terminated, stopped or put to sleep is all one."""
        self._token = self._token or await self._new_token()
        headers = {"X-aws-ec2-metadata-token": self._token}
        path = "/latest/meta-data/spot/instance-action"
        response = await _answer(self._client, "GET", path, headers=headers)
        if response.status_code == httpx.codes.UNAUTHORIZED:  # it has expired
            self._token = None
        if response.status_code == httpx.codes.NOT_FOUND:
            return False
        if not response.is_success:
            raise FleetUnreachable(f"instance-action: {response.status_code}")
        return "action" in _object(response)

    async def _new_token(self) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        response = await _answer(self._client, "PUT", "/latest/api/token", headers=headers)
        if not response.is_success or not response.text.isprintable():
            raise FleetUnreachable(f"token: {response.status_code}")
        return response.text


async def _answer(client: httpx.AsyncClient, method: str, path: str, **what: Any) -> httpx.Response:
    try:
        return await client.request(method, path, **what)
    except httpx.HTTPError as error:
        raise FleetUnreachable(f"{method} {path}: {error!r}") from error


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
