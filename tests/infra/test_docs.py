"""The names in docs/ exist: keys, files, outputs, grants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from comfyline.service.storage_names import MODELS_PREFIX
from infra.assets import ROOT
from infra.choices import CHOICES, SECTIONS, with_table
from infra.functions import FUNCTIONS
from infra.grants import UNUSED_LOCALLY, WORKER_GRANTS, Grant
from tests.infra.conftest import deployment, synthesise
from tests.infra.templates import Templates

TEXT = (ROOT / "docs" / "deploy.md").read_text()


@pytest.mark.parametrize("page", ["deploy", "lock", "runbook", "cost"])
def test_keys_of_the_deployment_file(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    sections = "|".join(SECTIONS)
    named = set(re.findall(rf"`((?:{sections})\.\w+)", text))
    assert named
    assert named <= set(CHOICES)
    assert set(re.findall(r"-c (\w+)=", text)) <= {"deployment"}


def test_files() -> None:
    named = re.findall(r"`((?:infra|docs|comfyline)/[\w./]+)`", TEXT)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_outputs(aws: Templates) -> None:
    asked = re.findall(r"\$\(stack (\w+) (\w+)\)", TEXT)
    assert asked
    for part, name in asked:
        assert name in getattr(aws, part)["Outputs"], name


def test_the_steps_come_in_their_order() -> None:
    steps = re.findall(r"^(\d)\. \*\*([\w ]+)", TEXT, re.M)
    named = ["Preflight", "Bootstrap", "Image", "Deploy", "Models", "First key", "First job"]
    assert steps == [(str(n), name) for n, name in enumerate(named, 1)]
    later = ["## Another model", "**Update**", "**Rollback**", "**Teardown**", "**Costs**"]
    places = [TEXT.index(f"\n{what}") for what in ("7. **First job**", *later)]
    assert places == sorted(places)


def test_models_go_where_workers_look() -> None:
    uploads = re.findall(r"aws s3 (?:cp|sync) .*ArtifactsBucket\)/(\w+)", TEXT)
    assert len(uploads) == 2
    assert {f"{name}/" for name in uploads} == {MODELS_PREFIX}


def test_the_cdks_version_is_the_pinned_one() -> None:
    pinned = re.search(r'"aws-cdk": "([\d.]+)"', (ROOT / "package.json").read_text())
    assert pinned
    assert set(re.findall(r"aws-cdk@([\d.]+)", TEXT)) == {pinned[1]}


def test_the_alarms_switch(tmp_path: Path) -> None:
    silent = deployment(alarms={"enabled": False})
    quiet = synthesise(tmp_path, silent).observability["Resources"].values()
    assert not [r for r in quiet if r["Type"] in ("AWS::CloudWatch::Alarm", "AWS::SNS::Topic")]


def test_the_page_about_costs_counts_the_declared_alarms(aws: Templates) -> None:
    alarms = [
        resource["Properties"]
        for resource in aws.observability["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    ]
    # An alarm without "Metrics" reads the one metric that its other properties name.
    read = [metric for alarm in alarms for metric in alarm.get("Metrics", [{"MetricStat": {}}])]
    metrics = sum("MetricStat" in metric for metric in read)
    assert f"The alarms read {metrics} metrics." in (ROOT / "docs" / "cost.md").read_text()


def test_the_table_of_choices_is_current() -> None:
    """`make docs` writes it."""
    assert with_table(TEXT) == TEXT


def test_every_grant_is_in_the_table_of_the_threat_model() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.M))
    functions = {name: row.grants for name, row in FUNCTIONS.items()}
    assert rows == {
        name: described(grants) for name, grants in {**functions, "Worker": WORKER_GRANTS}.items()
    }


def test_grants_that_no_local_run_uses_are_in_the_threat_model() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    listed = dict(re.findall(r"^- `(\w+)`: (.+)\.$", text, re.M))
    assert listed == dict(UNUSED_LOCALLY)


def described(grants: Sequence[Grant]) -> str:
    """The permissions of a principal, as the threat model writes them."""
    by_resource: dict[str, set[str]] = {}
    for grant in grants:
        by_resource.setdefault(grant.resource.name.lower(), set()).update(grant.actions)
    parts = (f"{name}: {', '.join(sorted(actions))}" for name, actions in by_resource.items())
    return "; ".join(parts) or "nothing"
