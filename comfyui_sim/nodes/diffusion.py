"""Core: text to image, with landscapes instead of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from comfyui_sim import render
from comfyui_sim.node_types import (
    PNG_INPUTS,
    Inputs,
    NodeContext,
    NodeResult,
    NodeType,
    Picture,
    choice,
    in_thread,
    integer,
    number,
    text,
)
from comfyui_sim.nodes.saving import save
from comfyui_sim.nodes.values import Batch, Latent

SAMPLERS = (
    "euler",
    "euler_ancestral",
    "heun",
    "dpm_2",
    "lms",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m_sde",
    "ddim",
    "uni_pc",
)
SCHEDULERS = ("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal")
CHECKPOINT_TOOLTIP = "The name of the checkpoint (model) to load."
WEIGHTS = b"\x08\0\0\0\0\0\0\0{}      "  # a safetensors file without tensors


def load_checkpoint(_: NodeContext, inputs: Inputs) -> NodeResult:
    """MODEL, CLIP and VAE are each just the file's name."""
    name = inputs["ckpt_name"]
    return NodeResult((name, name, name))


def save_checkpoint(context: NodeContext, inputs: Inputs) -> NodeResult:
    """Write a file that the node does not report."""
    save(context, inputs["filename_prefix"], "_.safetensors", WEIGHTS)
    return NodeResult()


def encode_text(_: NodeContext, inputs: Inputs) -> NodeResult:
    """A CONDITIONING is just the text."""
    return NodeResult((inputs["text"],))


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
) -> Callable[[], Picture]:
    longest = context.options.preview_size

    def drawn() -> Picture:
        body = render.preview_jpeg(key, latent.width, latent.height, progress, longest)
        return Picture("image/jpeg", body)

    return drawn


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


_SAMPLER = NodeType(
    "KSampler",
    "KSampler",
    "sampling",
    sample,
    {
        "model": ["MODEL", {}],
        "seed": integer(0, 0, 2**64 - 1, control_after_generate=True),
        "steps": integer(20, 1, 10_000),
        "cfg": number(8.0, 0.0, 100.0, 0.1),
        "sampler_name": choice(*SAMPLERS),
        "scheduler": choice(*SCHEDULERS),
        "positive": ["CONDITIONING", {}],
        "negative": ["CONDITIONING", {}],
        "latent_image": ["LATENT", {}],
        "denoise": number(1.0, 0.0, 1.0, 0.01),
    },
    outputs=("LATENT",),
)


def classes(checkpoints: list[str]) -> tuple[NodeType, ...]:
    """The classes, with these checkpoints to choose from."""
    return (
        NodeType(
            "CheckpointLoaderSimple",
            "Load Checkpoint",
            "loaders",
            in_thread(load_checkpoint),
            {"ckpt_name": choice(*checkpoints, tooltip=CHECKPOINT_TOOLTIP)},
            outputs=("MODEL", "CLIP", "VAE"),
        ),
        NodeType(
            "CLIPTextEncode",
            "CLIP Text Encode (Prompt)",
            "conditioning",
            in_thread(encode_text),
            {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "clip": ["CLIP", {}]},
            outputs=("CONDITIONING",),
        ),
        _SAMPLER,
        NodeType(
            "VAEDecode",
            "VAE Decode",
            "latent",
            in_thread(decode),
            {"samples": ["LATENT", {}], "vae": ["VAE", {}]},
            outputs=("IMAGE",),
        ),
        NodeType(
            "CheckpointSave",
            "Save Checkpoint",
            "advanced/model_merging",
            in_thread(save_checkpoint),
            {
                "model": ["MODEL", {}],
                "clip": ["CLIP", {}],
                "vae": ["VAE", {}],
                "filename_prefix": text("checkpoints/ComfyUI"),
            },
            output_node=True,
            hidden=PNG_INPUTS,
            python_module="comfy_extras.nodes_model_merging",
        ),
    )
