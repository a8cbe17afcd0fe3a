"""ComfyUI's rules for the files that requests and nodes read and write, and for their names."""

from __future__ import annotations

import hashlib
import io
import mimetypes
import os
import posixpath
import re
from datetime import datetime
from pathlib import Path

from aiohttp import web
from PIL import Image

from comfyui_sim.faults import NodeFailure
from comfyui_sim.options import Folders

_ANNOTATION = re.compile(r"^(?P<name>.*) ?\[(?P<kind>input|output|temp)\]$")


def inside(root: Path, path: Path) -> Path | None:
    """The path without `..`, or None if it leaves the root. Symbolic links are not resolved."""
    plain = Path(os.path.normpath(path))
    return plain if plain.is_relative_to(root) else None


def digest(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def input_file(folders: Folders, name: str) -> Path | None:
    """The file that LoadImage reads for `sub/name.png` or `name.png [temp]`; None if missing."""
    kind = "input"
    if match := _ANNOTATION.match(name):
        name, kind = match["name"].rstrip(), match["kind"]
    root = folders.base / kind
    path = inside(root, root / name)
    return path if path is not None and path.is_file() else None


def save_target(
    root: Path, prefix: str, width: int = 0, height: int = 0
) -> tuple[Path, str, str, int]:
    """The folder, file stem, subfolder and first number of the files that a node saves.

    Raises:
        NodeFailure: the prefix leaves the root.
    """
    plain = posixpath.normpath(_filled_in(prefix, width, height))
    subfolder, stem = posixpath.split(plain)
    folder = inside(root, root / subfolder)
    if folder is None:
        meant = os.path.normpath(root / subfolder)
        raise NodeFailure(
            "**** ERROR: Saving image outside the output folder is not allowed."
            f"\n full_output_folder: {meant}\n         output_dir: {root}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder, stem, subfolder, _next_number(folder, stem)


def _filled_in(prefix: str, width: int, height: int) -> str:
    now = datetime.now().astimezone()
    values = {
        "width": width,
        "height": height,
        "year": now.year,
        "month": f"{now.month:02}",
        "day": f"{now.day:02}",
        "hour": f"{now.hour:02}",
        "minute": f"{now.minute:02}",
        "second": f"{now.second:02}",
    }
    for name, value in values.items():
        prefix = prefix.replace(f"%{name}%", str(value))
    return prefix


def _next_number(folder: Path, stem: str) -> int:
    pattern = re.compile(re.escape(stem) + r"_(\d+)_?(\D.*)?")
    names = (entry.name for entry in folder.iterdir())
    numbers = [int(match[1]) for name in names if (match := pattern.fullmatch(name))]
    return max(numbers, default=0) + 1


async def upload(request: web.Request, folders: Folders) -> web.Response:
    """`POST /upload/image`. A file with the same name and bytes is reused.

    Other bytes under the same name are stored under a numbered name.
    """
    form = await request.post()
    image = form.get("image")
    if not isinstance(image, web.FileField) or not image.filename:
        return web.Response(status=400)
    kind, subfolder = str(form.get("type", "input")), str(form.get("subfolder", ""))
    root = folders.of_type(kind)
    if root is None:
        raise ValueError(f"unknown type: {kind}")  # answered with 500, as recorded
    folder = Path(os.path.normpath(root / subfolder))
    if inside(root, folder / image.filename) is None:
        return web.Response(status=400)
    folder.mkdir(parents=True, exist_ok=True)
    content = image.file.read()
    overwrite = form.get("overwrite") in ("true", "1")
    name = image.filename if overwrite else _free_name(folder, image.filename, content)
    Path(os.path.normpath(folder / name)).write_bytes(content)
    return web.json_response({"name": name, "subfolder": subfolder, "type": kind})


def _free_name(folder: Path, wanted: str, content: bytes) -> str:
    stem, suffix = os.path.splitext(wanted)  # noqa: PTH122 the name may contain folders
    name, number = wanted, 0
    while (path := folder / name).exists() and path.read_bytes() != content:
        number += 1
        name = f"{stem} ({number}){suffix}"
    return name


async def view(request: web.Request, folders: Folders) -> web.StreamResponse:
    """`GET /view`: 400 for a bad name or type, 403 for a subfolder outside, 404 if missing."""
    name = request.query.get("filename")
    if not name:
        return web.Response(status=404)
    kind = request.query.get("type", "output")
    if match := _ANNOTATION.match(name):
        name, kind = match["name"].rstrip(), match["kind"]
    root = folders.of_type(kind)
    if name.startswith("/") or ".." in name or root is None:
        return web.Response(status=400)
    folder = inside(root, root / request.query.get("subfolder", ""))
    if folder is None:
        return web.Response(status=403)
    path = folder / posixpath.basename(name)
    if not path.is_file():
        return web.Response(status=404)
    return _picture_response(request, path)


def _picture_response(request: web.Request, path: Path) -> web.StreamResponse:
    headers = {"Content-Disposition": f'filename="{path.name}"'}
    if "preview" in request.query:
        wanted, _, quality = request.query["preview"].partition(";")
        form = wanted if wanted in ("webp", "jpeg") else "webp"
        body = _encoded(Image.open(path).convert("RGB"), form, int(quality or 90))
        return web.Response(body=body, content_type=f"image/{form}", headers=headers)
    channel = request.query.get("channel", "rgba")
    if channel in ("rgb", "a"):
        picture = Image.open(path)
        changed = picture.convert("RGB") if channel == "rgb" else _alpha(picture)
        body = _encoded(changed, "png", None)
        return web.Response(body=body, content_type="image/png", headers=headers)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    headers |= {"Content-Type": kind, "X-Content-Type-Options": "nosniff"}
    return web.FileResponse(path, headers=headers)


def _alpha(picture: Image.Image) -> Image.Image:
    alpha = picture.convert("RGBA").getchannel("A")
    shown = Image.new("RGBA", picture.size)
    shown.putalpha(alpha)
    return shown


def _encoded(picture: Image.Image, form: str, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    extra = {} if quality is None else {"quality": quality}
    picture.save(buffer, form.upper(), **extra)
    return buffer.getvalue()
