"""What the engine of a deployment has, so that a name it lacks is refused before it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from comfyline.service.errors import FieldError

# Classes of ComfyUI's core that make something for another node and end nothing. A graph of these
# alone has no output, which ComfyUI would say only after the job has waited for a GPU. A class that
# is not here may be an output: nothing is refused by a guess.
NEVER_OUTPUTS = frozenset(
    {
        "CheckpointLoaderSimple",
        "CLIPLoader",
        "CLIPSetLastLayer",
        "CLIPTextEncode",
        "ConditioningCombine",
        "ConditioningConcat",
        "ControlNetApplyAdvanced",
        "ControlNetLoader",
        "DualCLIPLoader",
        "EmptyImage",
        "EmptyLatentImage",
        "EmptySD3LatentImage",
        "ImageBatch",
        "ImageInvert",
        "ImageScale",
        "ImageScaleBy",
        "ImageUpscaleWithModel",
        "KSampler",
        "KSamplerAdvanced",
        "LatentUpscale",
        "LatentUpscaleBy",
        "LoadImage",
        "LoadImageMask",
        "LoraLoader",
        "LoraLoaderModelOnly",
        "SetLatentNoiseMask",
        "UNETLoader",
        "UpscaleModelLoader",
        "VAEDecode",
        "VAEDecodeTiled",
        "VAEEncode",
        "VAEEncodeForInpaint",
        "VAELoader",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Names that the deployment knows; an empty list of checkpoints or classes means any."""

    checkpoints: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    node_classes: frozenset[str] = frozenset()

    def allows(self, class_type: str) -> bool:
        """Whether a workflow may have nodes of this class."""
        return not self.node_classes or class_type in self.node_classes

    def unknown_names(
        self, *, checkpoint: str, sampler: str, scheduler: str
    ) -> Iterable[FieldError]:
        """The names of a parameter form that the engine would refuse."""
        asked = (
            ("model", checkpoint, self.checkpoints),
            ("sampler", sampler, self.samplers),
            ("scheduler", scheduler, self.schedulers),
        )
        for name, value, known in asked:
            if known and value not in known:
                yield FieldError(("body", name), f"{value!r} is not one of {', '.join(known)}")
