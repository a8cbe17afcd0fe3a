"""Protection and spot notices on ECS: from the task's agent and from the instance's metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from gpu_worker.protection import EXPIRES_MINUTES, FleetUnreachable

METADATA_URL = "http://169.254.169.254"

# Both answer in milliseconds. The agent calls ECS, which may throttle.
TIMEOUT_SECONDS = 5.0
TOKEN_SECONDS = 21_600  # AWS's maximum


def client_of(url: str) -> httpx.AsyncClient:
    """A client of the agent (its URL is in `ECS_AGENT_URI`), or of the metadata."""
    return httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)


@dataclass(frozen=True, slots=True)
class EcsTaskProtection:
    """`Protection` by the ECS agent, which calls ECS with the task's own role."""

    client: httpx.AsyncClient

    async def ask(self, *, protected: bool) -> None:
        """See Protection."""
        state: dict[str, Any] = {"ProtectionEnabled": protected}
        if protected:
            state["ExpiresInMinutes"] = EXPIRES_MINUTES
        response = await _request(self.client, "PUT", "/task-protection/v1/state", json=state)
        if not response.is_success or "protection" not in _object(response):
            raise FleetUnreachable(f"{response.status_code}: {response.text[:200]}")


async def task_revision(metadata: httpx.AsyncClient) -> str:
    """The ARN of this task's task definition, from ECS's metadata of the task, version 4.

    Raises:
        FleetUnreachable: it is not known.
    """
    response = await _request(metadata, "GET", "/task")
    task = _object(response)
    try:
        arn, family, revision = task["TaskARN"], task["Family"], task["Revision"]
    except KeyError as error:
        raise FleetUnreachable(f"the task's metadata lacks {error}") from error
    # arn:aws:ecs:<region>:<account>:task/<cluster>/<id>
    return f"{arn.partition(':task/')[0]}:task-definition/{family}:{revision}"


class SpotNotices:
    """The notices for a spot instance, from its metadata, version 2."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._token: str | None = None  # None until one is needed, and after one has expired

    async def is_leaving(self) -> bool:
        """Whether the instance is about to be taken away: terminated, stopped or hibernated.

        Raises:
            FleetUnreachable: it is not known.
        """
        self._token = self._token or await self._new_token()
        headers = {"X-aws-ec2-metadata-token": self._token}
        path = "/latest/meta-data/spot/instance-action"
        response = await _request(self._client, "GET", path, headers=headers)
        if response.status_code == httpx.codes.UNAUTHORIZED:  # the token has expired
            self._token = None
        if response.status_code == httpx.codes.NOT_FOUND:
            return False
        if not response.is_success:
            raise FleetUnreachable(f"instance-action: {response.status_code}")
        return "action" in _object(response)

    async def _new_token(self) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        response = await _request(self._client, "PUT", "/latest/api/token", headers=headers)
        if not response.is_success or not response.text.isprintable():
            raise FleetUnreachable(f"token: {response.status_code}")
        return response.text


async def _request(
    client: httpx.AsyncClient, method: str, path: str, **options: Any
) -> httpx.Response:
    try:
        return await client.request(method, path, **options)
    except httpx.HTTPError as error:
        raise FleetUnreachable(f"{method} {path}: {error!r}") from error


def _object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of the answer, or an empty one if the answer is none."""
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
