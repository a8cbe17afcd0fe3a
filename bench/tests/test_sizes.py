"""The arithmetic of the table of memory sizes."""

from __future__ import annotations

import re

import pytest

from bench.page import PAGE
from bench.sizes import AWS_CALLS, FIRST_CALL_MS, OWN_MS, SDK_MS, SIZES_MB, Work, with_table
from infra.functions import FUNCTIONS

WORK = Work(start_ms=200, aws_calls=2)


def test_cpu_takes_longer_with_less_memory_and_waiting_does_not() -> None:
    cpu = OWN_MS + 2 * SDK_MS
    whole, half = WORK.warm_ms(1769), WORK.warm_ms(1769 // 2)
    assert half - whole == pytest.approx(cpu, rel=0.01)
    assert WORK.warm_ms(3008) == whole  # one thread has one CPU


def test_a_start_has_a_whole_cpu_at_every_size() -> None:
    for size in SIZES_MB:
        assert WORK.cold_ms(size) > 200 + WORK.warm_ms(size)
    assert WORK.cold_ms(1769) == pytest.approx(200 + FIRST_CALL_MS - OWN_MS + WORK.warm_ms(1769))


def test_a_call_costs_its_request_and_its_time() -> None:
    free = Work(start_ms=0, aws_calls=0)
    assert 0.2 < free.dollars(128) < WORK.dollars(128) < WORK.dollars(3008)


def test_the_page_has_each_function_and_marks_its_size() -> None:
    page = PAGE.read_text()
    for name in AWS_CALLS:
        assert re.search(
            rf"^\| {name} \| \*\*{FUNCTIONS[name].memory:,}\*\* \|", page, re.MULTILINE
        )
    works = dict.fromkeys(AWS_CALLS, WORK)
    assert with_table(with_table(page, works), works) == with_table(page, works)
