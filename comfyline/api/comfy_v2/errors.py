"""Make the error envelope of Comfy API v2 from the errors of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfyline.contract.comfy_v2.errors import ERRORS, ErrorBody, ErrorEnvelope
from comfyline.service import errors

MAX_SHOWN_ERRORS = 3  # in the message; `details` has all of them

# The code of each error of the service. A subclass stands before its base.
_CODES: Mapping[type[errors.ComfylineError], str] = {
    errors.Unauthorized: "unauthorized",
    errors.Forbidden: "forbidden",
    errors.JobNotFound: "not_found",
    errors.RouteNotFound: "not_found",
    errors.AssetNotFound: "not_found",
    errors.ArtifactNotFound: "not_found",
    errors.AssetInUse: "asset_in_use",
    errors.BlobNotFound: "blob_not_found",
    errors.HashMismatch: "hash_mismatch",
    errors.MethodNotAllowed: "method_not_allowed",
    errors.RequestTooLarge: "payload_too_large",
    errors.EditorExport: "workflow_format_ui",
    errors.UploadMissing: "missing_asset",
    errors.InvalidGraph: "invalid_workflow",
    errors.InvalidCursor: "invalid_cursor",
    errors.InvalidRequest: "invalid_request",
    errors.IdempotencyKeyReused: "idempotency_key_reuse",
    errors.TooManyJobs: "queue_full",
    errors.TooManyRequests: "rate_limited",
    errors.MalformedRequest: "malformed_request",
    errors.JobsDisabled: "deployment_stopped",
    errors.Unavailable: "upstream_unreachable",
}


class ComfyRefusal(errors.InvalidRequest):
    """An error that only Comfy API v2 has: `comfy_code` is one of its codes."""

    def __init__(self, comfy_code: str, message: str) -> None:
        super().__init__(message)
        self.comfy_code = comfy_code


def code_of(error: errors.ComfylineError) -> str:
    """The code of the error; `upstream_error` for a failure of the service itself."""
    if isinstance(error, ComfyRefusal):
        return error.comfy_code
    known = (code for kind, code in _CODES.items() if isinstance(error, kind))
    return next(known, "upstream_error")


def envelope(error: errors.ComfylineError) -> tuple[int, ErrorEnvelope]:
    """The status and the body of the answer to the error."""
    code = code_of(error)
    # The proxy of Comfy answers a body that is no JSON with this code, too, and the status 400.
    shown = "invalid_request" if code == "malformed_request" else code
    body = ErrorBody(code=shown, message=_message(error), details=_details(error))
    return ERRORS[code].status, ErrorEnvelope(error=body)


def _message(error: errors.ComfylineError) -> str:
    if not isinstance(error, errors.RequestRefused):
        return error.explanation()  # a message could name internals
    told = [each.msg for each in error.errors[:MAX_SHOWN_ERRORS] if each.msg not in error.detail]
    return " ".join([error.detail, *(f"{text.rstrip('.')}." for text in told)])


def _details(error: errors.ComfylineError) -> dict[str, Any] | None:
    if isinstance(error, errors.IdempotencyKeyReused):
        return {"job_id": error.job_id}
    if isinstance(error, errors.OverBudget):
        return {"budget": error.budget}
    if isinstance(error, errors.InvalidGraph):
        return {"node_errors": _node_errors(error)}
    if isinstance(error, errors.RequestRefused) and error.errors:
        return {"errors": [{"field": _field(e.loc[1:]), "reason": e.msg} for e in error.errors]}
    return None


def _node_errors(error: errors.InvalidGraph) -> dict[str, list[dict[str, str]]]:
    """The errors by node. Those of the graph as a whole have an empty id."""
    found: dict[str, list[dict[str, str]]] = {}
    for each in error.errors:
        _, _, *place = each.loc  # ("body", "workflow", node, ...) or ("body", "inputs", place)
        node, *rest = place or [""]
        if each.loc[1] == "inputs":
            name, _, field = str(node).rpartition(".")
            node, rest = name, [field]
        entry = {"field": _field(rest), "reason": each.msg}
        found.setdefault(str(node), []).append(entry)
    return found


def _field(place: Any) -> str:
    return ".".join(map(str, place))
