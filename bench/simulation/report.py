"""Writes docs/scaling.md and its picture from the results of the simulation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, log10
from pathlib import Path
from typing import Any

from bench.simulation import boot
from bench.simulation.frontier import GPU, NOISE, Point, beaten, default, rival
from bench.simulation.policies import JOB_SECONDS, OURS, USUAL
from bench.simulation.sight import Sight
from bench.simulation.workload import SHAPES, figures, mean_job_seconds

COLUMNS = (
    *("GPUs at most", "days", "policy", "setting", "p50 wait, s", "p95 wait, s"),
    *("GPU-hours paid / worked", "$ per 1,000 jobs"),
)
# Shorter waits are drawn as this one: the axis is logarithmic, and users do not notice them.
LEAST_WAIT = 6  # seconds
PICTURE = "images/scaling.png"
MARGIN = 1.5  # factor between the longest wait and the end of its axis
_MARKS = {OURS: ("C3", "o"), USUAL[0]: ("C0", "s"), USUAL[1]: ("C2", "^"), USUAL[2]: ("0.4", "x")}


def document(
    worlds: Sequence[Sequence[Point]],
    sights: Sequence[tuple[Sight, Point]],
    boots: Sequence[tuple[boot.Way, Point]],
) -> str:
    """docs/scaling.md."""
    return (
        Path(__file__)
        .with_name("page.md")
        .read_text()
        .format(
            job_seconds=JOB_SECONDS,
            boot=boot.section(),
            boots=waits(boots),
            least_wait=LEAST_WAIT,
            gpu=GPU,
            spot_share=figures()["spot"]["share"],
            refused=" and ".join(f"{a} to {b} h" for a, b in figures()["spot"]["refused_hours"]),
            worlds=len(worlds),
            table="\n".join(_table(worlds)),
            large=f"{sights[0][1].max_workers:,}",
            sights="\n".join(_sights(sights)),
            verdict="\n".join(_verdict(worlds)),
            sources="\n".join(
                f"- {what}: {figures()[name]['source']}." for name, what in _sources()
            ),
            **{
                key: figures()["boot"][key] for key in ("launches_a_minute", "workers_of_a_service")
            },
        )
    )


def _table(worlds: Sequence[Sequence[Point]]) -> Iterator[str]:
    yield _row(COLUMNS)
    yield _row(["---:", "---", "---", "---", "---:", "---:", "---:", "---:"])
    for points in worlds:
        for point in (default(points), *(rival(points, name) for name in USUAL)):
            where = (f"{point.max_workers:,}", point.shape, point.policy, point.setting)
            yield _row([*where, *_figures(point)])


def _sights(sights: Sequence[tuple[Sight, Point]]) -> Iterator[str]:
    yield _row(["days", "the scaler", *COLUMNS[4:]])
    yield _row(["---", "---", "---:", "---:", "---:", "---:"])
    for sight, point in sights:
        yield _row([point.shape, sight.value, *_figures(point)])


def waits(boots: Sequence[tuple[boot.Way, Point]]) -> str:
    """The waits of jobs with each way to boot, as a Markdown table."""
    rows = [_row(["days", "way to boot", "first picture after, s", *COLUMNS[4:]])]
    rows.append(_row(["---", "---", *["---:"] * 5]))
    for way, point in boots:
        rows.append(_row([point.shape, way.name, f"{way.seconds:.0f}", *_figures(point)]))
    return "\n".join(rows)


def _figures(point: Point) -> tuple[str, ...]:
    waits = (f"{point.p50:.0f}", f"{point.p95:.0f}")
    return (*waits, f"{point.paid_over_worked:.2f}", f"{point.dollars:.2f}")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _verdict(worlds: Sequence[Sequence[Point]]) -> Iterator[str]:
    pairs = [pair for points in worlds for pair in beaten(points)]
    settings = sum(point.policy == OURS for points in worlds for point in points)
    if any(mine.is_default for mine, _ in pairs):
        yield "One policy or more beats the scaler's default in both cost and p95 wait; see below."
    else:
        yield "Nowhere is a usual policy better than the scaler's default in both."
    yield (
        f"Of the {settings} settings of the scaler in the picture, {len(pairs)} are beaten in both "
        f"(nearer than {NOISE:.0%} is a draw):"
    )
    yield ""
    for mine, other in pairs:
        yield (
            f"- {mine.max_workers:,} GPUs, {mine.shape}: *{mine.setting}* ({mine.p95:.0f} s, "
            f"${mine.dollars:.2f}) by {other.policy}, *{other.setting}* ({other.p95:.0f} s, "
            f"${other.dollars:.2f})"
        )


def _sources() -> Iterator[tuple[str, str]]:
    yield "job_times", f"Job times, {mean_job_seconds():.1f} s on average"
    yield "load", f"Load, {figures()['load']['mean_share']:.0%} of the largest fleet on average"
    for shape in SHAPES:
        yield shape, f"Arrivals, *{shape}*"
    yield "boot", f"A worker is ready after {figures()['boot']['median_seconds']} s (median)"
    yield "spot", f"A spot worker lasts {figures()['spot']['hours_between_reclaims']} h on average"
    yield "metrics", "What alarms see"


def draw(worlds: Sequence[Sequence[Point]], path: Path) -> None:
    """Draw one plot for each workload. The axis of dollars begins at 0."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = len(worlds) // len(SHAPES)
    figure, axes = plt.subplots(
        rows, len(SHAPES), figsize=(12, 3.4 * rows), layout="constrained", squeeze=False
    )
    for axis, points in zip(axes.flat, worlds, strict=True):
        _draw_one(axis, points)
    for axis in axes[-1]:
        axis.set_xlabel("$ per 1,000 jobs")
    for axis in axes[:, 0]:
        axis.set_ylabel("p95 wait, minutes")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _draw_one(axis: Any, points: Sequence[Point]) -> None:
    for name, (color, mark) in _MARKS.items():
        mine = [point for point in points if point.policy == name]
        axis.plot(*_xy(mine), mark, color=color, label=name, alpha=0.8)
    axis.step(*_xy(_front(points)), where="post", color="C3", lw=1, alpha=0.6)
    ring = _xy([default(points)])
    axis.plot(*ring, "o", ms=13, mfc="none", mec="C3", label="scaler's default")
    most = points[0].max_workers
    axis.set_title(f"{points[0].shape}, at most {most:,} GPU{'s' * (most > 1)}")
    axis.set_xlim(0, 1.1 * max(point.dollars for point in points))
    axis.set_yscale("log")
    # To the next power of ten, because otherwise the highest mark may have no label above it.
    longest = max(point.p95 for point in points)
    axis.set_ylim(LEAST_WAIT / 60 / 1.5, 10 ** ceil(log10(longest / 60 * MARGIN)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(alpha=0.3)


def _xy(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.dollars for point in points], [
        max(point.p95, LEAST_WAIT) / 60 for point in points
    ]


def _front(points: Sequence[Point]) -> list[Point]:
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.dollars, point.p95)):
        if point.policy == OURS and (not front or point.p95 < front[-1].p95):
            front.append(point)
    return front
