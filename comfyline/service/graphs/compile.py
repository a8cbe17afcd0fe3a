"""Compile a caller's request into the graph that the engine runs, and check every bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from comfyline.contract.ids import JobId
from comfyline.service.errors import InvalidRequest
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.graph import Graph, validate_graph
from comfyline.service.graphs.text_to_image import (
    TextToImage,
    check_size,
    drawn_seed,
    text_to_image_graph,
)
from comfyline.service.graphs.uploads import with_inputs

# Core nodes of ComfyUI that make an empty image; its size is in their inputs.
_EMPTY_IMAGES = frozenset({"EmptyLatentImage", "EmptySD3LatentImage", "EmptyImage"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomGraph:
    """A graph as the caller sent it, unchecked, and the uploads to put in place of its inputs."""

    graph: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)  # "<node>.<input>" -> "upload:<id>"


Work = TextToImage | CustomGraph


@dataclass(frozen=True, slots=True)
class Compiled:
    """The graph, and the parameters that it was made from, which the owner is shown."""

    params: Mapping[str, Any]
    graph: Graph


def compiled(work: Work, *, seed_from: JobId, checkpoint: str, catalogue: Catalogue) -> Compiled:
    """Compile `work`; a seed that it leaves open is drawn from the id `seed_from`.

    Raises:
        InvalidRequest, RequestTooLarge: it exceeds the bounds of the deployment.
    """
    if isinstance(work, CustomGraph):
        return Compiled({}, _checked_graph(work, catalogue))
    check_size(work.width, work.height, work.batch_size)
    asked = work.completed(seed=drawn_seed(seed_from), model=checkpoint)
    _check_names(asked, checkpoint, catalogue)
    return Compiled(asdict(asked), text_to_image_graph(asked))


def _checked_graph(sent: CustomGraph, catalogue: Catalogue) -> Graph:
    graph = validate_graph(sent.graph, catalogue)
    for size in _sizes(graph):
        check_size(*size)
    return with_inputs(graph, sent.inputs)


def _sizes(graph: Graph) -> Iterator[tuple[int, int, int]]:
    for node in graph.values():
        if node["class_type"] in _EMPTY_IMAGES:
            inputs = node["inputs"]
            sides = [inputs.get(name, 1) for name in ("width", "height", "batch_size")]
            if all(type(side) is int for side in sides):  # only the engine knows a link's value
                yield (sides[0], sides[1], sides[2])


def _check_names(asked: TextToImage, checkpoint: str, catalogue: Catalogue) -> None:
    # The default checkpoint is allowed even where the lock does not list it.
    model = None if asked.model == checkpoint else asked.model
    errors = [*catalogue.unknown_names(model, asked.sampler, asked.scheduler)]
    if errors:
        raise InvalidRequest("The request names what this deployment does not have.", errors)
