"""Everything answers: asked as a client would, before anybody is told that the cloud is up.

It also warms what a first client meets first, so that its job is not over before its socket opens.
"""

from __future__ import annotations

import asyncio
import json

import httpx
import websockets
from websockets.asyncio.client import connect

from localcloud.state import Endpoints

PATIENCE_SECONDS = 60.0  # cold starts on a busy machine


class NotAnswering(Exception):
    """A part of the deployed service does not answer; the message says which and how."""


async def check(endpoints: Endpoints) -> None:
    """The HTTP API and the WebSocket API answer.

    Raises:
        NotAnswering: one of them does not.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(_http(endpoints), _socket(endpoints))
    except (TimeoutError, httpx.HTTPError, websockets.WebSocketException, OSError) as error:
        raise NotAnswering(f"the deployed API does not answer: {error!r}") from error


async def _http(endpoints: Endpoints) -> None:
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    async with httpx.AsyncClient(base_url=endpoints.api_url, trust_env=False, timeout=30) as http:
        for path in ("/healthz", "/api/v1/jobs?limit=1"):
            answer = await http.get(path, headers=headers)
            if not answer.is_success:
                raise NotAnswering(f"GET {path} answered {answer.status_code}: {answer.text}")


async def _socket(endpoints: Endpoints) -> None:
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    async with connect(endpoints.ws_url, additional_headers=headers, proxy=None) as socket:
        await socket.send(json.dumps({"action": "ping"}))
        answer = await socket.recv()
        if json.loads(answer).get("type") != "pong":
            raise NotAnswering(f"a ping on the socket was answered {answer!r}")
