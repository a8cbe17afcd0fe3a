"""The contract as an OpenAPI 3.1 document, made from wire.py: the models say what the fields are.

An operation here and a route of the deployment are held together by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from comfyline.contract.limits import MAX_WAIT_SECONDS
from comfyline.contract.v1 import requests, responses
from comfyline.contract.v1.history import EventList

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"

_JOB_ID = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "Any other text is an unknown job: 404.",
    "schema": {"type": "string", "examples": ["job_01khhk2xg0z6v8q4m3n7r5t9wb"]},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "One for each intent, the same on every retry of it. Another body: 422.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]+$"},
}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": f"`wait=N`: answer when the job has ended, after {MAX_WAIT_SECONDS} s at most.",
    "schema": {"type": "string", "pattern": "^wait=[0-9]{1,3}$"},
}
_REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Echoed, logged and kept with the job, if it is 1 to 255 printable characters.",
    "schema": {"type": "string"},
}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_LIST_PARAMETERS = (
    _query(
        "status",
        {"enum": ["queued", "running", "succeeded", "failed", "canceled", "expired"]},
        "Only jobs in this state.",
    ),
    _query("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}, "Jobs."),
    _query("cursor", {"type": "string"}, "`next_cursor` of the page before."),
)
_AFTER = _query("after", {"type": "integer", "minimum": 0, "maximum": 999_999_999}, "A version.")
_PURGE = _query("purge", {"type": "boolean"}, "Remove an ended job and all it has stored, now.")

_TITLES = {
    200: "Done",
    201: "Made",
    202: "Accepted",
    400: "The body is not JSON, or a header is malformed",
    401: "No key",
    403: "The key is wrong, expired, disabled or lacks the scope",
    404: "Unknown, or another owner's",
    405: "The path has other methods",
    409: "The job has not ended, or it succeeded",
    413: "Too large: the body, the pixels or the batch",
    422: "A field is invalid, or the key was used with another body",
    429: "Over the owner's cap or rate, or over the gateway's",
    500: "A fault of the service",
    503: "Paused, or a part is out of reach; nothing was accepted",
}
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "The job's path."}}
_REPLAYED = {
    "Idempotent-Replayed": {
        "schema": {"const": "true"},
        "description": "There if an earlier request had made the job.",
    }
}
_APPLIED = {"Preference-Applied": {"schema": {"type": "string"}, "description": "If it was asked."}}

PROMPT_EXAMPLE = {"prompt": "a red fox in the snow", "steps": 20, "seed": 42}
WORKFLOW_EXAMPLE = {
    "workflow": {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255},
        },
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": "example"},
        },
    },
    "metadata": {"project": "foxes"},
}
UPLOAD_EXAMPLE = {"name": "photo.png", "content_type": "image/png", "bytes": 12345}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path: what it takes and every status that it answers."""

    id: str
    summary: str
    answers: Mapping[int, type[BaseModel] | None]  # None: a page
    problems: tuple[int, ...] = ()
    parameters: tuple[Json, ...] = ()
    body: Mapping[type[BaseModel], Json] = field(default_factory=dict)  # with an example of each
    headers: Mapping[str, Json] = field(default_factory=dict)  # of the answers
    is_open: bool = False  # needs no key

    @property
    def statuses(self) -> list[int]:
        """Every status, those of the gateway's own too."""
        return sorted({*self.answers, *self.problems, *_gateway(self.is_open), 500})


def _gateway(is_open: bool) -> tuple[int, ...]:
    return (429, 503) if is_open else (401, 403, 429, 503)


_POSTS = (400, 413, 422)
_FORMS: Mapping[type[BaseModel], Json] = {
    requests.TextToImageRequest: PROMPT_EXAMPLE,
    requests.WorkflowRequest: WORKFLOW_EXAMPLE,
}
_POST_HEADERS = {**_LOCATION, **_REPLAYED, **_APPLIED}
_POST_PARAMETERS = (_IDEMPOTENCY_KEY, _PREFER)

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/api/v1/jobs"): Operation(
        "submitJob",
        "Submit a job",
        {200: responses.JobView, 202: responses.JobAccepted},
        _POSTS,
        _POST_PARAMETERS,
        body=_FORMS,
        headers=_POST_HEADERS,
    ),
    ("POST", "/api/v1/generate"): Operation(
        "generate",
        "Submit a job and wait for it",
        {200: responses.JobView, 202: responses.JobAccepted},
        _POSTS,
        _POST_PARAMETERS,
        body=_FORMS,
        headers=_POST_HEADERS,
    ),
    ("GET", "/api/v1/jobs"): Operation(
        "listJobs",
        "The caller's jobs, newest first",
        {200: responses.JobPage},
        (422,),
        _LIST_PARAMETERS,
    ),
    ("GET", "/api/v1/jobs/{job_id}"): Operation(
        "getJob", "A job", {200: responses.JobView}, (404,), (_JOB_ID,)
    ),
    ("DELETE", "/api/v1/jobs/{job_id}"): Operation(
        "cancelJob",
        "Cancel or purge a job",
        {202: responses.CancelAnswer},
        (404, 422),
        (_JOB_ID, _PURGE),
    ),
    ("POST", "/api/v1/jobs/{job_id}/retry"): Operation(
        "retryJob",
        "A new job from the input of one that failed, was canceled or expired",
        {202: responses.JobAccepted},
        (400, 404, 409, 422),
        (_JOB_ID, _IDEMPOTENCY_KEY),
        headers={**_LOCATION, **_REPLAYED},
    ),
    ("GET", "/api/v1/jobs/{job_id}/events"): Operation(
        "listEvents",
        "A job's changes of state",
        {200: EventList},
        (404, 422),
        (_JOB_ID, _AFTER),
    ),
    ("POST", "/api/v1/uploads"): Operation(
        "createUpload",
        "A form to send a file with, for a job's `inputs`",
        {201: responses.UploadAccepted},
        _POSTS,
        body={requests.UploadRequest: UPLOAD_EXAMPLE},
    ),
    ("POST", "/api/v1/ws-tickets"): Operation(
        "createSocketPass",
        "Leave to open one WebSocket, for a client that cannot send a header",
        {201: responses.SocketPassResponse},
    ),
    ("GET", "/api/v1/models"): Operation(
        "listModels", "What a request may name", {200: responses.Models}
    ),
    ("GET", "/api/v1/usage"): Operation(
        "getUsage", "What the caller's jobs have used", {200: responses.UsageView}
    ),
    ("GET", "/metrics"): Operation(
        "getMetrics", "The service, for Prometheus; for keys with the scope admin", {200: None}
    ),
    ("GET", "/healthz"): Operation(
        "health", "The API answers", {200: responses.Health}, is_open=True
    ),
    ("GET", "/openapi.json"): Operation("showOpenapi", "This document", {200: None}, is_open=True),
    ("GET", "/docs"): Operation("showDocs", "This document, to read", {200: None}, is_open=True),
}


def document() -> Json:
    """The OpenAPI document."""
    paths: dict[str, Json] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Comfyline",
            "version": "1",
            "description": "Jobs for ComfyUI. Answers may gain fields; requests take no others "
            "than these. Errors are problems (RFC 9457), but for what the gateway answers by "
            "itself. An unknown path is 404, an unknown method of a known path 405.",
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "cl_<id>_<secret>"}
            },
        },
    }


def _operation(operation: Operation) -> Json:
    shown: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": [*operation.parameters, _REQUEST_ID],
        "responses": {str(status): _response(operation, status) for status in operation.statuses},
    }
    if operation.is_open:
        shown["security"] = []
    if operation.body:
        shown["requestBody"] = {"required": True, "content": {"application/json": _body(operation)}}
    return shown


def _body(operation: Operation) -> Json:
    schemas = [_reference(model) for model in operation.body]
    examples = {model.__name__: {"value": value} for model, value in operation.body.items()}
    return {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}, "examples": examples}


def _response(operation: Operation, status: int) -> Json:
    shown: Json = {"description": _TITLES[status]}
    headers: Json = {"X-Request-ID": {"schema": {"type": "string"}}}
    if status in operation.answers:
        shown["content"] = _answer(operation.answers[status])
        headers |= operation.headers
    else:
        shown["content"] = {"application/problem+json": {"schema": _reference(responses.Problem)}}
        if status in _gateway(operation.is_open):
            shown["content"]["application/json"] = {"schema": _reference(responses.GatewayMessage)}
    if status in (429, 503):
        headers |= _RETRY_AFTER
    return {**shown, "headers": headers}


def _answer(model: type[BaseModel] | None) -> Json:
    if model is None:
        return {"application/json": {}, "text/html": {}, "text/plain": {}}
    return {"application/json": {"schema": _reference(model)}}


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _schemas() -> Json:
    models: set[type[BaseModel]] = {responses.Problem, responses.GatewayMessage}
    asked: set[type[BaseModel]] = set()
    for operation in OPERATIONS.values():
        models |= {model for model in operation.answers.values() if model is not None}
        asked |= set(operation.body)
    shown = [(model, "serialization") for model in sorted(models, key=lambda m: m.__name__)]
    taken = [(model, "validation") for model in sorted(asked, key=lambda m: m.__name__)]
    _, schemas = models_json_schema([*shown, *taken], ref_template=_REFERENCE)  # type: ignore[list-item]
    definitions: Json = schemas["$defs"]
    return definitions
