"""What a caller may put into a request, and what is refused before any use case sees it."""

from __future__ import annotations

import pytest

from comfyline.domain.errors import InvalidRequest, MalformedRequest
from functions._http import Request
from functions.list_jobs import _limit


@pytest.mark.parametrize("body", ["", "{", "NaN", "[Infinity]", '{"x": 1e999}', "[-1e999]"])
def test_what_is_no_finite_json_is_malformed(body: str) -> None:
    with pytest.raises(MalformedRequest):
        Request({"body": body}).json()


def test_finite_json_is_read() -> None:
    assert Request({"body": '{"x": [1, 2.5e3, null]}'}).json() == {"x": [1, 2500.0, None]}


@pytest.mark.parametrize("text", ["", "0", "101", "-1", "1.5", "00999", "0001" + "9" * 5000, "٣"])
def test_a_limit_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        _limit(text)


@pytest.mark.parametrize(("text", "limit"), [(None, 20), ("1", 1), ("100", 100), ("020", 20)])
def test_a_limit_in_range_is_taken(text: str | None, limit: int) -> None:
    assert _limit(text) == limit
