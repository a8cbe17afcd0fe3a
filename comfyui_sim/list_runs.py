"""How a node runs on lists: once for each item, with the results joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from comfyui_sim.node_types import Inputs, NodeResult


@dataclass(frozen=True, slots=True)
class Many:
    """The value of an output slot that is a list."""

    items: tuple[Any, ...]


def items_of(value: Any) -> tuple[Any, ...]:
    """The items of a list, or the value alone."""
    return value.items if isinstance(value, Many) else (value,)


def runs(inputs: Inputs) -> list[dict[str, Any]]:
    """The inputs of each run. A list that is shorter than the longest repeats its last item."""
    lists = {name: items_of(value) for name, value in inputs.items()}
    count = max((len(items) for items in lists.values()), default=1)
    return [
        {name: items[min(index, len(items) - 1)] for name, items in lists.items()}
        for index in range(count)
    ]


def joined(results: Sequence[NodeResult]) -> NodeResult:
    """The results of all runs as one, with each value of the `ui` as one list.

    A text becomes the list of its characters.

    Raises:
        TypeError: a value cannot be joined, for example a number.
    """
    reported = [result.ui for result in results if result.ui]
    ui = {key: [item for one in reported for item in one[key]] for key in next(iter(reported), {})}
    if len(results) == 1:
        return NodeResult(results[0].outputs, ui or None)
    slots = zip(*(result.outputs for result in results), strict=True)
    outputs = tuple(Many(tuple(item for one in slot for item in items_of(one))) for slot in slots)
    return NodeResult(outputs, ui or None)
