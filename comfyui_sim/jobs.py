"""`/api/jobs`: ComfyUI's newer view of the same queue and history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from comfyui_sim.prompt_queue import PromptQueue, QueueItem

STATES = ("pending", "in_progress", "completed", "failed", "cancelled")
PREVIEWABLE = ("images", "video", "audio", "gifs", "3d")

_ENDS = {
    "execution_success": "completed",
    "execution_error": "failed",
    "execution_interrupted": "cancelled",
}


class BadFilter(ValueError):
    """A query parameter of `GET /api/jobs` is not valid."""


def find(queue: PromptQueue, job_id: str) -> dict[str, Any] | None:
    """One job with its outputs, status and workflow, or None."""
    for state, items in (("in_progress", queue.running), ("pending", queue.pending)):
        for item in items:
            if item.prompt_id == job_id:
                return _waiting(item, state)
    entry = queue.history_of(job_id)
    return None if entry is None else {**_ended(entry), **_details(entry)}


def listing(queue: PromptQueue, query: Mapping[str, str]) -> dict[str, Any]:
    """The jobs that match the query, the latest first.

    Raises:
        BadFilter: an unknown state, or an invalid limit or offset.
    """
    wanted = _states(query.get("status"))
    limit = _number(query, "limit", least=1)
    offset = _number(query, "offset", least=0) or 0
    jobs = [job for job in _all(queue) if wanted is None or job["status"] in wanted]
    jobs.sort(key=lambda job: job["create_time"], reverse=query.get("sort_order") != "asc")
    page = jobs[offset:] if limit is None else jobs[offset : offset + limit]
    pagination = {
        "offset": offset,
        "limit": limit,
        "total": len(jobs),
        "has_more": offset + len(page) < len(jobs),
    }
    return {"jobs": page, "pagination": pagination}


def _all(queue: PromptQueue) -> Iterator[dict[str, Any]]:
    for item in reversed(queue.pending):
        yield _waiting(item, "pending")
    for item in queue.running:
        yield _waiting(item, "in_progress")
    for entry in reversed(queue.history().values()):
        yield _ended(entry)


def _states(text: str | None) -> list[str] | None:
    if not text:
        return None
    states = [state.strip() for state in text.split(",")]
    if unknown := [state for state in states if state not in STATES]:
        raise BadFilter(
            f"Invalid status value(s): {', '.join(unknown)}. Valid values: {', '.join(STATES)}"
        )
    return states


def _number(query: Mapping[str, str], name: str, least: int) -> int | None:
    if name not in query:
        return None
    kind = "positive" if least else "non-negative"
    try:
        value = int(query[name])
    except ValueError:
        raise BadFilter(f"{name} must be a {kind} integer") from None
    if value < least:
        raise BadFilter(f"{name} must be a {kind} integer")
    return value


def _waiting(item: QueueItem, state: str) -> dict[str, Any]:
    return {
        "id": item.prompt_id,
        "status": state,
        "priority": item.number,
        "create_time": item.extra_data["create_time"],
        "outputs_count": 0,
        "previewable_outputs_count": 0,
        **_workflow_id(item.extra_data),
    }


def _ended(entry: dict[str, Any]) -> dict[str, Any]:
    number, prompt_id, _, extra_data, _ = entry["prompt"]
    messages = entry["status"]["messages"]
    last, facts = messages[-1]
    job = {
        "id": prompt_id,
        "status": _ENDS[last],
        "priority": number,
        "create_time": extra_data["create_time"],
        "execution_start_time": messages[0][1]["timestamp"],
        "execution_end_time": facts["timestamp"],
    }
    if last == "execution_error":
        job["execution_error"] = facts
    return job | _counts(entry["outputs"]) | _workflow_id(extra_data)


def _counts(outputs: dict[str, Any]) -> dict[str, Any]:
    found = [
        {**value, "nodeId": node_id, "mediaType": kind}
        for node_id, ui in outputs.items()
        for kind, values in ui.items()
        for value in (values if isinstance(values, list) else [])
        if isinstance(value, dict)
    ]
    shown = [output for output in found if output["mediaType"] in PREVIEWABLE]
    counts = {"outputs_count": len(found), "previewable_outputs_count": len(shown)}
    return counts | ({"preview_output": shown[0]} if shown else {})


def _workflow_id(extra_data: dict[str, Any]) -> dict[str, Any]:
    # `extra_pnginfo: null` raises here, so the route answers 500, as recorded.
    workflow_id = extra_data.get("extra_pnginfo", {}).get("workflow", {}).get("id")
    return {} if workflow_id is None else {"workflow_id": workflow_id}


def _details(entry: dict[str, Any]) -> dict[str, Any]:
    _, _, prompt, extra_data, _ = entry["prompt"]
    return {
        "outputs": entry["outputs"],
        "execution_status": entry["status"],
        "workflow": {"prompt": prompt, "extra_data": extra_data},
    }
