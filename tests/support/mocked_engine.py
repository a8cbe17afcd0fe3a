"""A session with an engine whose answers a test gives, for `ComfyHttp`.

Tests write requests and answers in httpx's terms, which are easy to make. Sockets do not take part;
what aiohttp raises for them is tested with real ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import httpx

from gpu_worker.comfy.http import TIMEOUT

URL = "http://engine"

Answer = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


def session(answer: Answer) -> aiohttp.ClientSession:
    """A session whose requests are answered by `answer`, which may raise httpx's errors."""
    return cast(aiohttp.ClientSession, _Session(answer))


class _Session:
    def __init__(self, answer: Answer) -> None:
        self._client = httpx.AsyncClient(
            base_url=URL, transport=httpx.MockTransport(cast(Any, answer))
        )

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        allow_redirects: bool,
        data: BytesIO | None = None,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
        **options: Mapping[str, Any],
    ) -> AsyncIterator[SimpleNamespace]:
        assert not allow_redirects
        assert timeout.sock_read == TIMEOUT.sock_read
        sent = {**options, "content": None if data is None else data.read()}
        try:
            response = await self._client.request(method, path, **cast(Any, sent))
        except httpx.ConnectError as error:
            raise aiohttp.ClientConnectorError(cast(Any, None), OSError(str(error))) from error
        except httpx.TimeoutException as error:
            raise aiohttp.ServerTimeoutError(str(error)) from error
        except httpx.TransportError as error:
            raise aiohttp.ServerDisconnectedError(str(error)) from error
        content = SimpleNamespace(iter_any=response.aiter_bytes)
        yield SimpleNamespace(status=response.status_code, read=response.aread, content=content)
