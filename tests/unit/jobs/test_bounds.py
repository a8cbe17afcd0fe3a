"""A result is bounded for every report of a node."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.jobs.bounds import (
    MAX_CUT_NAMES,
    MAX_CUT_NAMES_BYTES,
    MAX_VALUES_BYTES,
    MAX_WARNINGS,
    MAX_WARNINGS_BYTES,
    bounded,
)
from comfyline.service.jobs.result import MAX_WARNING, JobResult, ResultWarning

TEXTS = st.text(st.sampled_from('a"\\\n\x00é😀\ud800\udc00'), max_size=4)  # and half pairs
REPORTED = st.dictionaries(
    TEXTS,
    st.dictionaries(
        TEXTS,
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
            max_leaves=8,
        ),
        max_size=3,
    ),
    max_size=3,
)


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


@given(REPORTED)
def test_any_values_become_plain_json(reported: dict[str, dict[str, Any]]) -> None:
    result = bounded(JobResult(values=reported))
    text = json.dumps(result.values, allow_nan=False, ensure_ascii=False)
    assert len(text.encode()) <= MAX_VALUES_BYTES
    assert json.loads(text) == result.values
    assert bounded(result) == result


def test_plain_values_stay_as_they_are() -> None:
    values = {"7": {"value": [42, -1.5, True, None], "tags": ["a, b"]}, "12:3": {"result": [{}]}}
    assert bounded(JobResult(values=values)) == JobResult(values=values)


def test_numbers_that_json_lacks_are_shown_as_text() -> None:
    values = {"7": {"value": [math.nan, math.inf, -math.inf, {"nan": math.nan}]}}
    assert bounded(JobResult(values=values)).values == {
        "7": {"value": ["NaN", "Infinity", "-Infinity", {"nan": "NaN"}]}
    }


@pytest.mark.parametrize(
    "value",
    [
        "x" * MAX_VALUES_BYTES,
        "\x00" * (MAX_VALUES_BYTES // 4),  # six bytes each in JSON
        [0] * MAX_VALUES_BYTES,
        nested(100_000),
        10**400,
        b"bytes",
        {"set": {1}},
        {"k" * MAX_VALUES_BYTES: 1},
    ],
    ids=["long", "escaped", "many", "deep", "large", "bytes", "set", "key"],
)
def test_a_value_without_room_is_cut_by_name_and_the_others_stay(value: Any) -> None:
    result = bounded(JobResult(values={"7": {"bg_image": value, "value": [1]}, "8": {"a": 2}}))
    assert result.values == {"7": {"value": [1]}, "8": {"a": 2}}
    assert result.values_cut == ("7.bg_image",)


def test_many_values_share_the_room() -> None:
    reported = {str(n): {"text": ["x" * 1000]} for n in range(1000)}
    result = bounded(JobResult(values=reported))
    assert 50 < len(result.values) < 66
    assert len(result.values_cut) == MAX_CUT_NAMES
    [warning] = result.warnings
    left_out = 1000 - len(result.values) - MAX_CUT_NAMES
    assert warning == ResultWarning(
        type="values_cut", message=f"{left_out} further names of values without room are left out."
    )


def test_warnings_and_texts_are_bounded() -> None:
    long = ResultWarning(type="t" * 999, message="m" * 9999, node_id="n" * 999, node_type="\ud800")
    result = bounded(JobResult(warnings=(long,) * 10_000, empty_reason="e" * 9999))
    first = result.warnings[0]
    assert (len(first.type), len(first.message)) == (MAX_NAME, MAX_WARNING)
    assert first.node_type == "\ufffd"
    assert result.empty_reason is not None
    assert len(result.empty_reason) == MAX_WARNING


@pytest.mark.parametrize("message", ["a.png is not there", "\x00" * 9999])
def test_of_many_warnings_the_first_are_kept_and_the_others_counted(message: str) -> None:
    many = tuple(ResultWarning(type=str(n), message=message) for n in range(10_000))
    *kept, last = bounded(JobResult(warnings=many)).warnings
    assert [warning.type for warning in kept] == [str(n) for n in range(len(kept))]
    assert 0 < len(kept) <= MAX_WARNINGS
    assert last == ResultWarning(
        type="more_warnings", message=f"{10_000 - len(kept):,} further warnings are left out."
    )
    assert len(json.dumps([asdict(warning) for warning in kept])) <= MAX_WARNINGS_BYTES * 1.1


def test_names_of_cut_values_are_bounded() -> None:
    names = tuple(f"{n}.{chr(1) * 999}" for n in range(10_000))
    result = bounded(JobResult(values_cut=names))
    assert len(json.dumps(result.values_cut)) <= MAX_CUT_NAMES_BYTES
    left_out = 10_000 - len(result.values_cut)
    assert f"{left_out:,} further names" in result.warnings[0].message
