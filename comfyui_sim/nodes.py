"""The work of the node classes that `catalogue.py` lists."""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from comfyui_sim import files, render
from comfyui_sim.faults import (
    OUT_OF_MEMORY_TEXT,
    NodeDeath,
    NodeFailure,
    NodeRuntimeError,
    OutOfMemory,
)
from comfyui_sim.node_types import Inputs, NodeContext, NodeResult
from comfyui_sim.options import Folders

BYTES_PER_FLOAT = 4
MAX_TENSOR_BYTES = 32 * 2**30  # a larger allocation fails, as on a usual machine
BIG_UI_CHARACTERS = 6 * 2**20  # the size of the recorded large message
PROBE_UPDATES_PER_SECOND = 10


NOTHING = render.PictureKey("", "empty")


@dataclass(frozen=True, slots=True)
class Batch:
    """An IMAGE: one or more pictures of one size."""

    pictures: tuple[Image.Image, ...]

    def __str__(self) -> str:
        width, height = self.pictures[0].size
        return f"tensor([[[[...]]]], size=({len(self.pictures)}, {height}, {width}, 3))"

    def map(self, change: Callable[[Image.Image], Image.Image]) -> Batch:
        """The batch with each picture changed. A picture that occurs twice is changed once."""
        done = {id(picture): change(picture) for picture in self.pictures}
        return Batch(tuple(done[id(picture)] for picture in self.pictures))


@dataclass(frozen=True, slots=True)
class Latent:
    """A LATENT: a size in pixels, and the key of the picture that a sampler made."""

    width: int
    height: int
    batch_size: int
    key: render.PictureKey = NOTHING

    def __str__(self) -> str:
        shape = (self.batch_size, 4, self.height // 8, self.width // 8)
        return f"{{'samples': tensor([[[[...]]]], size={shape})}}"


def load_checkpoint(_: NodeContext, inputs: Inputs) -> NodeResult:
    """MODEL, CLIP and VAE are each just the file's name."""
    name = inputs["ckpt_name"]
    return NodeResult((name, name, name))


def encode_text(_: NodeContext, inputs: Inputs) -> NodeResult:
    """A CONDITIONING is just the text."""
    return NodeResult((inputs["text"],))


def empty_latent(_: NodeContext, inputs: Inputs) -> NodeResult:
    """A latent of a size."""
    return NodeResult((Latent(inputs["width"], inputs["height"], inputs["batch_size"]),))


async def sample(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Run the requested number of steps, each with progress and, if requested, a preview."""
    latent: Latent = inputs["latent_image"]
    names = ("model", "seed", "steps", "cfg", "sampler_name", "scheduler", "negative", "denoise")
    facts = [str(inputs[name]) for name in names] + [latent.key.words, latent.key.details]
    key = render.PictureKey(
        inputs["positive"], hashlib.sha256("\0".join(facts).encode()).hexdigest()
    )
    wanted = context.extra_data.get("preview_method", context.options.preview_method)
    total = inputs["steps"]
    for step in range(1, total + 1):
        await context.step()
        picture = None if wanted == "none" else _preview(context, latent, key, step / total)
        await context.progress(step, total, picture)
    return NodeResult((replace(latent, key=key),))


def _preview(
    context: NodeContext, latent: Latent, key: render.PictureKey, progress: float
) -> Callable[[], bytes]:
    longest = context.options.preview_size
    return lambda: render.preview_jpeg(key, latent.width, latent.height, progress, longest)


def decode(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Paint the pictures of a latent."""
    latent: Latent = inputs["samples"]
    keys = (
        replace(latent.key, details=f"{latent.key.details}/{number}")
        for number in range(latent.batch_size)
    )
    return NodeResult(
        (Batch(tuple(render.paint(key, latent.width, latent.height) for key in keys)),)
    )


def empty_image(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Pictures of one colour.

    Raises:
        NodeRuntimeError: the batch needs too much memory. The text is PyTorch's, as recorded.
    """
    width, height, count = inputs["width"], inputs["height"], inputs["batch_size"]
    size = width * height * count * BYTES_PER_FLOAT
    if size > MAX_TENSOR_BYTES:
        raise NodeRuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
            f"memory: you tried to allocate {size} bytes. Error code 12 (Cannot allocate memory)"
        )
    color = inputs["color"]
    picture = Image.new("RGB", (width, height), (color >> 16 & 255, color >> 8 & 255, color & 255))
    return NodeResult((Batch((picture,) * count),))


def scale_image(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Resize, and crop to the centre if the node requests it."""
    size = (inputs["width"], inputs["height"])
    method = _RESAMPLING[inputs["upscale_method"]]

    def resized(picture: Image.Image) -> Image.Image:
        if inputs["crop"] == "center":
            return ImageOps.fit(picture, size, method)
        return picture.resize(size, method)

    return NodeResult((inputs["image"].map(resized),))


_RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def invert_image(_: NodeContext, inputs: Inputs) -> NodeResult:
    """The negative."""
    return NodeResult((inputs["image"].map(render.invert),))


def load_image(context: NodeContext, inputs: Inputs) -> NodeResult:
    """A picture from the input folder, and its mask.

    Raises:
        PIL.UnidentifiedImageError: the file is not a picture.
    """
    path = files.input_file(context.folders, inputs["image"])
    if path is None:
        raise FileNotFoundError(inputs["image"])
    picture = ImageOps.exif_transpose(Image.open(path))
    mask = picture.convert("RGBA").getchannel("A")
    return NodeResult((Batch((picture.convert("RGB"),)), Batch((mask,))))


def check_load_image(folders: Folders, inputs: Inputs) -> tuple[str, str] | None:
    """The input's name and the reason if the file is missing, else None."""
    name = inputs["image"]
    if files.input_file(folders, name) is None:
        return "image", f"Invalid image file: {name}"
    return None


def content_of_load_image(folders: Folders, inputs: Inputs) -> str:
    """The file's hash, because another picture under the same name is a different input."""
    path = files.input_file(folders, inputs["image"])
    return "" if path is None else files.digest(path)


def save_image(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write pictures to the output folder."""
    return _save(context, inputs["images"], inputs["filename_prefix"], "output")


# Each process has its own suffix, so that it does not overwrite earlier previews.
_TEMP_PREFIX = "ComfyUI_temp_" + "".join(random.choices(string.ascii_lowercase, k=5))


def preview_image(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write pictures to the temp folder."""
    return _save(context, inputs["images"], _TEMP_PREFIX, "temp")


def _save(context: NodeContext, batch: Batch, prefix: str, kind: str) -> NodeResult:
    root: Path = context.folders.base / kind
    width, height = batch.pictures[0].size
    folder, stem, subfolder, first = files.save_target(root, prefix, width, height)
    entries = []
    for index, picture in enumerate(batch.pictures):
        name = f"{stem.replace('%batch_num%', str(index))}_{first + index:05}_.png"
        pnginfo = context.extra_data.get("extra_pnginfo")
        render.save_png(picture, folder / name, context.prompt, pnginfo)
        entries.append({"filename": name, "subfolder": subfolder, "type": kind})
    return NodeResult((batch,), {"images": entries})


async def probe_sleep(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Return the pictures after some seconds, with ten progress reports a second or none."""
    seconds: float = inputs["seconds"]
    if not inputs["progress"]:
        await context.sleep(seconds)
        return NodeResult((inputs["images"],))
    total = max(1, round(seconds * PROBE_UPDATES_PER_SECOND))
    for value in range(1, total + 1):
        await context.sleep(1 / PROBE_UPDATES_PER_SECOND)
        await context.progress(value, total)
    return NodeResult((inputs["images"],))


async def probe_fault(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Fail in one of the recorded ways."""
    kind = inputs["kind"]
    if kind == "exit":
        raise NodeDeath
    if kind == "oom":
        raise OutOfMemory(OUT_OF_MEMORY_TEXT)
    if kind in _BAD_UI:
        return NodeResult(ui=_BAD_UI[kind]())
    raise NodeFailure("the probe node was asked to fail")


_BAD_UI: dict[str, Callable[[], dict[str, Any]]] = {
    "nan_ui": lambda: {"values": [float("nan"), float("inf")]},
    "big_ui": lambda: {"text": ["x" * BIG_UI_CHARACTERS]},
    "bad_ui": lambda: {"values": [object()]},  # cannot be encoded, which ends the delivery loop
}
