"""The submit handler's own time: what it takes beyond its AWS calls.

The handler runs in this process as the deployed function would, on the same tables and queues; the
clock stands still while a client of AWS has the word.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from botocore.client import BaseClient

from bench.figures import Figure, Measurement, Series
from bench.stage import Stage
from localcloud.cloud import administration
from localcloud.state import Endpoints

POSTS = 100
WARM_UP = 5
READS = ("Get", "BatchGet", "Query", "Scan")
REFERENCE_BODY = {"prompt": "a red fox in the snow, morning light", "width": 512, "height": 512}


class Calls:
    """Counts the calls of every AWS client while it is in force, and the time that they take."""

    def __init__(self) -> None:
        self.seconds, self.names = 0.0, list[str]()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """In force until the block ends."""
        base: Any = BaseClient  # what every client's methods go through, which is not typed
        original = base._make_api_call

        def call(client: BaseClient, name: str, parameters: Any) -> Any:
            started = time.perf_counter()
            try:
                return original(client, name, parameters)
            finally:
                self.seconds += time.perf_counter() - started
                self.names.append(name)

        base._make_api_call = call
        try:
            yield
        finally:
            base._make_api_call = original


async def own_time(stage: Stage) -> Series:
    """The reference body, once after the other."""
    return await asyncio.to_thread(_measured, stage.endpoints, stage.many(POSTS))


def _measured(endpoints: Endpoints, posts: int) -> Series:
    quiet = {"POWERTOOLS_LOG_LEVEL": "WARNING"}  # printing is the terminal's time
    with patch.dict(os.environ, {**administration(endpoints), **quiet}):
        return _of_posts(posts)


def _of_posts(posts: int) -> Series:
    from functions import cancel_job, submit_job

    own: list[float] = []
    counts: list[float] = []
    replays: list[float] = []
    for _ in range(WARM_UP + posts):
        event = an_event()
        took, calls, answer = _called(submit_job.handler, event)
        own.append(1000 * (took - calls.seconds))
        counts.append(len(calls.names))
        _, again, _ = _called(submit_job.handler, event)
        assert not [name for name in again.names if name.startswith(READS)], again.names
        replays.append(len(again.names))
        job_id = json.loads(answer["body"])["job_id"]  # no worker is to be kept busy by it
        _called(cancel_job.handler, {**event, "pathParameters": {"job_id": job_id}})
    return {
        "own_time": own[WARM_UP:],
        "aws_calls": counts[WARM_UP:],
        "replay_calls": replays[WARM_UP:],
    }


def _called(handler: Callable[[Any, Any], Any], event: Any) -> tuple[float, Calls, Any]:
    calls = Calls()
    with calls.counted():
        started = time.perf_counter()
        answer = handler(event, None)
        took = time.perf_counter() - started
    assert answer["statusCode"] in (200, 202), answer
    return took, calls, answer


def an_event() -> dict[str, Any]:
    """The gateway's event of a post, by an owner whose key has no limits."""
    return {
        "rawPath": "/api/v1/jobs",
        "headers": {"content-type": "application/json", "idempotency-key": uuid.uuid4().hex},
        "pathParameters": {},
        "requestContext": {
            "requestId": uuid.uuid4().hex,
            "http": {"method": "POST", "path": "/api/v1/jobs"},
            "authorizer": {
                "lambda": {"owner": "bench", "key_id": "bench", "scopes": "jobs"},
            },
        },
        "body": json.dumps(REFERENCE_BODY),
    }


MEASUREMENTS = (
    Measurement(
        name="the submit handler",
        take=own_time,
        figures=[
            Figure(
                name="submit handler beyond its AWS calls, p50",
                series="own_time",
                goal=3.0,
                slack=0.5,
            ),
            Figure(
                name="AWS calls of a post",
                series="aws_calls",
                statistic="max",
                unit="",
                goal=3.0,
                factor=1.0,
            ),
            Figure(
                name="AWS calls of a replay, none of them a read",
                series="replay_calls",
                statistic="max",
                unit="",
                goal=2.0,
                factor=1.0,
            ),
        ],
    ),
)
