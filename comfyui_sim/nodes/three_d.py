"""Core: 3D models."""

from __future__ import annotations

import struct

from comfyui_sim.node_types import (
    PNG_INPUTS,
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    combo,
    in_thread,
    integer,
    text,
)
from comfyui_sim.nodes.loading import exists, path_of
from comfyui_sim.nodes.saving import save
from comfyui_sim.nodes.values import Recording

GLB = b"glTF" + struct.pack("<II", 2, 12)  # an empty scene
NO_MODEL = "none"


def load_3d(context: NodeContext, inputs: Inputs) -> NodeResult:
    """The model's path below the input folder, and its content."""
    name = inputs["model_file"]
    if name == NO_MODEL:
        return NodeResult(("", None))
    return NodeResult((name, Recording.read(path_of(context, name))))


def save_glb(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write the model to the output folder."""
    entries = save(context, inputs["filename_prefix"], "_.glb", inputs["mesh"].body)
    return NodeResult(ui={"3d": entries})


def preview_3d(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Report a model's path and two settings of the view as a list of values."""
    return NodeResult(ui={"result": [inputs["model_file"], inputs.get("camera_info"), None]})


CLASSES = (
    NodeType(
        "Load3D",
        "Load 3D & Animation",
        "3d",
        in_thread(load_3d),
        {
            "model_file": combo(NO_MODEL, file_upload=True),
            "image": ["LOAD_3D", {}],
            "width": integer(1024, 1, 4096, step=1),
            "height": integer(1024, 1, 4096, step=1),
        },
        outputs=("STRING", "FILE_3D"),
        output_names=("mesh_path", "model_3d"),
        check=exists("model_file", "Invalid 3D model file", may_be=("", NO_MODEL)),
        python_module="comfy_extras.nodes_load_3d",
    ),
    NodeType(
        "SaveGLB",
        "Save 3D Model",
        "3d",
        in_thread(save_glb),
        {"mesh": ["MESH,FILE_3D", {}], "filename_prefix": text("3d/ComfyUI")},
        output_node=True,
        hidden=PNG_INPUTS,
        python_module="comfy_extras.nodes_save_3d",
    ),
    NodeType(
        "Preview3D",
        "Preview 3D & Animation",
        "3d",
        in_thread(preview_3d),
        {"model_file": ["STRING,FILE_3D", {"default": ""}]},
        output_node=True,
        optional={"camera_info": ["LOAD3D_CAMERA", {}], "bg_image": ["IMAGE", {}]},
        python_module="comfy_extras.nodes_load_3d",
    ),
)
