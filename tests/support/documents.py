"""The project's documents, and the commands they show."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def documents() -> list[Path]:
    """Every page that a person reads."""
    others = [*ROOT.glob("clients/*/README.md"), ROOT / "tests" / "vectors" / "README.md"]
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted(others)]


def commands(page: Path) -> list[str]:
    """The commands that the page shows: the lines of its `console` blocks."""
    lines = [line.strip() for block in blocks(page, "console") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path, language: str) -> list[str]:
    """The page's fenced blocks in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[Path]:
    """The files that the page links to."""
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    return [page.parent / target for target in targets]
