"""Small files of 3D models."""

from __future__ import annotations

import base64
import io
import json
import struct
from typing import Any

from PIL import Image

TRIANGLE = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]


def ply() -> bytes:
    """A triangle."""
    points = "\n".join(" ".join(map(str, point)) for point in TRIANGLE)
    head = "ply\nformat ascii 1.0\nelement vertex 3\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    return f"{head}{points}\n3 0 1 2\n".encode()


def glb(*, color: str = "red") -> bytes:
    """A triangle with a picture on it, which is within the file."""
    picture = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(picture, "PNG")
    parts = [
        b"".join(struct.pack("<3f", *point) for point in TRIANGLE),
        struct.pack("<6f", 0, 0, 1, 0, 0, 1),
        picture.getvalue(),
    ]
    return _glb(_document(parts), b"".join(map(_padded, parts)))


def gltf_that_names_other_files() -> bytes:
    """Its buffer and its picture are at addresses of others."""
    document = _document([b"\0" * 36, b"\0" * 24, b"\0" * 4])
    document["buffers"] = [{"byteLength": 64, "uri": "/api/v1/jobs"}]
    document["images"] = [{"uri": "https://elsewhere.example/x.png"}]
    return json.dumps(document).encode()


def gltf_with_its_buffer() -> bytes:
    """A triangle whose buffer is a data URL."""
    points = b"".join(struct.pack("<3f", *point) for point in TRIANGLE)
    document = _document([points])
    uri = f"data:application/octet-stream;base64,{base64.b64encode(points).decode()}"
    document["buffers"] = [{"byteLength": 36, "uri": uri}]
    return json.dumps(document).encode()


def glb_of_any_size(count: int) -> bytes:
    """It claims to have that many points."""
    document = _document([b"\0" * 36])
    document["accessors"][0] |= {"count": count}
    del document["accessors"][0]["bufferView"]
    return _glb(document, b"\0" * 36)


def _document(parts: list[bytes]) -> dict[str, Any]:
    views, offset = [], 0
    for part in parts:
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(part)})
        offset += len(_padded(part))
    has_picture = len(parts) == 3
    points = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{**points, "min": [0, 0, 0], "max": [1, 1, 0]}],
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }
    if has_picture:
        primitive = document["meshes"][0]["primitives"][0]
        primitive["attributes"]["TEXCOORD_0"] = 1
        primitive["material"] = 0
        document["accessors"].append(
            {"bufferView": 1, "componentType": 5126, "count": 3, "type": "VEC2"}
        )
        document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
        document["textures"] = [{"source": 0}]
        document["images"] = [{"bufferView": 2, "mimeType": "image/png"}]
    return document


def _glb(document: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = _padded(body)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _padded(part: bytes) -> bytes:
    return part + b"\0" * (-len(part) % 4)
