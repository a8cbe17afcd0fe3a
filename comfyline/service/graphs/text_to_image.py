"""The parameter form: a text-to-image job that is described by parameters instead of a graph."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from comfyline.contract.ids import JobId
from comfyline.contract.limits import MAX_BATCH_SIZE, MAX_DRAWN_SEED, MAX_PIXELS
from comfyline.service.errors import RequestTooLarge
from comfyline.service.graphs.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToImage:
    """The parameters of one job, in the order in which its owner sees them."""

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    cfg_scale: float
    sampler: str
    scheduler: str
    seed: int | None = None  # None: the service draws one
    model: str | None = None  # a checkpoint; None: the deployment's default
    batch_size: int

    def completed(self, *, seed: int, model: str) -> TextToImage:
        """A copy with this seed and this model, each only if the request has none."""
        given = self.seed is not None
        return replace(self, seed=self.seed if given else seed, model=self.model or model)


def drawn_seed(job_id: JobId) -> int:
    """The seed of a request that has none: fixed by the id, so that a replay draws the same."""
    digest = hashlib.sha256(f"seed:{job_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") & MAX_DRAWN_SEED


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """The largest batch of images. None: no limit."""

    max_pixels: int | None = None  # of one image
    max_batch_size: int | None = None

    def or_of_the_form(self) -> SizeLimits:
        """These limits, and those of the parameter form in place of the missing ones."""
        return SizeLimits(self.max_pixels or MAX_PIXELS, self.max_batch_size or MAX_BATCH_SIZE)

    def check(self, width: int, height: int, batch_size: int) -> None:
        """Check the size of one batch of images.

        Raises:
            RequestTooLarge: it exceeds a limit.
        """
        if self.max_pixels is not None and width * height > self.max_pixels:
            raise RequestTooLarge(f"An image has at most {self.max_pixels} pixels.")
        if self.max_batch_size is not None and batch_size > self.max_batch_size:
            raise RequestTooLarge(f"A batch has at most {self.max_batch_size} images.")


def text_to_image_graph(asked: TextToImage) -> Graph:
    """ComfyUI's standard text-to-image graph; `seed` and `model` must be set."""
    return {
        "1": _node("CheckpointLoaderSimple", ckpt_name=asked.model),
        "2": _node("CLIPTextEncode", clip=["1", 1], text=asked.prompt),
        "3": _node("CLIPTextEncode", clip=["1", 1], text=asked.negative_prompt),
        "4": _node(
            "EmptyLatentImage",
            width=asked.width,
            height=asked.height,
            batch_size=asked.batch_size,
        ),
        "5": _node(
            "KSampler",
            model=["1", 0],
            positive=["2", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            seed=asked.seed,
            steps=asked.steps,
            cfg=asked.cfg_scale,
            sampler_name=asked.sampler,
            scheduler=asked.scheduler,
            denoise=1.0,
        ),
        "6": _node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": _node("SaveImage", images=["6", 0], filename_prefix="image"),
    }


# The form may be used even if the lock allows a caller's graph no node of these classes.
FORM_CLASSES = frozenset(
    {
        "CheckpointLoaderSimple",
        "CLIPTextEncode",
        "EmptyLatentImage",
        "KSampler",
        "VAEDecode",
        "SaveImage",
    }
)


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
