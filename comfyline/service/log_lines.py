"""Write log lines that any text of a caller, a workflow or an engine may be part of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from comfyline.service.texts import shortened

# Of each text. CloudWatch splits an event of more than 256 KB, and a line then is no JSON.
MAX_LOGGED = 16_000  # characters


def log_line(fields: Mapping[str, Any]) -> str:
    """The fields of a log line as JSON with bounded texts.

    It is ASCII, so that no character steers a terminal and every output can encode the line.
    """
    return json.dumps(_bounded(fields), default=_unknown, separators=(",", ":"))


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return shortened(value, MAX_LOGGED)
    if isinstance(value, Mapping):
        return {shortened(str(name), MAX_LOGGED): _bounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_bounded(part) for part in value]
    return value


def _unknown(value: object) -> str:
    return shortened(str(value), MAX_LOGGED)
