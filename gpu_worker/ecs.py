"""The worker's task on ECS: its protection, its metadata, and the metadata of its instance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from gpu_worker.comfy.shapes import fields, items, text
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


@dataclass(frozen=True, slots=True)
class TaskMetadata:
    """What ECS says about a task."""

    revision: str  # the ARN of its task definition
    image: str | None  # of its container


async def task_metadata(metadata: httpx.AsyncClient) -> TaskMetadata:
    """This task, from ECS's metadata of the task, version 4.

    Raises:
        FleetUnreachable: it is not known.
    """
    response = await _request(metadata, "GET", "/task")
    task = _object(response)
    try:
        arn, family, revision = task["TaskARN"], task["Family"], task["Revision"]
    except KeyError as error:
        raise FleetUnreachable(f"the task's metadata lacks {error}") from error
    containers = items(task.get("Containers"))  # the worker's is the only one
    image = text(fields(next(iter(containers), None)).get("Image"))
    # arn:aws:ecs:<region>:<account>:task/<cluster>/<id>
    return TaskMetadata(f"{arn.partition(':task/')[0]}:task-definition/{family}:{revision}", image)


class InstanceMetadata:
    """The metadata of the instance under this task, version 2."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._token: str | None = None  # None until one is needed, and after one has expired

    async def read(self, name: str) -> str | None:
        """The text of that name; None if the instance has none.

        Raises:
            FleetUnreachable: it is not known.
        """
        self._token = self._token or await self._new_token()
        headers = {"X-aws-ec2-metadata-token": self._token}
        response = await _request(self._client, "GET", f"/latest/meta-data/{name}", headers=headers)
        if response.status_code == httpx.codes.UNAUTHORIZED:  # the token has expired
            self._token = None
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        if not response.is_success:
            raise FleetUnreachable(f"{name}: {response.status_code}")
        return response.text

    async def _new_token(self) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        response = await _request(self._client, "PUT", "/latest/api/token", headers=headers)
        if not response.is_success or not response.text.isprintable():
            raise FleetUnreachable(f"token: {response.status_code}")
        return response.text


class SpotNotices:
    """The notices for a spot instance, from its metadata."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._metadata = InstanceMetadata(client)

    async def is_leaving(self) -> bool:
        """Whether the instance is about to be taken away: terminated, stopped or hibernated.

        Raises:
            FleetUnreachable: it is not known.
        """
        notice = await self._metadata.read("spot/instance-action")
        return notice is not None and "action" in _object_in(notice)


async def _request(
    client: httpx.AsyncClient, method: str, path: str, **options: Any
) -> httpx.Response:
    try:
        return await client.request(method, path, **options)
    except httpx.HTTPError as error:
        raise FleetUnreachable(f"{method} {path}: {error!r}") from error


def _object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of the answer, or an empty one if the answer is none."""
    return _object_in(response.content)


def _object_in(body: str | bytes) -> dict[str, Any]:
    try:
        return fields(json.loads(body))
    except (ValueError, RecursionError):
        return {}
