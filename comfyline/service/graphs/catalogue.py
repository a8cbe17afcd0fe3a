"""What the engine of a deployment has: a request that names something else is refused at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from comfyline.service.errors import FieldError
from comfyline.service.graphs.graph import Graph

# Core classes of ComfyUI that only feed other nodes. A graph of these alone has no output node,
# which ComfyUI would report only after the job has waited for a GPU. A class that is not listed
# here may be an output node, so a graph that has one is not refused.
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
    """The names that a request may use. An empty list allows every name."""

    checkpoints: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ()
    schedulers: tuple[str, ...] = ()
    node_classes: frozenset[str] = frozenset()

    def allows(self, class_type: str) -> bool:
        """Whether a graph may have nodes of this class."""
        return not self.node_classes or class_type in self.node_classes

    def forbidden(self, graph: Graph) -> Iterator[tuple[str, str]]:
        """Each node that a graph must not have, with its class."""
        for node_id, node in graph.items():
            if not self.allows(node["class_type"]):
                yield node_id, node["class_type"]

    def unknown_names(
        self, checkpoint: str | None, sampler: str, scheduler: str
    ) -> Iterator[FieldError]:
        """One error for each of these names that the engine does not know."""
        asked = (
            ("model", checkpoint, self.checkpoints),
            ("sampler", sampler, self.samplers),
            ("scheduler", scheduler, self.schedulers),
        )
        for name, value, known in asked:
            if value is not None and known and value not in known:
                yield FieldError(("body", name), _unknown(value, known))


def _unknown(value: str, known: Sequence[str]) -> str:
    # The nearest name comes first, because a long message is cut when it is shown.
    nearest = get_close_matches(value, known, n=1)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{value!r} is not known here. {hint}Known are {', '.join(known)}."
