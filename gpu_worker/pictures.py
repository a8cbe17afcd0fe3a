"""Encode still pictures anew: WebP and JPEG are smaller than the PNG that ComfyUI writes.

A file stays unchanged unless it is certainly a still picture. Its name does not matter for that.
"""

from __future__ import annotations

from typing import IO

from PIL import Image

from comfyline.service.jobs.job import PictureEncoding, PictureFormat

# The formats in which ComfyUI's nodes write still pictures. Pillow's other decoders are not used,
# because each is code that a hostile file could attack.
SOURCES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 64_000_000  # while encoded, a pixel takes four bytes, and four pictures do so at once

# Pillow's own limit only warns. MAX_PIXELS is checked before any pixel is read.
Image.MAX_IMAGE_PIXELS = None

SUFFIXES = {PictureFormat.WEBP: ".webp", PictureFormat.JPEG: ".jpg"}
_MODES = {PictureFormat.WEBP: ("RGB", "RGBA"), PictureFormat.JPEG: ("RGB", "L")}


def encode(body: IO[bytes], wanted: PictureEncoding, into: IO[bytes]) -> bool:
    """Write the picture in `body` to `into` as wanted; False if the file must stay unchanged.

    After False, ignore what `into` holds. The colour profile is kept. All other metadata is left
    out, the workflow included.
    """
    try:
        body.seek(0)
        _write(Image.open(body, formats=SOURCES), wanted, into)
    except (_Unsuitable, OSError, ValueError, SyntaxError):
        return False
    return True


class _Unsuitable(Exception):
    """The file is too large or is not a still picture."""


def _write(picture: Image.Image, wanted: PictureEncoding, into: IO[bytes]) -> None:
    if picture.width * picture.height > MAX_PIXELS or getattr(picture, "n_frames", 1) > 1:
        raise _Unsuitable
    profile = picture.info.get("icc_profile")
    converted = _in_mode(picture, wanted.format)
    converted.save(into, wanted.format.value, quality=wanted.quality, icc_profile=profile)


def _in_mode(picture: Image.Image, wanted: PictureFormat) -> Image.Image:
    if picture.mode in _MODES[wanted]:
        return picture
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    transparent = picture.convert("RGBA")
    if wanted is PictureFormat.WEBP:
        return transparent
    white = Image.new("RGBA", transparent.size, "white")  # JPEG has no transparency
    return Image.alpha_composite(white, transparent).convert("RGB")
