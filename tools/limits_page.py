"""Write docs/limits.md: every limit and budget, with its default, unit, setting and error.

The numbers come from the code. A test compares the page with it, and fails if a limit is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from comfyline.api.json import MAX_JSON_DEPTH
from comfyline.contract import limits
from comfyline.contract.problems import PROBLEMS
from comfyline.service.access.authenticate import SOCKET_PASS_LIFETIME
from comfyline.service.access.budgets import (
    ACTIVE_JOBS,
    BUDGETS,
    DAY,
    MAX_OPEN_SOCKETS,
    OPEN_SOCKETS,
    POSTS,
    REQUESTS,
    UNCOUNTED_SHARE,
    WAIT_SHARES,
    Budget,
)
from comfyline.service.access.slots import MAX_ACTIVE_JOBS, MAX_JOBS_PER_MINUTE
from comfyline.service.files.offer_upload import FORM_LIFETIME
from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.graphs.validate import MAX_NODES
from functions._paging import MAX_LIMIT
from infra.choices import CHOICES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "limits.md"
_HEAD = f"""\
# Limits and budgets

This page is made from the code by `make docs`. Errors are codes of problems; those without a
status are messages of type `error` on the socket.

## Budgets of an owner

They keep one caller from hurting another. Beyond a budget the answer is 429 with `Retry-After`,
and the problem's `budget` has the name in the first column. Minutes and days are those of the clock
in UTC. The settings are options of `comfyline keys create`, and hold for requests with that key. An
owner may exceed a budget of a minute or a day by a hundredth for each process that serves it
([why](adr/0033-budgets-counted-in-the-process-first.md)); below {2 * UNCOUNTED_SHARE} it is exact.

A list counts as one request for each 20 jobs of its `limit`. Without `--requests-per-minute`, a key
with `--jobs-per-minute` may make twice that number of requests, if it is more. Several waiting
posts of one job have one place.

"""


@dataclass(frozen=True, slots=True)
class Limit:
    """One row of a table. `constant` is the name in `comfyline.contract.limits`, if it has one."""

    what: str
    value: str
    beyond: str  # an error's code, or what happens
    setting: str = ""
    constant: str = ""


def _of_contract(constant: str, what: str, unit: str, beyond: str, setting: str = "") -> Limit:
    number: int = getattr(limits, constant)
    return Limit(what, f"{number:,} {unit}", beyond, setting, constant)


REQUEST = (
    _of_contract("MAX_BODY_BYTES", "body", "bytes", "request_too_large"),
    Limit("nesting of the body", f"{MAX_JSON_DEPTH} levels", "malformed_request"),
    _of_contract("MAX_PROMPT_LENGTH", "each prompt", "characters", "invalid_request"),
    _of_contract("MAX_METADATA_BYTES", "metadata", "bytes", "invalid_request"),
    _of_contract(
        "MAX_PIXELS", "picture of the parameter form", "pixels", "request_too_large", "--max-pixels"
    ),
    _of_contract(
        "MAX_BATCH_SIZE",
        "batch of the parameter form",
        "pictures",
        "request_too_large",
        "--max-batch-size",
    ),
    Limit(
        "picture and batch of a workflow",
        "none; with `--max-pixels` or `--max-batch-size` those, where numbers say them",
        "request_too_large",
        "--max-pixels",
    ),
    _of_contract("MAX_SEED", "seed", "", "invalid_request"),
    _of_contract("MAX_DRAWN_SEED", "seed that the service draws", "", "not reached"),
    Limit("workflow", f"{MAX_NODES:,} nodes", "invalid_request"),
    Limit("id and class of a node", f"{MAX_NAME} characters", "invalid_request"),
    _of_contract("MAX_INPUTS", "`inputs`", "entries", "invalid_request"),
    _of_contract(
        "MAX_UPLOAD_REFERENCES", "inputs that name an upload", "of a workflow", "invalid_request"
    ),
    _of_contract("MAX_UPLOAD_BYTES", "one upload", "bytes", "invalid_request"),
    _of_contract("MAX_JOB_UPLOAD_BYTES", "all uploads of a job", "bytes", "request_too_large"),
    _of_contract("MAX_TOKEN_SECONDS", "life of a token", "seconds", "invalid_request"),
    _of_contract("MAX_TOKEN_JOBS", "`max_jobs` of a token", "jobs", "invalid_request"),
    _of_contract("MAX_OWN_KEYS", "keys that an owner makes", "keys", "too_many_keys"),
    _of_contract("MAX_KEY_SECONDS", "`expires_in` of a key", "seconds", "invalid_request"),
    _of_contract("MAX_OVERLAP_SECONDS", "overlap of a rotation", "seconds", "invalid_request"),
    _of_contract("MAX_KEY_NAME", "name of a key", "characters", "invalid_request"),
    _of_contract("MAX_METADATA_FILTERS", "filter by metadata", "pairs", "invalid_request"),
    _of_contract("MAX_START_DEADLINE_SECONDS", "start deadline", "seconds", "invalid_request"),
    _of_contract(
        "MAX_EXECUTION_TIMEOUT_SECONDS", "execution timeout", "seconds", "invalid_request"
    ),
    _of_contract("MAX_WAIT_SECONDS", "`Prefer: wait=N`", "seconds", "shortened"),
    Limit("`limit` of a list", f"{MAX_LIMIT} jobs or files", "invalid_request"),
    Limit("form of an upload", f"{FORM_LIFETIME.total_seconds():,.0f} seconds", "S3 refuses it"),
    Limit("socket pass", f"{SOCKET_PASS_LIFETIME.total_seconds():,.0f} seconds", "401 or 403"),
)

ANSWER = (
    _of_contract("MAX_RESPONSE_BYTES", "body", "bytes", "the page ends, with a cursor"),
    _of_contract("MAX_JOBS_PER_PAGE", "jobs of a page", "jobs", "further pages"),
    _of_contract("MAX_WORKERS_SHOWN", "workers that an operator is shown", "workers", "left out"),
    _of_contract(
        "MAX_SEARCHED_JOBS", "jobs that a filtered page looks at", "jobs", "further pages"
    ),
    _of_contract("MAX_ARTIFACTS_PER_PAGE", "files of a page", "files", "further pages"),
    _of_contract("MAX_MESSAGE_BYTES", "message of the service", "bytes", "left out of it"),
    _of_contract("MAX_ARTIFACTS_IN_MESSAGE", "files in `done`", "files", "read the job"),
    _of_contract("MAX_CLIENT_MESSAGE_BYTES", "message of a client", "bytes", "message_too_large"),
    _of_contract("MAX_SUBSCRIPTIONS", "jobs of one socket", "jobs", "too_many_subscriptions"),
    _of_contract(
        "MAX_ENDED_SESSIONS", "sessions that an operator ends at once", "sessions", "further calls"
    ),
    _of_contract("MAX_FAILURE_DAYS", "days of failures", "days", "older ones are removed"),
    _of_contract("MAX_FAILURE_GROUPS", "groups of failures", "groups", "the most frequent ones"),
    _of_contract("MAX_FAILURE_SAMPLES", "jobs of a group of failures", "jobs", "later ones"),
    _of_contract("MAX_FOLLOWED_JOBS", "states after `jobs: mine`", "jobs", "list the older ones"),
)


def _budget_rows() -> Iterator[str]:
    yield "| budget | counts | default | setting | beyond it |"
    yield "| --- | --- | --- | --- | --- |"
    cap, rate = f"at most {MAX_ACTIVE_JOBS:,}", f"at most {MAX_JOBS_PER_MINUTE:,}"
    yield _row(ACTIVE_JOBS, "jobs that have not ended", "none", "max_active_jobs", cap)
    yield _row(POSTS, "posts of jobs per minute", "none", "jobs_per_minute", rate)
    for budget in BUDGETS:
        counts = f"{budget.unit} per {_span(budget)}"
        default = HALF if budget is REQUESTS else f"{budget.limit:,}"
        yield _row(budget.name, counts, default, budget.setting)
    open_sockets = f"{MAX_OPEN_SOCKETS:,}"
    yield _row(OPEN_SOCKETS, "open sockets of a key", open_sockets, "max_sockets")
    share = f"one of {WAIT_SHARES} parts of `api.max_waits`"
    yield _row("waits", "posts that wait for their job", share, "max_waits")


HALF = "30 for each of `api.requests_per_second`, the half of all"
# What happens beyond a budget, unless it is a 429 of `too_many_requests`.
BEYOND: Mapping[str, str] = {
    ACTIVE_JOBS: "429 `too_many_jobs`",
    OPEN_SOCKETS: "429 at the handshake",
    "sockets": "429 at the handshake",
    "messages": "`too_many_requests` on the socket",
    "waits": "202 at once",
}


def _row(name: str, counts: str, default: str, setting: str, bound: str = "") -> str:
    option = ", ".join(filter(None, (_option(setting), bound)))
    beyond = BEYOND.get(name, "429 `too_many_requests`")
    return f"| `{name}` | {counts} | {default} | {option} | {beyond} |"


def _span(budget: Budget) -> str:
    return "day" if budget.window == DAY else "minute"


def _option(setting: str) -> str:
    return f"`--{setting.replace('_', '-')}`" if setting else "none"


def _table(rows: Iterable[Limit]) -> Iterator[str]:
    yield "| what | limit | setting | beyond it |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        setting = f"`{row.setting}`" if row.setting else ""
        yield f"| {row.what} | {row.value.strip()} | {setting} | {_error(row.beyond)} |"


def _error(beyond: str) -> str:
    if (kind := PROBLEMS.get(beyond)) is None:
        return beyond
    return f"{kind.status} `{beyond}`" if kind.status else f"`{beyond}`"


# The keys of the deployment file that bound what all callers ask for together.
SHARED: Mapping[str, str] = {
    "api.requests_per_second": "429 of the gateway",
    "api.open_requests_per_second": "429 of the gateway",
    "api.max_waits": "answered at once with 202",
    "functions.concurrency": "429 or 503 of the gateway",
}


def _shared_rows() -> Iterator[str]:
    yield "| key | meaning | default | beyond it |"
    yield "| --- | --- | --- | --- |"
    for key, beyond in SHARED.items():
        choice = CHOICES[key]
        yield f"| `{key}` | {choice.description} | {choice.default} | {beyond} |"
    messages = "messages of clients on all sockets, each second"
    yield f"| | {messages} | `api.requests_per_second` | the gateway drops them |"


def page() -> str:
    """The whole page."""
    parts = (
        _HEAD + "\n".join(_budget_rows()),
        "## One request\n\n" + "\n".join(_table(REQUEST)),
        "## Answers and messages\n\n" + "\n".join(_table(ANSWER)),
        "## All callers together\n\nKeys of the deployment file ([deploy.md](deploy.md)).",
        "\n".join(_shared_rows()),
    )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
