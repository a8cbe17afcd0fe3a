"""Core: video. The bytes are not a video, but their first ones are those of the format."""

from __future__ import annotations

from comfyui_sim.node_types import (
    PNG_INPUTS,
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    combo,
    in_thread,
    number,
    text,
)
from comfyui_sim.nodes.loading import exists, hash_of, path_of
from comfyui_sim.nodes.saving import save
from comfyui_sim.nodes.values import Recording

MP4 = b"\0\0\0\x18ftypmp42"
MODULE = "comfy_extras.nodes_video"


def load_video(context: NodeContext, inputs: Inputs) -> NodeResult:
    """The content of a file."""
    return NodeResult((Recording.read(path_of(context, inputs["file"])),))


def create_video(_: NodeContext, inputs: Inputs) -> NodeResult:
    """The number of frames and their rate instead of a video."""
    facts = (len(inputs["images"].pictures), inputs["fps"])
    return NodeResult((Recording(MP4 + repr(facts).encode()),))


def save_video(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write the video. As ComfyUI does, report it under `images`, marked as animated."""
    entries = save(context, inputs["filename_prefix"], "_.mp4", inputs["video"].body)
    return NodeResult(ui={"images": entries, "animated": (True,)})


CLASSES = (
    NodeType(
        "LoadVideo",
        "Load Video",
        "video",
        in_thread(load_video),
        {"file": combo(video_upload=True)},
        outputs=("VIDEO",),
        check=exists("file", "Invalid video file"),
        content=hash_of("file"),
        python_module=MODULE,
    ),
    NodeType(
        "CreateVideo",
        "Create Video",
        "video",
        in_thread(create_video),
        {"images": ["IMAGE", {}], "fps": number(30.0, 1.0, 120.0, 1.0)},
        outputs=("VIDEO",),
        optional={"audio": ["AUDIO", {}]},
        python_module=MODULE,
    ),
    NodeType(
        "SaveVideo",
        "Save Video",
        "video",
        in_thread(save_video),
        {
            "video": ["VIDEO", {}],
            "filename_prefix": text("video/ComfyUI"),
            "format": combo("auto", "mp4"),
            "codec": combo("auto", "h264"),
        },
        output_node=True,
        hidden=PNG_INPUTS,
        python_module=MODULE,
    ),
)
