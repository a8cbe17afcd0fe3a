"""One call of the HTTP API: sent as often as needed, and its response checked.

Every call may be repeated. GET and DELETE may by their nature; a POST carries an Idempotency-Key,
which is made once for each submission and sent with each try.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from comfyline.client.errors import TransportFailed, UnexpectedAnswer, api_error
from comfyline.client.options import job_path
from comfyline.client.primitives import AsyncSleep
from comfyline.client.retries import Retries
from comfyline.contract.v1 import responses
from comfyline.contract.v1.common import API_PREFIX
from comfyline.contract.v1.history import EventList
from comfyline.contract.v1.results import ArtifactPage

Answer = TypeVar("Answer", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class AsyncApi:
    """The HTTP API at `base`. All methods but `send` raise what `call` raises."""

    http: httpx.AsyncClient
    base: str
    api_key: str
    retries: Retries
    pause: AsyncSleep

    async def job(self, job_id: str) -> responses.JobView:
        """The current job.

        Raises:
            ValueError: `job_id` is not a job id.
        """
        return await self.call(responses.JobView, "GET", job_path(job_id))

    async def artifacts(self, job_id: str, cursor: str | None = None) -> ArtifactPage:
        """The page of an ended job's files that the cursor begins, or the first page."""
        params = {"cursor": cursor} if cursor else None
        return await self.call(ArtifactPage, "GET", f"{job_path(job_id)}/artifacts", params=params)

    async def history(self, job_id: str, after: int) -> EventList:
        """The job's changes of state after a version."""
        path = f"{job_path(job_id)}/events"
        return await self.call(EventList, "GET", path, params={"after": after})

    async def metrics(self) -> str:
        """The service's metrics, which are beside the versions of the API."""
        url = self.base.removesuffix(API_PREFIX) + "/metrics"
        headers = {"Authorization": f"Bearer {self.api_key}"}
        response = await self.send(self.http.build_request("GET", url, headers=headers))
        if not response.is_success:
            raise api_error(response)
        return response.text

    async def call(
        self,
        answer: type[Answer],
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """The response's body as an `answer`.

        Raises:
            ApiError: the service refused the call.
            TransportFailed: no response came.
            UnexpectedAnswer: the body is not one of the service's.
        """
        own = {"Authorization": f"Bearer {self.api_key}", "Accept": "application/json"}
        content = None
        if body is not None:
            # httpx's `json=` fails on NaN and on lone surrogates. A terminal may pass the latter as
            # an argument, and ComfyUI writes both into workflows, so the service judges them.
            content = json.dumps(body)
            own["Content-Type"] = "application/json"
        url, headers = self.base + path, {**own, **(headers or {})}
        request = self.http.build_request(
            method, url, params=params, headers=headers, content=content
        )
        response = await self.send(request)
        if not response.is_success:
            raise api_error(response)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise UnexpectedAnswer(
                f"{method} {url} answered {response.status_code}, but the body is "
                "not a response of Comfyline; check COMFYLINE_URL"
            ) from error

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The last response: a final one, or the one after which the client gives up.

        Raises:
            TransportFailed: no response came, after all retries.
        """
        for failures in itertools.count(1):
            try:
                response = await self.http.send(request)
            except httpx.TransportError as error:
                wait = self.retries.wait_after_no_response(error, failures)
                if wait is None:
                    raise _transport_failed(request, error) from error
            else:
                wait = self.retries.wait_after_response(response, failures)
                if wait is None:
                    return response
            await self.pause(wait)
        raise AssertionError("unreachable: the last try returns or raises")


def _transport_failed(request: httpx.Request, error: httpx.TransportError) -> TransportFailed:
    where = str(request.url).partition("?")[0]  # without the query, which may hold a signature
    return TransportFailed(f"{request.method} {where}: {error or type(error).__name__}")
