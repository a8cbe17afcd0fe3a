"""A prompt for the tests of the protocol, and messages and histories of it made by hand."""

from __future__ import annotations

import json
from typing import Any

PROMPT_ID = "0f9d4f8e-55a4-4f2e-9c55-3a7f0d6e1b11"
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {}},
    "2": {"class_type": "KSampler", "inputs": {"steps": 8, "image": ["1", 0]}},
}


def message(kind: str, **data: Any) -> str:
    return json.dumps({"type": kind, "data": {"prompt_id": PROMPT_ID, **data}})


def error_entry(**data: Any) -> dict[str, Any]:
    """The history of a prompt that ended with this execution_error."""
    messages = [["execution_start", {}], ["execution_error", data]]
    return {"status": {"status_str": "error", "completed": False, "messages": messages}}
