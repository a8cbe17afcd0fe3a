"""Draws landscapes instead of running a diffusion model. A picture depends on its key alone.

The words choose the colours and the shape of the land. The seed moves sun, hills and stars. So the
pictures of two prompts or two seeds differ at a glance, and equal inputs give equal bytes.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageOps
from PIL.PngImagePlugin import PngInfo

PNG_COMPRESSION = 4  # ComfyUI's
SUPERSAMPLE_UP_TO = 768  # pixels a side; the edges of larger pictures are fine enough without it
LAYERS = 5

Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class PictureKey:
    """The inputs of a picture."""

    words: str
    details: str  # everything else: seed, steps, sampler, index in the batch ...


def paint(key: PictureKey, width: int, height: int) -> Image.Image:
    """The picture of a key, RGB."""
    scale = 2 if max(width, height) <= SUPERSAMPLE_UP_TO else 1
    words, details = _random("words", key.words), _random("details", key.details)
    hue = words.random()
    size = (width * scale, height * scale)
    picture = _sky(size, hue, words)
    draw = ImageDraw.Draw(picture)
    _stars(draw, size, details)
    _sun(draw, size, hue, details)
    _hills(draw, size, hue, words, details)
    return picture if scale == 1 else picture.reduce(scale)


def _random(purpose: str, text: str) -> random.Random:
    return random.Random(hashlib.sha256(f"{purpose}\0{text}".encode()).digest())


def _color(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _sky(size: tuple[int, int], hue: float, words: random.Random) -> Image.Image:
    top = _color(hue, 0.75, 0.35 + 0.3 * words.random())
    low = _color(hue + 0.08 + 0.1 * words.random(), 0.45, 0.98)
    ramp = Image.linear_gradient("L").resize(size)
    return ImageOps.colorize(ramp, top, low)


def _stars(draw: ImageDraw.ImageDraw, size: tuple[int, int], details: random.Random) -> None:
    width, height = size
    for _ in range(40):
        x, y = details.random() * width, details.random() ** 2 * height * 0.6
        radius = (0.4 + details.random()) * width / 512
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 255, 255))


def _sun(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], hue: float, details: random.Random
) -> None:
    width, height = size
    x = (0.15 + 0.7 * details.random()) * width
    y = (0.15 + 0.35 * details.random()) * height
    radius = (0.06 + 0.08 * details.random()) * min(size)
    for ring in range(4, -1, -1):
        reach = radius * (1 + 0.22 * ring)
        color = _color(hue + 0.12, 0.12 + 0.07 * ring, 1.0)
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=color)


def _hills(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    hue: float,
    words: random.Random,
    details: random.Random,
) -> None:
    width, height = size
    for layer in range(LAYERS):
        nearness = layer / (LAYERS - 1)
        base = height * (0.5 + 0.38 * nearness)
        swings = [
            (words.uniform(1.5, 7.0), details.uniform(0, math.tau), words.uniform(0.02, 0.07))
            for _ in range(3)
        ]
        ridge = [
            (x, base - sum(height * a * math.sin(f * x / width * 2 + p) for f, p, a in swings))
            for x in range(0, width + 8, 8)
        ]
        color = _color(hue + 0.5 * nearness, 0.35 + 0.4 * nearness, 0.75 - 0.55 * nearness)
        draw.polygon([*ridge, (width + 8, height), (0, height)], fill=color)


def preview_jpeg(key: PictureKey, width: int, height: int, progress: float, longest: int) -> bytes:
    """A JPEG of the picture with noise, which fades as `progress` goes from 0 to 1."""
    factor = longest / max(width, height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = paint(key, 64, 64).resize(size)
    noise = Image.effect_noise((64, 64), 90).resize(size).convert("RGB")
    picture = Image.blend(noise, small, progress)
    return encoded(picture, "JPEG", quality=80)


def invert(picture: Image.Image) -> Image.Image:
    """The negative."""
    return ImageChops.invert(picture)


def png(picture: Image.Image, prompt: Mapping[str, Any], extra_pnginfo: Any) -> bytes:
    """A PNG with the text chunks that ComfyUI writes: `prompt` and each of extra_pnginfo."""
    chunks = PngInfo()
    chunks.add_text("prompt", json.dumps(prompt))
    for name, value in (extra_pnginfo or {}).items():
        chunks.add_text(name, json.dumps(value))
    return encoded(picture, "PNG", pnginfo=chunks, compress_level=PNG_COMPRESSION)


def encoded(picture: Image.Image, form: str, **how: Any) -> bytes:
    """The picture as a file of a format that Pillow knows."""
    buffer = io.BytesIO()
    picture.save(buffer, form, **how)
    return buffer.getvalue()
