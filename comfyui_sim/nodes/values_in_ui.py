"""Classes of well-known packs that report values which are not files, each in its own way."""

from __future__ import annotations

import base64
from pathlib import PurePosixPath

from comfyui_sim import render
from comfyui_sim.node_types import Inputs, NodeContext, NodeResult, NodeType, in_thread, text
from comfyui_sim.nodes.saving import save
from comfyui_sim.nodes.video import MP4


def image_size(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Report a plain text, which ComfyUI splits into its characters."""
    width, height = inputs["image"].pictures[0].size
    return NodeResult((width, height), {"text": f"Width: {width} , Height: {height}"})


def tag(_: NodeContext, __: Inputs) -> NodeResult:
    """Report texts under `tags`."""
    tags = ["1girl, solo"]
    return NodeResult((tags[0],), {"tags": tags})


def calculate(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Report a number under `value`. The simulator does not calculate: it takes a number."""
    value = float(inputs["expression"])
    return NodeResult((int(value), value), {"value": [value]})


def display_int(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Report a number under `text`."""
    return NodeResult(ui={"text": (inputs["input"],)})


def preview_video(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write a video, and report its name and its folder's name as two texts."""
    (entry,) = save(context, inputs["filename_prefix"], ".mp4", MP4)
    folder = PurePosixPath(entry["subfolder"]).name or "output"
    return NodeResult(ui={"video": [entry["filename"], folder]})


def embedded_background(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Report a picture as base64 text."""
    body = render.encoded(inputs["image"].pictures[0], "PNG")
    return NodeResult(ui={"bg_image": [base64.b64encode(body).decode()]})


def compare(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Report files in lists of lists, under other keys."""
    entries = [
        save(context, "compare", "_.png", render.png(inputs[name].pictures[0], {}, None))
        for name in ("image_a", "image_b")
    ]
    return NodeResult(ui={"pairs": [{"files": entries, "ratio": 0.5}]})


_IMAGE = ["IMAGE", {}]

CLASSES = (
    NodeType(
        "easy imageSize",
        "ImageSize",
        "EasyUse/Image",
        in_thread(image_size),
        {"image": _IMAGE},
        outputs=("INT", "INT"),
        output_names=("width_int", "height_int"),
        output_node=True,
        python_module="custom_nodes.ComfyUI-Easy-Use",
    ),
    NodeType(
        "WD14Tagger|pysssss",
        "WD14 Tagger",
        "image",
        in_thread(tag),
        {"image": _IMAGE},
        outputs=("STRING",),
        output_node=True,
        python_module="custom_nodes.ComfyUI-WD14-Tagger",
    ),
    NodeType(
        "MathExpression|pysssss",
        "Math Expression",
        "utils",
        in_thread(calculate),
        {"expression": text()},
        outputs=("INT", "FLOAT"),
        output_node=True,
        python_module="custom_nodes.ComfyUI-Custom-Scripts",
    ),
    NodeType(
        "Display Int (rgthree)",
        "Display Int (rgthree)",
        "rgthree",
        in_thread(display_int),
        {"input": ["INT", {}]},
        output_node=True,
        python_module="custom_nodes.rgthree-comfy",
    ),
    NodeType(
        "PreViewVideo",
        "PreView Video",
        "AIFSH_UtilNodes",
        in_thread(preview_video),
        {"filename_prefix": text("video")},
        output_node=True,
        python_module="custom_nodes.AIFSH_UtilNodes",
    ),
    NodeType(
        "CaseEmbeddedPicture",
        "Case: picture as base64 text",
        "cases",
        in_thread(embedded_background),
        {"image": _IMAGE},
        output_node=True,
        python_module="custom_nodes.cases",
    ),
    NodeType(
        "CaseNestedLists",
        "Case: files in nested lists",
        "cases",
        in_thread(compare),
        {"image_a": _IMAGE, "image_b": _IMAGE},
        output_node=True,
        python_module="custom_nodes.cases",
    ),
)
