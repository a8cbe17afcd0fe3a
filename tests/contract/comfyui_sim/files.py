"""The files of a recording: uploads with equivalent bytes, and file names that differ by run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import aiohttp
from PIL import Image


def form(event: dict[str, Any]) -> aiohttp.FormData:
    """The form of a recorded upload."""
    filled = aiohttp.FormData()
    for name, value in event["request_form"].items():
        if isinstance(value, str):
            filled.add_field(name, value)
            continue
        content = _content(event, value)
        filled.add_field(
            name, content, filename=value["filename"], content_type=value["content_type"]
        )
    return filled


def _content(event: dict[str, Any], part: Mapping[str, Any]) -> io.BytesIO:
    if part["bytes"] > 1_000:
        return io.BytesIO(b"x" * part["bytes"])
    if part["filename"] == "not_an_image.png":
        return io.BytesIO(b"this is not an image.")
    # Different bytes if the recorded server kept both files or replaced the first one.
    is_other = "(1)" in str(event.get("response_json")) or "overwrite" in event["request_form"]
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30) if is_other else (30, 30, 200)).save(buffer, "PNG")
    return io.BytesIO(buffer.getvalue())


def file_names(
    there: list[dict[str, Any]], here: list[dict[str, Any]], replaced: Mapping[str, str]
) -> dict[str, str]:
    """This run's file names by the recorded ones, from `executed` messages of the same node."""
    ours = {(data["prompt_id"], data["node"]): data for data in _executed(here)}
    found: dict[str, str] = {}
    for recorded in _executed(there):
        same = ours.get((replaced.get(recorded["prompt_id"]), recorded["node"]))
        if same is not None:
            pairs = zip(_images(recorded), _images(same), strict=True)
            found |= {old["filename"]: new["filename"] for old, new in pairs}
    return found


def _executed(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    contents = (message["json"] for message in messages if "json" in message)
    return [content["data"] for content in contents if content["type"] == "executed"]


def _images(executed: dict[str, Any]) -> list[dict[str, Any]]:
    images: list[dict[str, Any]] = executed["output"].get("images", [])
    return images
