"""Metrics as log lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfyline.adapters.aws.metrics import MAX_VALUES, BufferedEmfMetrics, EmfMetrics
from comfyline.service.metrics import Metric


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_metric_is_one_line_that_cloudwatch_reads(capsys: pytest.CaptureFixture[str]) -> None:
    EmfMetrics("Comfyline/test").record(Metric.JOBS_ENDED, status="failed")
    (line,) = lines(capsys)
    assert line["_aws"]["CloudWatchMetrics"] == [
        {
            "Namespace": "Comfyline/test",
            "Dimensions": [["status", "service"]],
            "Metrics": [{"Name": "JobsEnded", "Unit": "Count"}],
        }
    ]
    assert (line["JobsEnded"], line["status"], line["service"]) == ([1.0], "failed", "comfyline")


def test_each_line_has_its_own_unit_and_dimensions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "push_updates")
    metrics = EmfMetrics("Comfyline/test")
    metrics.record(Metric.SWEPT, 3, event="Expired")
    metrics.record(Metric.JOB_WAIT, 2.5)
    swept, wait = lines(capsys)
    assert swept["Swept"] == [3.0]
    (about,) = wait["_aws"]["CloudWatchMetrics"]
    assert about["Metrics"] == [{"Name": "JobWait", "Unit": "Seconds"}]
    assert (about["Dimensions"], wait["JobWait"]) == ([["service"]], [2.5])
    assert wait["service"] == "comfyline"  # the function's name would make it another metric


def test_without_a_namespace_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    buffered = BufferedEmfMetrics("")
    for metrics in (EmfMetrics(""), buffered):
        for metric in Metric:
            metrics.record(metric, **({metric.dimension: "x"} if metric.dimension else {}))
    buffered.flush()
    assert lines(capsys) == []


def test_buffered_facts_of_one_metric_and_dimension_are_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = BufferedEmfMetrics("Comfyline/test")
    metrics.record(Metric.PHASE_TIME, 1.23456, phase="run")
    metrics.record(Metric.PHASE_TIME, 0.5, phase="claim")
    metrics.record(Metric.PHASE_TIME, 2.0, phase="run")
    assert lines(capsys) == []
    metrics.flush()
    run, claim = lines(capsys)
    assert (run["phase"], run["PhaseTime"]) == ("run", [1.235, 2.0])
    assert (claim["phase"], claim["PhaseTime"]) == ("claim", [0.5])
    metrics.flush()
    assert lines(capsys) == []


def test_more_values_than_a_line_may_have_are_several_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = BufferedEmfMetrics("Comfyline/test")
    for _ in range(2 * MAX_VALUES + 1):
        metrics.record(Metric.JOBS_CLAIMED)
    metrics.flush()
    assert [len(line["JobsClaimed"]) for line in lines(capsys)] == [MAX_VALUES, MAX_VALUES, 1]


def test_buffered_facts_with_the_same_dimensions_share_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = BufferedEmfMetrics("Comfyline/test")
    metrics.record(Metric.JOBS_ENDED, status="failed")
    metrics.record(Metric.JOB_WAIT, 3.0)
    metrics.record(Metric.JOB_TIME, 45.0)
    metrics.record(Metric.JOB_WAIT, 4.0)
    metrics.flush()
    ended, times = lines(capsys)
    assert (ended["status"], ended["JobsEnded"]) == ("failed", [1.0])
    assert (times["JobWait"], times["JobTime"]) == ([3.0, 4.0], [45.0])


def test_the_text_of_a_metric_is_its_name() -> None:
    assert [str(metric) for metric in Metric] == [metric.value for metric in Metric]
    assert all(metric.value.isalpha() for metric in Metric)
    assert Metric("JobsEnded") is Metric.JOBS_ENDED
