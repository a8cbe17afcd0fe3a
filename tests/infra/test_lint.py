"""Four linters, on a deployment with each kind of capacity; infra/findings.py has the reasons."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from infra import ROOT
from infra.findings import (
    CDK_NAG,
    CFN_LINT,
    CHECKOV,
    PARLIAMENT,
    Finding,
    Reasons,
    reasons_for,
)
from infra.nag import findings
from tests.infra.conftest import EDGE, UNUSUAL, declared, deployment
from tests.infra.templates import PARTS, Json, Templates, plain_name, statements

VARIANTS = {
    "managed": deployment(stage="dev", edge=EDGE["edge"]),
    "asg": deployment(**UNUSUAL),
}
Found = Mapping[str, list[Finding]]  # by variant


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The folder of each variant's templates; cdk-nag has been run on them."""
    made = {name: tmp_path_factory.mktemp(name) for name in VARIANTS}
    for name, chosen in VARIANTS.items():
        NAG[name] = findings(declared(made[name], chosen))
    return {name: folder / "out" for name, folder in made.items()}


NAG: dict[str, list[Finding]] = {}


def assert_reasons_are_those_of_findings(found: Found, reasons: Reasons) -> None:
    """Every finding has a reason, and every reason a finding."""
    every = {finding for of_variant in found.values() for finding in of_variant}
    assert every  # the linter has run
    assert [finding for finding in every if not reasons_for(finding, reasons)] == []
    given = [why for finding in every for why in reasons_for(finding, reasons)]
    assert set(reasons.values()) == set(given)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cfn_lint_finds_nothing(folders: Mapping[str, Path], variant: str) -> None:
    templates = sorted(folders[variant].glob("*.template.json"))
    assert len(templates) == {"managed": 8, "asg": 6}[variant]
    config = ManualArgs(regions=["eu-west-1"], ignore_checks=list(CFN_LINT))
    matches = [str(m) for path in templates for m in lint(path.read_text(), config=config)]
    assert matches == []


def test_every_finding_of_cdk_nag_has_a_reason(folders: Mapping[str, Path]) -> None:
    assert folders
    assert_reasons_are_those_of_findings(NAG, CDK_NAG)


# --- parliament: the policies ---------------------------------------------------------------------

_ARNS = {
    "AWS::DynamoDB::GlobalTable": "arn:aws:dynamodb:eu-west-1:123456789012:table/{}",
    "AWS::ECS::Cluster": "arn:aws:ecs:eu-west-1:123456789012:cluster/{}",
    "AWS::Lambda::Function": "arn:aws:lambda:eu-west-1:123456789012:function:{}",
    "AWS::Logs::LogGroup": "arn:aws:logs:eu-west-1:123456789012:log-group:{}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::SQS::Queue": "arn:aws:sqs:eu-west-1:123456789012:{}",
}
_PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::URLSuffix": "amazonaws.com",
}


def _is_alias(template: Json, name: str) -> bool:
    return bool(template["Resources"].get(name, {}).get("Type") == "AWS::Lambda::Alias")


def deployed(templates: Templates, template: Json, value: Any) -> Any:
    """The value with ARNs and names such as AWS would give the resources."""

    def of(value: Any, template: Json = template) -> Any:
        match value:
            case {"Ref": name} if _is_alias(template, name):  # its Ref is its ARN
                return _ARNS["AWS::Lambda::Function"].format(name.lower()) + ":live"
            case {"Ref": name}:
                return _PSEUDO.get(name, str(name).lower())
            case {"Fn::GetAtt": [name, "StreamArn"]}:
                return _ARNS["AWS::DynamoDB::GlobalTable"].format(name) + "/stream/2026-01-01"
            case {"Fn::GetAtt": [name, "Arn"]}:
                return _ARNS[template["Resources"][name]["Type"]].format(name.lower())
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([\w:]+)\}", lambda name: _PSEUDO[name[1]], text)
            case {"Fn::Join": [separator, parts]}:
                return separator.join(of(part) for part in parts)
            case {"Fn::ImportValue": name}:
                return of(templates.exports[name], templates.data)
            case {"Fn::GetStackOutput": {"StackName": stack, "OutputName": name}}:
                other = getattr(templates, stack.rpartition("-")[2])
                return of(other["Outputs"][name]["Value"], other)
            case dict():
                return {key: of(part) for key, part in value.items()}
            case list():
                return [of(part) for part in value]
        return value

    return of(value)


def policies(templates: Templates) -> Iterator[tuple[str, Json]]:
    """Each statement of a role or a policy as a policy of its own, with its holder's path."""
    for part in PARTS:
        template = getattr(templates, part)
        for holder, statement in statements(template):
            own = deployed(templates, template, statement)
            yield f"{part}/{plain_name(holder)}", {"Version": "2012-10-17", "Statement": [own]}


@cache
def parliament() -> Any:
    """The linter. It leaves files open and has an outdated escape, which are warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import parliament

    return parliament


def judged(templates: Templates) -> list[Finding]:
    """The findings in the policies of a deployment."""
    return [
        Finding(finding.issue, path)
        for path, policy in policies(templates)
        for finding in parliament().analyze_policy_string(json.dumps(policy)).findings
    ]


def test_every_finding_of_parliament_has_a_reason(folders: Mapping[str, Path]) -> None:
    found = {
        name: judged(Templates.read(folders[name], chosen.cluster_name))
        for name, chosen in VARIANTS.items()
    }
    assert_reasons_are_those_of_findings(found, PARLIAMENT)


def test_parliament_knows_what_a_wrong_policy_is() -> None:
    """That is, the test above would see an action that does not fit its resource."""
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": _ARNS["AWS::SQS::Queue"]}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    found = parliament().analyze_policy_string(json.dumps(policy)).findings
    assert [finding.issue for finding in found] == ["RESOURCE_MISMATCH"]


# --- checkov --------------------------------------------------------------------------------------


def checked(folder: Path) -> list[Finding]:
    """The findings of checkov, from an environment of its own; see tools/checkov."""
    environment = ROOT / ".cache" / "checkov"
    uv = Path(sys.executable).with_name("uv")
    run = [str(uv), "run", "--quiet", "--frozen", "--project", str(ROOT / "tools" / "checkov")]
    options = ["--framework", "cloudformation", "--quiet", "--skip-download", "-o", "json"]
    done = subprocess.run(
        [*run, "checkov", "-d", str(folder), *options],
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr  # it has findings
    failed = json.loads(done.stdout)["results"]["failed_checks"]
    return [Finding(check["check_id"], _path(check)) for check in failed]


def _path(check: Json) -> str:
    part = check["file_path"].removesuffix(".template.json").rpartition("-")[2]
    return f"{part}/{plain_name(check['resource'].rpartition('.')[2])}"


def test_every_finding_of_checkov_has_a_reason(folders: Mapping[str, Path], is_long: bool) -> None:
    if not is_long:
        pytest.skip("with --long: it installs an environment of 300 MB, then takes 25 s")
    found = {name: checked(folder) for name, folder in folders.items()}
    assert_reasons_are_those_of_findings(found, CHECKOV)
