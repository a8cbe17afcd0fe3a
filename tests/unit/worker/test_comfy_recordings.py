"""The protocol, given every recorded conversation with a real ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from gpu_worker.comfy.outcomes import Outcome, PromptFailed, PromptSucceeded
from gpu_worker.comfy.protocol import (
    HistoryWanted,
    PromptPreviewed,
    PromptProgressed,
    PromptRun,
    PromptStarted,
)
from tests.support import recordings
from tests.unit.worker.prompts import GRAPH, PROMPT_ID
from tests.unit.worker.replays import Replay, frame_of, histories, replayed, submitted


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


def test_out_of_memory_keeps_its_type() -> None:
    outcome = outcome_of("out_of_memory")
    assert isinstance(outcome, PromptFailed)
    assert outcome.type == "torch.OutOfMemoryError"


def test_a_cached_rerun_counts_as_cached() -> None:
    outcome = outcome_of("cached_rerun")
    assert isinstance(outcome, PromptSucceeded)
    assert outcome.cached
    assert outcome.nodes_cached
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
