"""Every message of the WebSocket with an example, how it refuses a client, and how it closes.

asyncapi.py makes the AsyncAPI document from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from comfyline.contract.v1 import socket

Json = dict[str, Any]

_JOB = {"job_id": "job_01khhk2xg0z6v8q4m3n7r5t9wb"}

# What a client sends, and an example of each.
RECEIVED: Mapping[type[BaseModel], Json] = {
    socket.Subscribe: {"action": "subscribe", **_JOB, "after": 3},
    socket.Unsubscribe: {"action": "unsubscribe", **_JOB},
    socket.Ping: {"action": "ping"},
}
# What the service sends.
JOB_MESSAGES: Mapping[type[BaseModel], Json] = {
    socket.StatusMessage: {
        **_JOB,
        "version": 4,
        "part": 0,
        "type": "status",
        "status": "running",
        "progress": 0.0,
        "attempt": 1,
        "snapshot": True,
    },
    socket.ProgressMessage: {
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
    },
    socket.ArtifactMessage: {
        **_JOB,
        "version": 7,
        "part": 1,
        "type": "artifact",
        "number": 0,
        "url": "https://bucket.example/fox.png?signature",
        "name": "fox.png",
        "kind": "image",
        "node": "9",
        "attempt": 1,
    },
    socket.DoneMessage: {
        **_JOB,
        "version": 8,
        "part": 2,
        "type": "done",
        "status": "failed",
        "error": {"type": "execution_error", "message": "A node has failed.", "node_id": "5"},
    },
}
SENT: Mapping[type[BaseModel], Json] = {
    **JOB_MESSAGES,
    socket.SubscribedMessage: {
        "type": "subscribed",
        "jobs": "mine",
        "repeat_at": "2026-02-16T12:34:56Z",
    },
    socket.ErrorMessage: {
        "type": "error",
        "code": "job_not_found",
        "message": f"There is no job {_JOB['job_id']}.",
        **_JOB,
    },
    socket.PongMessage: {"type": "pong"},
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
