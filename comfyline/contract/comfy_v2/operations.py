"""Every operation of Comfy API v2, with its answers and error codes.

openapi.py makes the OpenAPI document from this table. A test compares the table with the routes of
the deployment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from comfyline.contract.comfy_v2 import assets, jobs, requests
from comfyline.contract.comfy_v2.errors import ERRORS

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    id: str
    tag: str
    summary: str
    answers: Mapping[int, type[BaseModel] | str | None]  # a model, a media type, or no body
    errors: tuple[str, ...] = ()  # codes, beside those that every operation can answer
    parameters: tuple[Json, ...] = ()
    body: type[BaseModel] | None = None
    form: Json | None = None  # the schema of a multipart form

    @property
    def codes(self) -> tuple[str, ...]:
        """Every error code that the operation can answer."""
        common = ("unauthorized", "forbidden", "rate_limited", "upstream_error")
        return (*common, *self.errors, "upstream_unreachable")

    @property
    def statuses(self) -> list[int]:
        """Every status that the operation can answer."""
        return sorted({*self.answers, *(ERRORS[code].status for code in self.codes)})


def _parameter(name: str, where: str, description: str, schema: Json) -> Json:
    about = {"name": name, "in": where, "description": description, "schema": schema}
    return {**about, "required": True} if where == "path" else about


_JOB_ID = _parameter("job_id", "path", "The job's id.", {"type": "string"})
_ASSET_ID = _parameter(
    "asset_id", "path", "The asset's id, or `<job id>.<number>` of an output.", {"type": "string"}
)
_HASH = _parameter("hash", "path", "`blake3:` and 64 hexadecimal digits.", {"type": "string"})
_KEY = _parameter(
    *("Idempotency-Key", "header"),
    "1 to 255 printable ASCII characters. A key makes one job; used again, it is refused.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
_PRIORITY = _parameter(
    *("X-Comfyline-Priority", "header"),
    "The lane that the job waits in. Not part of Comfy's contract.",
    {"enum": ["high", "normal", "low"], "default": "normal"},
)
_LIST = (
    _parameter(
        *("limit", "query"),
        "The length of the page.",
        {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
    ),
    _parameter("cursor", "query", "The `next_cursor` of the page before.", {"type": "string"}),
    {
        **_parameter(
            *("metadata", "query"),
            f"At most {requests.MAX_FILTERS} labels, which must all match: `metadata[a]=b`.",
            {"type": "object", "additionalProperties": {"type": "string"}},
        ),
        "style": "deepObject",
        "explode": True,
    },
)

TAGS: Mapping[str, str] = {
    "Jobs": "Submit, read, list, follow and cancel jobs.",
    "Assets": "Keep files that workflows use. Outputs of jobs are assets, too.",
}

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/api/v2/jobs"): Operation(
        id="submitComfyJob",
        tag="Jobs",
        summary="Submit a workflow",
        answers={201: jobs.Job},
        errors=(
            *("malformed_request", "payload_too_large", "invalid_request", "invalid_workflow"),
            *("workflow_format_ui", "missing_asset", "idempotency_key_reuse", "metadata_invalid"),
            *("deployment_stopped", "queue_full"),
        ),
        parameters=(_KEY, _PRIORITY),
        body=requests.JobRequest,
    ),
    ("GET", "/api/v2/jobs"): Operation(
        id="listComfyJobs",
        tag="Jobs",
        summary="List your jobs, newest first",
        answers={200: jobs.JobList},
        errors=("invalid_request", "invalid_cursor", "invalid_metadata_filter"),
        parameters=_LIST,
    ),
    ("GET", "/api/v2/jobs/{job_id}"): Operation(
        id="getComfyJob",
        tag="Jobs",
        summary="Read a job",
        answers={200: jobs.Job},
        errors=("not_found",),
        parameters=(_JOB_ID,),
    ),
    ("GET", "/api/v2/jobs/{job_id}/events"): Operation(
        id="followComfyJob",
        tag="Jobs",
        summary="Wait for the job's next change: read the answer's events and ask again",
        answers={200: "text/event-stream"},
        errors=("not_found", "not_implemented"),
        parameters=(_JOB_ID,),
    ),
    ("POST", "/api/v2/jobs/{job_id}/cancel"): Operation(
        id="cancelComfyJob",
        tag="Jobs",
        summary="Cancel a job",
        answers={200: jobs.Job},
        errors=("not_found",),
        parameters=(_JOB_ID,),
    ),
    ("GET", "/api/v2/jobs/{job_id}/workflow"): Operation(
        id="getComfyWorkflow",
        tag="Jobs",
        summary="Read the graph that the job runs",
        answers={200: jobs.WorkflowView},
        errors=("not_found",),
        parameters=(_JOB_ID,),
    ),
    ("GET", "/api/v2/jobs/{job_id}/logs"): Operation(
        id="getComfyLogs",
        tag="Jobs",
        summary="Read the engine's log of a job: there is none",
        answers={204: None},
        errors=("not_found",),
        parameters=(_JOB_ID,),
    ),
    ("POST", "/api/v2/assets"): Operation(
        id="uploadComfyAsset",
        tag="Assets",
        summary="Send a file",
        answers={200: assets.Asset, 201: assets.Asset},
        errors=("malformed_request", "payload_too_large", "invalid_request", "hash_mismatch"),
        form=assets.FORM,
    ),
    ("POST", "/api/v2/assets/from-hash"): Operation(
        id="reuseComfyAsset",
        tag="Assets",
        summary="Name bytes that were sent before",
        answers={200: assets.Asset, 201: assets.Asset},
        errors=("malformed_request", "payload_too_large", "invalid_request", "blob_not_found"),
        body=assets.FromHash,
    ),
    ("HEAD", "/api/v2/assets/by-hash/{hash}"): Operation(
        id="findComfyAsset",
        tag="Assets",
        summary="Ask whether bytes were sent before: 200 or 404, without a body",
        answers={200: None, 404: None},
        parameters=(_HASH,),
    ),
    ("GET", "/api/v2/assets/{asset_id}"): Operation(
        id="getComfyAsset",
        tag="Assets",
        summary="Read an asset, or an output of a job",
        answers={200: assets.Asset},
        errors=("not_found",),
        parameters=(_ASSET_ID,),
    ),
    ("GET", "/api/v2/assets/{asset_id}/content"): Operation(
        id="downloadComfyAsset",
        tag="Assets",
        summary="Fetch the file: the answer leads to a signed URL",
        answers={302: None},
        errors=("not_found",),
        parameters=(_ASSET_ID,),
    ),
    ("DELETE", "/api/v2/assets/{asset_id}"): Operation(
        id="deleteComfyAsset",
        tag="Assets",
        summary="Remove an asset",
        answers={204: None},
        errors=("not_found", "asset_in_use"),
        parameters=(_ASSET_ID,),
    ),
}
