"""The preflight: each check's answers, from stubbed clients that make no call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from typer.testing import CliRunner

from comfyline.operate import preflight as module
from comfyline.operate.admin import app
from comfyline.operate.plan import ROLES, Plan
from comfyline.operate.preflight import Check, State, preflight

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/comfyline:1"
PLAN = Plan(image=IMAGE, concurrency=1000)
REGION = "eu-west-1"

Answers = dict[str, list[tuple[str, Any]]]  # by service: method, and response or error code


def usual() -> Answers:
    """The answers of an account that is ready."""
    zones = [{"ZoneName": f"{REGION}{letter}"} for letter in "cab"]
    offerings = [{"InstanceType": "g6.xlarge", "Location": f"{REGION}{z}"} for z in "ab"]
    types = [{"InstanceType": name, "VCpuInfo": {"DefaultVCpus": 4}} for name in ("g6", "g5")]
    index = {"manifests": [{"platform": {"os": "linux", "architecture": "amd64"}}]}
    return {
        "sts": [("get_caller_identity", {"Arn": "arn:aws:iam::1:user/a", "Account": "1"})],
        "ssm": [("get_parameter", {"Parameter": {"Value": "31"}})],
        "iam": [("get_role", role(name)) for name in PLAN.roles],
        "ec2": [
            ("describe_instance_type_offerings", {"InstanceTypeOfferings": offerings}),
            ("describe_availability_zones", {"AvailabilityZones": zones}),
            ("describe_instance_types", {"InstanceTypes": types}),
            ("describe_instance_types", {"InstanceTypes": types}),
        ],
        "service-quotas": [
            ("get_service_quota", {"Quota": {"Value": 40.0}}),
            ("get_service_quota", {"Quota": {"Value": 36.0}}),
        ],
        "lambda": [("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": 1000}})],
        "ecr": [("batch_get_image", {"images": [{"imageManifest": json.dumps(index)}]})],
    }


def role(name: str) -> dict[str, Any]:
    made = {"Path": "/", "RoleName": name, "RoleId": "A" * 16, "Arn": f"arn:aws:iam::1:role/{name}"}
    return {"Role": {**made, "CreateDate": "2026-01-01"}}


def checked(
    answers: Answers, plan: Plan = PLAN, make_role: Callable[[str], bool] = lambda _: False
) -> dict[str, Check]:
    """The checks by name, on clients that give these answers in order."""
    clients: Mapping[str, Any] = {
        name: boto3.client(name, REGION, aws_access_key_id="k", aws_secret_access_key="s")
        for name in answers
    }
    for name, calls in answers.items():
        stub = Stubber(clients[name])
        for method, answer in calls:
            if isinstance(answer, str):
                stub.add_client_error(method, answer)
            else:
                stub.add_response(method, answer)
        stub.activate()
    return {check.name: check for check in preflight(plan, clients.__getitem__, make_role)}


def test_an_account_that_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    checks = checked(usual())
    assert {check.state for check in checks.values()} == {State.OK}
    assert "account 1" in checks["credentials"].found
    assert len(checks) == 13


def test_without_credentials_nothing_else_is_asked() -> None:
    checks = checked({"sts": [("get_caller_identity", "ExpiredToken")]})
    assert [(c.name, c.state) for c in checks.values()] == [("credentials", State.FAILED)]


def test_a_call_that_is_not_allowed_is_unknown_and_the_others_go_on() -> None:
    checks = checked({**usual(), "ssm": [("get_parameter", "AccessDeniedException")]})
    assert checks["CDK bootstrap"].state is State.UNKNOWN
    assert "AccessDeniedException" in checks["CDK bootstrap"].found
    assert checks["image"].state is State.OK


@pytest.mark.parametrize("answer", ["ParameterNotFound", {"Parameter": {"Value": "5"}}])
def test_bootstrap_is_asked_for(answer: Any) -> None:
    check = checked({**usual(), "ssm": [("get_parameter", answer)]})["CDK bootstrap"]
    assert check.state is State.FAILED
    assert check.to_do == "npx aws-cdk@2.1148.1 bootstrap"


class TestRoles:
    def missing(self) -> Answers:
        _first, *others = PLAN.roles
        calls: list[tuple[str, Any]] = [("get_role", "NoSuchEntity")]
        return {**usual(), "iam": calls + [("get_role", role(name)) for name in others]}

    def test_a_missing_role_fails_with_the_command_that_makes_it(self) -> None:
        check = checked(self.missing())["AWSServiceRoleForECS"]
        assert check.state is State.FAILED
        assert check.to_do.endswith("--aws-service-name ecs.amazonaws.com")

    def test_it_is_made_if_the_operator_agrees(self) -> None:
        answers = self.missing()
        answers["iam"].insert(1, ("create_service_linked_role", role("AWSServiceRoleForECS")))
        asked: list[str] = []
        checks = checked(answers, make_role=lambda name: not asked.append(name))  # type: ignore[func-returns-value]
        assert asked == ["AWSServiceRoleForECS"]
        assert checks["AWSServiceRoleForECS"].state is State.OK

    @pytest.mark.parametrize(
        ("plan", "roles"),
        [
            (Plan(), {"ECS", "EC2Spot", "ECSCompute"}),
            (Plan(capacity="asg"), {"ECS", "EC2Spot", "AutoScaling"}),
            (Plan(ondemand_workers=10), {"ECS", "ECSCompute"}),
        ],
    )
    def test_only_roles_that_the_deployment_needs_are_looked_for(
        self, plan: Plan, roles: set[str]
    ) -> None:
        assert set(plan.roles) == {f"AWSServiceRoleFor{name}" for name in roles} <= ROLES.keys()


class TestZones:
    def zones(self, offered: str, plan: Plan = PLAN) -> Check:
        answers = usual()
        offerings = [{"InstanceType": "g6.xlarge", "Location": f"{REGION}{z}"} for z in offered]
        method = "describe_instance_type_offerings"
        answers["ec2"][0] = (method, {"InstanceTypeOfferings": offerings})
        if plan.zones or not offered:
            del answers["ec2"][1]
        return checked(answers, plan)["zones"]

    @pytest.mark.parametrize(
        ("offered", "state"),
        [("abc", State.OK), ("ac", State.WARNING), ("c", State.FAILED), ("", State.FAILED)],
    )
    def test_the_first_two_zones_should_have_the_types(self, offered: str, state: State) -> None:
        assert self.zones(offered).state is state

    def test_the_advice_is_a_line_of_the_deployment_file(self) -> None:
        assert self.zones("ac").to_do == 'fleet.zones = ["eu-west-1a", "eu-west-1c"]'

    def test_chosen_zones_are_looked_at_instead(self) -> None:
        plan = Plan(image=IMAGE, zones=("eu-west-1c",))
        assert self.zones("c", plan).state is State.OK


class TestQuotas:
    def quotas(self, on_demand: float, spot: float) -> tuple[State, State]:
        values = ({"Quota": {"Value": value}} for value in (on_demand, spot))
        answers = {**usual(), "service-quotas": [("get_service_quota", v) for v in values]}
        checks = checked(answers)
        return checks["on-demand GPU quota"].state, checks["spot GPU quota"].state

    def test_a_new_account_has_none(self) -> None:
        assert self.quotas(0, 0) == (State.FAILED, State.WARNING)

    def test_a_quota_for_some_workers_is_a_warning(self) -> None:
        assert self.quotas(4, 4) == (State.WARNING, State.WARNING)

    def test_the_request_is_for_all_workers(self) -> None:
        quotas = [("get_service_quota", {"Quota": {"Value": 0.0}})] * 2
        checks = checked({**usual(), "service-quotas": quotas})
        assert checks["on-demand GPU quota"].to_do.endswith(
            "--quota-code L-DB2E81BA --desired-value 40"
        )
        assert checks["spot GPU quota"].to_do.endswith("--quota-code L-3819A6DF --desired-value 36")

    @pytest.mark.parametrize(
        ("has", "planned", "state"),
        [
            (1000, 1000, State.OK),
            (10, 1000, State.FAILED),
            (10, 10, State.WARNING),
            (1000, 10, State.WARNING),
        ],
    )
    def test_concurrency(self, has: int, planned: int, state: State) -> None:
        settings = {"AccountLimit": {"ConcurrentExecutions": has}}
        answers = {**usual(), "lambda": [("get_account_settings", settings)]}
        plan = Plan(image=IMAGE, concurrency=planned)
        row = checked(answers, plan)["Lambda concurrency"]
        assert row.state is state
        if state is not State.FAILED:
            assert ("none are reserved" in row.found) is (planned < 1000)

    def test_a_deployment_that_reserves_nothing_is_warned_of(self) -> None:
        plan = Plan(image=IMAGE, concurrency=1000, reserve=False)
        row = checked(usual(), plan)["Lambda concurrency"]
        assert (row.state, row.to_do) == (State.WARNING, "Remove functions.reserve = false.")


class TestEncryptionKey:
    ARN = f"arn:aws:kms:{REGION}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    METADATA: Mapping[str, str] = {
        "KeyId": "1234abcd-12ab-34cd-56ef-1234567890ab",
        "KeyState": "Enabled",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT",
    }
    SERVICES = (f"logs.{REGION}.amazonaws.com", "cloudwatch.amazonaws.com")

    def key(self, *services: str, region: str = REGION, **metadata: str) -> Check:
        statement = {"Effect": "Allow", "Principal": {"Service": services}}
        kms: list[tuple[str, Any]] = [
            ("describe_key", {"KeyMetadata": {**self.METADATA, **metadata}}),
            ("get_key_policy", {"Policy": json.dumps({"Statement": [statement]})}),
        ]
        arn = self.ARN.replace(REGION, region)
        plan = Plan(image=IMAGE, concurrency=1000, key_arn=arn)
        return checked({**usual(), "kms": kms}, plan)["encryption key"]

    def test_a_key_that_can_be_used(self) -> None:
        assert self.key(*self.SERVICES).state is State.OK

    @pytest.mark.parametrize(
        ("changed", "found"),
        [
            ({"KeyState": "PendingDeletion"}, "KeyState is PendingDeletion"),
            ({"KeySpec": "RSA_2048"}, "KeySpec is RSA_2048"),
            ({"KeyUsage": "SIGN_VERIFY"}, "KeyUsage is SIGN_VERIFY"),
            ({"region": "us-east-1"}, "it is in us-east-1, and the deployment in eu-west-1"),
        ],
    )
    def test_a_key_that_cannot_be_used(self, changed: dict[str, str], found: str) -> None:
        check = self.key(*self.SERVICES, **changed)
        assert (check.state, check.found) == (State.FAILED, found)

    def test_a_policy_that_forgets_a_service(self) -> None:
        check = self.key("cloudwatch.amazonaws.com")
        assert (check.state, check.found) == (
            State.FAILED,
            f"its policy does not allow logs.{REGION}.amazonaws.com",
        )

    def test_a_policy_that_cannot_be_read_is_no_fault(self) -> None:
        kms = [
            ("describe_key", {"KeyMetadata": dict(self.METADATA)}),
            ("get_key_policy", "AccessDeniedException"),
        ]
        plan = Plan(image=IMAGE, concurrency=1000, key_arn=self.ARN)
        assert checked({**usual(), "kms": kms}, plan)["encryption key"].state is State.OK


class TestImage:
    def image(self, manifest: Mapping[str, Any] | None, plan: Plan = PLAN) -> Check:
        images = [] if manifest is None else [{"imageManifest": json.dumps(manifest)}]
        return checked({**usual(), "ecr": [("batch_get_image", {"images": images})]}, plan)["image"]

    def test_an_image_for_arm_fails(self) -> None:
        check = self.image({"manifests": [{"platform": {"os": "linux", "architecture": "arm64"}}]})
        assert (check.state, check.found) == (State.FAILED, "it is for linux/arm64")

    def test_an_image_that_does_not_exist_fails(self) -> None:
        assert self.image(None).state is State.FAILED

    def test_an_image_with_one_platform_names_it_in_its_configuration(self, tmp_path: Path) -> None:
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"os": "linux", "architecture": "amd64"}))
        answers = usual()
        manifest = json.dumps({"config": {"digest": "sha256:" + "0" * 64}})
        answers["ecr"] = [
            ("batch_get_image", {"images": [{"imageManifest": manifest}]}),
            ("get_download_url_for_layer", {"downloadUrl": config.as_uri()}),
        ]
        assert checked(answers)["image"].state is State.OK

    def test_images_of_other_registries_are_not_looked_at(self) -> None:
        plan = Plan(image="ghcr.io/team/worker:1", concurrency=1000)
        assert checked(usual(), plan)["image"].state is State.UNKNOWN


def test_the_plan_is_read_from_a_deployment_file(tmp_path: Path) -> None:
    file = tmp_path / "prod.toml"
    file.write_text(
        '[worker]\nimage = "i"\n[fleet]\nzones = ["eu-west-1a"]\n[scaling]\nmax_workers = 3\n'
    )
    plan = Plan(image="i", zones=("eu-west-1a",), max_workers=3, stage="prod")
    assert Plan.read(file) == plan
    file.write_text('stage = "blue"\n[edge]\ndomain = "a.example.com"\nsecret_version = 3\n')
    assert (Plan.read(file).stage, Plan.read(file).edge_secret_version) == ("blue", 3)


class TestCommand:
    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str, state: State) -> Any:
        def checks(*_: Any) -> list[Check]:
            return [Check("image", state, "found", "what [to] do")]

        monkeypatch.setattr(module, "preflight", checks)
        file = "deployments/dev.toml"
        return CliRunner().invoke(app, ["preflight", "--deployment", file, *arguments])

    @pytest.mark.parametrize(("state", "code"), [(State.FAILED, 1), (State.WARNING, 0)])
    def test_the_exit_code_says_whether_a_deployment_would_fail(
        self, monkeypatch: pytest.MonkeyPatch, state: State, code: int
    ) -> None:
        result = self.run(monkeypatch, state=state)
        assert result.exit_code == code
        assert "what [to] do" in result.output

    def test_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        result = self.run(monkeypatch, "--json", state=State.OK)
        assert json.loads(result.output)[0]["state"] == "ok"

    def test_a_missing_file_is_named(self) -> None:
        result = CliRunner().invoke(app, ["preflight", "--deployment", "nowhere.toml"])
        assert result.exit_code == 2
        assert "nowhere.toml" in result.output
