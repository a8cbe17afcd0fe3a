"""The mark by which a prompt shows where it comes from.

The worker writes a prompt's id into its `extra_data`. A node that queues a further prompt copies
the `extra_data`. The further prompt then has another id, and the first prompt's id as mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpu_worker.comfy.shapes import fields, items, text

_MARK = "comfyline_prompt_id"
_EXTRA_DATA = 3  # in an entry of ComfyUI's queue, or under `prompt` in its history


def mark(prompt_id: str) -> Mapping[str, str]:
    """The part of `extra_data` that marks a prompt."""
    return {_MARK: prompt_id}


def origin_of(entry: Any) -> str | None:
    """The id of the prompt that this entry was posted as, or copied from; None without a mark."""
    extra_data = items(entry)[_EXTRA_DATA : _EXTRA_DATA + 1]
    return text(fields(extra_data[0]).get(_MARK)) if extra_data else None
