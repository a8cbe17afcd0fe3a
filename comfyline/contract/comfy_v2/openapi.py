"""Comfy API v2 as this service speaks it, as an OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from comfyline.contract.comfy_v2.errors import ERRORS, ErrorEnvelope
from comfyline.contract.comfy_v2.operations import OPERATIONS, TAGS, Operation

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
_ANSWERS = {
    200: "The answer.",
    201: "Made.",
    204: "Nothing to show.",
    302: "Where the file is.",
    404: "Not known.",
}
_DESCRIPTION = """\
The API that Comfy's official clients speak, on this deployment: set `COMFY_BASE_URL` and
`COMFY_API_KEY`. The same jobs can be read, followed and canceled over API v1.

**Errors.** The body of a refusal is `{{"error": {{"code", "message", "details"}}}}`:

| Code | Status | Meaning |
|---|---|---|
{codes}

The gateway in front of the service answers some errors by itself, as `{{"message": ...}}`: 401,
413, 429 and 503.
"""


def document() -> Json:
    """The OpenAPI document."""
    paths: dict[str, Json] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(operation)
    rows = (f"| `{code}` | {kind.status} | {kind.meaning} |" for code, kind in ERRORS.items())
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Comfy API v2 on Comfyline",
            "version": "2",
            "description": _DESCRIPTION.format(codes="\n".join(rows)),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # Relative to this document, which is below /docs.
        "servers": [{"url": "..", "description": "The deployment that serves this document"}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key."}
            },
        },
    }


def _operation(operation: Operation) -> Json:
    made: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": list(operation.parameters),
        "responses": {str(status): _response(operation, status) for status in operation.statuses},
    }
    if operation.body:
        content = {"application/json": {"schema": _reference(operation.body)}}
        made["requestBody"] = {"required": True, "content": content}
    if operation.form:
        content = {"multipart/form-data": {"schema": operation.form}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _response(operation: Operation, status: int) -> Json:
    if status not in operation.answers:
        codes = [code for code in operation.codes if ERRORS[code].status == status]
        meanings = "\n".join(f"- `{code}`: {ERRORS[code].meaning}" for code in codes)
        schema = {"schema": _reference(ErrorEnvelope)}
        return {"description": meanings, "content": {"application/json": schema}}
    answer = operation.answers[status]
    if answer is None:
        return {"description": _ANSWERS[status]}
    if isinstance(answer, str):
        return {"description": _ANSWERS[status], "content": {answer: {}}}
    content = {"application/json": {"schema": _reference(answer)}}
    return {"description": _ANSWERS[status], "content": content}


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _schemas() -> Json:
    answers = {a for o in OPERATIONS.values() for a in o.answers.values() if isinstance(a, type)}
    bodies = {operation.body for operation in OPERATIONS.values() if operation.body}
    _, schemas = models_json_schema(
        [
            *((model, "serialization") for model in sorted(answers, key=_name)),
            (ErrorEnvelope, "serialization"),
            *((model, "validation") for model in sorted(bodies, key=_name)),
        ],
        ref_template=_REFERENCE,
    )
    made: Json = schemas["$defs"]
    return made


def _name(model: type[BaseModel]) -> str:
    return model.__name__
