"""`python -m bench.sizes`: how long functions take, and what they cost, at each size of memory.

Lambda gives CPU in proportion to memory. The CPU of cold starts is measured on this machine, see
tools/cold_starts.py; latencies and dollars are computed from it, and nothing is measured on AWS.
The table is written into docs/performance.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.cost.model import MILLION, NETWORK_MS, WHOLE_CPU_MB
from bench.page import PAGE
from infra.functions import FUNCTIONS
from infra.prices import prices
from tools.cold_starts import Lambda
from tools.marked import replaced

SIZES_MB = (128, 256, 512, 1024, 1769, 3008)
TRIES = 8
# Milliseconds of a whole CPU. Measured on Python 3.13 against a server on the same machine, a warm
# post takes 2.4 in all and its first call 11. A handler without its AWS calls takes 0.6.
OWN_MS, FIRST_CALL_MS = 0.6, 11.0
SDK_MS = 1.0  # of each AWS call: 0.6 was measured without TLS
COLD_SHARE = 0.01  # of the calls are the first of their process
BEGIN = "<!-- This table is made by `python -m bench.sizes`. -->"
END = "<!-- End of the table of sizes. -->"


@dataclass(frozen=True, slots=True)
class Work:
    """What a function does in one call, in milliseconds of a whole CPU, and its AWS calls."""

    start_ms: float
    aws_calls: int

    def warm_ms(self, memory_mb: int) -> float:
        """A call of a warm process. One thread cannot use more than one CPU."""
        cpu = OWN_MS + SDK_MS * self.aws_calls
        return cpu / _share(memory_mb) + NETWORK_MS * self.aws_calls

    def cold_ms(self, memory_mb: int) -> float:
        """The first call of a process, with its start, to which Lambda gives a whole CPU."""
        extra = (FIRST_CALL_MS - OWN_MS) / _share(memory_mb)
        return self.start_ms + extra + self.warm_ms(memory_mb)

    def dollars(self, memory_mb: int) -> float:
        """A million calls. Lambda bills the start of a process like a call."""
        ms = (1 - COLD_SHARE) * self.warm_ms(memory_mb) + COLD_SHARE * self.cold_ms(memory_mb)
        gb_seconds = ms / 1000 * memory_mb / 1024
        paid = prices()["lambda"]
        return float(MILLION * (paid["request"] + gb_seconds * paid["gb_second_arm"]))


def _share(memory_mb: int) -> float:
    return min(1, memory_mb / WHOLE_CPU_MB)


# The AWS calls of one call, as docs/cost.md counts them; of a push to one subscriber.
AWS_CALLS = {"SubmitJob": 3, "AuthorizeHttp": 2, "PushUpdates": 2, "SettleJobs": 2}


def table(works: Mapping[str, Work]) -> Iterator[str]:
    """A row for each function and size, with the deployed size in bold."""
    yield "| function | memory, MB | warm call, ms | first call, ms | $ per 1M |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, work in works.items():
        for size in SIZES_MB:
            shown = f"**{size:,}**" if size == FUNCTIONS[name].memory else f"{size:,}"
            warm, cold = work.warm_ms(size), work.cold_ms(size)
            yield f"| {name} | {shown} | {warm:.0f} | {cold:.0f} | {work.dollars(size):.2f} |"


def with_table(page: str, works: Mapping[str, Work]) -> str:
    """The page with this table between its two markers."""
    text = "\n".join(table(works))
    return replaced(page, BEGIN, text, END)


def measured(on_lambda: Lambda) -> dict[str, Work]:
    """The work of each function, with its start as measured now."""
    return {
        name: Work(on_lambda.cold_start(FUNCTIONS[name], TRIES).ours, calls)
        for name, calls in AWS_CALLS.items()
    }


def main() -> None:
    """The command."""
    with tempfile.TemporaryDirectory() as folder:
        on_lambda = Lambda.prepared(Path(folder))
        if on_lambda is None:
            raise SystemExit("This needs Python 3.13 beside this one; see docs/deploy.md.")
        PAGE.write_text(with_table(PAGE.read_text(), measured(on_lambda)))


if __name__ == "__main__":
    main()
