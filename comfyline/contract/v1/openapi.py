"""The HTTP API as an OpenAPI 3.1 document, made from the table of operations and the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from comfyline.contract.problems import PROBLEMS, TYPE_PREFIX
from comfyline.contract.v1 import examples, parameters, responses
from comfyline.contract.v1.messages import SENT
from comfyline.contract.v1.operation import Operation
from comfyline.contract.v1.operations import OPERATIONS, TAGS
from comfyline.contract.v1.problem import Problem
from comfyline.contract.v1.samples import samples
from comfyline.contract.v1.socket import StatusMessage

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
_REFUSAL = "Refusal"
_SUCCESSES = {
    200: "The answer.",
    201: "Made.",
    202: "Accepted.",
    302: "Found: fetch it at `Location`.",
}
_GATEWAY = {
    401: "The request has no `Authorization` header.",
    429: "The gateway received too many requests at once.",
    503: "The gateway could not reach the service.",
}
_GATEWAY_TEXTS = {
    401: "Unauthorized",
    429: "Too Many Requests",
    503: "Service Unavailable",
}
_RETRY_AFTER = {
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 1, "examples": [5]},
        "description": "After how many seconds to send the request again.",
    }
}
_CHALLENGE = {
    "WWW-Authenticate": {
        "schema": {"const": "Bearer"},
        "description": "How to authenticate: by a key in the header `Authorization`.",
    }
}
_DESCRIPTION = """\
Comfyline runs ComfyUI workflows as jobs.

**Authentication.** Send `Authorization: Bearer <key>` with each request. An operator makes keys
with `comfyline keys create`.

**Compatibility.** A request with an unknown field is refused. Answers can gain fields, so ignore
those that you do not know.

**Errors.** The service answers errors as `application/problem+json` (RFC 9457). Decide by `code`:

| Code | Status | Meaning | What to do |
|---|---|---|---|
{problems}

The gateway in front of the service answers some errors by itself, as `{{"message": ...}}`: 401,
413, 429 and 503. A request that is answered 429 or 503 was not accepted.
"""


def document() -> Json:
    """The OpenAPI document."""
    paths: dict[str, Json] = {}
    for (method, path), operation in OPERATIONS.items():
        made = {**_operation(operation), "x-codeSamples": samples(method, path, operation)}
        paths.setdefault(path, {})[method.lower()] = made
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Comfyline",
            "version": "1",
            "description": _DESCRIPTION.format(problems="\n".join(_problem_rows())),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # Relative to this document, so that it is right behind a base path too.
        "servers": [{"url": ".", "description": "The deployment that serves this document"}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "examples": {
                code: {"summary": PROBLEMS[code].title, "value": _problem(code)}
                for code in sorted({code for one in OPERATIONS.values() for code in one.codes})
            },
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "cl_<id>_<secret>",
                    "description": "An API key. It looks like `cl_<id>_<secret>`.",
                }
            },
        },
    }


def _problem_rows() -> Iterator[str]:
    for code, kind in PROBLEMS.items():
        if kind.status is not None:
            yield f"| `{code}` | {kind.status} | {kind.title} | {kind.advice} |"


def _operation(operation: Operation) -> Json:
    made: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [*operation.parameters, parameters.REQUEST_ID],
        "responses": {str(status): _response(operation, status) for status in operation.statuses},
    }
    if operation.is_open:
        made["security"] = []
    if operation.body:
        made["requestBody"] = {"required": True, "content": {"application/json": _body(operation)}}
    return made


def _body(operation: Operation) -> Json:
    schemas = [_reference(model) for model in operation.body]
    examples = {model.__name__: {"value": value} for model, value in operation.body.items()}
    return {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}, "examples": examples}


def _response(operation: Operation, status: int) -> Json:
    headers: Json = {
        "X-Request-ID": {
            "schema": {"type": "string", "examples": ["0b0f1f6e-5a53-4c0f-9d4e-6a3f0c0d9a11"]},
            "description": "The id under which the service logs the request.",
        }
    }
    if status in operation.answers:
        headers |= operation.headers
        made = {"description": _SUCCESSES[status], "content": _answer(operation, status)}
    else:
        made = _refusal(operation, status)
    if status == 302:
        headers |= parameters.ELSEWHERE
    if status == 401:
        headers |= _CHALLENGE
    if status in (429, 503):
        headers |= _RETRY_AFTER
    return {**made, "headers": headers}


def _answer(operation: Operation, status: int) -> Json:
    model = operation.answers[status]
    if model is None:
        return {media: {} for media in operation.media}
    return {"application/json": {"schema": _reference(model)}}


def _refusal(operation: Operation, status: int) -> Json:
    codes = [code for code in operation.codes if PROBLEMS[code].status == status]
    meanings = [_meaning(code) for code in codes]
    shown = {"examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes}}
    if status not in operation.gateway_statuses:
        problem = {"schema": _reference(Problem), **shown}
        return _described(meanings, {"application/problem+json": problem})
    meanings.append(f"- {_GATEWAY[status]}")
    schema = {"$ref": _REFERENCE.format(model=_REFUSAL)}
    content = {
        "application/problem+json": {"schema": schema, **shown},
        "application/json": {"schema": schema, "example": {"message": _GATEWAY_TEXTS[status]}},
    }
    return _described(meanings, content)


def _problem(code: str) -> Json:
    """An example of the problem."""
    whole: Json = examples.EXAMPLES[Problem]
    only = {"invalid_request": "errors", "too_many_requests": "budget"}.get(code)
    about = {"detail": PROBLEMS[code].title, "code": code, "request_id": whole["request_id"]}
    extra = {only: whole[only]} if only else {}
    kind = {"title": PROBLEMS[code].title, "status": PROBLEMS[code].status}
    return {"type": f"{TYPE_PREFIX}{code}", **kind, **about, **extra}


def _described(meanings: list[str], content: Json) -> Json:
    return {"description": "\n".join(meanings), "content": content}


def _meaning(code: str) -> str:
    return f"- `{code}`: {PROBLEMS[code].title}. {PROBLEMS[code].advice}"


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _schemas() -> Json:
    answers: set[type[BaseModel]] = {Problem}
    bodies: set[type[BaseModel]] = set()
    for operation in OPERATIONS.values():
        answers |= {model for model in operation.answers.values() if model is not None}
        bodies |= set(operation.body)
    _, schemas = models_json_schema(
        [
            *((model, "serialization") for model in answers),
            *((model, "validation") for model in bodies),
        ],
        ref_template=_REFERENCE,
    )
    made: Json = schemas["$defs"]
    shown = {model.__name__: (value,) for model, value in examples.EXAMPLES.items()}
    examples.show(made, shown | {"StatusMessage": SENT[StatusMessage]})
    codes = [code for code, kind in PROBLEMS.items() if kind.status is not None]
    made["Problem"]["properties"]["code"]["examples"] = codes
    made[_REFUSAL] = _refusal_of(made["Problem"])
    return made


def _refusal_of(problem: Json) -> Json:
    """The schema that a problem and the gateway's own answer fit: a generated client reads one."""
    message = responses.GatewayMessage.model_json_schema()["properties"]
    message["message"]["examples"] = [examples.EXAMPLES[responses.GatewayMessage]["message"]]
    return {
        "type": "object",
        "title": _REFUSAL,
        "description": "A problem of the service, or the gateway's own answer, which has only a "
        "`message`.",
        "properties": {**problem["properties"], **message},
    }
