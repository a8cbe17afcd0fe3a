"""The labels of a job of Comfy API v2: `metadata` in its body, and in the filter of a list."""

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

# They change the order in which a text is shown, so that a label could look like another one.
_BIDIRECTIONAL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_FILTER = re.compile(r"metadata\[(.*)\]", re.DOTALL)


def labels(sent: Any) -> Mapping[str, str]:
    """The labels in the body of a job.

    Raises:
        ComfyRefusal: there are too many, or one is no label.
    """
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
