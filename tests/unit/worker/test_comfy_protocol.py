"""The protocol, given messages, previews and histories of any shape."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.comfy.outcomes import PromptFailed, PromptInterrupted, PromptSucceeded
from gpu_worker.comfy.protocol import (
    MAX_PREVIEW_BYTES,
    PromptPreviewed,
    PromptProgressed,
    PromptRun,
    PromptStarted,
)
from tests.unit.worker.prompts import GRAPH, PROMPT_ID, error_entry, message

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
    assert outcome == run.outcome
    if isinstance(outcome, PromptSucceeded | PromptFailed):
        assert isinstance(outcome.outputs, Mapping)


@pytest.mark.parametrize("nodes", [1, True, "12", {"1": 2}, [None, ["x"]]])
def test_cached_nodes_of_any_shape_do_not_raise(nodes: Any) -> None:
    assert PromptRun(PROMPT_ID, GRAPH).receive(message("execution_cached", nodes=nodes))


def test_deeply_nested_json_is_ignored() -> None:
    assert PromptRun(PROMPT_ID, GRAPH).receive("[" * 100_000) == []


def test_outputs_that_were_made_before_a_failure_are_kept() -> None:
    made = {"7": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}
    outcome = PromptRun(PROMPT_ID, GRAPH).receive_history(error_entry() | {"outputs": made})
    assert isinstance(outcome, PromptFailed)
    assert outcome.outputs == made


def test_an_error_without_a_message_gets_one() -> None:
    outcome = PromptRun(PROMPT_ID, GRAPH).receive_history(error_entry())
    assert isinstance(outcome, PromptFailed)
    assert (outcome.type, bool(outcome.message), outcome.node_id) == ("unknown", True, None)


def test_tracebacks_and_inputs_are_left_out() -> None:
    entry = error_entry(exception_message="boom", traceback=["/srv/x"], current_inputs={"a": 1})
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
    assert isinstance(run.receive_history(error_entry()), PromptSucceeded)


def test_an_interrupted_prompt_is_not_a_failure() -> None:
    messages = [["execution_start", {}], ["execution_interrupted", {"node_id": "2"}]]
    entry = {"status": {"status_str": "error", "messages": messages}}
    assert isinstance(PromptRun(PROMPT_ID, GRAPH).receive_history(entry), PromptInterrupted)
