"""The table that a benchmark prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.results import Kept, Line


def show(lines: Sequence[Line], missing: Sequence[Figure], kept: Kept | None) -> None:
    """Print every figure beside its goal and the kept result, then those that no run has."""
    table = Table("figure", "median", "runs", "goal", "kept", "", title=_title(kept))
    for line in lines:
        table.add_row(*_cells(line))
    for figure in missing:
        table.add_row(figure.name, "", "", _goal(figure), "", "[yellow]not measured")
    Console(width=140).print(table)


def _title(kept: Kept | None) -> str:
    if kept is None:
        return "no kept result to compare with"
    machine = kept["machine"]
    return f"kept: {machine['commit']} of {machine['at'][:10]}, {machine['processor']}"


def _cells(line: Line) -> tuple[str, ...]:
    figure, value = line.result.figure, line.result.value
    meets = {True: "[green]met", False: "[red]missed", None: ""}[figure.meets_goal(value)]
    return (
        figure.name,
        f"{_short(value)} {figure.unit}",
        " ".join(map(_short, line.result.runs)),
        _goal(figure),
        "" if line.before is None else _short(line.before),
        f"{meets}{'[bold red] worse than kept' if line.is_worse else ''}",
    )


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return f"{'≥' if figure.more_is_better else '≤'} {figure.goal:g}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".") or "0"
