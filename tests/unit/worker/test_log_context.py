"""What lines of the worker's log say about the job that they are about."""

from __future__ import annotations

import asyncio
import io
import json
import logging

from aws_lambda_powertools import Logger

from gpu_worker.log_context import AboutTheJob, about


def a_logger() -> tuple[Logger, io.StringIO]:
    stream = io.StringIO()
    logger = Logger(service="log_context", stream=stream)
    logger.registered_handler.addFilter(AboutTheJob())
    return logger, stream


def test_lines_of_tasks_and_threads_name_their_own_job() -> None:
    logger, stream = a_logger()

    async def job(name: str) -> None:
        with about(job_id=name, xray_trace_id=None), about(request_id=f"request of {name}"):
            await asyncio.gather(
                asyncio.create_task(said(name)), asyncio.to_thread(logger.info, name)
            )

    async def said(name: str) -> None:
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


def test_what_a_line_says_itself_stands() -> None:
    record = logging.makeLogRecord({"job_id": "its own"})
    with about(job_id="another"):
        assert AboutTheJob().filter(record)
    assert record.__dict__["job_id"] == "its own"
