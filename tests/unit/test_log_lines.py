"""Every log line is JSON of a bounded length."""

from __future__ import annotations

import json
import logging

from aws_lambda_powertools import Logger
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.log_lines import MAX_LOGGED, log_line
from functions._handlers import logger
from gpu_worker.log_context import LogContextFormatter
from tests.support.hostile import hostile_texts

TEXTS = hostile_texts(3 * MAX_LOGGED)


@given(st.dictionaries(st.text(max_size=5), TEXTS | st.lists(TEXTS, max_size=2), max_size=3))
def test_it_is_ascii_on_one_line_and_bounded(fields: dict[str, object]) -> None:
    line = log_line(fields)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line).keys() == fields.keys()
    assert len(line) <= 7 * 6 * (MAX_LOGGED + 10)  # six texts, each character as a long escape


def test_a_value_that_is_no_json_is_shown_as_text() -> None:
    assert json.loads(log_line({"error": ValueError("x" * 99_999)}))["error"].startswith("xxx")


def test_functions_and_worker_write_such_lines() -> None:
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "half \ud800 \x1b[2J", None, None)
    worker = Logger(service="w", logger_formatter=LogContextFormatter(json_serializer=log_line))
    for formatter in (logger.registered_formatter, worker.registered_formatter):
        line = formatter.format(record)
        assert line.isascii()
        assert json.loads(line)["message"] == "half \ufffd \x1b[2J"
