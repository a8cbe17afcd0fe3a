"""The GPU worker's task."""

from __future__ import annotations

from comfyline.settings import WorkerSettings
from tests.infra.templates import Json, Templates, only, resources

DRAIN_SECONDS, SPOT_NOTICE_SECONDS = 100, 120


def container(templates: Templates) -> Json:
    task = only(resources(templates.worker, "AWS::ECS::TaskDefinition"))
    found: list[Json] = task["ContainerDefinitions"]
    (only_one,) = found
    return only_one


def test_container(aws: Templates) -> None:
    worker = container(aws)
    assert worker["Image"] == "registry.example/worker:1"
    assert worker["ResourceRequirements"] == [{"Type": "GPU", "Value": "1"}]
    assert DRAIN_SECONDS < worker["StopTimeout"] < SPOT_NOTICE_SECONDS


def test_environment_is_the_settings_model(aws: Templates) -> None:
    variables = container(aws)["Environment"]
    environment = {variable["Name"]: aws.render(variable["Value"]) for variable in variables}
    fields = {name.upper() for name in WorkerSettings.model_fields}
    assert set(environment) - fields == {"AWS_DEFAULT_REGION"}
    # What the task leaves open is the image's to say: how its ComfyUI is started.
    settings = WorkerSettings.from_environment(environment)
    assert set(settings.to_environment()) == set(environment) & fields
    assert settings.to_environment().items() <= environment.items()


def test_outputs(aws: Templates) -> None:
    assert set(aws.worker["Outputs"]) == {"WorkerTaskDefinition", "WorkerTaskRole"}
