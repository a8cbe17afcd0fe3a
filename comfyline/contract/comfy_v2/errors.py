"""Every error code that Comfy API v2 can answer here, declared once, and the body that carries it.

The clients choose an exception by the code, or by the status if they do not know the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from comfyline.contract.comfy_v2.common import Answer


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """The status of a code, and what it means."""

    status: int
    meaning: str


ERRORS: Mapping[str, ErrorKind] = {  # by code
    "invalid_cursor": ErrorKind(400, "The cursor is not one of an earlier page."),
    "invalid_metadata_filter": ErrorKind(400, "A filter by labels is malformed."),
    "malformed_request": ErrorKind(400, "The body is not JSON, or a header is malformed."),
    "unauthorized": ErrorKind(401, "The key is unknown, has expired or is disabled."),
    "forbidden": ErrorKind(403, "The key lacks the scope `jobs`."),
    "not_found": ErrorKind(404, "There is no such job, asset or path for this key."),
    "blob_not_found": ErrorKind(404, "No asset of this key has these bytes."),
    "method_not_allowed": ErrorKind(405, "The path has no such method."),
    "asset_in_use": ErrorKind(409, "The asset is an output of a job that is kept."),
    "hash_mismatch": ErrorKind(409, "The bytes do not have the expected hash."),
    "payload_too_large": ErrorKind(413, "The request is too large."),
    "invalid_request": ErrorKind(422, "A field is missing, unknown or invalid."),
    "invalid_workflow": ErrorKind(422, "The workflow cannot run; `details.node_errors` says why."),
    "workflow_format_ui": ErrorKind(422, "The workflow is saved from the editor, not exported."),
    "missing_asset": ErrorKind(422, "The workflow names an asset that this key does not have."),
    "idempotency_key_reuse": ErrorKind(
        422, "The key has made a job; `details.job_id` names the job."
    ),
    "metadata_invalid": ErrorKind(422, "The labels break their bounds."),
    "deployment_stopped": ErrorKind(422, "An operator has paused the service."),
    "queue_full": ErrorKind(429, "Too many jobs of this key have not ended."),
    "rate_limited": ErrorKind(429, "This key has asked for too much in this minute or day."),
    "upstream_error": ErrorKind(500, "The service has failed; the log has the request's id."),
    "not_implemented": ErrorKind(501, "There is no room to follow the job; poll it instead."),
    "upstream_unreachable": ErrorKind(503, "A part of the service is out of reach."),
}


class ErrorBody(Answer):
    """Why the service refused the request."""

    code: str = Field(description="Stable name of the kind of error; decide by it.")
    message: str = Field(description="What was wrong and what to do, for people.")
    details: dict[str, Any] | None = Field(default=None, description="More, for some codes.")


class ErrorEnvelope(Answer):
    """The body of every refusal."""

    error: ErrorBody = Field(description="The error.")
