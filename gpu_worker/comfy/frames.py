"""The binary frames of ComfyUI's socket: pictures and texts about progress. No input raises.

event 1   4 bytes event, 4 bytes format, picture          names neither a prompt nor a node
event 3   4 bytes event, 4 bytes length, node, text       a sign of life, sent to every client
event 4   4 bytes event, 4 bytes length, metadata, picture
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from gpu_worker.comfy.shapes import engine_json, fields, node_id, text

MAX_METADATA_BYTES = 64 * 1024  # ComfyUI writes some 200

_PICTURE, _TEXT, _PICTURE_WITH_METADATA = 1, 3, 4
_HEADER = struct.Struct(">II")
_MAGIC = (
    ("image/png", 0, b"\x89PNG"),
    ("image/jpeg", 0, b"\xff\xd8\xff"),
    ("image/webp", 8, b"WEBP"),
    ("image/gif", 0, b"GIF8"),
    ("video/mp4", 4, b"ftyp"),
    ("video/webm", 0, b"\x1a\x45\xdf\xa3"),
)
_DECLARED = ("image/png", "image/jpeg")  # the only types that ComfyUI names in metadata


@dataclass(frozen=True, slots=True)
class PictureFrame:
    """A picture. The prompt and the node are None where the frame does not name them."""

    content_type: str
    picture: bytes
    prompt_id: str | None = None
    node: str | None = None  # of the submitted graph


@dataclass(frozen=True, slots=True)
class TextFrame:
    """A node reports progress as text. The frame names no prompt."""


def read_frame(frame: bytes) -> PictureFrame | TextFrame | None:
    """What the frame is; None for anything else."""
    if len(frame) <= _HEADER.size:
        return None
    event, number = _HEADER.unpack_from(frame)
    if event == _PICTURE:
        picture = frame[_HEADER.size :]
        return None if (kind := _sniffed(picture)) is None else PictureFrame(kind, picture)
    if event == _PICTURE_WITH_METADATA and number <= MAX_METADATA_BYTES:
        return _with_metadata(frame, _HEADER.size + number)
    return TextFrame() if event == _TEXT else None


def parsed(content: str | bytes) -> Any:
    """The JSON value; None if it is not JSON."""
    try:
        return engine_json(content)
    except (ValueError, RecursionError):
        return None


def _with_metadata(frame: bytes, picture_at: int) -> PictureFrame | None:
    picture = frame[picture_at:]
    about = fields(parsed(frame[_HEADER.size : picture_at]))
    declared = text(about.get("image_type"))
    content_type = _sniffed(picture) or (declared if declared in _DECLARED else None)
    if not picture or content_type is None:
        return None
    node = node_id(about.get("display_node_id") or about.get("node_id"))
    return PictureFrame(content_type, picture, text(about.get("prompt_id")), node)


def _sniffed(picture: bytes) -> str | None:
    """The content type that the first bytes show; senders may declare another one."""
    for content_type, at, magic in _MAGIC:
        if picture.startswith(magic, at):
            return content_type
    return None
