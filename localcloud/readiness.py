"""Checks that the deployed service answers a client's requests, before the cloud counts as up.

The check also ends the cold starts that a first client would meet. Otherwise a first job could end
before the client's socket is open. `warm_up` does the same for the functions that a first crowd of
clients meets.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import connect

from localcloud.state import CloudFailed, Endpoints

PATIENCE_SECONDS = 90.0  # for cold starts on a busy machine, some of which time out
AGAIN_SECONDS = 0.5
# Clients that find a ready process each. A further process takes a few hundredths of a second.
FIRST_CLIENTS = 10
# What follows a post: functions that read a stream, and do nothing with an empty batch.
FOLLOWERS = ("push_updates", "settle_jobs")


async def answers(http: httpx.AsyncClient, url: str) -> bool:
    """Whether a GET of that URL succeeds."""
    try:
        return (await http.get(url)).is_success
    except httpx.TransportError:
        return False


async def check(endpoints: Endpoints) -> None:
    """Wait until the HTTP API and the WebSocket API answer.

    Raises:
        CloudFailed: one of them did not answer in time.
    """
    give_up_at = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            await asyncio.gather(_http(endpoints), _socket(endpoints))
            return
        except (httpx.HTTPError, websockets.WebSocketException, OSError, CloudFailed) as error:
            if asyncio.get_running_loop().time() > give_up_at:
                raise CloudFailed(f"The deployed API does not answer: {error!r}") from error
            await asyncio.sleep(AGAIN_SECONDS)


async def warm_up(endpoints: Endpoints, functions: Any) -> None:
    """Start the functions of a post in the emulator before clients come.

    `functions`: a client of Lambda. The posts have an empty body, which the API refuses, so they
    make no job.
    """
    await asyncio.gather(
        *(_refused_post(endpoints) for _ in range(FIRST_CLIENTS)),
        asyncio.to_thread(_call_followers, functions),
    )


async def _refused_post(endpoints: Endpoints) -> None:
    async with _client(endpoints) as http:
        await http.post("/api/v1/jobs", json={})


def _call_followers(functions: Any) -> None:
    for page in functions.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            if function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] in FOLLOWERS:
                functions.invoke(FunctionName=function["FunctionName"], Payload=b'{"Records": []}')


def _client(endpoints: Endpoints) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    return httpx.AsyncClient(
        base_url=endpoints.api_url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS
    )


async def _http(endpoints: Endpoints) -> None:
    async with _client(endpoints) as http:
        for path in ("/healthz", "/api/v1/jobs?limit=1"):
            answer = await http.get(path)
            if not answer.is_success:
                raise CloudFailed(f"GET {path} answered {answer.status_code}: {answer.text}")


async def _socket(endpoints: Endpoints) -> None:
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    async with connect(
        endpoints.ws_url, additional_headers=headers, proxy=None, open_timeout=30
    ) as socket:
        await socket.send(json.dumps({"action": "ping"}))
        async with asyncio.timeout(PATIENCE_SECONDS):
            answer = await socket.recv()
        if json.loads(answer).get("type") != "pong":
            raise CloudFailed(f"The WebSocket API answered a ping with {answer!r}")
