"""What docs/deploy.md names is there."""

from __future__ import annotations

import re

from infra.assets import ROOT
from infra.deployment import CONTEXT_KEYS
from tests.infra.templates import Templates

TEXT = (ROOT / "docs" / "deploy.md").read_text()


def test_context_keys() -> None:
    named = set(re.findall(r"-c (\w+)=", TEXT))
    assert named
    assert named <= set(CONTEXT_KEYS)


def test_files() -> None:
    named = re.findall(r"`((?:infra|docs|comfyline)/[\w./]+)`", TEXT)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_outputs(aws: Templates) -> None:
    outputs = {name for template in aws.all for name in template.get("Outputs", {})}
    assert {"KeysTable", "HttpApiUrl", "WebSocketUrl", "ArtifactsBucket"} <= outputs


def test_the_cli_is_the_pinned_one() -> None:
    pinned = re.search(r'"aws-cdk": "([\d.]+)"', (ROOT / "package.json").read_text())
    assert pinned
    assert set(re.findall(r"aws-cdk@([\d.]+)", TEXT)) == {pinned[1]}
