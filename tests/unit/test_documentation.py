"""The documents are true where a look at the code can tell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from comfyline.service.jobs.job import Status
from comfyline.service.jobs.lifecycle import RULES
from tests.support.documents import ROOT, documents, links


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [target for target in links(page) if not target.exists()] == []


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_every_target_of_make_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z0-9-]+)", page.read_text()))
    assert named <= targets


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    records = [path.name for path in folder.glob("0*.md")]
    assert records
    assert [name for name in records if f"({name})" not in index] == []


def diagram() -> str:
    """The lifecycle's table as a diagram: what changes the state, and what a client can see."""
    edges: dict[tuple[str, str], list[str]] = {}
    for event, rule in RULES.items():
        for before, after in rule.moves.items() if rule.seen else ():
            edges.setdefault((before.value, after.value), []).append(event.__name__)
    ended = sorted({after for _, after in edges if Status(after).is_terminal})
    lines = [f"    {a} --> {b}: {'<br>'.join(sorted(names))}" for (a, b), names in edges.items()]
    ends = [f"    {status} --> [*]" for status in ended]
    return "\n".join(["stateDiagram-v2", "    [*] --> queued: submitted", *sorted(lines), *ends])


def test_the_diagram_is_the_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = re.search(
        r"<!-- lifecycle:.*?-->\n```mermaid\n(.*?)\n```\n<!-- /lifecycle -->", page, re.DOTALL
    )
    assert shown is not None
    assert shown[1] == diagram()
