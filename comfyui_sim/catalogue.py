"""The node classes of the simulator, as `/object_info` lists them."""

from __future__ import annotations

from typing import Any

from comfyui_sim import nodes
from comfyui_sim.node_types import NodeType, in_thread

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
SCALE_METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
FAULTS = ("raise", "oom", "exit", "nan_ui", "big_ui", "bad_ui")
CHECKPOINT_TOOLTIP = "The name of the checkpoint (model) to load."
PNG_INPUTS = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}


def _integer(default: int, least: int, most: int, **extra: Any) -> list[Any]:
    return ["INT", {"default": default, "min": least, "max": most, **extra}]


def _number(default: float, least: float, most: float, step: float) -> list[Any]:
    return ["FLOAT", {"default": default, "min": least, "max": most, "step": step}]


def node_types(checkpoints: tuple[str, ...]) -> dict[str, NodeType]:
    """All node classes by name. Prompts can load these checkpoints only."""
    classes = (*_diffusion(sorted(checkpoints)), *_images(), *_files(), *_probes())
    return {node_type.name: node_type for node_type in classes}


def _diffusion(checkpoints: list[str]) -> tuple[NodeType, ...]:
    return (
        NodeType(
            "CheckpointLoaderSimple",
            "Load Checkpoint",
            "loaders",
            in_thread(nodes.load_checkpoint),
            {"ckpt_name": [checkpoints, {"tooltip": CHECKPOINT_TOOLTIP}]},
            outputs=("MODEL", "CLIP", "VAE"),
        ),
        NodeType(
            "CLIPTextEncode",
            "CLIP Text Encode (Prompt)",
            "conditioning",
            in_thread(nodes.encode_text),
            {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}], "clip": ["CLIP", {}]},
            outputs=("CONDITIONING",),
        ),
        NodeType(
            "EmptyLatentImage",
            "Empty Latent Image",
            "latent",
            in_thread(nodes.empty_latent),
            {
                "width": _integer(512, 16, 16384, step=8),
                "height": _integer(512, 16, 16384, step=8),
                "batch_size": _integer(1, 1, 4096),
            },
            outputs=("LATENT",),
        ),
        _sampler(),
        NodeType(
            "VAEDecode",
            "VAE Decode",
            "latent",
            in_thread(nodes.decode),
            {"samples": ["LATENT", {}], "vae": ["VAE", {}]},
            outputs=("IMAGE",),
        ),
    )


def _sampler() -> NodeType:
    return NodeType(
        "KSampler",
        "KSampler",
        "sampling",
        nodes.sample,
        {
            "model": ["MODEL", {}],
            "seed": _integer(0, 0, 2**64 - 1, control_after_generate=True),
            "steps": _integer(20, 1, 10_000),
            "cfg": _number(8.0, 0.0, 100.0, 0.1),
            "sampler_name": [list(SAMPLERS), {}],
            "scheduler": [list(SCHEDULERS), {}],
            "positive": ["CONDITIONING", {}],
            "negative": ["CONDITIONING", {}],
            "latent_image": ["LATENT", {}],
            "denoise": _number(1.0, 0.0, 1.0, 0.01),
        },
        outputs=("LATENT",),
    )


def _images() -> tuple[NodeType, ...]:
    return (
        NodeType(
            "EmptyImage",
            "Empty Image",
            "image",
            in_thread(nodes.empty_image),
            {
                "width": _integer(512, 1, 16384, step=1),
                "height": _integer(512, 1, 16384, step=1),
                "batch_size": _integer(1, 1, 4096),
                "color": _integer(0, 0, 0xFFFFFF, step=1, display="color"),
            },
            outputs=("IMAGE",),
        ),
        NodeType(
            "ImageScale",
            "Upscale Image",
            "image/upscaling",
            in_thread(nodes.scale_image),
            {
                "image": ["IMAGE", {}],
                "upscale_method": [list(SCALE_METHODS), {}],
                "width": _integer(512, 0, 16384, step=1),
                "height": _integer(512, 0, 16384, step=1),
                "crop": [["disabled", "center"], {}],
            },
            outputs=("IMAGE",),
        ),
        NodeType(
            "ImageInvert",
            "Invert Image",
            "image",
            in_thread(nodes.invert_image),
            {"image": ["IMAGE", {}]},
            outputs=("IMAGE",),
        ),
    )


def _files() -> tuple[NodeType, ...]:
    return (
        NodeType(
            "LoadImage",
            "Load Image",
            "image",
            in_thread(nodes.load_image),
            {"image": [[], {"image_upload": True}]},
            outputs=("IMAGE", "MASK"),
            check=nodes.check_load_image,
            content=nodes.content_of_load_image,
        ),
        NodeType(
            "SaveImage",
            "Save Image",
            "image",
            in_thread(nodes.save_image),
            {
                "images": ["IMAGE", {"tooltip": "The images to save."}],
                "filename_prefix": [
                    "STRING",
                    {"default": "ComfyUI", "tooltip": "The prefix for the file to save."},
                ],
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
            in_thread(nodes.preview_image),
            {"images": ["IMAGE", {}]},
            outputs=("IMAGE",),
            output_names=("images",),
            output_node=True,
            hidden=PNG_INPUTS,
        ),
    )


def _probes() -> tuple[NodeType, ...]:
    return (
        NodeType(
            "ProbeSleep",
            "Probe: sleep",
            "probe",
            nodes.probe_sleep,
            {
                "images": ["IMAGE", {}],
                "seconds": _number(1.0, 0.0, 3600.0, 0.1),
                "progress": ["BOOLEAN", {"default": False}],
                "nonce": _integer(0, 0, 2**32 - 1),
            },
            outputs=("IMAGE",),
            python_module="custom_nodes.probe",
        ),
        NodeType(
            "ProbeFault",
            "Probe: fault",
            "probe",
            nodes.probe_fault,
            {
                "images": ["IMAGE", {}],
                "kind": [list(FAULTS), {}],
                "nonce": _integer(0, 0, 2**32 - 1),
            },
            output_node=True,
            python_module="custom_nodes.probe",
        ),
    )
