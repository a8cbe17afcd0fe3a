"""Core: pictures, made, loaded and changed."""

from __future__ import annotations

from PIL import Image, ImageOps

from comfyui_sim import render
from comfyui_sim.faults import NodeRuntimeError
from comfyui_sim.node_types import (
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    choice,
    in_thread,
    integer,
)
from comfyui_sim.nodes.loading import exists, hash_of, path_of
from comfyui_sim.nodes.values import Batch

BYTES_PER_FLOAT = 4
MAX_TENSOR_BYTES = 32 * 2**30  # a larger allocation fails, as on a usual machine
SCALE_METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")


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


def repeat_image(_: NodeContext, inputs: Inputs) -> NodeResult:
    """The batch several times over."""
    batch: Batch = inputs["image"]
    return NodeResult((Batch(batch.pictures * inputs["amount"]),))


def load_image(context: NodeContext, inputs: Inputs) -> NodeResult:
    """A picture from the input folder, and its mask.

    Raises:
        PIL.UnidentifiedImageError: the file is not a picture.
    """
    picture = ImageOps.exif_transpose(Image.open(path_of(context, inputs["image"])))
    mask = picture.convert("RGBA").getchannel("A")
    return NodeResult((Batch((picture.convert("RGB"),)), Batch((mask,))))


def load_mask(context: NodeContext, inputs: Inputs) -> NodeResult:
    """One channel of a picture from the input folder.

    Raises:
        PIL.UnidentifiedImageError: the file is not a picture.
    """
    picture = Image.open(path_of(context, inputs["image"])).convert("RGBA")
    return NodeResult((Batch((picture.getchannel(inputs["channel"][0].upper()),)),))


_PICTURE = exists("image", "Invalid image file")

CLASSES = (
    NodeType(
        "EmptyImage",
        "Empty Image",
        "image",
        in_thread(empty_image),
        {
            "width": integer(512, 1, 16384, step=1),
            "height": integer(512, 1, 16384, step=1),
            "batch_size": integer(1, 1, 4096),
            "color": integer(0, 0, 0xFFFFFF, step=1, display="color"),
        },
        outputs=("IMAGE",),
    ),
    NodeType(
        "ImageScale",
        "Upscale Image",
        "image/upscaling",
        in_thread(scale_image),
        {
            "image": ["IMAGE", {}],
            "upscale_method": choice(*SCALE_METHODS),
            "width": integer(512, 0, 16384, step=1),
            "height": integer(512, 0, 16384, step=1),
            "crop": choice("disabled", "center"),
        },
        outputs=("IMAGE",),
    ),
    NodeType(
        "ImageInvert",
        "Invert Image",
        "image",
        in_thread(invert_image),
        {"image": ["IMAGE", {}]},
        outputs=("IMAGE",),
    ),
    NodeType(
        "RepeatImageBatch",
        "Repeat Image Batch",
        "image/batch",
        in_thread(repeat_image),
        {"image": ["IMAGE", {}], "amount": integer(1, 1, 4096)},
        outputs=("IMAGE",),
        python_module="comfy_extras.nodes_images",
    ),
    NodeType(
        "LoadImage",
        "Load Image",
        "image",
        in_thread(load_image),
        {"image": choice(image_upload=True)},
        outputs=("IMAGE", "MASK"),
        check=_PICTURE,
        content=hash_of("image"),
    ),
    NodeType(
        "LoadImageMask",
        "Load Image (as Mask)",
        "mask",
        in_thread(load_mask),
        {
            "image": choice(image_upload=True),
            "channel": choice("alpha", "red", "green", "blue"),
        },
        outputs=("MASK",),
        check=_PICTURE,
        content=hash_of("image"),
    ),
)
