"""The node classes of the simulator, sorted by subject.

Classes of `core` modules have the names and the behaviour of ComfyUI's own. Those in `packs` do
what well-known node packs do. `probes` and `cases` are the simulator's own.
"""

from __future__ import annotations

from comfyui_sim.node_types import NodeType
from comfyui_sim.nodes import (
    cases,
    diffusion,
    images,
    latents,
    packs,
    probes,
    saved_images,
    sound,
    texts,
    three_d,
    values_in_ui,
    video,
)


def node_types(checkpoints: tuple[str, ...]) -> dict[str, NodeType]:
    """All node classes by name, as `/object_info` lists them.

    Prompts can load these checkpoints only.
    """
    subjects = (
        diffusion.classes(sorted(checkpoints)),
        images.CLASSES,
        saved_images.CLASSES,
        latents.CLASSES,
        sound.CLASSES,
        video.CLASSES,
        three_d.CLASSES,
        texts.CLASSES,
        packs.CLASSES,
        values_in_ui.CLASSES,
        cases.CLASSES,
        probes.CLASSES,
    )
    return {node_type.name: node_type for classes in subjects for node_type in classes}
