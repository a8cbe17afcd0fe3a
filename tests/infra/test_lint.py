"""cfn-lint and cdk-nag, on a deployment with each kind of capacity."""

from __future__ import annotations

from pathlib import Path

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from infra.nag import REASONS, Finding, findings, reasons_for
from tests.infra.conftest import UNUSUAL, declared, deployment

VARIANTS = {
    "managed": deployment(stage="dev"),
    "asg": deployment(**UNUSUAL),
}
# Redundant dependencies, and a note about a default of IAM: the CDK writes both. Names of zones:
# the deployment file chooses them, because not every zone has GPUs.
IGNORED = ["W3005", "W3045", "W3010"]


@pytest.fixture(scope="module", params=VARIANTS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    FINDINGS[request.param] = findings(declared(folder, VARIANTS[request.param]))
    return folder / "out"


FINDINGS: dict[str, list[Finding]] = {}


def test_lint_finds_nothing(found: Path) -> None:
    templates = sorted(found.glob("*.template.json"))
    assert len(templates) == 6
    config = ManualArgs(regions=["eu-west-1"], ignore_checks=IGNORED)
    matches = [str(m) for path in templates for m in lint(path.read_text(), config=config)]
    assert matches == []


def test_every_finding_has_a_reason(found: Path, request: pytest.FixtureRequest) -> None:
    variant = request.node.callspec.params["found"]
    assert FINDINGS[variant]  # the packs have run
    assert [finding for finding in FINDINGS[variant] if not reasons_for(finding)] == []


def test_every_reason_has_a_finding(tmp_path_factory: pytest.TempPathFactory) -> None:
    for name, chosen in VARIANTS.items():
        if name not in FINDINGS:
            folder = tmp_path_factory.mktemp(name)
            FINDINGS[name] = findings(declared(folder, chosen))
    every = [finding for found in FINDINGS.values() for finding in found]
    assert len(set(REASONS.values())) == len(REASONS)
    assert {why for finding in every for why in reasons_for(finding)} == set(REASONS.values())
