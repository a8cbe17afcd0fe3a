"""One fraction for many nodes: samplers weigh by their steps, and the fraction never falls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.jobs.progress import Progress
from gpu_worker.comfy.progress_fold import ALMOST_DONE, ProgressFold

GRAPH: dict[str, dict[str, Any]] = {
    "load": {"class_type": "CheckpointLoaderSimple", "inputs": {}},
    "sample": {"class_type": "KSampler", "inputs": {"steps": 8}},
    "save": {"class_type": "SaveImage", "inputs": {"images": ["sample", 0]}},
}


def changed(snapshot: Progress | None) -> Progress:
    assert snapshot is not None
    return snapshot


def test_a_sampler_weighs_as_many_nodes_more_as_it_has_steps() -> None:
    fold = ProgressFold(GRAPH)
    assert changed(fold.finished("load")).fraction == pytest.approx(1 / 11, abs=1e-4)
    assert changed(fold.stepped("sample", 4, 8)).fraction == 0.5
    assert changed(fold.finished("sample")).fraction == pytest.approx(10 / 11, abs=1e-4)


def test_the_message_is_the_step_or_the_node() -> None:
    fold = ProgressFold(GRAPH)
    assert changed(fold.executing("load")).message == "CheckpointLoaderSimple"
    fold.executing("sample")
    assert changed(fold.stepped("sample", 3, 8)).message == "step 3/8"
    assert changed(fold.executing("save")).message == "SaveImage"


def test_the_node_before_the_running_one_is_done() -> None:
    fold = ProgressFold(GRAPH)
    fold.executing("load")
    assert changed(fold.executing("sample")).nodes_done == 1


def test_cached_nodes_are_done_and_weigh_nothing_and_unknown_ones_are_ignored() -> None:
    snapshot = changed(ProgressFold(GRAPH).cached(["load", "sample", "not-ours"]))
    assert (snapshot.nodes_done, snapshot.fraction) == (2, 0.0)


def test_when_every_node_is_done_the_job_is_almost_done() -> None:
    assert changed(ProgressFold(GRAPH).cached(GRAPH)).fraction == ALMOST_DONE


def test_the_same_progress_is_not_returned_again() -> None:
    fold = ProgressFold(GRAPH)
    fold.stepped("sample", 2, 8)
    assert fold.stepped("sample", 2, 8) is None
    assert fold.cached([]) is None


def test_a_second_progress_bar_of_a_node_does_not_lower_the_fraction() -> None:
    """A node with two progress bars, or one that starts again, keeps the most that it reached."""
    fold = ProgressFold(GRAPH)
    before = changed(fold.stepped("sample", 8, 8)).fraction
    fold.executing("sample")
    assert changed(fold.stepped("sample", 1, 8)).fraction == before


def test_states_finish_nodes_and_move_steps() -> None:
    states = {
        "load": {"state": "finished", "value": 1, "max": 1, "display_node_id": "load"},
        "sample": {"state": "running", "value": 4, "max": 8, "display_node_id": "sample"},
    }
    snapshot = changed(ProgressFold(GRAPH).states(states))
    assert (snapshot.nodes_done, snapshot.fraction) == (1, 0.5)


def test_a_finished_inner_node_does_not_finish_its_subgraph() -> None:
    inner = {"state": "finished", "value": 1, "max": 8, "display_node_id": "sample"}
    snapshot = changed(ProgressFold(GRAPH).states({"sample.0.0.1": inner}))
    assert snapshot.nodes_done == 0


@pytest.mark.parametrize("steps", [0, -1, 10_001, True, "20", None, float("nan"), ["3", 0]])
def test_a_steps_widget_that_is_not_a_count_weighs_one(steps: Any) -> None:
    fold = ProgressFold({"a": {"class_type": "A", "inputs": {"steps": steps}}, "b": {}})
    assert changed(fold.finished("a")).fraction == 0.5


@pytest.mark.parametrize(
    ("value", "maximum"),
    [(9, 8), (-1, 8), (1, 0), ("1", 8), (1, None), (True, True), (float("nan"), 8), (1, 1e12)],
)
def test_a_step_that_is_not_valid_moves_nothing(value: Any, maximum: Any) -> None:
    assert ProgressFold(GRAPH).stepped("sample", value, maximum) is None


NODES = st.sampled_from([*GRAPH, "stranger"])
NUMBERS = st.integers(-2, 12) | st.floats() | st.none() | st.text(max_size=2)
STATES = st.dictionaries(
    NODES,
    st.none()
    | st.fixed_dictionaries(
        {"state": st.sampled_from(["running", "finished", 3]), "value": NUMBERS, "max": NUMBERS}
    ),
)
CALLS = st.one_of(
    st.tuples(st.just("cached"), st.tuples(st.lists(NODES))),
    st.tuples(st.just("executing"), st.tuples(NODES)),
    st.tuples(st.just("finished"), st.tuples(NODES)),
    st.tuples(st.just("stepped"), st.tuples(NODES, NUMBERS, NUMBERS)),
    st.tuples(st.just("states"), st.tuples(STATES)),
)


@given(st.lists(CALLS, max_size=20))
def test_the_fraction_never_falls_nor_reaches_one(calls: list[Any]) -> None:
    fold, last = ProgressFold(GRAPH), 0.0
    for name, arguments in calls:
        snapshot = getattr(fold, name)(*arguments)
        if snapshot is not None:
            assert last <= snapshot.fraction <= ALMOST_DONE
            assert 0 <= snapshot.nodes_done <= snapshot.nodes_total == len(GRAPH)
            last = snapshot.fraction
