"""The parameters of API v1's operations, and the headers of their answers, as OpenAPI objects."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfyline.contract.limits import (
    DEFAULT_FAILURE_DAYS,
    MAX_ARTIFACTS_PER_PAGE,
    MAX_FAILURE_DAYS,
    MAX_JOBS_PER_PAGE,
    MAX_METADATA_FILTERS,
    MAX_SEARCHED_JOBS,
    MAX_WAIT_SECONDS,
)
from comfyline.contract.v1.examples import CURSOR
from comfyline.contract.v1.examples import JOB_ID as JOB_ID_EXAMPLE
from comfyline.contract.v1.examples import KEY_ID as KEY_ID_EXAMPLE

Json = dict[str, Any]


def _parameter(where: str, name: str, schema: Json, example: Any, description: str) -> Json:
    required = {"required": True} if where == "path" else {}
    shown = {"description": description, "schema": {**schema, "examples": [example]}}
    return {"name": name, "in": where, **required, **shown}


_query = partial(_parameter, "query")
_header = partial(_parameter, "header")
_path = partial(_parameter, "path")

JOB_ID = _path(
    "job_id",
    {"type": "string"},
    JOB_ID_EXAMPLE,
    "The job's id. A text that is no id is answered 404.",
)
IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    # HTTP removes blanks around a value, so they are allowed, but a key is not blank.
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*[!-~][ -~]*$"},
    "picture-1",
    "A text of your own that names this request, for example a UUID. Send the same key when you "
    "repeat the request after a lost answer: no second job is made. The same key with another "
    "body is refused with 422.",
)
PREFER = _header(
    "Prefer",
    {"type": "string", "pattern": "^wait=[0-9]{1,3}$"},
    "wait=10",
    f"`wait=N` delays the answer until the job has ended, by at most N seconds. The service waits "
    f"at most {MAX_WAIT_SECONDS} s.",
)
REQUEST_ID = _header(
    "X-Request-ID",
    {"type": "string"},
    "0b0f1f6e-5a53-4c0f-9d4e-6a3f0c0d9a11",
    "A text of your own of 1 to 255 printable characters. The service returns it, logs it and "
    "keeps it with the job. Any other text is replaced.",
)
PAGE = (
    _query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_JOBS_PER_PAGE, "default": 20},
        20,
        "At most this many jobs.",
    ),
    _query("cursor", {"type": "string"}, CURSOR, "`next_cursor` of the page before."),
)
LIVE_LIST = (
    _query("status", {"enum": ["queued", "running"]}, "running", "Only jobs in this state."),
    *PAGE,
)
LIST = (
    _query(
        "status",
        {"enum": ["queued", "running", "succeeded", "failed", "canceled", "expired"]},
        "succeeded",
        "Only jobs in this state.",
    ),
    *PAGE,
    {
        **_query(
            "metadata",
            {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "maxProperties": MAX_METADATA_FILTERS,
            },
            {"album": "holiday"},
            "Only jobs whose metadata has all of these pairs: `metadata[album]=holiday`. A call "
            f"looks at {MAX_SEARCHED_JOBS:,} jobs at most, so a page may have few jobs or none and "
            "still a `next_cursor`. It counts as 50 requests.",
        ),
        "style": "deepObject",
        "explode": True,
    },
)
ARTIFACTS = (
    _query(
        "limit",
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_ARTIFACTS_PER_PAGE,
            "default": MAX_ARTIFACTS_PER_PAGE,
        },
        MAX_ARTIFACTS_PER_PAGE,
        "At most this many files. A page has fewer if their URLs are very long.",
    ),
    _query(
        "cursor", {"type": "string"}, CURSOR, "`next_cursor` of the page or of the result before."
    ),
)
ARTIFACT_NUMBER = _path(
    "number",
    {"type": "integer", "minimum": 0},
    0,
    "The file's `number` among the job's files, from 0.",
)
ARTIFACT = (
    _query(
        "w",
        {"type": "integer", "enum": [512]},
        512,
        "Prefer a thumbnail of this width and height at most, as WebP. Where the file has none, "
        "the answer is the file itself.",
    ),
    _query(
        "disposition",
        {"enum": ["attachment", "inline"], "default": "attachment"},
        "inline",
        "Whether a browser saves the file or shows it in the page. Only PNG, JPEG, WebP, GIF, MP4, "
        "WebM, MP3, WAV and plain text can be shown; for others the answer to `inline` is 422.",
    ),
)
KEY_ID = _path("key_id", {"type": "string"}, KEY_ID_EXAMPLE, "The key's id.")
FAILURE_DAYS = _query(
    "days",
    {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_FAILURE_DAYS,
        "default": DEFAULT_FAILURE_DAYS,
    },
    1,
    "The failures of so many days (UTC), of which today is the last.",
)
USAGE_BY = _query(
    "by", {"enum": ["month"]}, "month", "`month` adds the usage of the last twelve months."
)
AFTER = _query(
    "after",
    {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    3,
    "Only changes after this version.",
)
PURGE = _query(
    "purge",
    {"type": "boolean"},
    True,
    "Whether an ended job is removed now, with its input and its files.",
)
FILE = _path("file", {"type": "string"}, "page.css", "Name of the file, as the page links to it.")

# --- headers of answers ---------------------------------------------------------------------------

LOCATION = {
    "Location": {
        "schema": {"type": "string", "examples": [f"/api/v1/jobs/{JOB_ID_EXAMPLE}"]},
        "description": "The path to read the job at.",
    }
}
ELSEWHERE = {
    "Location": {
        "schema": {
            "type": "string",
            "format": "uri",
            "examples": ["https://files.example.com/..."],
        },
        "description": "A freshly signed URL of the file, valid for 15 minutes.",
    }
}
REDIRECT = {
    "Cache-Control": {
        "schema": {"const": "private, no-store"},
        "description": "The URL is for this caller alone, and for a short time.",
    },
    "Vary": {
        "schema": {"const": "Accept"},
        "description": "The answer depends on the request's `Accept`.",
    },
}
REPLAYED = {
    "Idempotent-Replayed": {
        "schema": {"const": "true"},
        "description": "Present if an earlier request had already made the job.",
    }
}
APPLIED = {
    "Preference-Applied": {
        "schema": {"type": "string", "examples": ["wait=10"]},
        "description": "The wait that the service has applied, if the request asked for one.",
    }
}
