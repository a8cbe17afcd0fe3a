"""The task definition and the service of the GPU worker."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from comfyline.service.settings import WorkerSettings
from infra.stacks.worker import USER
from tests.infra.conftest import deployment, synthesise
from tests.infra.templates import (
    Json,
    Templates,
    only,
    own_outputs,
    plain_name,
    resources,
    statements,
)

DRAIN_SECONDS, SPOT_NOTICE_SECONDS = 100, 120


def container(templates: Templates) -> Json:
    task = only(resources(templates.worker, "AWS::ECS::TaskDefinition"))
    found: list[Json] = task["ContainerDefinitions"]
    (only_one,) = found
    return only_one


def test_container(aws: Templates) -> None:
    worker = container(aws)
    assert worker["Image"] == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker:1"
    assert worker["ResourceRequirements"] == [{"Type": "GPU", "Value": "1"}]
    assert DRAIN_SECONDS < worker["StopTimeout"] == 110 < SPOT_NOTICE_SECONDS


def test_container_is_restricted(aws: Templates) -> None:
    worker = container(aws)
    assert worker["User"] == USER
    assert worker["ReadonlyRootFilesystem"] is True
    assert "Privileged" not in worker
    assert worker["LinuxParameters"] == {
        "Capabilities": {
            "Drop": ["ALL"],
            "Add": ["SETUID", "SETGID", "KILL", "DAC_OVERRIDE", "FOWNER"],
        },
        "InitProcessEnabled": True,
    }


@pytest.mark.parametrize("variant", ["aws", "asg"])
def test_only_volumes_can_be_written(request: pytest.FixtureRequest, variant: str) -> None:
    templates: Templates = request.getfixturevalue(variant)
    task = only(resources(templates.worker, "AWS::ECS::TaskDefinition"))
    assert [volume["Name"] for volume in task["Volumes"]] == ["models", "work", "tmp"]
    mounts = {
        mount["SourceVolume"]: (mount["ContainerPath"], mount["ReadOnly"])
        for mount in container(templates)["MountPoints"]
    }
    assert mounts == {
        "models": ("/models", False),
        "work": ("/work", False),
        "tmp": ("/tmp", False),
    }


def test_an_instance_that_outlives_its_tasks_keeps_their_models(
    aws: Templates, asg: Templates
) -> None:
    def hosts(templates: Templates) -> dict[str, str]:
        task = only(resources(templates.worker, "AWS::ECS::TaskDefinition"))
        return {v["Name"]: v["Host"]["SourcePath"] for v in task["Volumes"] if "Host" in v}

    assert hosts(aws) == {}  # a Managed Instance ends soon after its task
    assert hosts(asg) == {"models": "/var/lib/comfyline/models"}
    launch = json.dumps(resources(asg.fleet, "AWS::EC2::LaunchTemplate"))
    uid = USER.partition(":")[0]
    folder = f"install --directory --owner {uid} --group {uid} --mode 0755"
    assert f"{folder} /var/lib/comfyline/models" in launch


def test_an_image_by_tag_is_pulled_again_and_warned_of(
    tmp_path: Path, aws: Templates, asg: Templates
) -> None:
    pinned = deployment(
        fleet={"capacity": "asg"}, worker={"image": f"registry.example/worker@sha256:{0:064}"}
    )
    templates = synthesise(tmp_path, pinned)
    for chosen, behavior in ((asg, "default"), (templates, "prefer-cached")):
        launch = json.dumps(resources(chosen.fleet, "AWS::EC2::LaunchTemplate"))
        assert f"ECS_IMAGE_PULL_BEHAVIOR={behavior} " in launch
    for chosen, is_warned in ((aws, True), (asg, True), (templates, False)):
        assert any("worker.image" in warning for warning in chosen.warnings) == is_warned


@pytest.mark.parametrize(("variant", "bucket"), [("aws", None), ("asg", "team-models")])
def test_only_models_can_be_read_from_the_bucket_of_models(
    request: pytest.FixtureRequest, variant: str, bucket: str | None
) -> None:
    templates: Templates = request.getfixturevalue(variant)
    (fetch,) = (s for _, s in statements(templates.worker) if s.get("Sid") == "FetchModel")
    assert fetch["Action"] == "s3:GetObject"
    named = {v["Name"]: templates.render(v["Value"]) for v in container(templates)["Environment"]}
    if bucket is None:
        assert named["MODELS_BUCKET"] == named["ARTIFACTS_BUCKET"]
        assert templates.render(fetch["Resource"]).endswith(".Arn/models/*")
    else:
        assert named["MODELS_BUCKET"] == bucket
        assert templates.render(fetch["Resource"]).endswith(f":s3:::{bucket}/models/*")


def test_environment_is_the_settings_model(aws: Templates) -> None:
    variables = container(aws)["Environment"]
    environment = {variable["Name"]: aws.render(variable["Value"]) for variable in variables}
    ours = {field.name.upper() for field in fields(WorkerSettings)}
    assert set(environment) - ours == {"AWS_DEFAULT_REGION"}
    # The image sets the other variables, such as how ComfyUI is started.
    settings = WorkerSettings.from_environment(environment)
    assert set(settings.to_environment()) == set(environment) & ours
    assert settings.to_environment().items() <= environment.items()


def test_nothing_listens_on_the_host(aws: Templates) -> None:
    assert container(aws).get("PortMappings", []) == []


def test_outputs(aws: Templates) -> None:
    ours = {"WorkerTaskDefinition", "WorkerTaskRole"}
    assert set(own_outputs(aws.worker)) == ours


def test_an_emulator_gets_the_task_only(local: Templates) -> None:
    assert set(local.worker["Outputs"]) == {"WorkerTaskDefinition", "WorkerTaskRole"}
    assert not resources(local.worker, "AWS::ECS::Service")
    assert not local.fleet["Resources"]
    assert not local.scaler["Resources"]


@pytest.mark.parametrize("variant", ["aws", "asg"])
def test_services(request: pytest.FixtureRequest, variant: str) -> None:
    templates: Templates = request.getfixturevalue(variant)
    services = resources(templates.worker, "AWS::ECS::Service").values()
    assert sorted(service["ServiceName"] for service in services) == ["ondemand", "spot"]
    for service in services:
        assert service["DesiredCount"] == 0  # absent, CloudFormation would start one
        # Otherwise ECS moves GPUs between zones, each with a boot and the fetch of its models.
        assert service["AvailabilityZoneRebalancing"] == "DISABLED"
        assert "LaunchType" not in service
        assert "NetworkConfiguration" not in service
        deployment = service["DeploymentConfiguration"]
        assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 200)
        # The deployment of a service without tasks is complete at once: it would guard nothing.
        assert "DeploymentCircuitBreaker" not in deployment
    assert not resources(templates.worker, "AWS::EC2::SecurityGroup")  # it is the fleet's


@pytest.mark.parametrize("variant", ["aws", "asg"])
def test_each_service_has_a_capacity_of_its_own(
    request: pytest.FixtureRequest, variant: str
) -> None:
    templates: Templates = request.getfixturevalue(variant)
    found = {}
    for service in resources(templates.worker, "AWS::ECS::Service").values():
        (strategy,) = service["CapacityProviderStrategy"]
        found[service["ServiceName"]] = templates.render(strategy["CapacityProvider"])
    assert plain_name(found["ondemand"]).startswith("OnDemand")
    assert plain_name(found["spot"]).startswith("Spot")


@pytest.mark.parametrize(("variant", "kind"), [("aws", "MANAGED_INSTANCES"), ("asg", "EC2")])
def test_task(request: pytest.FixtureRequest, variant: str, kind: str) -> None:
    templates: Templates = request.getfixturevalue(variant)
    task = only(resources(templates.worker, "AWS::ECS::TaskDefinition"))
    assert task["NetworkMode"] == "host"
    assert task["RequiresCompatibilities"] == [kind]
    # An image for ARM is refused before an instance is started for it.
    assert task["RuntimePlatform"] == {
        "CpuArchitecture": "X86_64",
        "OperatingSystemFamily": "LINUX",
    }
    # The system and the agent keep a part of the 16 GiB of the smallest instance.
    assert int(task["Memory"]) <= 13 * 1024
