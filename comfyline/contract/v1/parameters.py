"""The parameters of API v1's operations, and the headers of their answers, as OpenAPI objects."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfyline.contract.limits import (
    MAX_ARTIFACTS_PER_PAGE,
    MAX_METADATA_FILTERS,
    MAX_SEARCHED_JOBS,
    MAX_WAIT_SECONDS,
)

Json = dict[str, Any]


def _parameter(where: str, name: str, schema: Json, description: str) -> Json:
    required = {"required": True} if where == "path" else {}
    return {"name": name, "in": where, **required, "description": description, "schema": schema}


_query = partial(_parameter, "query")
_header = partial(_parameter, "header")
_path = partial(_parameter, "path")

JOB_ID = _path(
    "job_id",
    {"type": "string", "examples": ["job_01khhk2xg0z6v8q4m3n7r5t9wb"]},
    "The job's id. A text that is no id is answered 404.",
)
IDEMPOTENCY_KEY = _header(
    "Idempotency-Key",
    # HTTP removes blanks around a value, so they are allowed, but a key is not blank.
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*[!-~][ -~]*$"},
    "A text of your own that names this request, for example a UUID. Send the same key when you "
    "repeat the request after a lost answer: no second job is made. The same key with another "
    "body is refused with 422.",
)
PREFER = _header(
    "Prefer",
    {"type": "string", "pattern": "^wait=[0-9]{1,3}$"},
    f"`wait=N` delays the answer until the job has ended, by at most N seconds. The service waits "
    f"at most {MAX_WAIT_SECONDS} s.",
)
REQUEST_ID = _header(
    "X-Request-ID",
    {"type": "string"},
    "A text of your own of 1 to 255 printable characters. The service returns it, logs it and "
    "keeps it with the job. Any other text is replaced.",
)
LIST = (
    _query(
        "status",
        {"enum": ["queued", "running", "succeeded", "failed", "canceled", "expired"]},
        "Only jobs in this state.",
    ),
    _query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
        "At most this many jobs.",
    ),
    _query("cursor", {"type": "string"}, "`next_cursor` of the page before."),
    {
        **_query(
            "metadata",
            {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "maxProperties": MAX_METADATA_FILTERS,
                "examples": [{"album": "holiday"}],
            },
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
        "At most this many files. A page has fewer if their URLs are very long.",
    ),
    _query("cursor", {"type": "string"}, "`next_cursor` of the page or of the result before."),
)
AFTER = _query(
    "after",
    {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    "Only changes after this version.",
)
PURGE = _query(
    "purge",
    {"type": "boolean"},
    "Whether an ended job is removed now, with its input and its files.",
)
FILE = _path("file", {"type": "string"}, "Name of the file, as the page links to it.")

# --- headers of answers ---------------------------------------------------------------------------

LOCATION = {
    "Location": {"schema": {"type": "string"}, "description": "The path to read the job at."}
}
REPLAYED = {
    "Idempotent-Replayed": {
        "schema": {"const": "true"},
        "description": "Present if an earlier request had already made the job.",
    }
}
APPLIED = {
    "Preference-Applied": {
        "schema": {"type": "string"},
        "description": "The wait that the service has applied, if the request asked for one.",
    }
}
