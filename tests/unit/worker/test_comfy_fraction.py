"""The fraction of whole runs: it never falls and never jumps, for every kind of graph."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.comfy.progress_fold import ALMOST_DONE, ProgressFold
from gpu_worker.comfy.protocol import PromptProgressed, PromptRun
from tests.support import recordings

KSAMPLER = {
    "load": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m"}},
    "text": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["load", 1], "text": "a"}},
    "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": 512}},
    "sample": {
        "class_type": "KSampler",
        "inputs": {
            "steps": 20,
            "model": ["load", 0],
            "positive": ["text", 0],
            "latent_image": ["latent", 0],
        },
    },
    "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0]}},
    "save": {"class_type": "SaveImage", "inputs": {"images": ["decode", 0]}},
}


def fractions(*snapshots: Any) -> list[float]:
    return [snapshot.fraction for snapshot in snapshots if snapshot is not None]


def sampled(fold: ProgressFold, node: str, steps: int) -> list[float]:
    return fractions(
        fold.executing(node), *(fold.stepped(node, n + 1, steps) for n in range(steps))
    )


def largest_jump(found: list[float]) -> float:
    return max(b - a for a, b in pairwise([0.0, *found]))


def test_a_graph_with_one_sampler_moves_with_the_sampler() -> None:
    fold = ProgressFold(KSAMPLER)
    before = fractions(*(fold.executing(node) for node in ("load", "text", "latent")))
    during = sampled(fold, "sample", 20)
    after = fractions(fold.executing("decode"), fold.executing("save"), fold.finished("save"))
    found = [*before, *during, *after]
    assert found == sorted(found)
    assert largest_jump(found) < 0.06
    assert during[-1] - during[0] > 0.7
    assert found[-1] == ALMOST_DONE


def test_the_steps_of_a_scheduler_weigh_for_the_sampler_that_takes_them() -> None:
    graph = {
        "noise": {"class_type": "RandomNoise", "inputs": {}},
        "sigmas": {"class_type": "BasicScheduler", "inputs": {"steps": 20}},
        "split": {"class_type": "SplitSigmas", "inputs": {"sigmas": ["sigmas", 0]}},
        "sample": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {"sigmas": ["split", 0], "noise": ["noise", 0]},
        },
        "save": {"class_type": "SaveImage", "inputs": {"images": ["sample", 0]}},
    }
    fold = ProgressFold(graph)
    before = fractions(*(fold.executing(node) for node in ("noise", "sigmas", "split", "sample")))
    during = sampled(fold, "sample", 20)
    assert before[-1] < 0.2
    assert largest_jump([*before, *during]) < 0.06
    assert during[-1] > 0.9


def test_several_samplers_weigh_by_their_steps() -> None:
    graph = {
        "one": {"class_type": "KSampler", "inputs": {"steps": 10}},
        "two": {"class_type": "KSampler", "inputs": {"steps": 30, "latent_image": ["one", 0]}},
    }
    fold = ProgressFold(graph)
    assert sampled(fold, "one", 10)[-1] == pytest.approx(11 / 42, abs=0.001)
    assert sampled(fold, "two", 30)[-16] == pytest.approx((11 + 31 * 15 / 30) / 42, abs=0.001)


def test_cached_nodes_cause_no_jump() -> None:
    fold = ProgressFold(KSAMPLER)
    assert fractions(fold.cached(["load", "text"])) == [0.0]
    assert largest_jump([*sampled(fold, "sample", 20)]) < 0.06
    again = ProgressFold(KSAMPLER)
    snapshot = again.cached(["load", "text", "latent", "sample"])
    assert snapshot is not None
    assert (snapshot.fraction, snapshot.nodes_done) == (0.0, 4)
    assert fractions(again.executing("decode"), again.executing("save"))[-1] == 0.5


def test_if_every_node_is_cached_all_is_done() -> None:
    assert fractions(ProgressFold(KSAMPLER).cached(KSAMPLER)) == [ALMOST_DONE]


def test_nodes_inside_a_subgraph_move_its_node_and_do_not_end_it() -> None:
    graph = {"23": {"class_type": "Expands", "inputs": {}}, "9": {"class_type": "SaveImage"}}
    fold = ProgressFold(graph)
    fold.executing("23")

    def inner(number: int, value: int, maximum: int) -> Any:
        state = {"display_node_id": "23", "value": value, "max": maximum, "state": "finished"}
        return fold.states({f"23.0.0.{number}": state})

    assert inner(1, 1, 1) is None  # a node inside is done, the subgraph is not
    assert fractions(inner(2, 5, 10)) == [0.25]
    assert fractions(inner(2, 10, 10))[-1] < 0.5
    snapshot = fold.states({"23": {"state": "finished", "value": 1, "max": 1}})
    assert snapshot is not None
    assert (snapshot.fraction, snapshot.nodes_done) == (0.5, 1)


def test_a_sampler_is_done_even_if_all_its_step_messages_were_lost() -> None:
    fold = ProgressFold(KSAMPLER)
    for node in KSAMPLER:
        fold.executing(node)
    assert fractions(fold.finished("save")) == [ALMOST_DONE]


NODES = st.sampled_from([*KSAMPLER, "unknown", "load.0.1"])
NUMBERS = st.one_of(st.integers(-2, 30), st.none(), st.text(max_size=2), st.floats())
STATES = st.dictionaries(
    NODES,
    st.fixed_dictionaries(
        {"value": NUMBERS, "max": NUMBERS, "state": st.sampled_from(["running", "finished", None])},
        optional={"display_node_id": NODES},
    ),
)
CALLS = st.one_of(
    st.tuples(st.just("cached"), st.lists(NODES)),
    st.tuples(st.just("executing"), NODES),
    st.tuples(st.just("finished"), NODES),
    st.tuples(st.just("stepped"), NODES, NUMBERS, NUMBERS),
    st.tuples(st.just("states"), STATES),
)


@given(st.lists(CALLS, max_size=40))
def test_no_sequence_of_messages_makes_it_fall_or_reach_one(calls: list[Any]) -> None:
    fold = ProgressFold(KSAMPLER)
    found = fractions(*(getattr(fold, name)(*arguments) for name, *arguments in calls))
    assert found == sorted(found)
    assert all(0 <= fraction <= ALMOST_DONE for fraction in found)


# --- recorded conversations -----------------------------------------------------------------------


def recorded_prompts() -> list[Any]:
    """The recording, id and graph of every prompt that a recorded client posted."""
    found = []
    for name in recordings.names():
        events = recordings.load(name)
        for event in events:
            body, answer = event.get("request_json"), event.get("response_json")
            if isinstance(body, dict) and isinstance(answer, dict) and "prompt_id" in answer:
                found.append((name, answer["prompt_id"], body["prompt"]))
    return found


PROMPTS = recorded_prompts()


def test_there_are_recorded_prompts() -> None:
    assert len(PROMPTS) > 40


@pytest.mark.parametrize(("name", "prompt_id", "graph"), PROMPTS)
def test_recorded_progress_never_falls(name: str, prompt_id: str, graph: Any) -> None:
    run = PromptRun(prompt_id, graph)
    found = []
    for event in recordings.load(name):
        if "json" in event and event.get("dir") == "recv":
            for result in run.receive(json.dumps(event["json"])):
                if isinstance(result, PromptProgressed):
                    found.append(result.progress.fraction)
    assert found == sorted(found)
    assert all(0 <= fraction <= ALMOST_DONE for fraction in found)


def recorded(name: str, nth: int) -> list[float]:
    prompt_id, graph = [(i, g) for n, i, g in PROMPTS if n == name][nth]
    run = PromptRun(prompt_id, graph)
    frames = [e for e in recordings.load(name) if "json" in e and e.get("dir") == "recv"]
    events = [event for frame in frames for event in run.receive(json.dumps(frame["json"]))]
    return [event.progress.fraction for event in events if isinstance(event, PromptProgressed)]


@pytest.mark.parametrize("nth", [0, 1, 2])
def test_a_recorded_sampler_causes_no_large_jump(nth: int) -> None:
    found = recorded("ksampler_tiny", nth)
    assert found[-1] == ALMOST_DONE
    assert largest_jump(found) < 0.35  # a fast sampler skips step numbers


def test_a_recorded_cached_rerun_is_done_at_once() -> None:
    assert recorded("cached_rerun", -1)[-1] == ALMOST_DONE
