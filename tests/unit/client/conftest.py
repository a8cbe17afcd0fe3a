"""`follow`: what `events` yields, by either client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from comfyline.client import JobMessage, Pace
from tests.unit.client.fakes import JOB, PACE, Service

Follow = Callable[..., list[JobMessage]]


@pytest.fixture(params=["blocking", "asyncio"])
def follow(request: pytest.FixtureRequest) -> Follow:
    """A function that follows jobs to their end and returns their messages."""

    def messages(
        service: Service,
        url: str | None,
        pace: Pace = PACE,
        timeout: float = 20,
        jobs: Any = (JOB,),
    ) -> list[JobMessage]:
        async def awaited() -> list[JobMessage]:
            async with service.async_client(url, pace) as client:
                return [message async for message in client.events(jobs, timeout)]

        if request.param == "asyncio":
            return asyncio.run(awaited())
        with service.client(url, pace) as client:
            return list(client.events(jobs, timeout))

    return messages
