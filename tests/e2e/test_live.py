"""Live updates: each subscriber receives every state once, and the end.

This also holds for subscribers that join late or lose their connection.

Opening a socket calls three functions, and the emulator starts a process for each concurrent call.
So a crowd connects through a proxy (`gate`) that lets only a few handshakes run at once, about as
many as API Gateway would have in progress at the same rate of new sockets. The tests let the job
end when enough subscribers have connected, not after a fixed time, so that a slow machine sees the
same races.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import boto3
import pytest
from websockets.asyncio.client import connect

from comfyline.client import AsyncComfyline, AsyncJob, Backoff, Comfyline, Pace
from comfyline.contract.v1.socket import ErrorMessage, StatusMessage, server_message
from localcloud.state import Endpoints, State
from tests.e2e.test_recovery import signalled, slow_steps
from tests.support.cutter import Cutter
from tests.support.eventually import WITHIN, eventually_now
from tests.support.hearing import (
    Messages,
    assert_each_once_in_order,
    assert_no_state_missed,
    assert_progress_never_falls,
    passed_through,
    states,
)

pytestmark = pytest.mark.usefixtures("local")

# Sizes of a full run. The ordinary run uses a tenth of a crowd, so that a busy machine can bear it.
SOCKETS = 300
CLIENTS = 50
CUTS = 6
WATCHERS = 200
DROPPED = 1000
# A step lasts longer than several sockets need to connect, so that few progress messages are pushed
# to the crowd meanwhile.
HELD_STEP_MS = 5_000
HELD_STEPS = 100  # no test waits for all of them at this speed

Crowd = Callable[[int], int]


@pytest.fixture
def crowd(is_long: bool) -> Crowd:
    """Scale a full size to this run: all of it with --long, otherwise a tenth."""
    share = 1 if is_long else 10
    return lambda number: number // share


@pytest.fixture
async def gate(endpoints: Endpoints) -> AsyncIterator[Cutter]:
    """The proxy through which a crowd connects, a few handshakes at a time."""
    async with Cutter(endpoints.ws_url).running() as running:
        yield running


def a_client(endpoints: Endpoints, gate: Cutter | None = None) -> AsyncComfyline:
    ws_url = gate.url if gate else endpoints.ws_url
    pace = Pace(backoff=Backoff(base_seconds=1, cap_seconds=10), open_seconds=200)
    return AsyncComfyline(endpoints.api_url, endpoints.api_key, ws_url, pace=pace)


async def a_running_job(client: AsyncComfyline, steps: int) -> AsyncJob:
    job = await client.submit("watched", steps=steps, width=64, height=64)
    async for message in job.events(60):
        if isinstance(message, StatusMessage) and message.status == "running":
            break
    return job


async def heard(client: AsyncComfyline, job: AsyncJob) -> Messages:
    return [message async for message in client.job(job.id).events(200)]


def hearing(client: AsyncComfyline, job: AsyncJob, count: int) -> list[asyncio.Task[Messages]]:
    return [asyncio.create_task(heard(client, job)) for _ in range(count)]


async def test_sockets_opened_around_the_end_of_a_job_receive_done_once(
    endpoints: Endpoints, gate: Cutter, crowd: Crowd
) -> None:
    sockets = crowd(SOCKETS)
    async with a_client(endpoints, gate) as client:
        with slow_steps(endpoints, HELD_STEP_MS):
            job = await a_running_job(client, HELD_STEPS)
            hears = hearing(client, job, sockets)
            await gate.until_answered(sockets // 2)
        with slow_steps(endpoints, 1):  # the job ends while the others connect
            told = await asyncio.gather(*hears)
    for messages in told:
        assert_each_once_in_order(messages)
        assert messages[-1].status == "succeeded"  # type: ignore[union-attr]


async def test_late_or_cut_off_subscribers_miss_no_state_and_receive_none_twice(
    endpoints: Endpoints, state: State, gate: Cutter, crowd: Crowd
) -> None:
    clients = crowd(CLIENTS)
    cutter = Cutter(endpoints.ws_url)
    async with (
        cutter.running(),
        a_client(endpoints, gate) as sure,
        a_client(endpoints, cutter) as shaken,
    ):
        with slow_steps(endpoints, 1_000):
            job = await a_running_job(sure, HELD_STEPS * 5)
            truth, *joined = hearing(sure, job, 1)
            dropped = hearing(shaken, job, clients)
            cuts = 0
            for n in range(CUTS):
                joined += hearing(sure, job, clients // CUTS or 1)
                await cutter.until_answered(cutter.answered + clients // 2)
                cuts += cutter.cut()
                if n == CUTS // 2:
                    signalled(state, signal.SIGTERM)  # states change during the cut
        with slow_steps(endpoints, 1):
            told = await asyncio.gather(truth, *dropped, *joined)
    assert cuts >= clients
    # The subscriber that joined first received the most states. The states of each other subscriber
    # must be the last part of that list, which a missed state in the middle would break.
    reference = max(told, key=lambda messages: len(passed_through(messages)))
    assert {attempt for _, _, attempt in states(reference)} >= {1, 2}
    for messages in told:
        assert_each_once_in_order(messages)
        assert_progress_never_falls(messages)
        assert_no_state_missed(messages, reference)


async def test_subscribers_see_the_interruption_by_a_killed_worker_and_one_end(
    endpoints: Endpoints, state: State, gate: Cutter
) -> None:
    async with a_client(endpoints, gate) as client:
        with slow_steps(endpoints, HELD_STEP_MS):
            job = await a_running_job(client, HELD_STEPS)
            watching = hearing(client, job, 5)
            await gate.until_answered(5)
            signalled(state, signal.SIGKILL)
        with slow_steps(endpoints, 1):
            told = await asyncio.gather(*watching)
    for messages in told:
        assert_each_once_in_order(messages)
        assert_progress_never_falls(messages)
        reasons = [m.reason for m in messages if isinstance(m, StatusMessage)]
        assert "worker_lost" in reasons
        assert states(messages)[-1][1:] == ("succeeded", 2)


async def test_many_subscribers_follow_one_job(
    endpoints: Endpoints, gate: Cutter, crowd: Crowd
) -> None:
    watchers = crowd(WATCHERS)
    async with a_client(endpoints, gate) as client:
        with slow_steps(endpoints, HELD_STEP_MS):
            job = await a_running_job(client, HELD_STEPS)
            hears = hearing(client, job, watchers)
            await gate.until_answered(watchers)
        told = await asyncio.gather(*hears)
    for messages in told:
        assert_each_once_in_order(messages)
        assert_progress_never_falls(messages)


async def test_one_subscriber_follows_many_jobs(endpoints: Endpoints) -> None:
    async with a_client(endpoints) as client:
        jobs = [await client.submit("one", steps=1, width=64, height=64) for _ in range(20)]
        told = [message async for message in client.events([job.id for job in jobs], 180)]
    for job in jobs:
        assert_each_once_in_order([m for m in told if m.job_id == job.id])


def admin(endpoints: Endpoints, service: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service,
        region_name=endpoints.region,
        endpoint_url=endpoints.aws_endpoint_url,
        aws_access_key_id=endpoints.aws_access_key_id,
        aws_secret_access_key=endpoints.aws_secret_access_key,
    )


def have_ttl(dynamodb: Any, table: str) -> None:
    """Enable TTL, because the emulator ignores it in the template (tests/infra check it there)."""
    told = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if told["TimeToLiveStatus"] == "DISABLED":
        dynamodb.update_time_to_live(
            TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
        )


def dropped_rows(job_id: str, number: int, ttl: float) -> list[dict[str, Any]]:
    """The rows that remain of a connection if its `$disconnect` event never arrives."""
    name, end = f"dropped-{job_id}-{number}=", {"N": str(int(ttl))}
    since = {"N": str(int((time.time() - 60) * 1000))}
    socket = {"pk": {"S": f"conn#{name}"}, "sk": {"S": "conn"}, "jobs": {"SS": [job_id]}}
    subscription = {"pk": {"S": f"job#{job_id}"}, "sk": {"S": f"conn#{name}"}, "since": since}
    return [{**socket, "ttl": end}, {**subscription, "ttl": end}]


def put_all(dynamodb: Any, table: str, rows: list[dict[str, Any]]) -> None:
    for begin in range(0, len(rows), 24):
        requests = [{"PutRequest": {"Item": row}} for row in rows[begin : begin + 24]]
        dynamodb.batch_write_item(RequestItems={table: requests})


def log_lines(endpoints: Endpoints, group: str) -> list[str]:
    """The log messages of a function."""
    logs = admin(endpoints, "logs")
    groups = logs.get_paginator("describe_log_groups").paginate()
    (name,) = [
        found["logGroupName"]
        for page in groups
        for found in page["logGroups"]
        if group in found["logGroupName"]
    ]
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=name)
    return [event["message"] for page in pages for event in page["events"]]


def test_connections_without_a_disconnect_event_leave_no_rows(
    client: Comfyline, endpoints: Endpoints, crowd: Crowd
) -> None:
    """A push finds half of them gone. The other half reach their TTL before the first push."""
    dynamodb, table = admin(endpoints, "dynamodb"), endpoints.outputs["ConnectionsTable"]
    have_ttl(dynamodb, table)
    with slow_steps(endpoints, 10):
        job = client.submit("watched by the dead", steps=300, width=64, height=64)
        now = time.time()
        ends = [now - 1 if n % 2 else now + 7200 for n in range(crowd(DROPPED))]
        rows = [row for n, end in enumerate(ends) for row in dropped_rows(job.id, n, end)]
        put_all(dynamodb, table, rows)
        told = list(job.events(120))
    assert_each_once_in_order(told)

    def left() -> int:
        pages = dynamodb.get_paginator("scan").paginate(TableName=table)
        return sum("dropped-" in str(item) for page in pages for item in page["Items"])

    eventually_now(lambda: left() == 0, within=120, every=1)
    lines = log_lines(endpoints, "PushUpdatesLogs")
    assert any(line.startswith("REPORT") for line in lines)
    assert [line for line in lines if '"level":"ERROR"' in line or "Traceback" in line] == []


async def test_a_socket_opened_with_a_job_id_follows_the_job(endpoints: Endpoints) -> None:
    headers = {"Authorization": f"Bearer {endpoints.api_key}"}
    async with a_client(endpoints) as client:
        job = await client.submit("at connect", steps=2, width=64, height=64)
        url = f"{endpoints.ws_url}?job_id={job.id}"
        async with connect(url, additional_headers=headers) as socket:
            messages = []
            while not messages or messages[-1].type != "done":
                raw = await asyncio.wait_for(socket.recv(), WITHIN)
                messages.append(server_message.validate_json(raw))
    assert isinstance(messages[0], StatusMessage)
    assert messages[0].snapshot


async def test_a_refused_message_leaves_the_socket_open(endpoints: Endpoints) -> None:
    async with a_client(endpoints) as client:
        job = await client.submit("mine", steps=1, width=64, height=64)
    headers = {"Authorization": f"Bearer {endpoints.second_api_key}"}
    async with connect(endpoints.ws_url, additional_headers=headers) as socket:
        for said, code in (
            (f'{{"action": "subscribe", "job_id": "{job.id}"}}', "job_not_found"),
            ("nonsense", "bad_json"),
            ('{"action": "dance"}', "unknown_action"),
        ):
            await socket.send(said)
            answer = server_message.validate_json(await asyncio.wait_for(socket.recv(), WITHIN))
            assert isinstance(answer, ErrorMessage)
            assert answer.code == code
