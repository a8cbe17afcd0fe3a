"""Compile a caller's request into the graph that the engine runs, and check every bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from comfyline.contract.ids import JobId
from comfyline.service.errors import InvalidRequest
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.text_to_image import (
    SizeLimits,
    TextToImage,
    drawn_seed,
    text_to_image_graph,
)
from comfyline.service.graphs.uploads import with_inputs
from comfyline.service.graphs.validate import unknown_nodes, validate_graph

# Core nodes of ComfyUI that make an empty image; its size is in their inputs.
_EMPTY_IMAGES = frozenset({"EmptyLatentImage", "EmptySD3LatentImage", "EmptyImage"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomGraph:
    """A graph as the caller sent it, unchecked, and the uploads to put in place of its inputs."""

    graph: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)  # "<node>.<input>" -> "upload:<id>"
    extra_pnginfo: Mapping[str, Any] = field(default_factory=dict)  # for ComfyUI's pictures


Work = TextToImage | CustomGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a request is checked against."""

    checkpoint: str  # the deployment's default
    catalogue: Catalogue = field(default_factory=Catalogue)
    sizes: SizeLimits = field(default_factory=SizeLimits)  # of the caller's key
    nodes: Callable[[], EngineNodes] = unknown_nodes  # called only for what depends on it


@dataclass(frozen=True, slots=True)
class Compiled:
    """The graph, and the parameters that it was made from, which the owner is shown."""

    params: Mapping[str, Any]
    graph: Graph
    extra_pnginfo: Mapping[str, Any] = field(default_factory=dict)


def compiled(work: Work, bounds: Bounds, *, seed_from: JobId) -> Compiled:
    """Compile `work`; a seed that it leaves open is drawn from the id `seed_from`.

    Raises:
        InvalidRequest, RequestTooLarge: it exceeds the bounds.
    """
    if isinstance(work, CustomGraph):
        return Compiled({}, _checked_graph(work, bounds), work.extra_pnginfo)
    bounds.sizes.or_of_the_form().check(work.width, work.height, work.batch_size)
    asked = work.completed(seed=drawn_seed(seed_from), model=bounds.checkpoint)
    _check_names(asked, bounds)
    return Compiled(asdict(asked), text_to_image_graph(asked))


def _checked_graph(sent: CustomGraph, bounds: Bounds) -> Graph:
    """The graph with its uploads. Only a key limits its sizes: a batch may be a video's frames."""
    graph = validate_graph(sent.graph, bounds.catalogue, bounds.nodes)
    for size in _sizes(graph):
        bounds.sizes.check(*size)
    return with_inputs(graph, sent.inputs, bounds.nodes)


def _sizes(graph: Graph) -> Iterator[tuple[int, int, int]]:
    for node in graph.values():
        if node["class_type"] in _EMPTY_IMAGES:
            inputs = node["inputs"]
            sides = [inputs.get(name, 1) for name in ("width", "height", "batch_size")]
            if all(type(side) is int for side in sides):  # only the engine knows a link's value
                yield (sides[0], sides[1], sides[2])


def _check_names(asked: TextToImage, bounds: Bounds) -> None:
    # The default checkpoint is allowed even where the lock does not list it.
    model = None if asked.model == bounds.checkpoint else asked.model
    errors = [*bounds.catalogue.unknown_names(model, asked.sampler, asked.scheduler)]
    if errors:
        raise InvalidRequest("The request names what this deployment does not have.", errors)
