"""Pictures in another encoding: smaller for the web than the PNG that ComfyUI writes.

What cannot be told to be a still picture stays as it is, whatever its name says.
"""

from __future__ import annotations

from typing import IO

from PIL import Image

from comfyline.service.jobs.job import PictureEncoding, PictureFormat

# What ComfyUI's nodes write as still pictures; the others of Pillow's decoders stay shut.
SOURCES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 64_000_000  # four bytes each while it is encoded, four of them at once

Image.MAX_IMAGE_PIXELS = (
    None  # Pillow's own bound only warns; ours is kept before any pixel is read
)

SUFFIXES = {PictureFormat.WEBP: ".webp", PictureFormat.JPEG: ".jpg"}
_MODES = {PictureFormat.WEBP: ("RGB", "RGBA"), PictureFormat.JPEG: ("RGB", "L")}


def encode(body: IO[bytes], wanted: PictureEncoding, into: IO[bytes]) -> bool:
    """Write the picture as wanted; False if it stays as it is, whatever was written by then.

    Colours keep their profile; what else the file says of itself, the workflow too, is left out.
    """
    try:
        body.seek(0)
        _write(Image.open(body, formats=SOURCES), wanted, into)
    except (_Unfit, OSError, ValueError, SyntaxError):
        return False
    return True


class _Unfit(Exception):
    """Nothing that this should touch."""


def _write(picture: Image.Image, wanted: PictureEncoding, into: IO[bytes]) -> None:
    if picture.width * picture.height > MAX_PIXELS or getattr(picture, "n_frames", 1) > 1:
        raise _Unfit
    profile = picture.info.get("icc_profile")
    still = _in_mode(picture, wanted.format)
    still.save(into, wanted.format.value, quality=wanted.quality, icc_profile=profile)


def _in_mode(picture: Image.Image, wanted: PictureFormat) -> Image.Image:
    if picture.mode in _MODES[wanted]:
        return picture
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    if wanted is PictureFormat.WEBP:
        return clear
    white = Image.new("RGBA", clear.size, "white")  # JPEG knows no transparency
    return Image.alpha_composite(white, clear).convert("RGB")
