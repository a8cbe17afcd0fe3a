"""Take the workflow out of the bodies of other tools, where their meaning is plain.

    ComfyUI's POST /prompt             {"prompt": graph, "client_id", "extra_data"}
    runpod's worker-comfyui            {"input": {"workflow": graph}}
    ComfyUI's editor, and its PNGs     {"output": graph, "workflow": what the editor saves}
    a graph alone, or as JSON text     {"1": {"class_type", "inputs"}, ...}

All become the body of API v1: {"workflow": graph, "extra_data"?, ...options}. A field without a
meaning here is refused, and the error says what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comfyline.api.json import json_value
from comfyline.service.errors import FieldError, InvalidRequest, MalformedRequest

Body = Mapping[str, Any]

MAX_WRAPPERS = 4  # of one body; a graph in a JSON text in worker-comfyui's body has three

_IDS = ("client_id", "prompt_id")  # of ComfyUI's own protocol; the job has an id of the service
_REMEDIES = {
    "front": 'Send "priority": "high" instead of `front`.',
    "number": "Send `priority` (high, normal or low) instead of `number`.",
    "partial_execution_targets": "Leave the other output nodes out of the workflow instead of "
    "sending `partial_execution_targets`.",
}
_IMAGES = (
    "Upload each file of `images` with POST /api/v1/uploads and name it in `inputs`, as in "
    '{"10.image": "upload:<upload_id>"}.'
)


def unwrapped(body: Body) -> Body:
    """The body in the form of API v1; the body itself if it has that form or no known one.

    Raises:
        InvalidRequest: it has a field of the other tool that has no meaning here.
    """
    for _ in range(MAX_WRAPPERS):
        taken = next((inner for take in _WRAPPERS if (inner := take(body)) is not None), None)
        if taken is None:
            break
        body = taken
    return body


def _of_graph(body: Body) -> Body | None:
    is_alone = all(isinstance(node, dict) for node in body.values())
    return {"workflow": body} if (is_alone and _is_graph(body)) or _is_export(body) else None


def _of_prompt(body: Body) -> Body | None:
    """ComfyUI's own body, or the two texts in a PNG of ComfyUI."""
    graph = _parsed(body.get("prompt"))
    if not isinstance(graph, dict):
        return None
    rest = _without(body, "prompt", *_IDS)
    if rest.get("front") is False:
        rest = _without(rest, "front")
    for name, remedy in _REMEDIES.items():
        if name in rest:
            raise _refusal(name, remedy)
    return _with_export(rest, graph)


def _of_output(body: Body) -> Body | None:
    """What the editor makes of its workflow. In API v1, `output` is an encoding."""
    graph = _parsed(body.get("output"))
    return _with_export(_without(body, "output"), graph) if _is_graph(graph) else None


def _of_input(body: Body) -> Body | None:
    """The body of worker-comfyui."""
    wrapped = _parsed(body.get("input"))
    if not isinstance(wrapped, dict) or "workflow" not in wrapped:
        return None
    if wrapped.get("images"):
        raise _refusal("input.images", _IMAGES)
    return {**_without(body, "input"), **_without(wrapped, "images")}


def _of_workflow(body: Body) -> Body | None:
    """A workflow that is a JSON text, or in the form of another tool itself."""
    sent = body.get("workflow")
    workflow = _parsed(sent)
    if not isinstance(workflow, dict) or _is_graph(workflow) or _is_export(workflow):
        return {**body, "workflow": workflow} if workflow is not sent else None
    for take in (_of_prompt, _of_output, _of_input):
        if (inner := take(workflow)) is not None:
            return {**_without(body, "workflow"), **inner}
    is_only = workflow.keys() == {"workflow"}
    return {**body, **workflow} if is_only or workflow is not sent else None


_WRAPPERS: tuple[Callable[[Body], Body | None], ...] = (
    _of_graph,
    _of_prompt,
    _of_output,
    _of_input,
    _of_workflow,
)


def _with_export(rest: Body, graph: Any) -> Body:
    """The body of the graph. What the editor has saved goes into the pictures, as from ComfyUI."""
    export = _parsed(rest.get("workflow"))
    if "workflow" in rest and not _is_export(export):
        detail = "Send exactly one workflow."
        raise InvalidRequest(detail, [FieldError(("body", "workflow"), detail)])
    if export is not None and "extra_data" not in rest:
        rest = {**rest, "extra_data": {"extra_pnginfo": {"workflow": export}}}
    return {**rest, "workflow": graph}


def _parsed(value: Any) -> Any:
    """The object in a JSON text; every other value unchanged."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        parsed = json_value(value)
    except MalformedRequest:
        return value
    return parsed if isinstance(parsed, dict) else value


def _is_graph(value: Any) -> bool:
    """Whether it looks like a graph in API format: an object with a node."""
    return isinstance(value, dict) and any(
        isinstance(node, dict) and "class_type" in node for node in value.values()
    )


def _is_export(value: Any) -> bool:
    """Whether it looks like what the editor saves."""
    return isinstance(value, dict) and isinstance(value.get("nodes"), list)


def _without(body: Body, *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


def _refusal(name: str, remedy: str) -> InvalidRequest:
    return InvalidRequest(remedy, [FieldError(("body", *name.split(".")), remedy)])
