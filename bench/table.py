"""The table that a benchmark prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from bench.figures import Figure
from bench.results import Kept, Line


def show(lines: Sequence[Line], missing: Sequence[Figure], kept: Kept | None) -> None:
    """Print every figure beside its goal and the kept result, then those that no run has.

    The column `straight` has the milliseconds of a post straight to ComfyUI in each run. At the end
    each regression is named.
    """
    columns = ("figure", "median", "runs", "goal", "kept", "straight", "")
    table = Table(*columns, title=_title(kept))
    for line in lines:
        table.add_row(*_cells(line))
    for figure in missing:
        table.add_row(figure.name, "", "", _goal(figure), "", "", "[yellow]not measured")
    console = Console(width=150)
    console.print(table)
    console.print(*_regressions(lines), sep="\n", markup=False)


def _regressions(lines: Sequence[Line]) -> Iterator[str]:
    """Names each figure that is worse than the kept one, with what says so."""
    worse = [line for line in lines if line.is_worse]
    yield f"Worse than the kept result, beyond noise: {len(worse) or 'no'} of {len(lines)} figures."
    for line in worse:
        figure, before = line.result.figure, line.before
        assert before is not None
        now, kept = (figure.beside(runs) for runs in (line.result.runs, before))
        text = f"{short(line.result.value)} {figure.unit}, kept {short(before.value)}"
        if kept.values != before.values:
            text += f"; beside a post straight to ComfyUI {short(now.value)}, kept "
            text += short(kept.value)
        yield f"- {figure.name.strip()}: {text}"


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
        f"{short(value)} {figure.unit}",
        " ".join(map(short, line.result.runs.values)),
        _goal(figure),
        "" if line.before is None else short(line.before.value),
        " ".join(map(short, line.result.runs.yardsticks)),
        f"{meets}{'[bold red] worse than kept' if line.is_worse else ''}",
    )


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    return f"{'≥' if figure.more_is_better else '≤'} {figure.goal:g}"


def short(value: float) -> str:
    """The number with as many digits as a reader needs."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".") or "0"
