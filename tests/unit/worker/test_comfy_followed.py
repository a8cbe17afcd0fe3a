"""What becomes of a followed prompt: its outcome, its time, and the pictures that it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from gpu_worker.comfy.followed import UNLIKELY_SECONDS, Followed
from gpu_worker.comfy.http import EngineQueue
from gpu_worker.comfy.outcomes import (
    Outcome,
    PicturesLost,
    PromptFailed,
    PromptInterrupted,
    PromptLost,
    PromptQueuedPrompts,
    PromptSucceeded,
)
from gpu_worker.comfy.protocol import PromptRun
from gpu_worker.comfy.watchdog import Patience, Watchdog
from tests.unit.worker.prompts import GRAPH, PROMPT_ID, error_entry, message

SENDER = {"2": {"class_type": "SaveImageWebsocket", "inputs": {}}}
RUNS = EngineQueue(frozenset({PROMPT_ID}), frozenset())


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Prompt:
    """A followed prompt on a clock that the test moves."""

    def __init__(self, graph: Any = GRAPH) -> None:
        self.time = Time()
        self.watchdog = Watchdog(Patience(silent=60.0), self.time)
        self.followed = Followed(
            PromptRun(PROMPT_ID, graph), lambda _event: None, self.watchdog, self.time
        )
        self.followed.has_gap = False

    def runs(self, seconds: float) -> None:
        """The engine answers for so long that the prompt runs."""
        for _ in range(round(seconds)):
            self.time.now += 1
            self.watchdog.queue_answered(PROMPT_ID, RUNS)

    def ends(self, entry: dict[str, Any]) -> None:
        self.followed.run.receive_history(entry)
        self.followed.ended()

    def outcome(self, *, canceled: bool = False) -> Outcome:
        return self.followed.outcome(canceled=canceled)


@pytest.fixture
def prompt() -> Prompt:
    prompt = Prompt()
    prompt.time.now += 5  # it waits
    prompt.followed.receive(message("executing", node="2"))
    return prompt


def success(seconds: float | None = None, **outputs: Any) -> dict[str, Any]:
    times = [{}, {}] if seconds is None else [{"timestamp": 0}, {"timestamp": seconds * 1000}]
    names = ("execution_start", "execution_success")
    status = {"status_str": "success", "messages": list(map(list, zip(names, times, strict=True)))}
    return {"status": status, "outputs": outputs}


# --- the time that it ran -------------------------------------------------------------------------


def test_comfyuis_own_times_count(prompt: Prompt) -> None:
    prompt.runs(12)
    prompt.ends(success(11.5))
    assert prompt.outcome().ran_seconds == 11.5


@pytest.mark.parametrize("seconds", [None, -5, float("inf"), float("nan"), "7", True])
def test_without_usable_times_the_workers_own_count(prompt: Prompt, seconds: Any) -> None:
    prompt.runs(12)
    entry = success()
    entry["status"]["messages"][0][1]["timestamp"] = 0
    if seconds is not None:
        value = seconds * 1000 if isinstance(seconds, float | int) else seconds
        entry["status"]["messages"][1][1]["timestamp"] = True if seconds is True else value
    prompt.ends(entry)
    assert prompt.outcome().ran_seconds == 12


def test_impossible_times_of_an_engine_whose_clock_jumped_are_bounded(prompt: Prompt) -> None:
    prompt.runs(12)
    prompt.ends(success(1e9))
    assert prompt.outcome().ran_seconds == 17  # since it was made


def test_the_watch_over_a_dead_engine_does_not_count(prompt: Prompt) -> None:
    prompt.runs(12)
    prompt.time.now += 120
    assert prompt.outcome() == PromptLost(ran_seconds=12, node_id="2", node_type="KSampler")


def test_the_silence_of_an_idle_engine_does_not_count(prompt: Prompt) -> None:
    prompt.runs(3)
    prompt.followed.receive(message("progress", node="2", value=1, max=8))
    prompt.runs(70)
    assert prompt.watchdog.fault() == "prompt_silent"
    assert prompt.outcome().ran_seconds == 3


@pytest.mark.parametrize("entry", [None, success(40.0)])
def test_what_comes_after_the_request_to_stop_does_not_count(
    prompt: Prompt, entry: dict[str, Any] | None
) -> None:
    prompt.runs(12)
    prompt.followed.stop_asked()
    prompt.runs(18)
    prompt.followed.stop_asked()
    if entry is not None:
        prompt.ends(entry)
    assert prompt.outcome(canceled=True).ran_seconds == 12


def test_a_prompt_that_never_ran_took_no_time() -> None:
    prompt = Prompt()
    prompt.runs(30)
    prompt.followed.stop_asked()
    assert prompt.outcome(canceled=True) == PromptInterrupted()


# --- pictures -------------------------------------------------------------------------------------


@pytest.fixture
def sender() -> Prompt:
    prompt = Prompt(SENDER)
    prompt.followed.receive(message("executing", node="2"))
    return prompt


def test_pictures_are_awaited_until_the_socket_shows_the_end(sender: Prompt) -> None:
    sender.ends(success())
    assert sender.followed.awaits_pictures(30)
    assert sender.followed.receive(message("execution_success"))
    assert not sender.followed.awaits_pictures(30)
    assert isinstance(sender.outcome(), PromptSucceeded)


def test_each_frame_prolongs_the_wait(sender: Prompt) -> None:
    sender.ends(success())
    for _ in range(3):
        sender.time.now += 29
        assert sender.followed.awaits_pictures(30)
        sender.followed.receive(message("progress_state", nodes={}))
    sender.time.now += 31
    assert not sender.followed.awaits_pictures(30)
    assert sender.outcome() == PicturesLost(
        node_id="2", node_type="SaveImageWebsocket", ran_seconds=sender.outcome().ran_seconds
    )


def test_a_gap_loses_pictures_even_if_the_end_was_seen(sender: Prompt) -> None:
    sender.followed.has_gap = True
    sender.followed.receive(message("execution_success"))
    sender.ends(success())
    assert not sender.followed.awaits_pictures(30)
    assert isinstance(sender.outcome(), PicturesLost)


def test_a_failed_prompt_is_a_failure_also_with_a_gap(sender: Prompt) -> None:
    sender.followed.has_gap = True
    sender.ends(error_entry(exception_type="ValueError", exception_message="bad"))
    assert not sender.followed.awaits_pictures(30)
    assert isinstance(sender.outcome(), PromptFailed)


def test_a_graph_without_a_sender_waits_for_nothing_and_loses_nothing(prompt: Prompt) -> None:
    prompt.followed.has_gap = True
    prompt.ends(success())
    assert not prompt.followed.awaits_pictures(30)
    assert isinstance(prompt.outcome(), PromptSucceeded)
    assert UNLIKELY_SECONDS < 30


# --- prompts that nodes queue ---------------------------------------------------------------------


@pytest.mark.parametrize("has_queued", [True, False])
def test_a_node_that_says_that_its_work_is_unfinished_is_named(
    prompt: Prompt, has_queued: bool
) -> None:
    prompt.followed.has_queued = has_queued
    prompt.ends(success(1, **{"1": {"unfinished_batch": [True]}}))
    outcome = prompt.outcome()
    assert isinstance(outcome, PromptQueuedPrompts)
    assert (outcome.node_id, outcome.node_type) == ("1", "EmptyImage")


def test_a_prompt_that_was_canceled_before_its_work_was_finished_is_canceled(
    prompt: Prompt,
) -> None:
    prompt.followed.stop_asked()
    prompt.ends(success(1, **{"1": {"unfinished_batch": [True]}}))
    assert isinstance(prompt.outcome(canceled=True), PromptInterrupted)


def test_otherwise_the_node_that_ran_last_is_named(prompt: Prompt) -> None:
    prompt.followed.has_queued = True
    prompt.ends(success(1))
    outcome = prompt.outcome()
    assert isinstance(outcome, PromptQueuedPrompts)
    assert (outcome.node_id, outcome.node_type) == ("2", "KSampler")


def test_finished_batches_are_no_such_sign(prompt: Prompt) -> None:
    prompt.ends(success(1, **{"1": {"unfinished_batch": [False]}, "2": {"unfinished_batch": 1}}))
    assert isinstance(prompt.outcome(), PromptSucceeded)


def test_adopted_rounds_make_one_outcome(prompt: Prompt) -> None:
    run = prompt.followed.run
    run.receive_history(success(2, **{"1": {"unfinished_batch": [True], "gifs": [1]}}))
    assert run.unfinished_node == "1"
    run.adopt("second")
    assert (run.outcome, run.unfinished_node, run.open_ids) == (None, None, ["second"])
    prompt.runs(10)
    run.receive_history(success(3, **{"1": {"gifs": [2]}, "2": {"text": ["x"]}}), "second")
    outcome = prompt.outcome()
    assert isinstance(outcome, PromptSucceeded)
    assert outcome.outputs == {"1": {"gifs": [1, 2]}, "2": {"text": ["x"]}}
    assert outcome.ran_seconds == 5


def test_a_round_that_fails_is_the_failure_of_the_prompt(prompt: Prompt) -> None:
    run = prompt.followed.run
    run.receive_history(success(2, **{"1": {"unfinished_batch": [True], "gifs": [1]}}))
    run.adopt("second")
    run.receive_history(error_entry(exception_type="ValueError", node_id="2"), "second")
    outcome = prompt.outcome()
    assert isinstance(outcome, PromptFailed)
    assert (outcome.node_id, outcome.outputs) == ("2", {"1": {"gifs": [1]}})
