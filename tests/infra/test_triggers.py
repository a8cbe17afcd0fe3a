"""What calls the functions of the APIs' stack: the jobs stream, queues and schedules."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.aws.jobs import codec
from comfyline.adapters.aws.ledger.table import COUNTED_FOR
from comfyline.service.jobs.job import TERMINAL, Status
from tests.infra.templates import (
    Json,
    Templates,
    function_in,
    named,
    only,
    plain_name,
    resources,
    statements,
)
from tests.support.builders import NOW, a_job, canceled, running, settled, succeeded


def mapping_of(aws: Templates, function: str, source: str) -> Json:
    """How Lambda reads that table's stream, or that queue, for the function."""
    (mapping,) = (
        mapping
        for mapping in resources(aws.api, "AWS::Lambda::EventSourceMapping").values()
        if function_in(aws.render(mapping["FunctionName"])) == function
        and plain_name(aws.render(mapping["EventSourceArn"]).partition(".")[0]) == source
    )
    return mapping


def patterns_of(mapping: Json) -> list[Any]:
    return [json.loads(f["Pattern"]) for f in mapping["FilterCriteria"]["Filters"]]


@pytest.mark.parametrize("function", ["PushUpdates", "SettleJobs"])
def test_both_readers_of_the_stream_report_what_failed(aws: Templates, function: str) -> None:
    source = mapping_of(aws, function, "Jobs")
    assert aws.render(source["EventSourceArn"]).endswith(".StreamArn")
    assert source["StartingPosition"] == "TRIM_HORIZON"
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BisectBatchOnFunctionError"] is True
    assert "DestinationConfig" not in source


def test_live_updates_are_dropped_after_five_minutes(aws: Templates) -> None:
    source = mapping_of(aws, "PushUpdates", "Jobs")
    assert source["BatchSize"] == 100
    # Without a bound, one record that always fails would hold up its shard for a day.
    assert 0 <= source["MaximumRetryAttempts"] <= 10
    assert source["MaximumRecordAgeInSeconds"] == 300


def test_the_pusher_is_called_for_watched_jobs_only(aws: Templates) -> None:
    patterns = patterns_of(mapping_of(aws, "PushUpdates", "Jobs"))
    marks = ("watched_until", "owner_watched_until")
    assert patterns == [
        {
            "dynamodb": {
                "Keys": {"sk": {"S": ["job"]}},
                "NewImage": {mark: {"N": [{"exists": True}]}},
            }
        }
        for mark in marks
    ]
    for mark in marks:
        job, watched = running(a_job()), running(a_job(**{mark: NOW}))
        assert [mark in codec.item_of(j) for j in (job, watched)] == [False, True]


def test_a_settlement_is_tried_for_as_long_as_the_stream_holds_the_record(aws: Templates) -> None:
    source = mapping_of(aws, "SettleJobs", "Jobs")
    assert source.get("MaximumRetryAttempts", -1) == -1
    assert source.get("MaximumRecordAgeInSeconds", -1) == -1
    assert source["MaximumBatchingWindowInSeconds"] <= 5


def test_settle_jobs_is_called_for_new_jobs_and_for_ends(aws: Templates) -> None:
    end, new = patterns_of(mapping_of(aws, "SettleJobs", "Jobs"))
    row = {"Keys": {"sk": {"S": ["job"]}}}
    assert new == {"eventName": ["INSERT"], "dynamodb": row}
    images = end["dynamodb"]
    assert images.pop("Keys") == row["Keys"]
    live = {status.value for status in Status} - {status.value for status in TERMINAL}
    assert set(images["OldImage"]["status"]["S"]) == live
    assert set(images["NewImage"]["status"]["S"]) == {status.value for status in TERMINAL}
    # The note that a job is settled is no end, so no note makes a further call.
    for ended in (succeeded(a_job()), canceled(a_job())):
        assert codec.item_of(ended)["status"]["S"] in images["NewImage"]["status"]["S"]
        assert codec.item_of(settled(ended))["status"]["S"] not in images["OldImage"]["status"]["S"]


def test_a_deployment_can_leave_the_scaler_to_its_rounds(asg: Templates) -> None:
    (pattern,) = patterns_of(mapping_of(asg, "SettleJobs", "Jobs"))
    assert "OldImage" in pattern["dynamodb"]  # ends only


def test_parked_steps_are_kept_for_14_days_and_tried_by_settle_jobs(aws: Templates) -> None:
    mapping = mapping_of(aws, "SettleJobs", "Parking")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    queue = named(aws.api, "AWS::SQS::Queue", "Parking")
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert queue["VisibilityTimeout"] == 6 * aws.functions()["SettleJobs"]["Timeout"]
    assert queue["DelaySeconds"] > 0
    # The note that a job is counted outlives every message that could count it again.
    last_delivery = timedelta(days=1) + timedelta(seconds=queue["MessageRetentionPeriod"])
    assert last_delivery + timedelta(days=14) <= COUNTED_FOR


def test_settle_jobs_can_wake_the_scaler(aws: Templates, local: Templates) -> None:
    environment = aws.environment("SettleJobs")
    wake = [
        statement for _, statement in statements(aws.api) if statement.get("Sid") == "WakeScaler"
    ]
    (arn,) = (aws.render(statement["Resource"]) for statement in wake)
    assert "ScaleWorkers" in arn
    assert "ScaleWorkers" in environment["SCALER_FUNCTION"]
    assert "Scaling" in environment["SCALING_TABLE"]
    assert local.environment("SettleJobs")["SCALER_FUNCTION"] == ""


def test_dead_letters_feed_redrive_tickets(aws: Templates) -> None:
    mappings = resources(aws.api, "AWS::Lambda::EventSourceMapping").values()
    (mapping,) = (m for m in mappings if "DeadLetters" in aws.render(m["EventSourceArn"]))
    assert function_in(aws.render(mapping["FunctionName"])) == "RedriveTickets"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    queue = named(aws.data, "AWS::SQS::Queue", "DeadLetters")
    assert queue["VisibilityTimeout"] == 6 * aws.functions()["RedriveTickets"]["Timeout"]


def test_a_schedule_calls_sweep_jobs(aws: Templates) -> None:
    schedule = only(resources(aws.api, "AWS::Scheduler::Schedule"))
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert function_in(aws.render(schedule["Target"]["Arn"])) == "SweepJobs"
    assert aws.functions()["SweepJobs"]["Timeout"] < 60  # two rounds never run at once


@pytest.mark.parametrize("function", ["SweepJobs", "SocketSubscribe", "ScaleWorkers"])
def test_an_asynchronous_call_is_not_repeated(aws: Templates, function: str) -> None:
    """Lambda retries such a call twice by itself, and keeps it for 6 h while it is throttled."""
    configs = {
        function_in(aws.render(config["FunctionName"])): config
        for template in aws.all
        for config in resources(template, "AWS::Lambda::EventInvokeConfig").values()
    }
    assert configs[function]["MaximumRetryAttempts"] == 0
    assert configs[function]["MaximumEventAgeInSeconds"] == 60


def test_an_emulator_reads_the_stream_for_live_updates_first(local: Templates) -> None:
    found = local.api["Resources"]
    (push,) = (name for name in found if name.startswith("PushUpdatesFunctionDynamoDB"))
    (settle,) = (name for name in found if name.startswith("SettleJobsFunctionDynamoDB"))
    assert push in found[settle]["DependsOn"]


def test_without_a_scaler_new_jobs_call_nothing(local: Templates) -> None:
    (end,) = patterns_of(mapping_of(local, "SettleJobs", "Jobs"))
    assert "eventName" not in end
