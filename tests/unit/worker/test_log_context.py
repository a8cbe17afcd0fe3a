"""Log lines carry the ids of their own job."""

from __future__ import annotations

import asyncio
import io
import json
import logging

from aws_lambda_powertools import Logger

from gpu_worker.log_context import LogContextFilter, log_context


def a_logger() -> tuple[Logger, io.StringIO]:
    stream = io.StringIO()
    logger = Logger(service="log_context", stream=stream)
    logger.registered_handler.addFilter(LogContextFilter())
    return logger, stream


def test_lines_of_tasks_and_threads_carry_their_own_job() -> None:
    logger, stream = a_logger()

    async def job(name: str) -> None:
        with (
            log_context(job_id=name, xray_trace_id=None),
            log_context(request_id=f"request of {name}"),
        ):
            await asyncio.gather(
                asyncio.create_task(log_line(name)), asyncio.to_thread(logger.info, name)
            )

    async def log_line(name: str) -> None:
        logger.info(name)

    async def both() -> None:
        await asyncio.gather(job("a"), job("b"))

    asyncio.run(both())
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sorted(line["message"] for line in lines) == ["a", "a", "b", "b"]
    for line in lines:
        assert line["job_id"] == line["message"]
        assert line["request_id"] == f"request of {line['message']}"
        assert "xray_trace_id" not in line


def test_a_field_that_a_line_sets_itself_is_kept() -> None:
    record = logging.makeLogRecord({"job_id": "its own"})
    with log_context(job_id="another"):
        assert LogContextFilter().filter(record)
    assert record.__dict__["job_id"] == "its own"
