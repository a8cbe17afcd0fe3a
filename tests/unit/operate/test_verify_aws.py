"""`make verify-aws`: what each check finds in stubbed answers of AWS."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from comfyline.client import WaitTimedOut
from tools import verify_aws as module
from tools.deployed_stage import Account
from tools.unverified import (
    BOOT,
    EDGE_ROUND,
    EDGE_SERVES,
    EDGE_SOCKET,
    FACTS,
    HOSTS,
    MEMORY,
    PAGE,
    SERVICES,
    STACKS,
    ZONES,
    Fact,
    with_table,
)
from tools.verify_aws import (
    CHECKS,
    PARTS,
    Finding,
    edge,
    first_deploy,
    first_job,
    verify,
)


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


def deployed(*parts: str, services: list[dict[str, Any]]) -> Account:
    session = Stub(describe_stacks=stacks(*parts), describe_services={"services": services})
    return Account("prod", session)


def test_a_complete_deployment() -> None:
    account = deployed(*PARTS, services=[service("ondemand"), service("spot")])
    assert all(finding.is_right for finding in first_deploy(account))


@pytest.mark.parametrize(
    ("parts", "services", "wrong"),
    [
        (PARTS[1:], [service("ondemand"), service("spot")], STACKS),
        (PARTS, [service("ondemand")], SERVICES),
        (PARTS, [service("ondemand"), service("spot", "ENABLED")], ZONES),
    ],
)
def test_an_incomplete_deployment(
    parts: tuple[str, ...], services: list[dict[str, Any]], wrong: Fact
) -> None:
    findings = list(first_deploy(deployed(*parts, services=services)))
    assert [finding.fact for finding in findings if not finding.is_right] == [wrong]


class Client:
    """A client whose jobs end so, with one file each."""

    def __init__(self, url: str = "https://b.s3.eu-west-1.amazonaws.com/key", **end: Any) -> None:
        self.view = SimpleNamespace(result=SimpleNamespace(artifacts=[SimpleNamespace(url=url)]))
        self._end = {"status": "succeeded", "error": None, **end}

    def submit(self, _prompt: str) -> Client:
        return self

    def wait(self, timeout: float) -> Any:
        if self._end["error"]:
            raise self._end["error"]
        return SimpleNamespace(status=self._end["status"])


def running(client: Any, memory: int = 14_000, **answers: Any) -> Account:
    """An account in which one worker runs, and ends when the task definition changes."""
    registered = [{"name": "MEMORY", "integerValue": memory}]
    instance = {"registeredResources": registered, "ec2InstanceId": "i-1"}
    task = {"lastStatus": "RUNNING", "containerInstanceArn": "instance", "taskArn": "task"}
    known = {
        "list_tasks": {"taskArns": ["task"]},
        "describe_tasks": {"tasks": [task]},
        "describe_container_instances": {"containerInstances": [instance]},
        "describe_services": {"services": [{"taskDefinition": "worker:1"}]},
        "describe_task_definition": {"taskDefinition": {"family": "worker", "revision": 1}},
        "register_task_definition": {"taskDefinition": {"taskDefinitionArn": "worker:2"}},
        "list_container_instances": {"containerInstanceArns": []},
        "update_service": None,
        "terminate_instances": None,
    }
    return Account("prod", Stub(**{**known, **answers}), client)


@pytest.mark.parametrize(
    ("account", "wrong"),
    [
        (running(Client()), []),
        (running(Client(status="failed")), [BOOT]),
        (running(Client(error=WaitTimedOut("too long"))), [BOOT]),
        (running(Client("https://b.s3.amazonaws.com/key")), [HOSTS]),
        (running(Client(), memory=12_000), [MEMORY]),
        (running(Client(), list_tasks={"taskArns": []}), [MEMORY]),
    ],
)
def test_the_first_job(account: Account, wrong: list[Fact]) -> None:
    findings = list(first_job(account))
    assert [finding.fact for finding in findings if not finding.is_right] == wrong


class Edged(Account):
    """A stage with an edge. What goes round it is answered with these statuses, in turn."""

    def __init__(self, *refusals: int, served: int = 200, answer: str = "pong") -> None:
        outputs = {
            "HttpApiUrl": "https://comfy.example.com",
            "HttpApiId": "http",
            "WebSocketApiId": "socket",
            "WebSocketStage": "live",
        }
        listed = [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()]
        stack = {"StackName": "comfyline-prod-api", "StackStatus": "CREATE_COMPLETE"}
        super().__init__("prod", Stub(describe_stacks={"Stacks": [{**stack, "Outputs": listed}]}))
        self._refusals, self._served, self._answer = list(refusals), served, answer

    def get(self, url: str) -> tuple[int, dict[str, str]]:
        if url.startswith("https://comfy.example.com/"):
            return self._served, {"content-security-policy": "default-src 'none'"}
        assert ".execute-api.eu-west-1.amazonaws.com/" in url
        return self._refusals.pop(0), {}

    def ping(self) -> str:
        return self._answer


@pytest.mark.parametrize(
    ("account", "wrong"),
    [
        (Edged(401, 401, 401, 403), []),
        (Edged(401, 200, 401, 403), [EDGE_ROUND]),
        (Edged(401, 401, 401, 101), [EDGE_ROUND]),
        (Edged(401, 401, 401, 403, served=403), [EDGE_SERVES]),
        (Edged(401, 401, 401, 403, answer="error"), [EDGE_SOCKET]),
    ],
)
def test_the_edge(account: Account, wrong: list[Fact]) -> None:
    assert [finding.fact for finding in edge(account) if not finding.is_right] == wrong


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_has_one_finding_for_each_of_its_rows_in_the_documentation(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(module, "_soon", lambda look, _seconds: look())
    accounts = {
        "first-deploy": deployed(*PARTS, services=[service("ondemand"), service("spot")]),
        "edge": Edged(401, 401, 401, 403),
    }
    account = accounts.get(name) or running(Client())
    found = [finding.fact for finding in CHECKS[name](account)]
    assert found == [fact for fact in FACTS if fact.check == name]


def test_every_row_names_a_check_or_says_what_to_do_by_hand() -> None:
    by_hand = [fact for fact in FACTS if fact.check.startswith("by hand")]
    assert {fact.check for fact in FACTS if fact not in by_hand} == set(CHECKS)


def test_the_table_in_the_documentation_is_current() -> None:
    """`make docs` writes it."""
    page = PAGE.read_text()
    assert with_table(page) == page


def test_the_output_says_what_was_expected_and_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(_account: Account) -> Iterator[Finding]:
        yield Finding(MEMORY, "none", is_right=False)

    monkeypatch.setitem(CHECKS, "first-job", one)  # type: ignore[arg-type]
    assert not verify(Account("prod", Stub()), ["first-job"])
    assert capsys.readouterr().out == "FAIL first-job: at least 13312 MiB; found: none\n"
