"""The calls about the caller itself: who it is, what it has used, and tokens for its users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from comfyline.client.aio.api import AsyncApi
from comfyline.client.options import key_path
from comfyline.contract.limits import DEFAULT_OVERLAP_SECONDS, DEFAULT_TOKEN_SECONDS
from comfyline.contract.v1 import responses
from comfyline.contract.v1.access import Caller, KeyList, KeyScope, KeyView, NewKeyResponse
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

    async def keys(self) -> KeyList:
        """The keys of your owner, oldest first, without their secrets.

        Raises:
            Forbidden: the key lacks the scope `keys`.
        """
        return await self._api.call(KeyList, "GET", "/keys")

    async def create_key(
        self,
        name: str = "",
        *,
        scopes: Sequence[KeyScope] = ("jobs",),
        expires_in: int | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> NewKeyResponse:
        """A new key of your owner, which can do no more than yours. Its secret is shown once.

        `expires_in` is in seconds. `limits` has the names of `KeyLimits`.

        Raises:
            Forbidden: the key lacks the scope `keys`, or a scope of `scopes`.
            Conflict: the owner has too many keys.
        """
        body = {
            "name": name,
            "scopes": [*scopes],
            "expires_in": expires_in,
            "limits": dict(limits or {}),
        }
        return await self._api.call(NewKeyResponse, "POST", "/keys", body=body)

    async def disable_key(self, key_id: str) -> KeyView:
        """Disable a key of your owner for good.

        Raises:
            NotFound: the owner has no such key.
        """
        return await self._api.call(KeyView, "DELETE", key_path(key_id))

    async def rotate_key(
        self, key_id: str, *, overlap_seconds: int = DEFAULT_OVERLAP_SECONDS
    ) -> NewKeyResponse:
        """A new key in the place of one of your owner, which ends after the overlap.

        Raises:
            NotFound: the owner has no such key, or it has ended.
        """
        body = {"overlap_seconds": overlap_seconds}
        return await self._api.call(NewKeyResponse, "POST", f"{key_path(key_id)}/rotate", body=body)
