"""Graphs as bytes, and the changes that the service makes to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.contract.ids import JobId
from comfyline.contract.limits import MAX_DRAWN_SEED
from comfyline.service.graphs.graph import (
    canonical_json,
    faithful_json,
    fingerprint,
)
from comfyline.service.graphs.text_to_image import drawn_seed

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_equal_values_have_the_same_canonical_json(value: Any) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


WHAT_PYTHON_READS = st.recursive(
    SCALARS | st.floats() | st.text(st.characters(), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=8,
)


@given(WHAT_PYTHON_READS)
def test_what_python_reads_is_kept_faithfully(value: Any) -> None:
    text = faithful_json(value)
    text.decode("ascii")
    assert repr(json.loads(text)) == repr(value)  # NaN is unequal to itself; names keep their order


def test_the_kinds_of_values_that_only_python_reads() -> None:
    sent = '{"b": NaN, "a": -Infinity, "c": "cut \\ud83d", "\\udc00": 1e999}'
    assert faithful_json(json.loads(sent)) == (
        b'{"b":NaN,"a":-Infinity,"c":"cut \\ud83d","\\udc00":Infinity}'
    )


@pytest.mark.parametrize(
    "different", [("NaN", '"NaN"'), ('"\\ud83d"', '"\\ud83e"'), ("NaN", "null")]
)
def test_values_that_only_python_reads_have_fingerprints(different: tuple[str, str]) -> None:
    one, other = (fingerprint(json.loads(text)) for text in different)
    assert one != other
    assert one == fingerprint(json.loads(different[0]))


@given(st.dictionaries(st.text(max_size=6), JSON, min_size=2, max_size=5), st.randoms())
def test_the_order_of_names_changes_no_fingerprint(value: dict[str, Any], random: Any) -> None:
    names = list(value)
    random.shuffle(names)
    assert fingerprint({name: value[name] for name in names}) == fingerprint(value)


@given(st.text(max_size=30))
def test_a_drawn_seed_depends_on_the_id_only(text: str) -> None:
    seed = drawn_seed(JobId(text))
    assert seed == drawn_seed(JobId(text))
    assert 0 <= seed <= MAX_DRAWN_SEED
    assert seed != drawn_seed(JobId(text + "x"))
