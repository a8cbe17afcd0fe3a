"""Core: latents, empty, saved and loaded."""

from __future__ import annotations

import json
import struct

from comfyui_sim.node_types import (
    PNG_INPUTS,
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    choice,
    in_thread,
    integer,
    text,
)
from comfyui_sim.nodes.loading import exists, hash_of, path_of
from comfyui_sim.nodes.saving import save
from comfyui_sim.nodes.values import Latent


def empty_latent(_: NodeContext, inputs: Inputs) -> NodeResult:
    """A latent of a size."""
    return NodeResult((Latent(inputs["width"], inputs["height"], inputs["batch_size"]),))


def save_latent(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write a safetensors file without tensors. Its metadata has the size and the prompt."""
    latent: Latent = inputs["samples"]
    size = f"{latent.width},{latent.height},{latent.batch_size}"
    facts = {"size": size, "prompt": json.dumps(context.prompt)}
    header = json.dumps({"__metadata__": facts}).encode()
    body = struct.pack("<Q", len(header)) + header
    entries = save(context, inputs["filename_prefix"], "_.latent", body)
    return NodeResult((latent,), {"latents": entries})


def load_latent(context: NodeContext, inputs: Inputs) -> NodeResult:
    """A latent that `SaveLatent` has written."""
    body = path_of(context, inputs["latent"]).read_bytes()
    facts = json.loads(body[8:])["__metadata__"]
    width, height, batch_size = map(int, facts["size"].split(","))
    return NodeResult((Latent(width, height, batch_size),))


CLASSES = (
    NodeType(
        "EmptyLatentImage",
        "Empty Latent Image",
        "latent",
        in_thread(empty_latent),
        {
            "width": integer(512, 16, 16384, step=8),
            "height": integer(512, 16, 16384, step=8),
            "batch_size": integer(1, 1, 4096),
        },
        outputs=("LATENT",),
    ),
    NodeType(
        "SaveLatent",
        "Save Latent",
        "model/latent",
        in_thread(save_latent),
        {"samples": ["LATENT", {}], "filename_prefix": text("latents/ComfyUI")},
        outputs=("LATENT",),
        output_names=("samples",),
        output_node=True,
        hidden=PNG_INPUTS,
    ),
    NodeType(
        "LoadLatent",
        "Load Latent",
        "model/latent",
        in_thread(load_latent),
        {"latent": choice()},
        outputs=("LATENT",),
        check=exists("latent", "Invalid latent file"),
        content=hash_of("latent"),
    ),
)
