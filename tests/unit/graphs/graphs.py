"""Graphs for tests, and any graph for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(["1", "2", "3", "4", "5"])
LINKS = st.tuples(NAMES, st.integers(-1, 2) | st.just(0.0)).map(list)
NODES = st.fixed_dictionaries(
    {
        "class_type": st.sampled_from(["SaveImage", "LoadImage", ""]) | SCALARS,
        "inputs": st.dictionaries(st.text(max_size=4), LINKS | SCALARS, max_size=3) | SCALARS,
    }
)
ANYTHING = st.dictionaries(NAMES | st.text(max_size=3), NODES | JSON, max_size=4)
# Of classes that are outputs, that are none, and of which nothing is known.
GRAPHS = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {
            "class_type": st.sampled_from(["SaveImage", "ImageInvert", "Unknown"]),
            "inputs": st.dictionaries(st.sampled_from("abc"), LINKS | SCALARS, max_size=3),
        }
    ),
    min_size=1,
)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """A node in API format."""
    return {"class_type": class_type, "inputs": inputs}


EMPTY = node("EmptyImage", width=64, height=64, batch_size=1, color=0)
SAVE = node("SaveImage", images=["1", 0], filename_prefix="a")
GOOD = {"1": EMPTY, "2": SAVE}
