"""Read JSON as ComfyUI reads it, which is as Python does: with NaN and halves of surrogate pairs.

The models of the contract refuse both, except inside of a workflow.
"""

from __future__ import annotations

import json
from typing import Any

from comfyline.service.errors import MalformedRequest

# Real workflows are nested a few levels deep. A far deeper one would exhaust the stack of the
# process that reads it later.
MAX_JSON_DEPTH = 64
_TOO_DEEP = f"The body is nested deeper than {MAX_JSON_DEPTH} levels."


def json_value(text: str) -> Any:
    """The value of the text.

    Raises:
        MalformedRequest: it is not JSON, or it is nested too deeply.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise MalformedRequest(f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise MalformedRequest(_TOO_DEEP) from error
    if _is_deeper_than(MAX_JSON_DEPTH, value):
        raise MalformedRequest(_TOO_DEEP)
    return value


def _is_deeper_than(limit: int, value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        parts = (v.values() if isinstance(v, dict) else v for v in level)
        level = [v for part in parts for v in part if isinstance(v, dict | list)]
        if not level:
            return False
    return True
