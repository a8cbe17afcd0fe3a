"""Make commands of the requests of Comfy API v2."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from comfyline.api.comfy_v2.errors import ComfyRefusal
from comfyline.contract.comfy_v2.requests import (
    LABEL_NAME,
    MAX_FILTERS,
    MAX_LABEL_BYTES,
    MAX_LABELS,
)
from comfyline.service.errors import FieldError, InvalidRequest
from comfyline.service.graphs.compile import CustomGraph
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.intake.submission import Submission
from comfyline.service.queue.lanes import Priority

_FIELDS = ("workflow", "extra_data", "metadata")
_RESERVED = ("webhook_url", "inputs")
_PARTNER_KEYS = ("api_key_comfy_org", "auth_token_comfy_org")
# They change the order in which a text is shown, so that a label could look like another one.
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_FILTER = re.compile(r"metadata\[(.*)\]", re.DOTALL)


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
        metadata=_labels(body.get("metadata")),
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


def label_filter(query: str) -> Mapping[str, str]:
    """The labels in a query string, such as `metadata%5Bproject%5D=foxes`; all must match.

    Raises:
        ComfyRefusal: there are too many, one comes twice, or one is no label.
    """
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape"):
        if not (match := _FILTER.fullmatch(name)):
            continue
        key = match[1]
        if key in found:
            raise _wrong_filter(f"The label {key} comes twice.")
        if wrong := _label_error(key, value):
            raise _wrong_filter(wrong)
        found[key] = value
    if len(found) > MAX_FILTERS:
        raise _wrong_filter(f"A list is filtered by at most {MAX_FILTERS} labels.")
    return found


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


def _labels(sent: Any) -> Mapping[str, str]:
    if sent is None:
        return {}
    if not isinstance(sent, dict):
        raise _wrong_labels("metadata must be an object of texts.")
    if len(sent) > MAX_LABELS:
        raise _wrong_labels(f"A job has at most {MAX_LABELS} labels; these are {len(sent)}.")
    for name, value in sent.items():
        if not isinstance(value, str):
            raise _wrong_labels(f"The label {name!r:.100} must be a text.")
        if wrong := _label_error(name, value):
            raise _wrong_labels(wrong)
    return sent


def _label_error(name: str, value: str) -> str | None:
    if not LABEL_NAME.fullmatch(name):
        return (
            f"The name {name!r:.100} is not 1 to 40 letters, digits, dots, dashes or underscores."
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") or c in _BIDIRECTIONAL for c in value):
        return f"The label {name} has a control character."
    if len(value.encode()) > MAX_LABEL_BYTES:
        return f"The label {name} has more than {MAX_LABEL_BYTES} bytes."
    return None


def _wrong_labels(message: str) -> ComfyRefusal:
    return ComfyRefusal("metadata_invalid", message)


def _wrong_filter(message: str) -> ComfyRefusal:
    return ComfyRefusal("invalid_metadata_filter", message)
