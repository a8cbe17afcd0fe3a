"""Core: pictures written to a folder or sent over the socket."""

from __future__ import annotations

import io
import random
import string
from functools import partial

from PIL import Image

from comfyui_sim import files, render
from comfyui_sim.node_types import (
    PNG_INPUTS,
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    Picture,
    combo,
    in_thread,
    integer,
    never_the_same,
    number,
    text,
)
from comfyui_sim.nodes.saving import save
from comfyui_sim.nodes.values import Batch

# Each process has its own suffix, so that it does not overwrite earlier previews.
TEMP_PREFIX = "ComfyUI_temp_" + "".join(random.choices(string.ascii_lowercase, k=5))


def save_image(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write pictures to the output folder."""
    return _save(context, inputs["images"], inputs["filename_prefix"], "output")


def preview_image(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write pictures to the temp folder."""
    return _save(context, inputs["images"], TEMP_PREFIX, "temp")


def preview_mask(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write masks to the temp folder."""
    mask: Batch = inputs["mask"]
    result = _save(context, mask.map(lambda one: one.convert("RGB")), TEMP_PREFIX, "temp")
    return NodeResult(ui=result.ui)


def _save(context: NodeContext, batch: Batch, prefix: str, kind: str) -> NodeResult:
    size = batch.pictures[0].size
    target = files.save_target(context.folders.base / kind, prefix, *size)
    folder, stem, subfolder, first = target
    pnginfo = context.extra_data.get("extra_pnginfo")
    entries = []
    for index, picture in enumerate(batch.pictures):
        name = f"{stem.replace('%batch_num%', str(index))}_{first + index:05}_.png"
        context.write(folder / name, render.png(picture, context.prompt, pnginfo))
        entries.append({"filename": name, "subfolder": subfolder, "type": kind})
    return NodeResult((batch,), {"images": entries})


def save_webp(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write one animated WebP with all pictures of the batch."""
    pictures: tuple[Image.Image, ...] = inputs["images"].pictures
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=int(1000 / inputs["fps"]),
        lossless=inputs["lossless"],
        quality=inputs["quality"],
    )
    entries = save(context, inputs["filename_prefix"], "_.webp", buffer.getvalue())
    animated = {"animated": (True,)} if len(pictures) > 1 else {}
    return NodeResult(ui={"images": entries, **animated})


async def save_over_websocket(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Send each picture as the preview of a progress step. Nothing is in the history."""
    pictures = inputs["images"].pictures
    for index, picture in enumerate(pictures):
        await context.progress(index, len(pictures), partial(_as_png, picture))
    return NodeResult()


def _as_png(picture: Image.Image) -> Picture:
    return Picture("image/png", render.encoded(picture, "PNG"))


CLASSES = (
    NodeType(
        "SaveImage",
        "Save Image",
        "image",
        in_thread(save_image),
        {
            "images": ["IMAGE", {"tooltip": "The images to save."}],
            "filename_prefix": text("ComfyUI", tooltip="The prefix for the file to save."),
        },
        outputs=("IMAGE",),
        output_names=("images",),
        output_node=True,
        hidden=PNG_INPUTS,
        description="Saves the input images to your ComfyUI output directory.",
        search_aliases=("save", "save image", "export image", "output image"),
        essentials_category="Basics",
    ),
    NodeType(
        "PreviewImage",
        "Preview Image",
        "image",
        in_thread(preview_image),
        {"images": ["IMAGE", {}]},
        outputs=("IMAGE",),
        output_names=("images",),
        output_node=True,
        hidden=PNG_INPUTS,
    ),
    NodeType(
        "MaskPreview",
        "Preview Mask",
        "mask",
        in_thread(preview_mask),
        {"mask": ["MASK", {}]},
        output_node=True,
        hidden=PNG_INPUTS,
        python_module="comfy_extras.nodes_mask",
    ),
    NodeType(
        "SaveAnimatedWEBP",
        "Save Animated WEBP",
        "image/animation",
        in_thread(save_webp),
        {
            "images": ["IMAGE", {}],
            "filename_prefix": text("ComfyUI"),
            "fps": number(6.0, 0.01, 1000.0, 0.01),
            "lossless": ["BOOLEAN", {"default": True}],
            "quality": integer(80, 0, 100),
            "method": combo("default", "fastest", "slowest"),
        },
        output_node=True,
        hidden=PNG_INPUTS,
        python_module="comfy_extras.nodes_images",
    ),
    NodeType(
        "SaveImageWebsocket",
        "Save Image (Websocket)",
        "image",
        save_over_websocket,
        {"images": ["IMAGE", {}]},
        output_node=True,
        content=never_the_same,
        python_module="custom_nodes.websocket_image_save",
    ),
)
