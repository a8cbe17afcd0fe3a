"""Read how a prompt ended from its entry in ComfyUI's history. No input raises.

The entry decides: its `status_str` and the last of its `status.messages`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

from gpu_worker.comfy.outcomes import (
    Outcome,
    PromptFailed,
    PromptInterrupted,
    PromptSucceeded,
)
from gpu_worker.comfy.shapes import fields, items, node_id, text

# The output under which a node says that it has queued the rest of its work as another prompt.
UNFINISHED = "unfinished_batch"

_MS = 1000


def outcome_of(entry: Mapping[str, Any]) -> Outcome | None:
    """How the prompt ended, without its `ran_seconds`; None if the entry does not say it."""
    status = fields(entry.get("status"))
    if not isinstance(status.get("status_str"), str):
        return None
    outputs, messages = fields(entry.get("outputs")), _messages(status)
    if status["status_str"] == "success":
        return PromptSucceeded(outputs=outputs, nodes_cached=_cached_nodes(messages))
    kind, data = messages[-1] if messages else ("execution_error", {})
    if kind == "execution_interrupted":
        node_type = text(data.get("node_type"))
        return PromptInterrupted(node_id=node_id(data.get("node_id")), node_type=node_type)
    return _failure(data, outputs)


def executed_seconds(entry: Mapping[str, Any]) -> float | None:
    """The time from the first to the last message of the prompt, by ComfyUI's own clock.

    None if the messages have no timestamps, as in older versions of ComfyUI.
    """
    messages = _messages(fields(entry.get("status")))
    times: list[Any] = [data.get("timestamp") for _, data in messages[:1] + messages[-1:]]
    if len(times) != 2 or not all(type(time) in (int, float) for time in times):
        return None
    seconds: float = (times[1] - times[0]) / _MS
    return seconds if 0 <= seconds < float("inf") else None


def unfinished_node(outcome: Outcome | None) -> str | None:
    """The node that says that it has queued another prompt."""
    outputs = outcome.outputs if isinstance(outcome, PromptSucceeded | PromptFailed) else {}
    found = (node for node, keys in outputs.items() if any(items(fields(keys).get(UNFINISHED))))
    return next(found, None)


def merged(outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome for several rounds of one graph, with the outputs of all rounds.

    It is that of the first round that did not succeed, or success if all did.
    """
    outputs = reduce(_joined, (getattr(outcome, "outputs", {}) for outcome in outcomes))
    for outcome in outcomes:
        if isinstance(outcome, PromptFailed):
            return replace(outcome, outputs=outputs)
        if not isinstance(outcome, PromptSucceeded):
            return outcome
    return PromptSucceeded(outputs=outputs, nodes_cached=_cached_each_time(outcomes))


def _cached_each_time(outcomes: Sequence[Outcome]) -> frozenset[str]:
    cached = [each.nodes_cached for each in outcomes if isinstance(each, PromptSucceeded)]
    return frozenset.intersection(*cached)


def _joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    """The outputs of two rounds, without the note that one of them is unfinished."""
    joined: dict[str, Any] = {}
    for outputs in (first, second):
        for node, keys in outputs.items():
            mine = joined.setdefault(node, {})
            for key, values in fields(keys).items():
                if key != UNFINISHED:
                    more = values if isinstance(values, list) else [values]
                    mine[key] = [*mine.get(key, ()), *more]
    return joined


def _messages(status: Mapping[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    return [
        (pair[0], fields(pair[1]))
        for pair in items(status.get("messages"))
        if isinstance(pair, list) and len(pair) == 2
    ]


def _cached_nodes(messages: list[tuple[Any, dict[str, Any]]]) -> frozenset[str]:
    named = (items(data.get("nodes")) for kind, data in messages if kind == "execution_cached")
    return frozenset(str(node) for nodes in named for node in nodes)


def _failure(data: Mapping[str, Any], outputs: Mapping[str, Any]) -> PromptFailed:
    message = str(data.get("exception_message") or "The node failed without a message.").strip()
    return PromptFailed(
        type=str(data.get("exception_type") or "unknown"),
        message=message,
        node_id=node_id(data.get("node_id")),
        node_type=text(data.get("node_type")),
        outputs=outputs,
    )
