"""Where the comparison of two schemas finds nothing, the new one covers the old one."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.schema_changes import SchemaComparison

Json = Any

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, "", "a", "ab"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
PLAIN = st.one_of(
    st.just({}),
    st.sampled_from(["null", "boolean", "number"]).map(lambda kind: {"type": kind}),
    st.fixed_dictionaries(
        {"type": st.just("integer")},
        optional={"minimum": st.integers(-3, 3), "maximum": st.integers(-3, 3)},
    ),
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={"maxLength": st.integers(0, 2), "pattern": st.sampled_from(["^a", "b$"])},
    ),
    st.lists(st.sampled_from(["a", "ab", 1, None]), min_size=1, unique=True).map(
        lambda values: {"enum": values}
    ),
)


def compound(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: {"anyOf": parts}),
        st.fixed_dictionaries(
            {"type": st.just("array")}, optional={"items": inner, "maxItems": st.integers(0, 2)}
        ),
        st.fixed_dictionaries(
            {"type": st.just("object")},
            optional={
                "properties": st.dictionaries(st.sampled_from("ab"), inner),
                "required": st.lists(st.sampled_from("ab"), unique=True),
                "additionalProperties": st.just(False) | inner,
                "propertyNames": st.just({"enum": ["a"]}),
            },
        ),
    )


SCHEMAS = st.recursive(PLAIN, compound, max_leaves=4)


@settings(max_examples=200, deadline=None)
@given(old=SCHEMAS, new=SCHEMAS, values=st.lists(VALUES, min_size=1, max_size=8))
def test_where_nothing_breaks_every_old_request_is_still_valid(
    old: Json, new: Json, values: list[Json]
) -> None:
    if not list(SchemaComparison({}, {}, "request").changes("it", old, new)):
        before, after = (jsonschema_rs.Draft202012Validator(schema) for schema in (old, new))
        assert [v for v in values if before.is_valid(v) and not after.is_valid(v)] == []


def test_a_keyword_that_cannot_be_compared_is_an_error() -> None:
    with pytest.raises(ValueError, match="it: not cannot be compared yet"):
        list(SchemaComparison({}, {}, "request").changes("it", {}, {"not": {}}))
