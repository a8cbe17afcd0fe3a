"""The operations for operators. Each needs a key with the scope `admin`; tokens are refused."""

from __future__ import annotations

from collections.abc import Mapping

from comfyline.contract.limits import MAX_SEARCHED_JOBS
from comfyline.contract.v1 import failures, fleet, parameters
from comfyline.contract.v1.operation import Operation

TAG = "Administration"

ADMIN_OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/api/v1/admin/workers"): Operation(
        "listWorkers",
        TAG,
        "List the workers and what they do",
        "Every worker that has reported itself within the last minute. The key needs the scope "
        "`admin`.",
        {200: fleet.WorkerList},
    ),
    ("GET", "/api/v1/admin/queues"): Operation(
        "readQueues",
        TAG,
        "Read the queues",
        "What waits in each lane and for how long, what the scaler does about it, and how much has "
        "failed. The key needs the scope `admin`.",
        {200: fleet.QueueList},
    ),
    ("GET", "/api/v1/admin/jobs"): Operation(
        "listLiveJobs",
        TAG,
        "List the jobs of all owners that have not ended",
        "One page, in the order in which the service checks the jobs. A job that changes meanwhile "
        "may come twice or be missing. With `status`, a call looks at "
        f"{MAX_SEARCHED_JOBS:,} jobs at most, so a page may have few jobs and still a "
        "`next_cursor`. The key needs the scope `admin`.",
        {200: fleet.LiveJobPage},
        ("invalid_request",),
        parameters.LIVE_LIST,
    ),
    ("GET", "/api/v1/admin/errors"): Operation(
        "listErrors",
        TAG,
        "List what fails, in groups",
        "The failures of the last days by error type, node class and engine, with a few jobs of "
        "each group. Groups are kept for 30 days. The key needs the scope `admin`.",
        {200: failures.FailureList},
        ("invalid_request",),
        (parameters.FAILURE_DAYS,),
    ),
}
