"""The size of a DynamoDB item, by the rules of DynamoDB's manual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WRITE_UNIT = 1024  # bytes that one write unit pays for


def item_size(item: Mapping[str, Any]) -> int:
    """The bytes that DynamoDB charges for the item: names and values."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(attribute: Mapping[str, Any]) -> int:
    kind: str
    value: Any
    [(kind, value)] = attribute.items()
    match kind:
        case "S":
            return len(str(value).encode())
        case "B":
            return len(value)
        case "N":
            digits = str(value).lstrip("-").replace(".", "").strip("0")
            return (len(digits) + 1) // 2 + 1
        case "L":
            return 3 + sum(1 + _size(part) for part in value)
        case "M":
            return 3 + sum(1 + len(name) + _size(part) for name, part in value.items())
        case _:
            return 1
