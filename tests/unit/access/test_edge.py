"""Which requests have come through the edge."""

from __future__ import annotations

import pytest

from comfyline.service.access.edge import came_through

OLD, NEW = "a" * 43, "b" * 43


@pytest.mark.parametrize("given", [OLD, NEW])
def test_both_secrets_of_a_rotation_count(given: str) -> None:
    assert came_through(given, f"{OLD},{NEW}")


@pytest.mark.parametrize("given", [None, "", ",", OLD[:-1], f"{OLD},{NEW}", OLD.upper(), "ü"])
@pytest.mark.parametrize("secrets", ["", ",", f"{OLD},", f",{OLD}", f"{OLD},{NEW}"])
def test_no_other_text_counts_also_where_a_secret_is_missing(
    given: str | None, secrets: str
) -> None:
    assert not came_through(given, secrets)


@pytest.mark.parametrize("given", [None, "", "x"])
def test_without_an_edge_every_request_counts(given: str | None) -> None:
    assert came_through(given, None)
