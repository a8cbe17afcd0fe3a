"""`make verify-aws`: what each check finds in stubbed answers of AWS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tools.verify_aws import CHECKS, Account, Finding, first_deploy, first_job, verify


class Stub:
    """A session with clients that answer with fixed values."""

    region_name = "eu-west-1"

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def client(self, _service: str) -> Stub:
        return self

    def get_paginator(self, name: str) -> Stub:
        return Stub(paginate=[self._answers[name]])

    def paginate(self) -> Any:
        return self._answers["paginate"]

    def __getattr__(self, name: str) -> Any:
        return lambda **_: self._answers[name]


def stacks(*parts: str, status: str = "CREATE_COMPLETE") -> dict[str, Any]:
    found = [{"StackName": f"comfyline-prod-{part}", "StackStatus": status} for part in parts]
    return {"Stacks": [*found, {"StackName": "comfyline-dev-api", "StackStatus": "ROLLBACK"}]}


def service(name: str, zones: str = "DISABLED") -> dict[str, Any]:
    strategy = [{"capacityProvider": name, "weight": 1}]
    return {
        "serviceName": name,
        "capacityProviderStrategy": strategy,
        "availabilityZoneRebalancing": zones,
    }


PARTS = ("data", "fleet", "worker", "scaler", "api", "observability")


def test_a_complete_deployment() -> None:
    services = {"services": [service("ondemand"), service("spot")]}
    account = Account("prod", Stub(describe_stacks=stacks(*PARTS), describe_services=services))
    findings = list(first_deploy(account))
    assert len(findings) == len(PARTS) + 4
    assert all(finding.is_right for finding in findings)


def test_a_missing_stack_and_a_service_that_moves_workers_are_found() -> None:
    services = {"services": [service("ondemand", "ENABLED")]}
    session = Stub(describe_stacks=stacks(*PARTS[1:]), describe_services=services)
    wrong = [f for f in first_deploy(Account("prod", session)) if not f.is_right]
    assert [f.found for f in wrong] == ["missing", "ENABLED"]


class Client:
    """A client of jobs that have succeeded, with one file each."""

    def __init__(self, url: str) -> None:
        self._url = url

    def submit(self, _prompt: str) -> Client:
        return self

    def wait(self, timeout: float) -> Any:
        return Stub2(result=Stub2(artifacts=[Stub2(url=self._url)]), status="succeeded")


class Stub2:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


@pytest.mark.parametrize(
    ("host", "is_right"),
    [("b.s3.eu-west-1.amazonaws.com", True), ("b.s3.amazonaws.com", False)],
)
def test_the_host_of_a_picture_must_be_regional(host: str, is_right: bool) -> None:
    instance = {"registeredResources": [{"name": "MEMORY", "integerValue": 14_000}]}
    task = {"lastStatus": "RUNNING", "containerInstanceArn": "instance", "taskArn": "task"}
    session = Stub(
        list_tasks={"taskArns": ["task"]},
        describe_tasks={"tasks": [task]},
        describe_container_instances={"containerInstances": [instance]},
    )
    client: Any = Client(f"https://{host}/key")
    findings = list(first_job(Account("prod", session, client)))
    assert [f.is_right for f in findings] == [True, is_right, True, True]


def test_the_output_says_what_was_expected_and_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(_account: Account) -> Iterator[Finding]:
        yield Finding("a worker", "none", is_right=False)

    monkeypatch.setitem(CHECKS, "first-job", one)  # type: ignore[arg-type]
    assert not verify(Account("prod", Stub()), ["first-job"])
    assert capsys.readouterr().out == "FAIL first-job: expected: a worker; found: none\n"
