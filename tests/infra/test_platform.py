"""What a platform team requires: tags, roles, kept logs, names, the topic of the alarms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.functions import FUNCTIONS
from tests.infra.conftest import deployment, synthesise
from tests.infra.templates import Json, Templates, only, resources


def roles(templates: Templates) -> list[Json]:
    return [
        role
        for template in templates.all
        for role in resources(template, "AWS::IAM::Role").values()
    ]


def test_the_teams_tags_are_on_every_kind_of_resource(asg: Templates) -> None:
    for template, kind in (
        (asg.data, "AWS::S3::Bucket"),
        (asg.data, "AWS::SQS::Queue"),
        (asg.api, "AWS::Lambda::Function"),
        (asg.fleet, "AWS::ECS::Cluster"),
        (asg.worker, "AWS::ECS::TaskDefinition"),
    ):
        for resource in resources(template, kind).values():
            tags = {tag["Key"]: tag["Value"] for tag in resource["Tags"]}
            assert tags["cost-center"] == "42"
            assert (tags["project"], tags["stage"]) == ("comfyline", "prod")


def test_every_role_has_the_boundary(asg: Templates) -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    assert {role.get("PermissionsBoundary") for role in roles(asg)} == {boundary}


def test_every_role_has_the_prefix_and_the_region_in_its_name(asg: Templates) -> None:
    names = [asg.render(role["RoleName"]) for role in roles(asg) if "RoleName" in role]
    assert len(names) == len(set(names))
    ours = [name for name in names if name.startswith("team-")]
    assert all(name.endswith("-AWS::Region") for name in ours)
    assert all(len(name.replace("AWS::Region", "ap-southeast-1")) <= 64 for name in ours)
    # The role of the group's instances keeps the name that CloudFormation makes.
    assert len(roles(asg)) - len(ours) == 1


def test_without_a_choice_cloudformation_names_the_roles(aws: Templates) -> None:
    named_roles = [role for role in roles(aws) if "RoleName" in role]
    assert len(named_roles) == 2  # of the instances, which AWS requires
    assert not [role for role in roles(aws) if "PermissionsBoundary" in role]


def test_logs_are_kept_as_long_as_chosen(asg: Templates) -> None:
    groups = [g for t in asg.all for g in resources(t, "AWS::Logs::LogGroup").values()]
    assert {group["RetentionInDays"] for group in groups} == {365}


def test_stacks_apis_and_functions_say_what_they_are(aws: Templates) -> None:
    for template in aws.all:
        assert template["Description"].startswith("Comfyline: ")
    apis = resources(aws.api, "AWS::ApiGatewayV2::Api").values()
    assert sorted(api["Name"] for api in apis) == [
        "comfyline-test-http",
        "comfyline-test-websocket",
    ]
    assert all("stage test" in api["Description"] for api in apis)
    for name, function in aws.functions().items():
        assert function["Description"] == FUNCTIONS[name].description
        assert name in function["Description"]
        assert len(function["Description"]) <= 256


def test_a_topic_that_exists_gets_the_alarms(tmp_path: Path) -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:pages"
    templates = synthesise(tmp_path, deployment(alarms={"topic_arn": topic}))
    alarms = resources(templates.observability, "AWS::CloudWatch::Alarm").values()
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {topic}
    for kind in ("Topic", "TopicPolicy", "Subscription"):
        assert not resources(templates.observability, f"AWS::SNS::{kind}")


class TestImages:
    def test_the_repository_scans_and_keeps_the_last_images(self, aws: Templates) -> None:
        repository = only(resources(aws.data, "AWS::ECR::Repository"))
        assert repository["RepositoryName"] == "comfyline-test-worker"
        assert repository["ImageTagMutability"] == "IMMUTABLE"
        assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}
        assert '"countNumber":20' in repository["LifecyclePolicy"]["LifecyclePolicyText"]

    def test_an_emulator_has_none(self, local: Templates) -> None:
        assert not resources(local.data, "AWS::ECR::Repository")

    def test_the_script_builds_for_the_platform_of_the_task(self, aws: Templates) -> None:
        script = Path("tools/push_image.sh").read_text()
        assert "--platform linux/amd64" in script
        assert "OutputKey=='WorkerImageRepository'" in script
        assert "WorkerImageRepository" in aws.data["Outputs"]


@pytest.mark.parametrize("path", sorted(Path("docs/pipelines").iterdir()), ids=lambda p: p.name)
def test_pipelines_use_what_the_repository_has(path: Path) -> None:
    text = path.read_text()
    assert "aws-cdk@2.1148.1 diff" in text
    assert "aws-cdk@2.1148.1 deploy" in text
    targets = set(re.findall(r"make ([a-z-]+)", text))
    known = set(re.findall(r"^([a-z-]+):", Path("Makefile").read_text(), re.M))
    assert targets
    assert targets <= known
