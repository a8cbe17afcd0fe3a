"""Log lines carry the ids of their own job."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

from aws_lambda_powertools import Logger

from gpu_worker.log_context import LogContextFormatter, log_with


def a_logger(name: str) -> tuple[Logger, io.StringIO]:
    stream = io.StringIO()
    formatter = LogContextFormatter()
    return Logger(service=name, worker_id="w", stream=stream, logger_formatter=formatter), stream


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_lines_of_tasks_and_threads_carry_their_own_job() -> None:
    logger, stream = a_logger("both")

    async def job(name: str) -> None:
        log_with(job_id=name, xray_trace_id=None)
        log_with(request_id=f"request of {name}")
        await asyncio.gather(
            asyncio.create_task(log_line(name)), asyncio.to_thread(logger.info, name)
        )

    async def log_line(name: str) -> None:
        logger.info(name)

    async def both() -> None:
        await asyncio.gather(job("a"), job("b"))
        logger.info("after them")

    asyncio.run(both())
    *lines, last = lines_of(stream)
    assert sorted(line["message"] for line in lines) == ["a", "a", "b", "b"]
    for line in lines:
        assert line["job_id"] == line["message"]
        assert line["request_id"] == f"request of {line['message']}"
        assert "xray_trace_id" not in line
    for line in (*lines, last):
        assert (line["service"], line["worker_id"]) == ("both", "w")
    assert "job_id" not in last


async def test_a_line_carries_the_trace_of_the_ticket_and_keeps_its_own_fields() -> None:
    logger, stream = a_logger("own")
    log_with(job_id="another", xray_trace_id="1-2-3")
    logger.info("x", extra={"job_id": "its own"})
    [line] = lines_of(stream)
    assert (line["job_id"], line["xray_trace_id"]) == ("its own", "1-2-3")
