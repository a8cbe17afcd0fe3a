"""What a job takes of AWS stays what it was brought down to; `make cost` has what that costs."""

from __future__ import annotations

from bench.counted_jobs import Counted, run_jobs

# Of each step: the table and both indexes. Progress comes by the clock, so it is not among them.
WRITE_UNITS = {
    "put: request": 1,  # what was asked and its graph
    "submitted": 3,  # the row, and its entry in each index
    "claimed": 1,  # the time at which it is due stays as it is
    "started": 3,  # another status: one entry goes, another comes
    "put: artifacts": 1,
    "succeeded": 5,  # another status, and due for its removal
    "count: counted": 2,  # within a transaction everything is charged twice
    "count: totals": 2,
    "count: usage": 2,
}
# AWS calls of each function of a job.
FUNCTIONS = {"authorize": 2, "submit": 3, "scale": 1, "push": 1, "read": 1}


async def test_a_job_takes_no_more_than_it_needs() -> None:
    counted = await run_jobs(1, step_ms=20)
    units = {step: by_place.total() for step, by_place in counted.units.items()}
    progress = units.pop("progress", 0)
    assert progress <= 1  # a row within 1 KB, and by_owner and by_due are not touched
    assert units == WRITE_UNITS
    # The pusher is told of the end alone, since nobody watches.
    assert {name: work.calls for name, work in counted.functions.items()} == dict.fromkeys(
        FUNCTIONS, 1
    )
    assert {name: work.aws_calls for name, work in counted.functions.items()} == FUNCTIONS
    assert counted.printed == []
    assert _calls(counted, "sqs", "SendMessage", "DeleteMessage") == 2
    assert _calls(counted, "s3", "PutObject", "CreateMultipartUpload") == 1
    assert counted.calls["dynamodb", "read units"] <= 6
    assert counted.removal["dynamodb", "write units"] == 5


def _calls(counted: Counted, service: str, *names: str) -> float:
    return sum(counted.calls.get((service, name), 0) for name in names)
