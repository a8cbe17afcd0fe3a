"""Simultaneous posts with the same idempotency key."""

from __future__ import annotations

import asyncio
import secrets

import httpx

from localcloud.state import Endpoints
from tests.support import web

Answer = tuple[int, str, bool]  # status, job id, whether it was a replay

BODY = {"prompt": "one of many", "steps": 1, "width": 64, "height": 64, "seed": 1}


def simultaneous_rounds(endpoints: Endpoints, *, rounds: int, posts: int) -> list[list[Answer]]:
    """The answers of each round: `posts` simultaneous posts with one key, new in each round."""
    return asyncio.run(_rounds(endpoints, rounds, posts))


async def _rounds(endpoints: Endpoints, rounds: int, posts: int) -> list[list[Answer]]:
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    limits = httpx.Limits(max_connections=posts)
    async with web.AsyncClient(base_url=endpoints.api_url, headers=headers, limits=limits) as http:
        return [await _round(http, posts) for _ in range(rounds)]


async def _round(http: httpx.AsyncClient, posts: int) -> list[Answer]:
    key = secrets.token_hex(16)
    return await asyncio.gather(*(_post(http, key) for _ in range(posts)))


async def _post(http: httpx.AsyncClient, key: str) -> Answer:
    answer = await http.post("/api/v1/jobs", json=BODY, headers={"Idempotency-Key": key})
    replayed = answer.headers.get("idempotent-replayed") == "true"
    return answer.status_code, answer.json()["job_id"], replayed
