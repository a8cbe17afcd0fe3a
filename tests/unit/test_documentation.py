"""The pages agree with the code where a test can compare the two."""

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


def headings(page: Path) -> set[str]:
    """The page's headings as GitHub names them in links."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_every_link_to_a_heading_finds_it(page: Path) -> None:
    found = re.findall(r"\]\(([^)#:]*\.md|)#([^)]+)\)", page.read_text())
    assert [
        (name, heading)
        for name, heading in found
        if heading not in headings(page.parent / name if name else page)
    ] == []


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_every_target_of_make_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z0-9-]+)", page.read_text()))
    assert named <= targets


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_every_path_in_a_page_exists(page: Path) -> None:
    roots = "comfyline|functions|gpu_worker|infra|localcloud|comfyui_sim|bench|tests|docs|tools"
    named = re.findall(rf"`((?:{roots})/[\w./]*)`", page.read_text())
    # A reader's own files begin with "team", such as gpu_worker/team.lock.toml.
    assert [path for path in named if "/team." not in path and not (ROOT / path).exists()] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text()
    records = [path.name for path in folder.glob("0*.md")]
    assert records
    assert [name for name in records if f"({name})" not in index] == []


def diagram() -> str:
    """The lifecycle's table as a diagram, with every event that a client can see."""
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
