"""ComfyUI's standard text-to-image graph, made from the parameters of a request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from comfyline.contract.ids import JobId
from comfyline.contract.limits import MAX_SEED
from comfyline.service.jobs.job import Graph


def drawn_seed(job_id: JobId) -> int:
    """The seed of a request that named none: fixed by the job's id, so a replay draws the same."""
    digest = hashlib.sha256(f"seed:{job_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") & MAX_SEED


def text_to_image_graph(params: Mapping[str, Any], *, checkpoint: str) -> Graph:
    """ComfyUI's standard text-to-image graph from the parameter form; `seed` must be set."""
    return {
        "1": _node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "2": _node("CLIPTextEncode", clip=["1", 1], text=params["prompt"]),
        "3": _node("CLIPTextEncode", clip=["1", 1], text=params["negative_prompt"]),
        "4": _node(
            "EmptyLatentImage",
            width=params["width"],
            height=params["height"],
            batch_size=params["batch_size"],
        ),
        "5": _node(
            "KSampler",
            model=["1", 0],
            positive=["2", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            seed=params["seed"],
            steps=params["steps"],
            cfg=params["cfg_scale"],
            sampler_name=params["sampler"],
            scheduler=params["scheduler"],
            denoise=1.0,
        ),
        "6": _node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": _node("SaveImage", images=["6", 0], filename_prefix="image"),
    }


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
