"""The calls about the caller itself: who it is, what it has used, and tokens for its users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from comfyline.client.aio.api import AsyncApi
from comfyline.contract.limits import DEFAULT_TOKEN_SECONDS
from comfyline.contract.v1 import responses
from comfyline.contract.v1.access import Caller
from comfyline.contract.v1.requests import TokenScope


class AsyncAccount:
    """These methods of `AsyncComfyline`."""

    _api: AsyncApi

    async def me(self) -> Caller:
        """Who you are: the owner, the key, its scopes and limits, and how near you are to these."""
        return await self._api.call(Caller, "GET", "/me")

    async def usage(self, *, by: Literal["month"] | None = None) -> responses.UsageView:
        """What your jobs have used so far; by month also in each of the last twelve months."""
        params = {"by": by} if by else {}
        return await self._api.call(responses.UsageView, "GET", "/usage", params=params)

    async def metrics(self) -> str:
        """The totals of the whole service, in the text format of Prometheus.

        Raises:
            Forbidden: the key lacks the scope `admin`.
        """
        return await self._api.metrics()

    async def create_token(
        self,
        user: str,
        *,
        scopes: Sequence[TokenScope] = ("jobs",),
        max_jobs: int | None = None,
        expires_in: int = DEFAULT_TOKEN_SECONDS,
    ) -> responses.TokenResponse:
        """A short-lived token for a browser, which acts in the name of one user of yours.

        `expires_in` is in seconds. `max_jobs` bounds how many jobs the token may submit in all.
        """
        body = {"user": user, "scopes": [*scopes], "max_jobs": max_jobs, "expires_in": expires_in}
        return await self._api.call(responses.TokenResponse, "POST", "/tokens", body=body)
