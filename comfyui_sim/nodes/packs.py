"""Classes that do what well-known node packs do, under the packs' names: files and prompts."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfyui_sim import files, render
from comfyui_sim.list_runs import Many
from comfyui_sim.node_types import (
    PNG_INPUTS,
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    Picture,
    choice,
    combo,
    in_thread,
    integer,
    never_the_same,
    number,
    text,
)
from comfyui_sim.nodes.loading import exists, hash_of, path_of
from comfyui_sim.nodes.saving import Entry, save
from comfyui_sim.nodes.three_d import GLB
from comfyui_sim.nodes.values import Batch, Recording
from comfyui_sim.nodes.video import MP4

VHS = "custom_nodes.ComfyUI-VideoHelperSuite"
WAS = "custom_nodes.was-node-suite-comfyui"
TRUE = ("true", "false")


def was_image_save(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Make `output_path`, but no folder of the prefix; print an error instead of raising it."""
    folder = context.folders.base / "output" / inputs["output_path"]
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    for index, picture in enumerate(inputs["images"].pictures, 1):
        name = f"{inputs['filename_prefix']}_{index:04}.png"
        try:
            context.write(folder / name, render.png(picture, context.prompt, None))
        except OSError as error:
            print("Unable to save file:", error)
        else:
            where = {"subfolder": inputs["output_path"], "type": "output"}
            entries.append({"filename": name, **where})
    return NodeResult(ui={"images": entries} if inputs["show_previews"] == "true" else {})


def was_save_text(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write a text file where the node says, without a report; print an error."""
    folder = context.folders.base / "output" / inputs["path"]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        context.write(folder / f"{inputs['filename_prefix']}_0001.txt", inputs["text"].encode())
    except OSError as error:
        print("Unable to save file:", error)
    return NodeResult((inputs["text"],), {"string": inputs["text"]})


def image_saver(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write the pictures below the node's own `path`, under names without a number."""
    folder = context.folders.base / "output" / inputs["path"]
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index, picture in enumerate(inputs["images"].pictures):
        name = f"{inputs['filename']}{f'_{index:02}' if index else ''}.png"
        context.write(folder / name, render.png(picture, context.prompt, None))
        entries.append({"filename": name, "subfolder": inputs["path"], "type": "output"})
    return NodeResult(ui={"images": entries})


def export_mesh(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write a model and report nothing; its path is the node's value."""
    (entry,) = save(context, inputs["filename_prefix"], "_.glb", GLB)
    return NodeResult((posixpath.join(entry["subfolder"], entry["filename"]),))


async def send_over_websocket(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Send the pictures without a node and without progress, and report them without names."""
    form = inputs["format"]
    content_type = f"image/{form.lower()}"
    pictures = inputs["images"].pictures
    for picture in pictures:
        context.send_picture(Picture(content_type, render.encoded(picture, form)))
    entry = {"source": "websocket", "content-type": content_type, "type": "output"}
    return NodeResult(ui={"images": [entry for _ in pictures]})


@dataclass(frozen=True, slots=True)
class MetaBatch:
    """The value of VHS_BatchManager: which frames of a long video this round processes."""

    node_id: str
    frames: int
    round: int


def batch_manager(context: NodeContext, inputs: Inputs) -> NodeResult:
    """How often the graph was queued again says which round this is."""
    node_id = inputs["unique_id"]
    given = context.prompt[node_id]["inputs"].get("requeue", 0)
    return NodeResult((MetaBatch(node_id, inputs["frames_per_batch"], given),))


def combine_video(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write a video; with a batch manager, a part of it, and queue the graph again for the rest.

    The file is open from the first round to the last, and reported in the last.
    """
    frames = len(inputs["images"].pictures)
    batch: MetaBatch | None = inputs.get("meta_batch")
    kind = "output" if inputs["save_output"] else "temp"
    root = context.folders.base / kind
    if batch is None or batch.round == 0:
        folder, stem, subfolder, first = files.save_target(root, inputs["filename_prefix"])
        name = f"{stem}_{first:05}"
        picture = render.png(inputs["images"].pictures[0], context.prompt, None)
        context.write(folder / f"{name}.png", picture)  # holds the workflow; it is not reported
        if "file" in context.memory:  # of a video of which no last round came
            context.memory["file"].close()
        context.memory["names"] = name, subfolder
        context.memory["file"] = (folder / f"{name}.mp4").open("wb")
    (name, subfolder), file = context.memory["names"], context.memory["file"]
    file.write(MP4)
    if batch is not None and (batch.round + 1) * batch.frames < frames:
        context.queue_again(_next_round(context.prompt))
        return NodeResult((None,), {"unfinished_batch": [True]})
    file.close()
    facts = {"format": "video/h264-mp4", "frame_rate": inputs["frame_rate"], "fullpath": file.name}
    entry = {"filename": f"{name}.mp4", "subfolder": subfolder, "type": kind}
    return NodeResult((None,), {"gifs": [{**entry, "workflow": f"{name}.png", **facts}]})


def _next_round(prompt: Mapping[str, Any]) -> dict[str, Any]:
    """The graph with the count of each batch manager raised, so that its result is not cached."""
    graph = {node_id: {**node, "inputs": dict(node["inputs"])} for node_id, node in prompt.items()}
    for node in graph.values():
        if node["class_type"] == "VHS_BatchManager":
            node["inputs"]["requeue"] = node["inputs"].get("requeue", 0) + 1
    return graph


def list_pictures(_: NodeContext, inputs: Inputs) -> NodeResult:
    """The pictures of a batch as a list, so that the nodes behind it run once for each."""
    return NodeResult((Many(tuple(Batch((one,)) for one in inputs["image"].pictures)),))


def load_video(context: NodeContext, inputs: Inputs) -> NodeResult:
    """The content of a file, which may be a gif or a webp too."""
    return NodeResult((Recording.read(path_of(context, inputs["video"])),))


CLASSES = (
    NodeType(
        "Image Save",
        "Image Save",
        "WAS Suite/IO",
        in_thread(was_image_save),
        {
            "images": ["IMAGE", {}],
            "output_path": text("[time(%Y-%m-%d)]"),
            "filename_prefix": text("ComfyUI"),
            "show_previews": choice(*TRUE),
        },
        output_node=True,
        hidden=PNG_INPUTS,
        python_module=WAS,
    ),
    NodeType(
        "Save Text File",
        "Save Text File",
        "WAS Suite/IO",
        in_thread(was_save_text),
        {"text": text(), "path": text("./ComfyUI/output"), "filename_prefix": text("ComfyUI")},
        outputs=("STRING",),
        output_node=True,
        python_module=WAS,
    ),
    NodeType(
        "Image Saver",
        "Image Saver",
        "ImageSaver",
        in_thread(image_saver),
        {"images": ["IMAGE", {}], "filename": text("%time"), "path": text()},
        output_node=True,
        hidden=PNG_INPUTS,
        python_module="custom_nodes.comfyui-image-saver",
    ),
    NodeType(
        "Hy3DExportMesh",
        "Hy3D Export Mesh",
        "Hunyuan3DWrapper",
        in_thread(export_mesh),
        {"filename_prefix": text("3D/Hy3D")},
        outputs=("STRING",),
        output_names=("glb_path",),
        output_node=True,
        python_module="custom_nodes.ComfyUI-Hunyuan3DWrapper",
    ),
    NodeType(
        "ETN_SendImageWebSocket",
        "Send Image (WebSocket)",
        "external_tooling",
        send_over_websocket,
        {"images": ["IMAGE", {}], "format": combo("PNG", "JPEG", default="PNG")},
        output_node=True,
        python_module="custom_nodes.comfyui-tooling-nodes",
    ),
    NodeType(
        "ImpactImageBatchToImageList",
        "Image Batch to Image List",
        "ImpactPack/Util",
        in_thread(list_pictures),
        {"image": ["IMAGE", {}]},
        outputs=("IMAGE",),
        lists_outputs=True,
        python_module="custom_nodes.ComfyUI-Impact-Pack",
    ),
    NodeType(
        "VHS_BatchManager",
        "Meta Batch Manager",
        "Video Helper Suite",
        in_thread(batch_manager),
        {"frames_per_batch": integer(16, 1, 2**31 - 1)},
        outputs=("VHS_BatchManager",),
        hidden={"prompt": "PROMPT", "unique_id": "UNIQUE_ID"},
        python_module=VHS,
    ),
    NodeType(
        "VHS_VideoCombine",
        "Video Combine",
        "Video Helper Suite",
        in_thread(combine_video),
        {
            "images": ["IMAGE", {}],
            "frame_rate": number(8.0, 1.0, 1000.0, 1.0),
            "filename_prefix": text("AnimateDiff"),
            "save_output": ["BOOLEAN", {"default": True}],
        },
        outputs=("VHS_FILENAMES",),
        output_node=True,
        optional={"meta_batch": ["VHS_BatchManager", {}]},
        hidden={**PNG_INPUTS, "unique_id": "UNIQUE_ID"},
        content=never_the_same,
        python_module=VHS,
    ),
    NodeType(
        "VHS_LoadVideo",
        "Load Video (Upload)",
        "Video Helper Suite",
        in_thread(load_video),
        {"video": choice()},
        outputs=("VIDEO",),
        check=exists("video", "Invalid video file"),
        content=hash_of("video"),
        python_module=VHS,
    ),
)
