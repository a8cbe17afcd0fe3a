"""One job makes no more AWS calls and no more DynamoDB writes than it needs.

`make cost` counts the same calls for several jobs, and multiplies them with AWS's prices.
"""

from __future__ import annotations

from tests.support.counted_jobs import Counted, run_jobs

# Write units of each step, for the table and both indexes together. Progress is not listed, because
# the worker writes it by the clock.
WRITE_UNITS = {
    "put: request": 1,  # the request and its graph
    "submitted": 3,  # the job, and its entry in each index
    "claimed": 1,  # the due time does not change
    "started": 3,  # a new status: one index entry is removed, another added
    "put: artifacts": 1,
    "succeeded": 3,  # a new status; the due time does not change
    "settled": 2,  # no due time any more; its TTL removes it
    "count: counted": 2,  # within a transaction every write costs double
    "count: totals": 2,
}
# AWS calls of each function of a job. The authorizer reads the key, whether a client follows all
# jobs of its owner, and at first the switches.
FUNCTIONS = {"authorize": 3, "submit": 3, "arrive": 1, "settle": 2, "read": 1}


async def test_a_job_takes_no_more_than_it_needs() -> None:
    counted = await run_jobs(1, step_ms=20)
    units = {step: by_place.total() for step, by_place in counted.units.items()}
    progress = units.pop("progress", 0)
    assert progress <= 1  # an item within 1 KB, and no change in by_owner and by_due
    assert units == WRITE_UNITS
    # The pusher is not called, because the job has no subscriber.
    assert {name: work.calls for name, work in counted.functions.items()} == dict.fromkeys(
        FUNCTIONS, 1
    )
    assert {name: work.aws_calls for name, work in counted.functions.items()} == FUNCTIONS
    assert counted.printed == []
    assert _calls(counted, "sqs SendMessage", "sqs DeleteMessage") == 2
    assert _calls(counted, "s3 PutObject", "s3 CreateMultipartUpload") == 1
    # One unit is of the worker's own reports, which it makes by the clock.
    assert counted.calls["dynamodb read units"] <= 7


def _calls(counted: Counted, *names: str) -> float:
    return sum(counted.calls.get(name, 0) for name in names)
