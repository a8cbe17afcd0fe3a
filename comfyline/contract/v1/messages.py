"""Every message of the WebSocket with examples, how it refuses a client, and how it closes.

asyncapi.py makes the AsyncAPI document from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from comfyline.contract.v1 import socket
from comfyline.contract.v1.examples import ERROR, EXAMPLES, JOB_ID
from comfyline.contract.v1.results import ArtifactView

Json = dict[str, Any]

_JOB = {"job_id": JOB_ID}
_FILE = EXAMPLES[ArtifactView]

# What a client sends, and examples of each.
RECEIVED: Mapping[type[BaseModel], tuple[Json, ...]] = {
    socket.Subscribe: (
        {"action": "subscribe", **_JOB, "after": 3},
        {"action": "subscribe", "jobs": "mine"},
    ),
    socket.Unsubscribe: (
        {"action": "unsubscribe", **_JOB},
        {"action": "unsubscribe", "jobs": "mine"},
    ),
    socket.Ping: ({"action": "ping"},),
}
# What the service sends.
JOB_MESSAGES: Mapping[type[BaseModel], tuple[Json, ...]] = {
    socket.StatusMessage: (
        {
            **_JOB,
            "version": 4,
            "part": 0,
            "type": "status",
            "status": "running",
            "progress": 0.0,
            "attempt": 1,
            "snapshot": True,
        },
        {
            **_JOB,
            "version": 6,
            "part": 0,
            "type": "status",
            "status": "queued",
            "progress": 0.0,
            "attempt": 1,
            "reason": "interrupted",
            "queue_position": 3,
        },
    ),
    socket.ProgressMessage: (
        {
            **_JOB,
            "version": 5,
            "part": 0,
            "type": "progress",
            "progress": 0.5,
            "message": "step 10/20",
            "node": "5",
            "node_type": "KSampler",
            "step": 10,
            "steps": 20,
            "preview": "https://files.example.com/previews/5.jpg?X-Amz-Signature=...",
        },
    ),
    socket.ArtifactMessage: (
        {
            **_JOB,
            "version": 7,
            "part": 1,
            "type": "artifact",
            "number": 0,
            "url": _FILE["url"],
            "name": _FILE["name"],
            "kind": "image",
            "node": "9",
            "attempt": 1,
        },
    ),
    socket.DoneMessage: (
        {**_JOB, "version": 8, "part": 2, "type": "done", "status": "failed", "error": ERROR},
    ),
}
SENT: Mapping[type[BaseModel], tuple[Json, ...]] = {
    **JOB_MESSAGES,
    socket.SubscribedMessage: ({"type": "subscribed", "jobs": "mine", "repeat_after_seconds": 40},),
    socket.ErrorMessage: (
        {
            "type": "error",
            "code": "job_not_found",
            "message": f"There is no job {JOB_ID}.",
            **_JOB,
        },
        {
            "type": "error",
            "code": "too_many_requests",
            "message": "This minute has no messages left.",
            "budget": "messages",
        },
    ),
    socket.PongMessage: ({"type": "pong"},),
}

HANDSHAKE_REFUSALS: Mapping[str, str] = {
    "403": "The key or the socket pass is missing, unknown, expired, disabled or already used, or "
    "the key lacks the scope `jobs`.",
    "429": "Too many sockets are being opened at once. Try again later.",
    "503": "An operator has switched live progress off, or the service is out of reach. Poll the "
    "job over HTTP.",
}
# API Gateway chooses the codes: a service behind it cannot set them.
CLOSE_CODES: Mapping[str, str] = {
    "1000": "The client has closed the socket, or the service has. Before the service closes a "
    "socket it sends an `error` message.",
    "1001": "The socket was idle for 10 minutes, or open for 2 hours. Connect again, and subscribe "
    "with `after`.",
    "1006": "Seen by the client only: the handshake was refused, or the connection was lost. A "
    "browser does not show the status of a refused handshake.",
    "1009": "The client has sent a frame of more than 32 KB or a message of more than 128 KB.",
}
