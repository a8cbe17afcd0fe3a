"""Decide which pictures on the socket are results, and which are previews."""

from __future__ import annotations

from dataclasses import dataclass, field

from comfyline.service.graphs.engine_nodes import EngineNodes

# Classes that send their results over the socket: ComfyUI's own, and those of
# comfyui-tooling-nodes and SwarmUI.
KNOWN_SENDERS = frozenset(
    {
        "SaveImageWebsocket",
        "ETN_SendImageWebSocket",
        "ETN_KritaOutput",
        "SwarmSaveImageWS",
        "SwarmSaveAnimatedWebpWS",
        "SwarmSaveAnimationWS",
    }
)
_SAMPLERS_PREVIEW = "image/jpeg"  # the only type in which ComfyUI makes previews


@dataclass(frozen=True, slots=True)
class Senders:
    """Decides for one prompt. `previews`: its job wants previews, so ComfyUI sends some."""

    nodes: EngineNodes = field(default_factory=EngineNodes)
    previews: bool = True

    def sends_results(self, node_type: str) -> bool:
        """Whether the purpose of the class is to send pictures, so that none may be lost."""
        return node_type in KNOWN_SENDERS

    def may_send(self, node_type: str) -> bool:
        """Whether the class might send results: an output node that is not ComfyUI's own."""
        return self.nodes.is_output(node_type) and not self.nodes.is_core(node_type)

    def is_result(self, node_type: str, content_type: str) -> bool:
        """Whether a picture that comes while a node of the class runs is a result.

        A class that is not known to send results may be a sampler that is an output node too.
        """
        if node_type in KNOWN_SENDERS:
            return True
        may_be_preview = self.previews and content_type == _SAMPLERS_PREVIEW
        return self.nodes.is_output(node_type) and not may_be_preview
