"""An example of each model of the HTTP API, with a value for every field.

The documents show the values beside the fields. Tests check each example against its model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from comfyline.contract.v1 import access, graphs, history, requests, responses, results
from comfyline.contract.v1.admin_examples import ADMIN_EXAMPLES
from comfyline.contract.v1.problem import FieldProblem, Problem

Json = dict[str, Any]

JOB_ID = "job_01khhk2xg0z6v8q4m3n7r5t9wb"
_EARLIER_JOB_ID = "job_01khhjy7r2c4e6g8j0m2p4r6t8"
KEY_ID, _MAKER_ID = "6f1d2c3b4a596877", "0a1b2c3d4e5f6071"
UPLOAD_ID = "upl_01khhk1d5f7h9k1m3p5r7t9v1x"
_QUEUED, _STARTED, _ENDED = "2026-03-02T09:30:00Z", "2026-03-02T09:30:02Z", "2026-03-02T09:30:09Z"
_PURGED, _SOON = "2026-03-09T09:30:09Z", "2026-03-02T09:45:09Z"
CURSOR = "eyJhZnRlciI6MTAwfQ"
_BLAKE3 = "4878ca0425c739fa427f7eda20fe845f6b2e46ba5fe2a14df5b1e32f50603215"
_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_FILE = f"https://files.example.com/artifacts/{JOB_ID}/image_00001_.png"

# --- requests -------------------------------------------------------------------------------------

_OUTPUT = {"format": "webp", "quality": 90}
_OPTIONS = {
    "priority": "normal",
    "start_deadline_seconds": 3600,
    "execution_timeout_seconds": 600,
    "metadata": {"project": "foxes"},
    "reuse": True,
    "output": _OUTPUT,
    "previews": True,
}
_TEXT_TO_IMAGE = {
    **_OPTIONS,
    "prompt": "a red fox in the snow",
    "negative_prompt": "blurry, text",
    "width": 512,
    "height": 768,
    "steps": 20,
    "cfg_scale": 7.0,
    "sampler": "euler",
    "scheduler": "normal",
    "seed": 42,
    "model": "sd15.safetensors",
    "batch_size": 1,
}
GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255},
    },
    "2": {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "example"},
    },
}
_EXTRA_DATA = {"extra_pnginfo": {"workflow": {"version": 0.4, "nodes": []}}}
_WORKFLOW = {
    **_OPTIONS,
    "workflow": GRAPH,
    "extra_data": _EXTRA_DATA,
    "inputs": {"10.image": f"upload:{UPLOAD_ID}"},
    "strict": True,
}
_UPLOAD = {
    "name": "photo.png",
    "content_type": "image/png",
    "bytes": 12345,
    "sha256": _SHA256,
    "blake3": _BLAKE3,
}

_TOKEN_REQUEST = {
    "user": "alice@example.com",
    "scopes": ["jobs"],
    "max_jobs": 5,
    "expires_in": 900,
}

# --- answers --------------------------------------------------------------------------------------

_ARTIFACT = {
    "number": 0,
    "url": f"{_FILE}?X-Amz-Signature=...",
    "name": "image_00001_.png",
    "kind": "image",
    "content_type": "image/png",
    "bytes": 393216,
    "sha256": _SHA256,
    "node": "9",
    "temporary": False,
    "url_expires_at": _SOON,
    "seed": 42,
    "meta": {"attempt": 1},
}
_LINK = {"url": f"{_FILE}?X-Amz-Signature=...", "url_expires_at": _SOON}
_WARNING = {
    "type": "required_input_missing",
    "message": "Required input is missing: images",
    "node_id": "12",
    "node_type": "SaveImage",
}
_RESULT = {
    "artifacts": [_ARTIFACT],
    "artifacts_total": 1,
    "next_cursor": CURSOR,
    "values": {"7": {"seed": [42]}},
    "values_cut": ["7.histogram"],
    "warnings": [_WARNING],
    "partial": True,
    "empty_reason": "The workflow made neither a file nor a value.",
    "truncated": False,
}
ERROR = {
    "type": "execution_error",
    "message": "CUDA out of memory",
    "node_id": "5",
    "node_type": "KSampler",
    "attempt": 1,
}
_DETAIL = {
    "node": "5",
    "node_type": "KSampler",
    "step": 10,
    "steps": 20,
    "nodes_done": 4,
    "nodes_total": 7,
    "message": "KSampler step 10/20",
}
_TIMES = {
    "queued_at": _QUEUED,
    "started_at": _STARTED,
    "finished_at": _ENDED,
    "expires_at": _PURGED,
}
_MONTH = {"month": "2026-03", "gpu_seconds": 512.5, "jobs": 77}
_LIMITS = {
    "max_active_jobs": 20,
    "jobs_per_minute": 60,
    "max_pixels": 4_000_000,
    "max_batch_size": 4,
    "requests_per_minute": 600,
    "uploads_per_minute": 60,
    "upload_gb_per_day": 10,
    "sockets_per_minute": 60,
    "max_sockets": 100,
    "max_waits": 10,
}
_KEY = {"id": KEY_ID, "name": "web shop", "expires_at": _PURGED}
_KEY_VIEW = {
    **_KEY,
    "owner": "team-a",
    "scopes": ["jobs"],
    "state": "active",
    "created_at": _QUEUED,
    "disabled_at": _ENDED,
    "made_by": _MAKER_ID,
    "limits": _LIMITS,
}
_JOB = {
    "job_id": JOB_ID,
    "status": "running",
    "progress": 0.5,
    "progress_detail": _DETAIL,
    "submitted_by": "team-a",
    "user": "alice@example.com",
    "params": {"prompt": "a red fox in the snow", "steps": 20, "seed": 42},
    "metadata": {"project": "foxes"},
    "priority": "normal",
    "output": _OUTPUT,
    "previews": True,
    "strict": False,
    "result": _RESULT,
    "artifacts_total": 1,
    "thumbnail": _LINK,
    "error": ERROR,
    "timestamps": _TIMES,
    "attempt": 1,
    "interruptions": 0,
    "cached": False,
    "nodes_cached": 3,
    "gpu_seconds": 6.7,
    "version": 5,
    "queue_position": 3,
    "retry_of": _EARLIER_JOB_ID,
}
_STATUS_MESSAGE = {
    "job_id": JOB_ID,
    "version": 2,
    "part": 0,
    "type": "status",
    "status": "running",
    "progress": 0.0,
    "attempt": 1,
}
_EVENT = {"version": 2, "at": _STARTED, "event": "started", "status": "running", "attempt": 1}
_FIELD = {"loc": ["body", "steps"], "msg": "Input should be less than or equal to 1000"}
_TICKET = "Zk3vQ8mT1xW7pR4yB6nL9sD2"

EXAMPLES: Mapping[type[BaseModel], Json] = {
    requests.OutputOptions: _OUTPUT,
    requests.TextToImageRequest: _TEXT_TO_IMAGE,
    requests.WorkflowRequest: _WORKFLOW,
    requests.ExtraData: _EXTRA_DATA,
    requests.UploadRequest: _UPLOAD,
    requests.TokenRequest: _TOKEN_REQUEST,
    responses.JobAccepted: {
        "job_id": JOB_ID,
        "status": "queued",
        "queued_at": _QUEUED,
        "location": f"/api/v1/jobs/{JOB_ID}",
    },
    responses.ProgressDetail: _DETAIL,
    responses.ErrorView: ERROR,
    responses.Timestamps: _TIMES,
    responses.OutputView: _OUTPUT,
    responses.JobView: _JOB,
    responses.JobPage: {"jobs": [{**_JOB, "result": None}], "next_cursor": CURSOR},
    responses.CancelAnswer: {
        "job_id": JOB_ID,
        "status": "canceling",
        "message": "The worker is stopping the job.",
    },
    responses.UploadAccepted: {
        "upload_id": UPLOAD_ID,
        "url": "https://files.example.com/",
        "fields": {"key": f"uploads/{UPLOAD_ID}", "Content-Type": "image/png", "policy": "..."},
        "expires_at": _SOON,
    },
    responses.TokenResponse: {
        "token": "clt_5vW4Jx0c8n7mQz2rT6yUeI1oPaSdFgHjKlZxCvBnM90",
        "user": "alice@example.com",
        "scopes": ["jobs"],
        "max_jobs": 5,
        "expires_at": _SOON,
    },
    responses.SocketPassResponse: {
        "ticket": _TICKET,
        "url": f"wss://sockets.example.com/live?ticket={_TICKET}",
        "expires_at": _STARTED,
    },
    access.KeyLimits: _LIMITS,
    access.CallerKey: _KEY,
    access.NewLimits: _LIMITS,
    access.NewKeyRequest: {
        "name": "web shop",
        "scopes": ["jobs"],
        "expires_in": 2_592_000,
        "limits": _LIMITS,
    },
    access.RotateRequest: {"overlap_seconds": 3600},
    access.KeyView: _KEY_VIEW,
    access.KeyList: {"keys": [_KEY_VIEW]},
    access.NewKeyResponse: {
        "key": f"cl_{KEY_ID}_5vW4Jx0c8n7mQz2rT6yUeI1oPaSdFgHjKlZxCvBnM90",
        "view": _KEY_VIEW,
        "replaces": _KEY_VIEW,
    },
    access.Caller: {
        "owner": "team-a",
        "user": "alice@example.com",
        "scopes": ["jobs"],
        "expires_at": _PURGED,
        "key": _KEY,
        "limits": _LIMITS,
        "jobs_enabled": True,
        "sockets_enabled": True,
        "active_jobs": 3,
        "posts_this_minute": 12,
    },
    responses.Models: {
        "default_checkpoint": "sd15.safetensors",
        "checkpoints": ["sd15.safetensors", "sdxl.safetensors"],
        "any_checkpoint": False,
        "samplers": ["euler", "dpmpp_2m"],
        "schedulers": ["normal", "karras"],
        "node_classes": ["KSampler", "SaveImage"],
    },
    responses.MonthUsage: _MONTH,
    responses.UsageView: {
        "owner": "team-a",
        "gpu_seconds": 5321.4,
        "jobs": 812,
        "months": [_MONTH],
    },
    responses.Health: {"status": "ok"},
    FieldProblem: _FIELD,
    Problem: {
        "type": "urn:comfyline:problem:invalid_request",
        "title": "Invalid request",
        "status": 422,
        "detail": "The request has invalid fields.",
        "code": "invalid_request",
        "request_id": "0b0f1f6e-5a53-4c0f-9d4e-6a3f0c0d9a11",
        "errors": [_FIELD],
        "budget": "requests",
    },
    responses.GatewayMessage: {"message": "Too Many Requests"},
    results.ArtifactView: _ARTIFACT,
    results.ArtifactLink: _LINK,
    results.WarningView: _WARNING,
    results.ResultView: _RESULT,
    results.ArtifactPage: {
        "job_id": JOB_ID,
        "artifacts": [_ARTIFACT],
        "artifacts_total": 1,
        "next_cursor": CURSOR,
    },
    graphs.GraphView: {"job_id": JOB_ID, "workflow": GRAPH, "bytes": 216},
    history.EventView: _EVENT,
    history.EventList: {"job_id": JOB_ID, "events": [_EVENT], "messages": [_STATUS_MESSAGE]},
    **ADMIN_EXAMPLES,
}


def show(schemas: Json, examples: Mapping[str, Iterable[Json]]) -> None:
    """Add to each field of the schemas the value that it has in an example of its model.

    A field that holds another model has none: the fields of that model have their own.
    """
    for name, shown in examples.items():
        fields = schemas[name]["properties"] if name in schemas else {}
        for field, about in fields.items():
            values = [example[field] for example in shown if example.get(field) is not None]
            if values and not {"const", "enum", "$ref"} & about.keys() and "$ref" not in str(about):
                about["examples"] = values[:1]
