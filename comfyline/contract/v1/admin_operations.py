"""The operations for operators. Each needs a key with the scope `admin`; tokens are refused."""

from __future__ import annotations

from collections.abc import Mapping

from comfyline.contract.limits import MAX_ENDED_SESSIONS, MAX_SEARCHED_JOBS
from comfyline.contract.v1 import access, accounts, failures, fleet, parameters, switches, trouble
from comfyline.contract.v1.operation import TAKES_A_BODY, Operation

TAG = "Administration"
# What a deployment has at first, so that it changes nothing where it is tried.
SWITCHES_EXAMPLE = {"jobs_enabled": True, "sockets_enabled": True, "version": 0}

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
    ("GET", "/api/v1/admin/owners"): Operation(
        "listOwners",
        TAG,
        "List owners, with their keys and their usage",
        "One page of the owners that have keys, by name. The key needs the scope `admin`.",
        {200: accounts.OwnerPage},
        ("invalid_request", "too_many_requests"),
        parameters.PAGE,
    ),
    ("GET", "/api/v1/admin/keys"): Operation(
        "listAllKeys",
        TAG,
        "List the keys of all owners",
        "One page, in no particular order, without secrets. The key needs the scope `admin`.",
        {200: accounts.KeyPage},
        ("invalid_request", "too_many_requests"),
        parameters.PAGE,
    ),
    ("POST", "/api/v1/admin/keys/{key_id}/disable"): Operation(
        "disableAnyKey",
        TAG,
        "Disable a key for good",
        "It is refused within 30 s, with the keys that it has made, and its WebSockets are closed "
        "within about a minute. Its jobs go on. The key needs the scope `admin`.",
        {200: access.KeyView},
        ("key_not_found",),
        (parameters.KEY_ID,),
    ),
    ("PUT", "/api/v1/admin/keys/{key_id}/limits"): Operation(
        "limitKey",
        TAG,
        "Replace the limits of a key",
        "They hold within 30 s, also for the keys that it has made. The key needs the scope "
        "`admin`.",
        {200: access.KeyView},
        (*TAKES_A_BODY, "key_not_found"),
        (parameters.KEY_ID,),
        body={accounts.LimitsChange: {"limits": {"max_active_jobs": 20}}},
    ),
    ("POST", "/api/v1/admin/sessions/end"): Operation(
        "endSessions",
        TAG,
        "End the sessions of an owner or a person",
        "They are signed out of the console: cookies are refused at once, requests within 30 s, "
        "and WebSockets are closed within about a minute. Keys stay valid, so disable a key that "
        f"has leaked. One call ends up to {MAX_ENDED_SESSIONS} sessions. "
        "The key needs the scope `admin`.",
        {200: accounts.SessionsEnded},
        TAKES_A_BODY,
        body={accounts.SessionsEnd: {"owner": "team-a"}},
    ),
    ("GET", "/api/v1/admin/dead-letters"): Operation(
        "listDeadLetters",
        TAG,
        "Look at the tickets that were delivered too often",
        "Up to 50 of them, with their jobs. They stay in the queue. The service tries each again "
        "by itself every 3 minutes, and between two tries it cannot be seen. The key needs the "
        "scope `admin`.",
        {200: trouble.DeadLetterList},
    ),
    ("POST", "/api/v1/admin/dead-letters/redrive"): Operation(
        "redriveDeadLetters",
        TAG,
        "Handle the tickets that were delivered too often",
        "Handles up to 50 tickets that can be seen now: a job that has not ended gets a new "
        "ticket, and any other ticket is dropped. It does no harm to call it twice. The key needs "
        "the scope `admin`.",
        {200: trouble.RedriveAnswer},
    ),
    ("GET", "/api/v1/admin/switches"): Operation(
        "readSwitches",
        TAG,
        "Read the switches",
        "Whether the service accepts jobs and sockets. The key needs the scope `admin`.",
        {200: switches.SwitchesView},
    ),
    ("PUT", "/api/v1/admin/switches"): Operation(
        "setSwitches",
        TAG,
        "Pause or resume the service",
        "Sets all switches, unless another operator has changed one since you have read them. "
        "It takes effect within 30 s. Jobs that were accepted go on. The key needs the scope "
        "`admin`.",
        {200: switches.SwitchesView},
        (*TAKES_A_BODY, "switches_changed"),
        body={switches.SwitchesRequest: SWITCHES_EXAMPLE},
    ),
    ("GET", "/api/v1/admin/alarms"): Operation(
        "listAlarms",
        TAG,
        "List the alarms",
        "The deployment's CloudWatch alarms, those that are raised first. `name` is the alarm's "
        "section in the runbook. The key needs the scope `admin`.",
        {200: trouble.AlarmList},
    ),
}
