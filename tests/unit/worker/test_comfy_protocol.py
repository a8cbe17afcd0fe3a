"""The protocol, given every recorded conversation with a real ComfyUI, and hostile ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.comfy.protocol import (
    MAX_MESSAGE_LENGTH,
    MAX_PREVIEW_BYTES,
    Event,
    HistoryWanted,
    Outcome,
    PromptFailed,
    PromptInterrupted,
    PromptPreviewed,
    PromptProgressed,
    PromptRun,
    PromptStarted,
    PromptSucceeded,
)
from tests.support import recordings

PROMPT_ID = "0f9d4f8e-55a4-4f2e-9c55-3a7f0d6e1b11"
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {}},
    "2": {"class_type": "KSampler", "inputs": {"steps": 8, "image": ["1", 0]}},
}


# --- recorded conversations -----------------------------------------------------------------------


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


def everything() -> list[tuple[str, str, Mapping[str, Any]]]:
    return [
        (name, prompt_id, graph)
        for name in recordings.names()
        for prompt_id, graph in submitted(name)
    ]


ALL = everything()

# For each recording the summaries of its accepted prompts, in the order of their posts. A prompt
# has no outcome if the client that made the recording never asked for its history.
EXPECTED: dict[str, list[str]] = {
    "batch_of_four": ["Succeeded started wanted"],
    "cached_output_file_gone": [
        "- started wanted",
        "Succeeded started wanted",
        "Succeeded started wanted",
    ],
    "cached_rerun": ["Succeeded started wanted"],
    "cancel_lost_right_after_submit_cancel": ["- started wanted"],
    "delete_while_queued": ["- started wanted", "- unseen", "- unseen"],
    "error_without_client_id": ["- started", "- started wanted"],
    "history_admin": ["- started wanted", "Succeeded started wanted", "- started wanted"],
    "hostile_request_fields": [
        "- started wanted",
        "- started wanted",
        "Succeeded started wanted",
        "- started wanted",
        "Succeeded started wanted",
        "- unseen",
    ],
    "interrupt_global": ["Interrupted started wanted"],
    "interrupt_last_node_lost": ["Succeeded started wanted", "- started wanted"],
    "interrupt_node_that_does_not_check": ["Interrupted started wanted"],
    "interrupt_when_idle": ["- started wanted"],
    "interrupt_with_prompt_id": ["Interrupted started wanted", "- started wanted"],
    "jobs_api": ["- started wanted", "- unseen", "- started wanted"],
    "ksampler_sd15_cold": ["Succeeded started wanted"],
    "ksampler_sd15_warm_preview_metadata": ["- started wanted"],
    "ksampler_tiny": ["- started wanted", "- started wanted", "- started wanted"],
    "large_text_message": ["- started wanted", "Succeeded started"],
    "nan_in_ui_output": ["Succeeded started wanted"],
    "no_client_id_progress_broadcast": ["- started"],
    "no_websocket_client": ["Succeeded unseen"],
    "node_error": ["Failed started wanted", "Failed started wanted"],
    "out_of_memory": ["Failed started wanted", "Failed started wanted", "- started wanted"],
    "priority_number_front": [
        "- started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
    ],
    "prompt_id_and_extra_data": [
        "Succeeded started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
        "Succeeded started wanted",
        "Succeeded started",
        "- started wanted",
        "- started wanted",
    ],
    "save_path_traversal": [
        "Failed started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
        "- started wanted",
    ],
    "scale_invert_chain": ["Succeeded started wanted", "- started wanted"],
    "server_dies_inside_a_node": ["- started"],
    "server_killed_mid_run": ["- started", "- unseen"],
    "server_sigterm_mid_run": ["- started"],
    "stalled_reader": ["- unseen", "Succeeded unseen"],
    "succeeded_empty_image": ["Succeeded started wanted"],
    "two_prompts_back_to_back": ["Succeeded started wanted", "Succeeded started wanted"],
    "unserialisable_ui_output": ["- started"],
    "upload_and_load_image": ["Succeeded started wanted", "- started wanted", "- started wanted"],
    "validation_errors": ["Succeeded started wanted"],
    "websocket_abrupt_drop": ["- started wanted"],
    "websocket_reconnect_after_finish": ["Succeeded started"],
    "websocket_reconnect_mid_run": ["Succeeded started wanted"],
    "websocket_takeover_same_client_id": ["Succeeded started", "- unseen"],
}


@pytest.mark.parametrize("name", recordings.names())
def test_each_recorded_prompt_has_its_recorded_end(name: str) -> None:
    summaries = [replayed(name, *prompt).summary for prompt in submitted(name)]
    assert summaries == EXPECTED.get(name, [])


@pytest.mark.parametrize(("name", "prompt_id", "graph"), ALL)
def test_recorded_progress_only_rises_and_starts_once(
    name: str, prompt_id: str, graph: Mapping[str, Any]
) -> None:
    events = replayed(name, prompt_id, graph).events
    assert sum(isinstance(event, PromptStarted) for event in events) <= 1
    if events:
        assert isinstance(events[0], PromptStarted | HistoryWanted)
    snapshots = [event.progress for event in events if isinstance(event, PromptProgressed)]
    fractions = [snapshot.fraction for snapshot in snapshots]
    assert fractions == sorted(fractions)
    assert all(0.0 <= fraction < 1.0 for fraction in fractions)
    assert all(0 <= s.nodes_done <= s.nodes_total == len(graph) for s in snapshots)


@pytest.mark.parametrize(("name", "prompt_id", "graph"), ALL)
def test_a_recorded_conversation_of_another_prompt_means_no_event(
    name: str, prompt_id: str, graph: Mapping[str, Any]
) -> None:
    run = PromptRun(PROMPT_ID, graph)
    frames = [e for e in recordings.load(name) if e["kind"] == "ws" and e["dir"] == "recv"]
    assert [event for frame in frames for event in run.receive(frame_of(frame))] == []
    assert run.outcome is None


@pytest.mark.parametrize(("name", "prompt_id", "graph"), ALL)
def test_a_recorded_history_alone_gives_the_same_outcome(
    name: str, prompt_id: str, graph: Mapping[str, Any]
) -> None:
    """The history decides, even if the socket has lost every message."""
    with_socket = replayed(name, prompt_id, graph).run.outcome
    run = PromptRun(prompt_id, graph)
    for event in recordings.load(name):
        for entry in histories(event, prompt_id):
            run.receive_history(entry)
    assert run.outcome == with_socket


def the_prompt(name: str, number: int = 0) -> Replay:
    return replayed(name, *list(submitted(name))[number])


def outcome_of(name: str, number: int = 0) -> Outcome | None:
    return the_prompt(name, number).run.outcome


def test_a_failure_names_the_node_its_class_and_its_message() -> None:
    outcome = outcome_of("node_error")
    assert isinstance(outcome, PromptFailed)
    assert (outcome.node_id, outcome.node_type) == ("1", "LoadImage")
    assert outcome.type == "PIL.UnidentifiedImageError"
    assert "cannot identify image file" in outcome.message


def test_outputs_that_were_made_before_a_failure_are_kept() -> None:
    made = {"7": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}
    outcome = PromptRun(PROMPT_ID, GRAPH).receive_history(_error_entry() | {"outputs": made})
    assert isinstance(outcome, PromptFailed)
    assert outcome.outputs == made


def test_out_of_memory_keeps_its_type() -> None:
    outcome = outcome_of("out_of_memory")
    assert isinstance(outcome, PromptFailed)
    assert outcome.type == "torch.OutOfMemoryError"


def test_a_cached_rerun_counts_as_cached() -> None:
    outcome = outcome_of("cached_rerun")
    assert isinstance(outcome, PromptSucceeded)
    assert outcome.cached
    assert outcome.outputs


def test_a_first_run_does_not_count_as_cached() -> None:
    outcome = outcome_of("succeeded_empty_image")
    assert isinstance(outcome, PromptSucceeded)
    assert not outcome.cached


def test_bare_nan_in_a_frame_is_read() -> None:
    assert outcome_of("nan_in_ui_output") is not None
    run = PromptRun(PROMPT_ID, GRAPH)
    frame = '{"type": "executed", "data": {"node": "1", "output": {"v": [NaN, Infinity]}, '
    assert run.receive(frame + f'"prompt_id": "{PROMPT_ID}"}}}}') != []


def test_a_sampler_moves_the_fraction_by_its_steps() -> None:
    events = the_prompt("ksampler_tiny").events
    steps = [e.progress for e in events if isinstance(e, PromptProgressed) and e.progress.steps]
    assert [s.step for s in steps] == sorted(s.step for s in steps if s.step)
    assert {s.node_type for s in steps} == {"KSampler"}
    assert steps[-1].step == steps[-1].steps


def previews(replay: Replay) -> list[PromptPreviewed]:
    return [event for event in replay.events if isinstance(event, PromptPreviewed)]


def test_each_recorded_preview_is_the_picture_without_the_frame_header() -> None:
    found = previews(the_prompt("ksampler_sd15_warm_preview_metadata"))
    assert [len(preview.picture) for preview in found] == [52600, 53621, 53994, 54024, 54069, 54105]
    assert {(preview.content_type, preview.picture[:4]) for preview in found} == {
        ("image/jpeg", b"\xff\xd8\xff\xe0")
    }


def test_recorded_previews_that_do_not_name_their_prompt_are_ignored() -> None:
    frames = [e for e in recordings.load("no_client_id_progress_broadcast") if "binary" in e]
    assert {frame["binary"]["event"] for frame in frames} == {1}
    assert previews(the_prompt("no_client_id_progress_broadcast")) == []


# --- hostile conversations ------------------------------------------------------------------------


def message(kind: str, **data: Any) -> str:
    return json.dumps({"type": kind, "data": {"prompt_id": PROMPT_ID, **data}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(
    [
        "execution_start",
        "execution_cached",
        "executing",
        "progress",
        "progress_state",
        "executed",
        "execution_success",
        "execution_error",
        "execution_interrupted",
        "status",
        "moved",
        "start",
    ]
)
FIELDS = st.dictionaries(
    st.sampled_from(
        ["node", "display_node", "nodes", "value", "max", "output", "prompt_id", "sid"]
    ),
    JSON,
)


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_no_frame_raises(frame: str | bytes) -> None:
    assert PromptRun(PROMPT_ID, GRAPH).receive(frame) == []


@given(st.lists(st.tuples(KINDS, FIELDS), max_size=8))
def test_no_message_of_this_prompt_raises_with_any_fields(
    messages: list[tuple[str, dict[str, Any]]],
) -> None:
    run = PromptRun(PROMPT_ID, GRAPH)
    last = 0.0
    for kind, fields in messages:
        frame = json.dumps({"type": kind, "data": {**fields, "prompt_id": PROMPT_ID}})
        for event in run.receive(frame):
            if isinstance(event, PromptProgressed):
                assert last <= event.progress.fraction < 1.0
                last = event.progress.fraction
    assert run.outcome is None


def preview_frame(metadata: bytes, picture: bytes = b"x", *, event: int = 4) -> bytes:
    return struct.pack(">II", event, len(metadata)) + metadata + picture


OURS = json.dumps({"prompt_id": PROMPT_ID, "image_type": "image/png"}).encode()


def test_a_preview_is_a_sign_of_life() -> None:
    run = PromptRun(PROMPT_ID, GRAPH)
    assert run.receive(preview_frame(OURS)) == [PromptStarted(), PromptPreviewed("image/png", b"x")]
    assert run.receive(preview_frame(OURS)) == [PromptPreviewed("image/png", b"x")]


@pytest.mark.parametrize(
    "frame",
    [
        preview_frame(OURS, b""),
        preview_frame(OURS, b"x" * (MAX_PREVIEW_BYTES + 1)),
        preview_frame(OURS, event=1),
        preview_frame(OURS)[:40],
        preview_frame(OURS.replace(b"png", b"svg+xml")),
        preview_frame(OURS.replace(b'"image/png"', b'["image/png"]')),
        preview_frame(OURS.replace(PROMPT_ID.encode(), b"another")),
        preview_frame(b"[" * 100_000),
        preview_frame(b"\xff\xfe"),
        struct.pack(">II", 4, 2**32 - 1) + OURS + b"x",
    ],
    ids=["empty", "large", "old", "cut", "svg", "list", "foreign", "deep", "no_text", "long"],
)
def test_a_binary_frame_that_is_not_a_preview_of_this_prompt_is_ignored(frame: bytes) -> None:
    assert PromptRun(PROMPT_ID, GRAPH).receive(frame) == []


@given(st.integers(0, 5), st.integers(0, 2**32 - 1), st.binary() | JSON.map(json.dumps))
def test_no_binary_frame_raises(event: int, length: int, rest: str | bytes) -> None:
    body = rest.encode() if isinstance(rest, str) else rest
    assert PromptRun(PROMPT_ID, GRAPH).receive(struct.pack(">II", event, length) + body) == []


STATUS = st.fixed_dictionaries(
    {}, optional={"status_str": JSON | st.sampled_from(["success", "error"]), "messages": JSON}
)


@given(st.fixed_dictionaries({}, optional={"status": STATUS | JSON, "outputs": JSON}))
def test_no_history_entry_raises(entry: dict[str, Any]) -> None:
    run = PromptRun(PROMPT_ID, GRAPH)
    outcome = run.receive_history(entry)
    assert outcome is run.outcome
    if isinstance(outcome, PromptSucceeded | PromptFailed):
        assert isinstance(outcome.outputs, Mapping)


@pytest.mark.parametrize("nodes", [1, True, "12", {"1": 2}, [None, ["x"]]])
def test_cached_nodes_of_any_shape_do_not_raise(nodes: Any) -> None:
    assert PromptRun(PROMPT_ID, GRAPH).receive(message("execution_cached", nodes=nodes))


def test_deeply_nested_json_is_ignored() -> None:
    assert PromptRun(PROMPT_ID, GRAPH).receive("[" * 100_000) == []


def test_a_long_error_text_is_cut() -> None:
    entry = _error_entry(exception_type="ValueError", exception_message="x" * 1_000_000)
    outcome = PromptRun(PROMPT_ID, GRAPH).receive_history(entry)
    assert isinstance(outcome, PromptFailed)
    assert len(outcome.message) == MAX_MESSAGE_LENGTH


def test_an_error_without_a_message_gets_one() -> None:
    outcome = PromptRun(PROMPT_ID, GRAPH).receive_history(_error_entry())
    assert isinstance(outcome, PromptFailed)
    assert (outcome.type, bool(outcome.message), outcome.node_id) == ("unknown", True, None)


def test_tracebacks_and_inputs_are_left_out() -> None:
    entry = _error_entry(exception_message="boom", traceback=["/srv/x"], current_inputs={"a": 1})
    assert "/srv/x" not in repr(PromptRun(PROMPT_ID, GRAPH).receive_history(entry))


def test_the_reconnect_message_without_a_prompt_id_is_ignored() -> None:
    run = PromptRun(PROMPT_ID, GRAPH)
    assert run.receive(json.dumps({"type": "executing", "data": {"node": "1"}})) == []


def test_a_node_of_an_expanded_subgraph_counts_as_the_submitted_node() -> None:
    events = PromptRun(PROMPT_ID, GRAPH).receive(
        message("executing", node="2.0.0.1", display_node="2")
    )
    (_, progressed) = events
    assert isinstance(progressed, PromptProgressed)
    assert progressed.progress.node_type == "KSampler"


def test_messages_after_the_outcome_are_ignored() -> None:
    run = PromptRun(PROMPT_ID, GRAPH)
    run.receive_history({"status": {"status_str": "success", "messages": []}})
    assert run.receive(message("executing", node="1")) == []
    assert isinstance(run.receive_history(_error_entry()), PromptSucceeded)


def test_an_interrupted_prompt_is_not_a_failure() -> None:
    messages = [["execution_start", {}], ["execution_interrupted", {"node_id": "2"}]]
    entry = {"status": {"status_str": "error", "messages": messages}}
    assert isinstance(PromptRun(PROMPT_ID, GRAPH).receive_history(entry), PromptInterrupted)


def _error_entry(**data: Any) -> dict[str, Any]:
    messages = [["execution_start", {}], ["execution_error", data]]
    return {"status": {"status_str": "error", "completed": False, "messages": messages}}
