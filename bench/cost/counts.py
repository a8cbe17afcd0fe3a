"""The AWS calls of jobs, counted by the program that the test of a job's calls also uses.

The program runs jobs through the functions and the worker, on moto and the ComfyUI simulator. It
is a separate process, because moto patches boto3.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localcloud.state import ROOT

PROGRAM = "tests.support.counted_jobs"
# 21 jobs of 10 s run one after the other, and the machine may be busy.
TIMEOUT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of `jobs` jobs, as the program prints them.

    `calls` are by service and operation, such as "sqs SendMessage", beside "dynamodb write units"
    and "dynamodb read units". `units` are write units by step and by table or index.
    `functions` has the `calls` and the `aws_calls` of each function.
    """

    jobs: int
    calls: Mapping[str, float]  # until a job was read and pushed
    units: Mapping[str, Mapping[str, float]]
    functions: Mapping[str, Mapping[str, float]]
    metrics: Sequence[str]  # the log lines that are metrics, of functions and worker
    printed: Sequence[str]  # all other log lines of the functions
    worker_log: Sequence[str]

    def each(self, *names: str) -> float:
        """These calls of one job, together."""
        return sum(self.calls.get(name, 0) for name in names) / self.jobs

    @property
    def aws_calls(self) -> float:
        """All AWS calls of one job; DynamoDB's units are not calls."""
        return self.each(*(name for name in self.calls if not name.endswith(" units")))


async def count(jobs: int, *, cap: int | None = None) -> Counts:
    """Run that many jobs of a key with that cap of active jobs, and count their calls.

    Raises:
        RuntimeError: the program failed; its output says why.
    """
    options = ["--jobs", str(jobs), *([] if cap is None else ["--cap", str(cap)])]
    counting = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", PROGRAM, *options), cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        output, _ = await asyncio.wait_for(counting.communicate(), TIMEOUT_SECONDS)
    finally:
        if counting.returncode is None:
            counting.kill()
    if counting.returncode != 0:
        raise RuntimeError(f"{PROGRAM} ended with {counting.returncode}; its output is above")
    content: dict[str, Any] = json.loads(output)
    return Counts(**content)
