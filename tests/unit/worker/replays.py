"""The recorded conversations with a real ComfyUI, given to the protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gpu_worker.comfy.protocol import (
    Event,
    HistoryWanted,
    PromptRun,
    PromptStarted,
)
from tests.support import recordings


@dataclass
class Replay:
    """The events and the outcome that a PromptRun made of one recorded conversation."""

    run: PromptRun
    events: list[Event] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The outcome or `-`, whether a start was seen, and whether the history was wanted."""
        outcome = (
            type(self.run.outcome).__name__.removeprefix("Prompt") if self.run.outcome else "-"
        )
        started = "started" if any(isinstance(e, PromptStarted) for e in self.events) else "unseen"
        wanted = any(isinstance(e, HistoryWanted) for e in self.events)
        return " ".join([outcome, started, *(["wanted"] if wanted else [])])


def submitted(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The id and graph of each prompt that the recorded server accepted, each id once."""
    seen = set()
    for event in recordings.load(name):
        if event["kind"] != "http" or event["method"] != "POST" or event["path"] != "/prompt":
            continue
        answer, request = event.get("response_json"), event.get("request_json")
        if event.get("status") == 200 and answer["prompt_id"] not in seen:
            seen.add(answer["prompt_id"])
            yield answer["prompt_id"], request["prompt"]


def frame_of(event: Mapping[str, Any]) -> str | bytes:
    """A recorded message as it was sent."""
    if "binary" in event:
        return binary_frame_of(event["binary"])
    text = json.dumps(event["json"])
    return text.replace('"<bare NaN>"', "NaN").replace('"<bare Infinity>"', "Infinity")


def binary_frame_of(about: Mapping[str, Any]) -> bytes:
    """The recorded parts of a binary frame, with zeros for the parts that were not recorded."""
    frame = bytes.fromhex(about["header_hex"].replace(" ", ""))
    if "metadata" in about:
        metadata = json.dumps(about["metadata"]).encode()
        assert len(metadata) == about["metadata_length"]
        frame = frame[:8] + metadata + bytes.fromhex(about["image_magic_hex"])
    return frame.ljust(about["length"], b"\0")


def histories(event: Mapping[str, Any], prompt_id: str) -> Iterator[Any]:
    """The entry of the prompt, if the event is a history that has it."""
    if event["kind"] == "http" and event["method"] == "GET" and "/history" in event["path"]:
        answer = event.get("response_json")
        if isinstance(answer, dict) and prompt_id in answer:
            yield answer[prompt_id]


def replayed(name: str, prompt_id: str, graph: Mapping[str, Any]) -> Replay:
    replay = Replay(PromptRun(prompt_id, graph))
    for event in recordings.load(name):
        if event["kind"] == "ws" and event["dir"] == "recv":
            replay.events += replay.run.receive(frame_of(event))
        for entry in histories(event, prompt_id):
            replay.run.receive_history(entry)
    return replay
