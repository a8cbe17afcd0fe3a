"""The edge's secret: `comfyline admin edge-secret`, and what the preflight says of an edge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from comfyline.operate import wiring
from comfyline.operate.admin import app
from comfyline.operate.edge_readiness import faults_of_edge
from comfyline.operate.edge_secret import EdgeSecret
from comfyline.operate.plan import Plan
from comfyline.operate.preflight import State, preflight
from tests.unit.operate.test_stage import CloudFormation

NAME = "/comfyline/prod/edge-secret"


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.client("ssm")


def secret(ssm: Any, deployed: int = 0) -> EdgeSecret:
    """The secret of a stage whose edge sends this version; 0: it has no edge yet."""
    outputs = {"EdgeSecretVersion": str(deployed)}
    stacks = CloudFormation(**({"comfyline_prod_edge": outputs} if deployed else {}))
    return EdgeSecret("prod", ssm, stacks)


def value(ssm: Any, version: int) -> str:
    return str(ssm.get_parameter(Name=f"{NAME}:{version}")["Parameter"]["Value"])


class TestVersions:
    def test_the_first_is_made_before_there_is_an_edge(self, ssm: Any) -> None:
        assert secret(ssm).next() == (1, True)
        assert len(value(ssm, 1)) == 43  # 256 bits
        assert "," not in value(ssm, 1)  # which separates the accepted ones

    def test_none_is_made_before_the_last_one_is_deployed(self, ssm: Any) -> None:
        """Else a deployment could skip one, and the APIs would refuse the edge meanwhile."""
        secret(ssm).next()
        assert secret(ssm).next() == (1, False)
        assert secret(ssm, deployed=1).next() == (2, True)
        assert secret(ssm, deployed=1).next() == (2, False)

    def test_each_is_new_and_the_one_before_stays_readable(self, ssm: Any) -> None:
        secret(ssm).next()
        first = value(ssm, 1)
        secret(ssm, deployed=1).next()
        assert value(ssm, 2) != first == value(ssm, 1)

    def test_an_edge_without_the_output_is_none(self, ssm: Any) -> None:
        stacks = CloudFormation(comfyline_prod_edge={})
        assert EdgeSecret("prod", ssm, stacks).next() == (1, True)


class TestCommand:
    def test_it_says_what_to_set_and_never_the_secret(
        self, ssm: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(wiring, "edge_secret", lambda: secret(ssm))
        command = ["--stage", "prod", "edge-secret"]
        first, again = (CliRunner().invoke(app, command).output for _ in range(2))
        assert first == "version 1 made: set edge.secret_version = 1, then deploy all\n"
        assert again.startswith("version 1 exists, and is not deployed yet: set")
        assert value(ssm, 1) not in first + again

    def test_it_needs_a_stage(self) -> None:
        found = CliRunner().invoke(app, ["edge-secret"], env={"COMFYLINE_STAGE": None})
        assert found.exit_code == 2
        assert "--stage" in found.output


PLAN = Plan(
    stage="prod",
    edge_domain="comfy.example.com",
    edge_certificate="arn:aws:acm:us-east-1:123456789012:certificate/0",
)


class Acm:
    """ACM with one certificate at most."""

    class exceptions:  # noqa: N801
        class ResourceNotFoundException(Exception):
            pass

    def __init__(self, **certificate: Any) -> None:
        self.certificate = certificate

    def describe_certificate(self, CertificateArn: str) -> Mapping[str, Any]:  # noqa: N803
        if not self.certificate:
            raise self.exceptions.ResourceNotFoundException(CertificateArn)
        return {"Certificate": self.certificate}


ISSUED = {"DomainName": "comfy.example.com", "Status": "ISSUED"}


def faults(acm: Acm, plan: Plan = PLAN) -> str:
    def client(service: str, region: str = "eu-west-1") -> Any:
        assert (service, region) != ("acm", "eu-west-1")
        return acm if service == "acm" else boto3.client("ssm", region)

    return "; ".join(faults_of_edge(client, plan))


class TestPreflight:
    def test_an_edge_that_can_be_deployed(self, ssm: Any) -> None:
        secret(ssm).next()
        assert faults(Acm(**ISSUED)) == ""
        wildcard = {"DomainName": "example.com", "SubjectAlternativeNames": ["*.example.com"]}
        assert faults(Acm(**{**ISSUED, **wildcard})) == ""

    def test_a_secret_must_be_made_first(self, ssm: Any) -> None:
        assert "comfyline admin --stage prod edge-secret" in faults(Acm(**ISSUED))
        secret(ssm).next()
        skipped = Plan(**{**_fields(PLAN), "edge_secret_version": 2})
        assert "has no version 2" in faults(Acm(**ISSUED), skipped)

    @pytest.mark.parametrize(
        ("certificate", "fault"),
        [
            ({}, "there is no certificate"),
            ({**ISSUED, "Status": "PENDING_VALIDATION"}, "is PENDING_VALIDATION"),
            ({**ISSUED, "DomainName": "*.comfy.example.com"}, "request one for comfy.example.com"),
        ],
    )
    def test_the_certificate(self, ssm: Any, certificate: Any, fault: str) -> None:
        secret(ssm).next()
        assert fault in faults(Acm(**certificate))

    def test_a_web_acl_needs_a_bootstrap_in_its_own_region(self, ssm: Any) -> None:
        secret(ssm).next()
        plan = Plan(**{**_fields(PLAN), "has_web_acl": True})
        assert "us-east-1 is not bootstrapped" in faults(Acm(**ISSUED), plan)
        other = boto3.client("ssm", "us-east-1")
        other.put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="31", Type="String")
        assert faults(Acm(**ISSUED), plan) == ""

    def test_a_fault_fails_the_check(self, ssm: Any) -> None:
        def client(service: str, _region: str = "") -> Any:
            if service not in ("acm", "ssm", "sts"):
                raise OSError("not asked here")
            return Acm(**ISSUED) if service == "acm" else boto3.client(service)

        def state(plan: Plan) -> State:
            checks = preflight(plan, client, lambda _: False)
            return next(check.state for check in checks if check.name == "edge")

        assert state(PLAN) is State.FAILED
        secret(ssm).next()
        assert state(PLAN) is State.OK
        assert state(Plan()) is State.OK


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__slots__}
