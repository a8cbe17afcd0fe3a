"""The program that makes one thumbnail: `python -m gpu_worker.thumbnail`, a picture in, WebP out.

A picture may be hostile, and a decoder may have faults. So each picture is decoded in a process of
its own, which has an empty environment, no capabilities, no TCP connections and little time and
memory. It gives these up before it reads the first byte. It exits with 1 if it makes no thumbnail.
"""

from __future__ import annotations

import ctypes
import io
import resource
import signal
import sys
from typing import IO

from PIL import Image, ImageOps, UnidentifiedImageError

from gpu_worker.confinement import confine

SIDE = 512  # pixels of the longer side, at most
MAX_PIXELS = 40_000_000  # that are decoded
MAX_BYTES = 1024 * 1024  # of a thumbnail
QUALITY = 80
FORMATS = ("PNG", "JPEG", "WEBP")

CPU_SECONDS = 20
MEMORY_BYTES = 1024**3  # some copies of the largest picture, at four bytes a pixel

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CAPABILITIES_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of linux/capability.h

Image.MAX_IMAGE_PIXELS = None  # only warns; MAX_PIXELS is checked before any pixel is read


class Unsuitable(Exception):
    """The file is too large or is not such a picture."""


def main() -> None:
    """Read a picture from the standard input, which is a file, and write its thumbnail."""
    _give_up_rights()
    try:
        made = thumbnail(sys.stdin.buffer)
    except (Unsuitable, OSError, ValueError, SyntaxError, MemoryError):
        sys.exit(1)
    sys.stdout.buffer.write(made)


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


def _give_up_rights() -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # never outlive the worker
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # The worker's interpreter has capabilities. Three sets of 64 bits: now there are none.
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError("the capabilities cannot be given up")
    confine()
    for limit, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, MAX_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))


if __name__ == "__main__":
    main()
