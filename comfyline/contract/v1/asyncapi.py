"""The WebSocket API as an AsyncAPI 3.0 document, made from the models of its messages.

AsyncAPI describes a service from its own side: what the service receives is what a client sends.
It has no place for refusals of the handshake and for close codes, so extensions (`x-`) list them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from comfyline.contract.ids import JOB_ID_PATTERN
from comfyline.contract.limits import MAX_CLIENT_MESSAGE_BYTES, MAX_MESSAGE_BYTES, MAX_SUBSCRIPTIONS
from comfyline.contract.problems import PROBLEMS
from comfyline.contract.v1 import examples, socket
from comfyline.contract.v1.messages import (
    CLOSE_CODES,
    HANDSHAKE_REFUSALS,
    JOB_MESSAGES,
    RECEIVED,
    SENT,
)

Json = dict[str, Any]

_EXAMPLES = {**RECEIVED, **SENT}
_REFERENCE = "#/components/schemas/{model}"
_DESCRIPTION = f"""\
Follow jobs live over one WebSocket.

**Connect.** Send the `Authorization` header, or from a browser the query parameter `ticket` with a
socket pass of `POST /api/v1/ws-tickets`. A pass opens one socket within 60 s. With the query
parameter `job_id` the new socket follows that job at once.

**Follow.** Send `subscribe` for each job, at most {MAX_SUBSCRIPTIONS} on one socket. The service
answers with the job's state and then sends every change. The last message about a job is `done`.
The messages of a job are ordered by (`version`, `part`). A message can arrive twice, so drop one
that is not newer than the newest that you have. `{{"action": "subscribe", "jobs": "mine"}}` follows
all of your jobs.

**Stay connected.** The gateway closes a socket that is idle for 10 minutes, and every socket after
2 hours. Send `ping` every few minutes. After a lost connection, connect again and send `subscribe`
with `after` set to the newest version that you have.

**Sizes.** The service sends at most {MAX_MESSAGE_BYTES // 1024} KB in one message, and accepts at
most {MAX_CLIENT_MESSAGE_BYTES} bytes.

**Errors.** An `error` message refuses the client's last message, or comes before the service closes
the socket. Decide by `code`. If the service itself fails, the gateway sends
`{{"message": "Internal server error", ...}}`, which has no `type`. The codes:

| Code | Meaning | What to do | Closes the socket |
|---|---|---|---|
"""


def document(address: str = "") -> Json:
    """The AsyncAPI document; with the address of a deployment's WebSocket API, its server."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Comfyline live",
            "version": "1",
            "description": _DESCRIPTION + "\n".join(_error_rows()) + "\n",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"deployment": _server(address)},
        "channels": {"live": _channel()},
        "operations": _operations(),
        "components": {
            "messages": {
                _name(model): _message(model, shown) for model, shown in _EXAMPLES.items()
            },
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "cl_<id>_<secret>",
                    "description": "An API key with the scope `jobs`.",
                },
                "socketPass": {
                    "type": "httpApiKey",
                    "in": "query",
                    "name": "ticket",
                    "description": "A socket pass, for clients that cannot send a header.",
                },
            },
        },
    }


def _error_rows() -> Iterator[str]:
    for code, kind in PROBLEMS.items():
        if kind.on_socket:
            closes = "yes" if kind.closes_socket else "no"
            yield f"| `{code}` | {kind.title} | {kind.advice} | {closes} |"


def _server(address: str) -> Json:
    security = [
        {"$ref": "#/components/securitySchemes/key"},
        {"$ref": "#/components/securitySchemes/socketPass"},
    ]
    if address:
        parts = urlsplit(address)
        place = {"host": parts.netloc, "pathname": parts.path or "/", "protocol": parts.scheme}
        return {**place, "description": "The deployment of this document.", "security": security}
    return {
        "host": "{host}",
        "pathname": "/{path}",
        "protocol": "wss",
        "description": "The deployment. Its own `/asyncapi.json` has the address.",
        "variables": {
            "host": {"description": "Host of the WebSocket API; not that of the HTTP API."},
            "path": {"default": "live", "description": "Empty if the host is a custom domain."},
        },
        "security": security,
    }


def _channel() -> Json:
    ticket = {"type": "string", "description": "A socket pass."}
    job_id = {
        "type": "string",
        "pattern": JOB_ID_PATTERN,
        "description": "A job to follow from the start.",
    }
    authorization = {"type": "string", "description": "`Bearer` and an API key."}
    return {
        "address": "/",
        "title": "One socket of a client",
        "messages": {
            _name(model): {"$ref": f"#/components/messages/{_name(model)}"} for model in _EXAMPLES
        },
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {"type": "object", "properties": {"ticket": ticket, "job_id": job_id}},
                "headers": {"type": "object", "properties": {"Authorization": authorization}},
                "bindingVersion": "0.1.0",
            }
        },
        "x-handshake-refusals": dict(HANDSHAKE_REFUSALS),
        "x-close-codes": dict(CLOSE_CODES),
    }


def _operations() -> Json:
    subscribe = _operation("receive", "Follow a job or all jobs", socket.Subscribe)
    ping = _operation("receive", "Keep the connection open", socket.Ping)
    report = "Report the changes of the jobs that the socket follows"
    refuse = "Refuse a message of the client, or announce that the socket is closed"
    return {
        "subscribe": {
            **subscribe,
            "reply": _reply(socket.StatusMessage, socket.SubscribedMessage, socket.ErrorMessage),
        },
        "unsubscribe": _operation("receive", "Stop following", socket.Unsubscribe),
        "ping": {**ping, "reply": _reply(socket.PongMessage)},
        "report": _operation("send", report, *JOB_MESSAGES),
        "refuse": _operation("send", refuse, socket.ErrorMessage),
    }


def _operation(action: str, summary: str, *models: type[BaseModel]) -> Json:
    return {"action": action, **_reply(*models), "summary": summary}


def _reply(*models: type[BaseModel]) -> Json:
    return {
        "channel": {"$ref": "#/channels/live"},
        "messages": [{"$ref": f"#/channels/live/messages/{_name(model)}"} for model in models],
    }


def _message(model: type[BaseModel], shown: tuple[Json, ...]) -> Json:
    return {
        "name": _name(model),
        "summary": _text(model).partition("\n\n")[0],
        "description": _text(model),
        "payload": {"$ref": _REFERENCE.format(model=model.__name__)},
        "examples": [{"payload": example} for example in shown],
    }


def _text(model: type[BaseModel]) -> str:
    paragraphs = (model.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()


def _name(model: type[BaseModel]) -> str:
    """What the message's `action` or `type` says."""
    return model.__name__.removesuffix("Message").lower()


def _schemas() -> Json:
    _, schemas = models_json_schema(
        [
            *((model, "validation") for model in RECEIVED),
            *((model, "serialization") for model in SENT),
        ],
        ref_template=_REFERENCE,
    )
    made: Json = schemas["$defs"]
    for model in SENT:  # the service leaves out null fields and sends all others
        fields = model.model_fields.items()
        always = [name for name, f in fields if f.is_required() or f.default is not None]
        made[model.__name__]["required"] = always
    values = {model.__name__: (value,) for model, value in examples.EXAMPLES.items()}
    examples.show(made, values | {model.__name__: shown for model, shown in _EXAMPLES.items()})
    codes = [code for code, kind in PROBLEMS.items() if kind.on_socket]
    made["ErrorMessage"]["properties"]["code"]["examples"] = codes
    return made
