"""The scaler's function and its triggers."""

from __future__ import annotations

import json
from dataclasses import fields, replace

from comfyline.service.fleet.scaling import ScalingPolicy
from comfyline.service.settings import ScalerSettings
from infra.deployment import Scaling
from infra.functions import FUNCTIONS
from tests.infra.templates import Json, Templates, only, plain_name, resources


def function(templates: Templates) -> Json:
    return only(resources(templates.scaler, "AWS::Lambda::Function"))


def environment(templates: Templates) -> dict[str, str]:
    variables = function(templates)["Environment"]["Variables"]
    return {name: templates.render(value) for name, value in variables.items()}


def test_handler_is_the_rows(aws: Templates) -> None:
    assert function(aws)["Handler"] == "functions.scale_workers.handler"


def test_environment_is_the_rows_settings(aws: Templates) -> None:
    found, groups = environment(aws), FUNCTIONS["ScaleWorkers"].settings
    common = {"POWERTOOLS_SERVICE_NAME", "LOG_LEVEL"}
    assert set(found) == {f.name.upper() for group in groups for f in fields(group)} | common
    settings = ScalerSettings.from_environment(found)
    assert (settings.cluster, settings.service) == ("comfyline-test", "worker")
    assert plain_name(settings.scaling_table) == "Scaling"


def test_the_section_of_the_deployment_file_reaches_the_scaler_as_it_is(
    aws: Templates, asg: Templates
) -> None:
    """So a new setting is one field of the section and one of the scaler's policy."""
    assert {field.name for field in fields(ScalingPolicy)} == set(Scaling.model_fields)
    usual, warm = (ScalingPolicy(**json.loads(environment(t)["SCALING"])) for t in (aws, asg))
    assert usual == ScalingPolicy(**Scaling().model_dump())
    assert warm == replace(usual, warm_workers=2, warm_hours="mon-fri 07-18")


def test_a_schedule_calls_it_each_minute(aws: Templates) -> None:
    schedule = only(resources(aws.scaler, "AWS::Scheduler::Schedule"))
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert function(aws)["Timeout"] < 60  # two rounds of the schedule never run at once


def test_a_call_for_new_jobs_is_not_retried(aws: Templates) -> None:
    calls = only(resources(aws.scaler, "AWS::Lambda::EventInvokeConfig"))
    assert calls["MaximumRetryAttempts"] == 0
    assert calls["MaximumEventAgeInSeconds"] == 60
    assert not resources(aws.scaler, "AWS::Lambda::EventSourceMapping")


def test_the_stream_has_no_more_readers_than_dynamodb_allows(aws: Templates) -> None:
    readers = [
        source
        for template in aws.all
        for source in resources(template, "AWS::Lambda::EventSourceMapping").values()
        if "Jobs" in aws.render(source["EventSourceArn"])
    ]
    assert len(readers) <= 2
