"""Recorded conversations with a real ComfyUI, in a form in which two of them can be compared.

Values that may differ between two runs of the same scenario are masked: prompt ids, times, file
numbers, paths, server source lines. The messages of a sampler's steps are folded into one entry,
because how many steps arrive depends on the time that they take and not on the protocol.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "recordings"
LONG_STRING = 150  # characters; the recordings cut longer strings, so these are not compared

_TIMES = {"timestamp", "create_time", "execution_start_time", "execution_end_time"}
_NUMBERS = {"number", "priority"}  # they count up while the server runs
_UNORDERED = {"executed", "current_outputs"}  # sets in the server
_FILE_NUMBER = re.compile(r"(ComfyUI_temp_[a-z]{5}|)_\d{5}_\.png")


def names() -> list[str]:
    """The names of all recordings."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> list[dict[str, Any]]:
    """The events of one recording."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    events: list[dict[str, Any]] = content["events"]
    return events


def object_info() -> dict[str, Any]:
    """A part of what ComfyUI 0.33.0 answers to `GET /object_info`."""
    content: dict[str, Any] = json.loads((FOLDER / "object_info/comfyui-0.33.0.json").read_text())
    return content


def workflow(name: str) -> dict[str, Any]:
    """A recorded workflow in API format."""
    graph: dict[str, Any] = json.loads((FOLDER / "workflows" / f"{name}.json").read_text())
    return graph


class Ids:
    """Names for the prompt ids of one run: the first id is `#0`, the next `#1`, and so on."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def learn(self, prompt_id: str) -> None:
        """Give the id the next name, unless it has one."""
        self._known.setdefault(prompt_id, f"#{len(self._known)}")

    def mask(self, text: str) -> str:
        """The text with the known ids replaced."""
        for prompt_id, name in self._known.items():
            text = text.replace(prompt_id, name)
        return text


def normal(value: Any, ids: Ids, base: str, key: str = "") -> Any:
    """A JSON value in which parts that may differ are masked; `base` is the server's folder."""
    if key in _TIMES and isinstance(value, int):
        return "<ms>"
    if key in _NUMBERS and isinstance(value, (int, float)):
        return "<number>"
    if key == "traceback":
        return [type(line).__name__ for line in value][:1]
    if isinstance(value, dict):
        pairs = {ids.mask(name): normal(item, ids, base, name) for name, item in value.items()}
        return _cached_nodes_sorted(pairs)
    if isinstance(value, list):
        items = [normal(item, ids, base) for item in value]
        return sorted(items) if key in _UNORDERED else _without_number(items)
    if isinstance(value, float) and not math.isfinite(value):
        return "<bare NaN>" if math.isnan(value) else "<bare Infinity>"
    return _text(value, ids, base) if isinstance(value, str) else value


def _text(value: str, ids: Ids, base: str) -> str:
    if value.startswith("tensor("):
        return "<tensor>"
    value = _FILE_NUMBER.sub("_N_.png", ids.mask(value).replace(base, "<base>"))
    return value if len(value) <= LONG_STRING else f"<long> {value[:30]}"


def _without_number(items: list[Any]) -> list[Any]:
    """[number, prompt id, graph, extra data, outputs]: the number is masked."""
    is_entry = len(items) == 5 and isinstance(items[1], str) and isinstance(items[2], dict)
    return ["<number>", *items[1:]] if is_entry else items


def _cached_nodes_sorted(pairs: dict[str, Any]) -> dict[str, Any]:
    if isinstance(pairs.get("nodes"), list) and "prompt_id" in pairs:  # execution_cached
        pairs["nodes"] = sorted(pairs["nodes"])
    return pairs


def shape(value: Any) -> Any:
    """The keys and types of a value; for a list, the shape of its first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return type(value).__name__


def describe_frame(frame: bytes) -> dict[str, Any]:
    """A binary message in the form that the recordings use."""
    (event,) = struct.unpack(">I", frame[:4])
    (second,) = struct.unpack(">I", frame[4:8])
    if event == 1:
        fields: dict[str, Any] = {"image_format": second}
        image = frame[8:]
    else:
        fields = {"metadata_length": second, "metadata": json.loads(frame[8 : 8 + second])}
        image = frame[8 + second :]
    return {"event": event, **fields, "image_magic_hex": image[:4].hex()}


@dataclass(frozen=True)
class Steps:
    """The messages of one node's steps, folded."""

    pattern: tuple[str, ...]  # the kinds of message in one step, in order
    facts: str  # the masked contents of the first step
    count: int  # how many steps arrived


Message = Mapping[str, Any]


def statuses(messages: Iterable[Message]) -> list[tuple[int, bool]]:
    """For each `status` message: its queue_remaining, and whether it has a sid."""
    found = (message["json"] for message in messages if _kind(message) == "status")
    return [
        (status["data"]["status"]["exec_info"]["queue_remaining"], "sid" in status["data"])
        for status in found
    ]


def story(messages: Iterable[Message], ids: Ids, base: str) -> list[Any]:
    """All messages but `status` in order, masked, with each node's steps folded into one entry."""
    entries: list[Any] = []
    run: list[tuple[str, Any]] = []
    for message in messages:
        if _kind(message) == "status":
            continue
        if (step := _step(message, ids, base)) is not None:
            run.append(step)
            continue
        entries += _folded(run)
        run = []
        entries.append(normal(message["json"], ids, base))
    return entries + _folded(run)


def _kind(message: Message) -> str:
    return message["json"]["type"] if "json" in message else "binary"


def _step(message: Message, ids: Ids, base: str) -> tuple[str, Any] | None:
    if "binary" in message:
        frame = {
            key: value
            for key, value in message["binary"].items()
            if key not in ("length", "header_hex", "metadata_length")
        }
        return "preview", normal(frame, ids, base)
    content = message["json"]
    if content["type"] == "progress":
        return "progress", normal({**content["data"], "value": 0}, ids, base)
    if content["type"] != "progress_state":
        return None
    last = list(content["data"]["nodes"].values())[-1]
    if last["state"] != "running" or last["value"] == 0:
        return None
    nodes = content["data"]["nodes"] | {last["node_id"]: {**last, "value": 0}}
    return "state", normal(nodes, ids, base)


def _folded(run: list[tuple[str, Any]]) -> list[Steps]:
    kinds = [kind for kind, _ in run]
    if "state" not in kinds:  # the end of a step that began before the connection
        return []
    run = run[kinds.index("state") :]
    starts = [index for index, (kind, _) in enumerate(run) if kind == "state"]
    first = run[: starts[1]] if len(starts) > 1 else run
    facts = sorted({f"{kind} {json.dumps(fact, sort_keys=True)}" for kind, fact in first})
    return [Steps(tuple(kind for kind, _ in first), "\n".join(facts), len(starts))]
