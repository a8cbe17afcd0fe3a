"""Make commands of the requests of Comfy API v2."""

from __future__ import annotations

from typing import Any

from comfyline.api.comfy_v2.labels import labels
from comfyline.service.errors import FieldError, InvalidRequest
from comfyline.service.graphs.compile import CustomGraph
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.intake.submission import Submission
from comfyline.service.queue.lanes import Priority

_FIELDS = ("workflow", "extra_data", "metadata")
_RESERVED = ("webhook_url", "inputs")
_PARTNER_KEYS = ("api_key_comfy_org", "auth_token_comfy_org")


def submission(sent: Any, priority: Priority = Priority.NORMAL) -> Submission:
    """The job that the body asks for. Its graph is as the caller sent it: assets are not resolved.

    Raises:
        InvalidRequest: the field that is wrong.
        ComfyRefusal: the labels are wrong.
    """
    body = _body(sent)
    graph = body.get("workflow")
    if not isinstance(graph, dict):
        raise invalid(
            "workflow must be a JSON object: a graph in ComfyUI's API format.", "workflow"
        )
    _check_extra_data(body.get("extra_data"))
    asked = {name: value for name, value in body.items() if name != "extra_data"}
    return Submission(
        work=CustomGraph(graph=graph),
        fingerprint=fingerprint(asked),
        priority=priority,
        metadata=labels(body.get("metadata")),
        reuse=False,
        only_known_classes=True,
    )


def invalid(detail: str, *place: str) -> InvalidRequest:
    """The error of one field of the body."""
    return InvalidRequest(detail, [FieldError(("body", *place), detail)])


def priority(text: str | None) -> Priority:
    """The lane that the header X-Comfyline-Priority names; normal without the header.

    Raises:
        InvalidRequest: there is no such lane.
    """
    try:
        return Priority(text) if text is not None else Priority.NORMAL
    except ValueError:
        raise InvalidRequest(
            f"X-Comfyline-Priority must be one of {', '.join(Priority)}."
        ) from None


def _body(sent: Any) -> dict[str, Any]:
    if not isinstance(sent, dict):
        raise invalid("The body must be a JSON object.")
    for name in sent:
        if name in _RESERVED:
            raise invalid(f"{name} is reserved and not supported yet.", name)
        if name not in _FIELDS:
            raise invalid(f"There is no field {name!r:.100}; send {', '.join(_FIELDS)}.", name)
    return sent


def _check_extra_data(sent: Any) -> None:
    if sent is None:
        return
    if not isinstance(sent, dict):
        raise invalid("extra_data must be a JSON object.", "extra_data")
    for name in sent:
        if name in _PARTNER_KEYS:
            raise invalid(
                f"{name} is refused: the workers of this deployment reach no service of Comfy, so "
                "partner nodes cannot run, and the key would be kept for nothing. Submit without "
                "a key.",
                *("extra_data", name),
            )
        raise invalid(f"There is no field {name!r:.100} in extra_data.", "extra_data", name)
