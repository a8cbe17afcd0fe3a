"""Read JSON from the engine without trusting its shape: a value of a wrong type counts as empty."""

from __future__ import annotations

import json
from typing import Any

from comfyline.service.texts import valid_text


def engine_json(text: str | bytes) -> Any:
    """The value of a JSON text of the engine, which may hold bare NaN.

    A half of a surrogate pair becomes U+FFFD: what the engine says is stored and shown, and nothing
    there can hold one.

    Raises:
        ValueError, RecursionError: it is not JSON.
    """
    value = json.loads(text)
    escape = b"\\ud" if isinstance(text, bytes) else "\\ud"
    return _whole(value) if escape in text.lower() else value  # type: ignore[operator]


def items(value: Any) -> list[Any]:
    """The list itself, or an empty one."""
    return value if isinstance(value, list) else []


def fields(value: Any) -> dict[str, Any]:
    """The object itself, or an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str | None:
    """The text itself, or None."""
    return value if isinstance(value, str) else None


def node_id(value: Any) -> str | None:
    """The id of a node, which some clients write as a number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value)


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, list):
        return [_whole(part) for part in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(part) for name, part in value.items()}
    return value
