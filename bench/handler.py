"""The time that the submit handler needs beside its AWS calls.

The handler runs in this process like the deployed function, on the deployed tables and queues. The
time of each AWS call is subtracted.
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

from bench.cloud import MeasuredCloud
from bench.figures import Figure, Measurement, Series
from localcloud.cloud import administration
from localcloud.state import Endpoints

POSTS = 100
WARM_UP = 5
READS = ("Get", "BatchGet", "Query", "Scan")
REFERENCE_BODY = {"prompt": "a red fox in the snow, morning light", "width": 512, "height": 512}


class Calls:
    """The AWS calls of all clients in a block: their names, and the time that they take."""

    def __init__(self) -> None:
        self.seconds, self.names = 0.0, list[str]()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count calls until the block ends."""
        base: Any = BaseClient  # all methods of all clients call its untyped `_make_api_call`
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


async def own_time(cloud: MeasuredCloud) -> Series:
    """Posts of the reference body, one after the other."""
    return await asyncio.to_thread(_measured, cloud.endpoints, cloud.many(POSTS))


def _measured(endpoints: Endpoints, posts: int) -> Series:
    quiet = {"POWERTOOLS_LOG_LEVEL": "WARNING"}  # because printing would be measured too
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
        job_id = json.loads(answer["body"])["job_id"]  # canceled, so that no worker runs it
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
    """The event that API Gateway sends for a post. The key of its owner has no limits."""
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
                goal=2.0,
                slack=0.5,
            ),
            Figure(
                name="AWS calls of a post",
                series="aws_calls",  # once in a while a post also stores the owner's budget
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
