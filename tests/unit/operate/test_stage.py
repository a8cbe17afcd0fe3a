"""`--stage`: the settings come from the stage's own stacks, and errors of AWS are one line."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from typer.testing import CliRunner, Result

from comfyline.client import cli
from comfyline.operate import admin, keys, wiring
from comfyline.operate.stage import NoSuchStage, StageSettings
from comfyline.service.settings import KeysTable, WrongEnvironment

MISSING = ClientError(
    {"Error": {"Code": "ValidationError", "Message": "Stack does not exist"}}, "DescribeStacks"
)


class CloudFormation:
    """The stacks by name, each with its outputs; an exception is raised."""

    class meta:  # noqa: N801
        region_name = "eu-central-1"

    def __init__(self, **stacks: Any) -> None:
        self.stacks = stacks

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803
        found = self.stacks.get(StackName.replace("-", "_"), MISSING)
        if isinstance(found, Exception):
            raise found
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in found.items()]
        return {"Stacks": [{"StackName": StackName, "Outputs": outputs}]}


def test_an_output_is_read_under_the_name_of_its_variable() -> None:
    stacks = CloudFormation(
        comfyline_prod_data={"KeysTable": "prod-keys"},
        comfyline_prod_api={"WebSocketApiId": "abc"},
    )
    settings = StageSettings("prod", stacks)
    assert (settings["KEYS_TABLE"], settings["WEBSOCKET_API_ID"]) == ("prod-keys", "abc")


def test_a_variable_of_another_stage_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYS_TABLE", "dev-keys")
    settings = StageSettings("prod", CloudFormation(comfyline_prod_data={}))
    with pytest.raises(WrongEnvironment):
        KeysTable.from_environment(settings)


def test_a_stage_that_is_missing_is_named_with_the_region() -> None:
    with pytest.raises(NoSuchStage, match=r"comfyline-prdo-data in eu-central-1"):
        StageSettings("prdo", CloudFormation())


def listed(
    monkeypatch: pytest.MonkeyPatch, stacks: CloudFormation, *args: str, app: Any = keys.app
) -> Result:
    monkeypatch.setattr(wiring.boto3, "client", lambda *_a, **_o: stacks)
    return CliRunner().invoke(app, [*args], env={"AWS_REGION": "eu-central-1"})


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (MISSING, "Check --stage"),
        (NoCredentialsError(), "aws sso login"),
        (EndpointConnectionError(endpoint_url="https://x"), "Check the network"),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "\x1b[2Jno"}}, "Describe"),
            "may do this",
        ),
    ],
)
def test_an_error_of_aws_is_one_line_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str
) -> None:
    stacks = CloudFormation(comfyline_prod_data=error)
    for arguments in (["--stage", "prod", "list"], ["keys", "--stage", "prod", "list"]):
        app = cli.app if arguments[0] == "keys" else keys.app
        result = listed(monkeypatch, stacks, *arguments, app=app)
        assert result.exit_code == 1
        first, second = result.stderr.splitlines()
        assert first.startswith("Error: ")
        assert advice in second
        assert "\x1b" not in result.output


def test_the_environment_names_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYLINE_STAGE", "prod")
    result = listed(monkeypatch, CloudFormation(), "pause", app=admin.app)
    assert "comfyline-prod-data" in result.stderr


def test_a_stage_is_forgotten_when_its_command_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    listed(monkeypatch, CloudFormation(), "--stage", "prod", "list")
    with pytest.raises(typer.Exit):  # as without a stage, instead of NoSuchStage
        wiring.inventory()


def test_without_a_stage_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    result = listed(monkeypatch, CloudFormation(), "list")
    assert result.exit_code == 2
    assert "KEYS_TABLE is missing. Give --stage" in result.stderr
