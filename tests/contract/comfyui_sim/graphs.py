"""Small graphs in API format."""

from __future__ import annotations

from typing import Any

PICTURE = {
    "class_type": "EmptyImage",
    "inputs": {"width": 16, "height": 8, "batch_size": 1, "color": 255},
}
LINK = ["1", 0]


def ending_in(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A graph of a picture (node 1) and a node of this class (node 2)."""
    return {"1": PICTURE, "2": {"class_type": class_type, "inputs": inputs}}
