"""How classes write files: the name, the number and the entry that they report."""

from __future__ import annotations

from comfyui_sim import files
from comfyui_sim.node_types import NodeContext

Entry = dict[str, str]
"""How a node reports a file: its name, its folder below the root, and the root."""


def save(
    context: NodeContext, prefix: str, suffix: str, *bodies: bytes, kind: str = "output"
) -> list[Entry]:
    """Write files as ComfyUI's own classes do, numbered after those that exist.

    Args:
        suffix: what follows the number, for example `_.png`.
        kind: output or temp.

    Raises:
        NodeFailure: the prefix leaves the folder.
        OSError: the disk is full.
    """
    folder, stem, subfolder, first = files.save_target(context.folders.base / kind, prefix)
    entries = []
    for index, body in enumerate(bodies):
        name = f"{stem.replace('%batch_num%', str(index))}_{first + index:05}{suffix}"
        context.write(folder / name, body)
        entries.append({"filename": name, "subfolder": subfolder, "type": kind})
    return entries
