"""Read JSON from the engine without trusting its shape: a value of a wrong type counts as empty."""

from __future__ import annotations

from typing import Any


def items(value: Any) -> list[Any]:
    """The list itself, or an empty one."""
    return value if isinstance(value, list) else []


def fields(value: Any) -> dict[str, Any]:
    """The object itself, or an empty one."""
    return value if isinstance(value, dict) else {}
