"""A caller may send any text as a cursor."""

from __future__ import annotations

import base64

import pytest

from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.service.errors import InvalidRequest
from comfyline.service.jobs.read import ListFilter, read_page
from tests.support.builders import FrozenClock, an_owner

ID = "job_" + "0" * 26
HOSTILE = [
    "{",
    "[1, 2]",
    "{}",
    '["x", "y"]',
    "[" * 5000,
    f'["0001-01-01T00:00:00+14:00", "{ID}"]',
    '["2026-01-01T00:00:00+00:00", ["job"]]',
    '["2026-01-01T00:00:00+00:00", "job"]',
    f'["2026-01-01T00:00:00+00:00", "{ID}\\n"]',
    '["2026-01-01T00:00:00+00:00", "\\ud800"]',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cursor_that_this_api_did_not_make_is_refused(text: str) -> None:
    cursor = base64.urlsafe_b64encode(text.encode()).decode()
    with pytest.raises(InvalidRequest):
        read_page(
            an_owner(),
            asked=ListFilter(),
            limit=20,
            cursor=cursor,
            store=InMemoryJobStore(),
            clock=FrozenClock(),
        )
