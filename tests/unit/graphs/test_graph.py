"""Graphs: a caller's graph has the shape that ComfyUI expects, or it is refused with places."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from comfyline.contract.ids import JobId
from comfyline.contract.limits import MAX_SEED
from comfyline.service.errors import MAX_FIELD_ERRORS, InvalidRequest
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.graph import (
    Graph,
    canonical_json,
    fingerprint,
    is_link,
    validate_graph,
)
from comfyline.service.graphs.text_to_image import drawn_seed
from tests.support.builders import a_graph

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(["1", "2", "3"])
LINKS = st.tuples(NAMES, st.integers(-1, 2)).map(list)
NODES = st.fixed_dictionaries(
    {
        "class_type": st.sampled_from(["SaveImage", "LoadImage", ""]) | SCALARS,
        "inputs": st.dictionaries(st.text(max_size=4), LINKS | SCALARS, max_size=3) | SCALARS,
    }
)
ANYTHING = st.dictionaries(NAMES | st.text(max_size=3), NODES | JSON, max_size=4)
GRAPHS = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {
            "class_type": st.just("SaveImage"),
            "inputs": st.dictionaries(st.text(max_size=4), LINKS | SCALARS, max_size=3),
        }
    ),
    min_size=1,
)


def links_of(graph: Graph) -> list[tuple[str, list[Any]]]:
    return [(n, v) for n, node in graph.items() for v in node["inputs"].values() if is_link(v)]


def refusal_of(sent: Any) -> InvalidRequest | None:
    try:
        assert validate_graph(sent, Catalogue()) == sent
    except InvalidRequest as refusal:
        return refusal
    return None


def is_acyclic(graph: Graph) -> bool:
    """Removes nodes that depend on no remaining node until none is left, or none can be removed."""
    left = set(graph)
    while free := {n for n in left if not any(m == n and v[0] in left for m, v in links_of(graph))}:
        left -= free
    return not left


@given(ANYTHING | GRAPHS)
def test_a_value_is_a_valid_graph_or_is_refused_with_places(sent: Any) -> None:
    refusal = refusal_of(sent)
    if refusal is not None:
        assert 0 < len(refusal.errors) <= MAX_FIELD_ERRORS
        assert all(error.loc[:2] == ("body", "workflow") for error in refusal.errors)
        return
    assert sent
    assert all(isinstance(node["class_type"], str) for node in sent.values())
    assert all(link[0] in sent and link[1] >= 0 for _, link in links_of(sent))
    assert is_acyclic(sent)


@given(GRAPHS)
def test_a_graph_without_dangling_links_and_cycles_is_accepted(graph: Graph) -> None:
    is_whole = all(link[0] in graph and link[1] >= 0 for _, link in links_of(graph))
    assert (refusal_of(graph) is None) == (is_whole and is_acyclic(graph))


@given(JSON)
def test_equal_values_have_the_same_canonical_json(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(max_size=6), JSON, min_size=2, max_size=5), st.randoms())
def test_the_order_of_names_changes_no_fingerprint(value: dict[str, Any], random: Any) -> None:
    names = list(value)
    random.shuffle(names)
    assert fingerprint({name: value[name] for name in names}) == fingerprint(value)


@given(st.text(max_size=30))
def test_a_drawn_seed_depends_on_the_id_only(text: str) -> None:
    seed = drawn_seed(JobId(text))
    assert seed == drawn_seed(JobId(text))
    assert 0 <= seed <= MAX_SEED
    assert seed != drawn_seed(JobId(text + "x"))


def test_the_graph_of_the_parameter_form_is_valid() -> None:
    assert validate_graph(a_graph(), Catalogue()) == a_graph()
