"""What each promise costs, and the setting that gives it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.cost import model
from bench.cost.counts import Counts
from bench.cost.model import MILLION, Watched, dollars
from infra.prices import prices


@dataclass(frozen=True, slots=True)
class Promise:
    """Something that a deployment promises, and its share of the cost of a million jobs."""

    text: str
    dollars: float
    setting: str  # that gives it up, or what decides about it
    by_default: bool = True  # whether it is in the sum


def promises(counts: Counts, cap: float, watched: Watched) -> list[Promise]:
    """The promises that cost something, the dearest first. `cap` is what a cap adds."""
    found = [*_of_steps(counts), *_of_logs(counts, watched), *_of_choices(counts, cap)]
    return sorted(found, key=lambda promise: -promise.dollars)


def _of_steps(counts: Counts) -> list[Promise]:
    def writes(*steps: str, index: str | None = None) -> float:
        found = (counts.units.get(step, {}) for step in steps)
        units = sum(u[index] if index else sum(u.values()) for u in found)
        price: float = prices()["dynamodb"]["write_unit"]
        return units / counts.jobs * price * MILLION

    return [
        Promise("every end is counted exactly once", writes("count: counted", "count: totals"), ""),
        Promise(
            "jobs are listed by status at a cost that does not grow",
            writes("started", "succeeded", index="by_owner"),
            "",
        ),
        Promise(
            "nothing is lost: the sweeper finds each due job, and no job is removed uncounted",
            writes("submitted", index="by_due") + writes("settled"),
            "",
        ),
        Promise(
            "clients that poll see progress; a cancel and a first subscriber are noticed soon",
            writes("progress"),
            "`worker.progress_seconds`, up to 300",
        ),
    ]


def _of_logs(counts: Counts, watched: Watched) -> list[Promise]:
    def without(**changes: object) -> float:
        less = model.job_lines(counts, replace(watched, **changes))  # type: ignore[arg-type]
        return (dollars(model.job_lines(counts, watched)) - dollars(less)) * MILLION

    logs = {line.what: line.dollars * MILLION for line in model.job_lines(counts, watched)}
    return [
        Promise("metrics, with alarms", logs["log GB of metrics"], "`observability.metrics`"),
        Promise("the worker logs each start and end", logs["log GB of the worker"], ""),
        Promise("a log of all requests", without(access_log=None), "`api.access_log`"),
        Promise(
            "a log of all calls of functions",
            -without(has_call_log=True),
            "`functions.call_log`",
            by_default=False,
        ),
    ]


def _of_choices(counts: Counts, cap: float) -> list[Promise]:
    arrivals = counts.functions["arrive"]
    lambda_ = prices()["lambda"]
    wake = arrivals["calls"] * lambda_["request"]
    wake += model.gb_seconds(model.ROWS["arrive"], **arrivals) * lambda_["gb_second_arm"]
    traces = model.traceable_calls(counts) * prices()["xray"]["trace"]
    return [
        Promise(
            "the first worker of an idle fleet is ordered at once",
            wake / counts.jobs * MILLION,
            "`functions.wake_scaler`",
        ),
        Promise(
            "a cap of active jobs, exact under any number of posts",
            cap,
            "a cap in the API key",
            by_default=False,
        ),
        Promise(
            "thumbnails, made by default: of one picture a file, a write and a read",
            prices()["s3"]["put"] * MILLION
            + (prices()["dynamodb"]["write_unit"] + prices()["dynamodb"]["read_unit"]) * MILLION,
            "`worker.thumbnails`",
            by_default=False,
        ),
        Promise("traces", traces * MILLION, "`observability.tracing`", by_default=False),
    ]


def cap_dollars(alone: Counts, capped: Counts) -> float:
    """What the cap of its key adds to a job: slots, reads of them, and the time of these calls.

    Both counts are of as many jobs, because a worker's own reports are in them.
    """
    write, read, second = (
        *(float(prices()["dynamodb"][unit]) for unit in ("write_unit", "read_unit")),
        float(prices()["lambda"]["gb_second_arm"]),
    )
    slots = sum(capped.units["slots"].values()) / capped.jobs
    reads = capped.each("dynamodb read units") - alone.each("dynamodb read units")
    time = 0.0
    for name, row in model.ROWS.items():
        calls = capped.functions[name]["aws_calls"] / capped.jobs
        more = calls - alone.functions[name]["aws_calls"] / alone.jobs
        time += model.gb_seconds(row, 0, max(0.0, more))
    return slots * write + max(0.0, reads) * read + time * second


def table(found: Sequence[Promise]) -> str:
    """The promises as a Markdown table."""
    rows = [
        f"| {promise.text} | {'' if promise.by_default else '+'}{promise.dollars:.2f} | "
        f"{promise.setting or 'none'} |"
        for promise in found
    ]
    head = ["| promise | $ per 1M | setting |", "| --- | ---: | --- |"]
    return "\n".join([*head, *rows])
