"""Make a thumbnail of a picture. Only the children of `gpu_worker.thumbnail_server` run this."""

from __future__ import annotations

import io
from typing import IO

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

SIDE = 512  # pixels of the longer side, at most
MAX_PIXELS = 40_000_000  # that are decoded
MAX_BYTES = 1024 * 1024  # of a thumbnail
QUALITY = 80
# Imported, because Pillow imports all formats that it knows to find one that is not.
FORMATS = (PngImageFile.format, JpegImageFile.format, WebPImageFile.format)

Image.MAX_IMAGE_PIXELS = None  # only warns; MAX_PIXELS is checked before any pixel is read


class Unsuitable(Exception):
    """The file is too large or is not such a picture."""


def thumbnail(body: IO[bytes]) -> bytes:
    """The picture in `body` as WebP, upright, of at most SIDE by SIDE; the first of an animation.

    A colour profile is kept. All other metadata is left out, the workflow included.

    Raises:
        Unsuitable: more than MAX_PIXELS, or none of FORMATS.
        OSError, ValueError, SyntaxError: the picture is damaged.
    """
    try:
        picture: Image.Image = Image.open(body, formats=FORMATS)
    except UnidentifiedImageError:
        raise Unsuitable from None
    if picture.width * picture.height > MAX_PIXELS:
        raise Unsuitable
    picture.getexif()  # has the orientation, and is kept by the picture from here on
    picture.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at a fraction of its size
    profile = picture.info.get("icc_profile") if picture.mode in ("RGB", "RGBA") else None
    small = _in_colours(picture)
    small.thumbnail((SIDE, SIDE))
    into = io.BytesIO()
    upright = ImageOps.exif_transpose(small)
    upright.save(into, "WEBP", quality=QUALITY, icc_profile=profile, exif=b"")
    return into.getvalue()


def _in_colours(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):  # 16 bits; `convert` would make most of it white
        shades = picture.convert("I").point(lambda value: value * (1 / 256))
        return shades.convert("L").convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
