"""Graphs in ComfyUI's API format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Graph = Mapping[str, Mapping[str, Any]]  # node id -> {"class_type": ..., "inputs": ...}

MAX_NAME = 256  # characters of a node's id or class; the longest in real graphs have about 60


def canonical_json(value: Any) -> bytes:
    """The same bytes for equal JSON values: sorted keys, no blanks, ASCII.

    Raises:
        ValueError: the value contains NaN or an infinity.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def faithful_json(value: Any) -> bytes:
    """ASCII text from which `json.loads` reads the same value, with its names in the same order.

    For what callers send to ComfyUI: like ComfyUI itself, it takes NaN, infinities and halves of
    surrogate pairs for JSON. Some nodes have any number of inputs and use them in their order.
    """
    return json.dumps(value, separators=(",", ":")).encode()


def fingerprint(request: Any) -> str:
    """SHA-256 (hex) of a request as the client sent it. The order of names makes no difference."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def is_link(value: Any) -> bool:
    """Whether ComfyUI takes an input for `[node id, output slot]`, the output of another node."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )


def with_input(node: Mapping[str, Any], name: str, value: Any) -> Mapping[str, Any]:
    """The node with one input added or replaced."""
    return {**node, "inputs": {**node["inputs"], name: value}}
