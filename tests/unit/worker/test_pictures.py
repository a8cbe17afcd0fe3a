"""Still pictures are encoded anew; any other file stays unchanged, hostile files included."""

from __future__ import annotations

import io
import struct
import zlib
from typing import IO

import pytest
from PIL import Image, PngImagePlugin

from comfyline.service.jobs.job import PictureEncoding, PictureFormat
from gpu_worker import pictures
from gpu_worker.pictures import encode

WEBP, JPEG = PictureFormat.WEBP, PictureFormat.JPEG
PROFILE = b"a profile of colours"


def a_file(picture: Image.Image, kind: str = "PNG", **options: object) -> IO[bytes]:
    body = io.BytesIO()
    picture.save(body, kind, **options)
    return body


def as_wanted(body: IO[bytes], kind: PictureFormat, quality: int = 80) -> Image.Image | None:
    made = stored(body, kind, quality)
    return None if made is None else Image.open(io.BytesIO(made))


def stored(body: IO[bytes], kind: PictureFormat, quality: int = 80) -> bytes | None:
    into = io.BytesIO()
    is_done = encode(body, PictureEncoding(format=kind, quality=quality), into)
    return into.getvalue() if is_done else None


@pytest.mark.parametrize("kind", PictureFormat)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_a_picture_of_any_mode_keeps_its_size(mode: str, kind: PictureFormat) -> None:
    made = as_wanted(a_file(Image.new(mode, (20, 10))), kind)
    assert made is not None
    assert (made.format, made.size) == (kind.value.upper(), (20, 10))


def test_transparent_parts_stay_so_in_webp_and_are_white_in_jpeg() -> None:
    body = a_file(Image.new("RGBA", (8, 8), (255, 0, 0, 0)))
    webp, jpeg = as_wanted(body, WEBP), as_wanted(body, JPEG)
    assert webp is not None
    assert jpeg is not None
    assert webp.convert("RGBA").getpixel((4, 4))[3] == 0  # type: ignore[index]
    assert min(jpeg.convert("RGB").getpixel((4, 4))) > 250  # type: ignore[arg-type]


def test_the_workflow_is_left_out_and_the_colour_profile_is_kept() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "secret")
    body = a_file(Image.new("RGB", (8, 8)), pnginfo=text, icc_profile=PROFILE)
    made = stored(body, WEBP)
    assert made is not None
    assert b"secret" not in made
    assert PROFILE in made


def test_less_quality_takes_fewer_bytes() -> None:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    coarse, fine = (stored(a_file(noise), WEBP, quality) for quality in (10, 95))
    assert coarse is not None
    assert fine is not None
    assert len(coarse) < len(fine)


def an_animation() -> IO[bytes]:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    return a_file(frames[0], "WEBP", save_all=True, append_images=frames[1:])


def a_png_of(width: int, height: int) -> IO[bytes]:
    """Only the header of a PNG, which states the size."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(head))
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + crc)


def cut_short() -> IO[bytes]:
    whole = a_file(Image.effect_noise((64, 64), 80)).getvalue()  # type: ignore[attr-defined]
    return io.BytesIO(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    "body",
    [
        io.BytesIO(b""),
        io.BytesIO(b"no picture"),
        an_animation(),
        a_file(Image.new("RGB", (8, 8)), "GIF"),
        io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        a_png_of(100_000, 100_000),
        cut_short(),
    ],
)
def test_a_file_that_is_not_a_still_picture_stays(body: IO[bytes]) -> None:
    assert as_wanted(body, WEBP) is None


def test_a_picture_too_large_for_the_format_stays() -> None:
    assert as_wanted(a_file(Image.new("L", (16_384, 1))), WEBP) is None
    assert as_wanted(a_file(Image.new("L", (16_384, 1))), JPEG) is not None


def test_a_picture_of_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    body = a_file(Image.new("L", (11, 10)))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 110)
    assert as_wanted(body, WEBP) is not None
    monkeypatch.setattr(pictures, "MAX_PIXELS", 109)
    assert as_wanted(body, WEBP) is None
