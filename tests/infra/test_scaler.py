"""The scaler's function and its triggers."""

from __future__ import annotations

import json
from dataclasses import fields, replace

from comfyline.service.fleet.scaling import ScalingPolicy
from comfyline.service.settings import ScalerSettings
from infra.functions import FUNCTIONS
from infra.sections.workers import Scaling
from tests.infra.templates import Json, Templates, function_in, named, only, plain_name, resources


def function(templates: Templates) -> Json:
    return named(templates.scaler, "AWS::Lambda::Function", "ScaleWorkersFunction")


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
    assert settings.cluster == "comfyline-test"
    assert plain_name(settings.scaling_table) == "Scaling"


def test_the_section_of_the_deployment_file_reaches_the_scaler_as_it_is(
    aws: Templates, asg: Templates
) -> None:
    """So a new setting is one field of the section and one of the scaler's policy."""
    assert {field.name for field in fields(ScalingPolicy)} == set(Scaling.model_fields)
    usual, warm = (ScalingPolicy(**json.loads(environment(t)["SCALING"])) for t in (aws, asg))
    assert usual == ScalingPolicy(**Scaling().model_dump())
    assert warm == replace(usual, ondemand_workers=3, warm_workers=2, warm_hours="mon-fri 07-18")


def test_a_schedule_calls_it_each_minute(aws: Templates) -> None:
    schedule = only(resources(aws.scaler, "AWS::Scheduler::Schedule"))
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert function(aws)["Timeout"] < 60  # two rounds of the schedule never run at once


def test_crashes_of_the_fleets_tasks_are_counted(aws: Templates) -> None:
    rule = only(resources(aws.scaler, "AWS::Events::Rule"))
    pattern = rule["EventPattern"]
    assert pattern["source"] == ["aws.ecs"]
    assert pattern["detail-type"] == ["ECS Task State Change"]
    detail = pattern["detail"]
    (cluster,) = detail["clusterArn"]
    assert aws.render(cluster).endswith(":cluster/comfyline-test")
    assert detail["lastStatus"] == ["STOPPED"]
    ended, not_started = detail["$or"]
    # A worker that drains or retires exits with 0.
    assert ended["containers"] == {"exitCode": [{"anything-but": [0]}]}
    assert not_started["stopCode"] == ["TaskFailedToStart"]
    prefixes = tuple(reason["prefix"] for reason in not_started["stoppedReason"])
    assert "CannotPullContainerError: pull image manifest".startswith(prefixes)
    assert not "Capacity is unavailable at this time".startswith(prefixes)
    (target,) = rule["Targets"]
    assert function_in(aws.render(target["Arn"])) == "CountCrashes"


def test_the_scaler_is_deployed_after_the_services_that_it_resizes(aws: Templates) -> None:
    assert "comfyline-test-worker" in aws.dependencies("scaler")


def test_counts_of_crashes_are_deleted(aws: Templates) -> None:
    table = only(resources(aws.scaler, "AWS::DynamoDB::GlobalTable"))
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}


def test_the_stream_has_no_more_readers_than_dynamodb_allows(aws: Templates) -> None:
    readers = [
        source
        for template in aws.all
        for source in resources(template, "AWS::Lambda::EventSourceMapping").values()
        if "Jobs" in aws.render(source["EventSourceArn"])
    ]
    assert len(readers) <= 2
