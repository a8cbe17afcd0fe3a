"""Core: texts and numbers."""

from __future__ import annotations

import json
from typing import Any

from comfyui_sim.node_types import Inputs, NodeContext, NodeResult, NodeType, in_thread, text


def passed_on(_: NodeContext, inputs: Inputs) -> NodeResult:
    """The value itself."""
    return NodeResult((inputs["value"],))


def preview_any(_: NodeContext, inputs: Inputs) -> NodeResult:
    """Report any value as a text."""
    shown = _shown(inputs["source"])
    return NodeResult((shown,), {"text": (shown,)})


def _shown(source: Any) -> str:
    if isinstance(source, (str, int, float)):
        return str(source)
    try:
        return json.dumps(source, indent=4, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(source)


def _primitive(name: str, title: str, kind: str, spec: list[object]) -> NodeType:
    return NodeType(
        name,
        title,
        "utilities/primitive",
        in_thread(passed_on),
        {"value": spec},
        outputs=(kind,),
        python_module="comfy_extras.nodes_primitive",
    )


CLASSES = (
    _primitive("PrimitiveString", "Text", "STRING", text()),
    _primitive("PrimitiveStringMultiline", "Text (Multiline)", "STRING", text(multiline=True)),
    _primitive("PrimitiveInt", "Int", "INT", ["INT", {}]),
    _primitive("PrimitiveFloat", "Float", "FLOAT", ["FLOAT", {}]),
    NodeType(
        "PreviewAny",
        "Preview as Text",
        "utilities",
        in_thread(preview_any),
        {"source": ["*", {}]},
        outputs=("STRING",),
        output_node=True,
        python_module="comfy_extras.nodes_preview_any",
    ),
)
