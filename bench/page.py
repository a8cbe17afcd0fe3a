"""The kept results in docs/performance.md: a table and a picture, made from bench/results/all.json.

`make bench BENCH=--keep` writes both, and so does `python -m bench.page`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench import results
from bench.figures import Figure, Measurement, Runs
from bench.overhead import PHASES, STEP_MS
from bench.straight import STEPS
from bench.table import short
from localcloud.state import ROOT
from tools.marked import replaced

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "performance.png"
KEPT = results.FOLDER / "all.json"
BEGIN = "<!-- The table is made from bench/results/all.json by `make bench BENCH=--keep`. -->"
END = "<!-- End of the table. -->"


def write(measurements: Sequence[Measurement]) -> None:
    """Write the table into the page, and draw the picture."""
    kept = results.read(KEPT)
    if kept is not None:
        PAGE.write_text(with_table(PAGE.read_text(), kept, measurements))
        draw(kept, measurements)


def with_table(page: str, kept: results.Kept, measurements: Sequence[Measurement]) -> str:
    """The page with the current table between its two markers."""
    text = "\n".join([*_about(kept), "", *_rows(kept, measurements)])
    return replaced(page, BEGIN, text, END)


def _about(kept: results.Kept) -> Iterator[str]:
    machine = kept["machine"]
    yield (
        f"Measured last at {machine['at'][:16].replace('T', ' ')} UTC on {machine['cores']} cores "
        f"({machine['processor']}), with a load of {machine['load_1_5_15'][0]:g}, Python "
        f"{machine['python']} and the {machine['engine']}. Medians of the runs; `straight` is the "
        "median of the posts straight to ComfyUI around these runs, and the last column is the "
        "figure as a multiple of it (for a rate: how many in that time)."
    )


def _rows(kept: results.Kept, measurements: Sequence[Measurement]) -> Iterator[str]:
    yield "| figure | measured | runs | goal | straight, ms | figure / straight |"
    yield "| --- | ---: | --- | --- | ---: | ---: |"
    for figure, found in _shown(kept, measurements):
        runs = Runs(found["runs"], found.get("yardsticks", ()))
        beside, stick = figure.beside(runs), ""
        if beside.values != runs.values:
            stick = short(Runs(runs.yardsticks).value)
        yield (
            f"| {figure.name} | {short(found['value'])} {figure.unit} | "
            f"{' '.join(map(short, found['runs']))} | {_goal(figure, found['value'])} | {stick} | "
            f"{short(beside.value) if stick else ''} |"
        )


def _shown(
    kept: results.Kept, measurements: Sequence[Measurement]
) -> Iterator[tuple[Figure, Mapping[str, Any]]]:
    """The kept figures that still exist, in the order of the measurements."""
    for measurement in measurements:
        for figure in measurement.figures:
            if figure.name in kept["figures"]:
                yield figure, kept["figures"][figure.name]


def _goal(figure: Figure, value: float) -> str:
    if figure.goal is None:
        return ""
    sign = "≥" if figure.more_is_better else "≤"
    verdict = (
        "" if figure.meets_goal(value) else f" **missed by {short(abs(value - figure.goal))}**"
    )
    return f"{sign} {figure.goal:g}{verdict}"


# --- the picture ----------------------------------------------------------------------------------


def draw(kept: results.Kept, measurements: Sequence[Measurement]) -> None:
    """Draw a job's phases beside the straight post, and every figure beside its goal."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (phases, goals) = plt.subplots(1, 2, figsize=(13, 6), layout="constrained")
    _draw_phases(phases, kept["figures"])
    _draw_goals(goals, list(_shown(kept, measurements)))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=90)
    plt.close(figure)


def _draw_phases(axis: Any, figures: Mapping[str, Any]) -> None:
    """Two bars for each step time: a post straight to ComfyUI, and a job in its phases."""
    labels = []
    for n, step_ms in enumerate(STEP_MS):
        what = f"{STEPS} x {step_ms} ms"
        labels += [f"{what}\nstraight", f"{what}\nas a job"]
        straight = figures[f"straight to ComfyUI, {what}"]["value"]
        axis.bar(2 * n, straight, color="0.6", label="straight to ComfyUI" if n == 0 else None)
        bottom = 0.0
        for color, text in enumerate(PHASES.values()):
            # The worker may claim a job before its post is answered.
            value = max(0.0, figures[f"  {text}, {what}"]["value"])
            label = text if n == 0 else None
            axis.bar(2 * n + 1, value, bottom=bottom, color=f"C{color}", label=label)
            bottom += value
        axis.text(2 * n, straight, f"{straight:.0f}", ha="center", va="bottom")
        axis.text(2 * n + 1, bottom, f"{bottom:.0f}", ha="center", va="bottom")
    axis.set_xticks(range(len(labels)), labels)
    axis.set_ylabel("ms")
    axis.set_title("The same graph, straight to ComfyUI and as a job")
    axis.legend(fontsize=8)


def _draw_goals(axis: Any, shown: Sequence[tuple[Figure, Mapping[str, Any]]]) -> None:
    """Each figure with a goal as a share of it. What is left of the line meets its goal."""
    having = [(figure, found["value"]) for figure, found in shown if figure.goal]
    names = [figure.name for figure, _ in having]
    shares = [_share(figure, value) for figure, value in having]
    colors = ["C2" if share <= 1 else "C3" for share in shares]
    axis.barh(names, shares, color=colors)
    axis.axvline(1, color="k", lw=1)
    axis.invert_yaxis()
    axis.tick_params(axis="y", labelsize=7)
    axis.set_title("Figures as a share of their goals")


def _share(figure: Figure, value: float) -> float:
    goal = figure.goal or 1.0
    return goal / value if figure.more_is_better and value else value / goal


if __name__ == "__main__":
    from bench.__main__ import MEASUREMENTS

    write(MEASUREMENTS)
