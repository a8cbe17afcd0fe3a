"""Every type that holds a text of a workflow, an engine or a caller bounds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.contract.ids import random_worker_id
from comfyline.service.fleet.workers import MAX_FACT, MAX_REASON, Presence, WorkerFacts
from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.jobs.job import MAX_ERROR_MESSAGE, MAX_ERROR_TYPE, JobError
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.result import MAX_WARNING, ResultWarning
from comfyline.service.texts import shortened
from tests.support.builders import NOW, a_job, an_artifact
from tests.support.hostile import hostile_texts

TEXTS = hostile_texts()
ERROR = JobError(type="node_error", message="boom")
WARNING = ResultWarning(type="file_missing", message="a.png is missing")
BOUNDS: list[tuple[Any, dict[str, int]]] = [
    (
        ERROR,
        {
            "type": MAX_ERROR_TYPE,
            "message": MAX_ERROR_MESSAGE,
            "node_id": MAX_NAME,
            "node_type": MAX_NAME,
        },
    ),
    (Progress(), {"node": MAX_NAME, "node_type": MAX_NAME, "message": MAX_NAME}),
    (
        WARNING,
        {"type": MAX_NAME, "message": MAX_WARNING, "node_id": MAX_NAME, "node_type": MAX_NAME},
    ),
    (an_artifact(a_job()), {"node": MAX_NAME}),
    (Presence(random_worker_id(), 0, NOW), {"unhealthy": MAX_REASON, "checkpoint": MAX_FACT}),
    (WorkerFacts(), {"image": MAX_FACT, "gpu": MAX_FACT, "instance_type": MAX_FACT}),
]


@given(TEXTS, st.integers(1, 50))
def test_a_shortened_text_can_be_encoded_and_is_no_longer_than_the_limit(
    text: str, limit: int
) -> None:
    short = shortened(text, limit)
    short.encode()
    assert len(short) <= limit
    assert shortened(short, limit) == short


@given(st.text(max_size=50))
def test_a_text_that_fits_stays_as_it_is(text: str) -> None:
    assert shortened(text, 50) == text


def test_a_cut_text_ends_with_an_ellipsis_and_a_pair_of_surrogates_is_one_character() -> None:
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("\ud83d\ude00" * 4, 4) == "😀😀😀😀"
    assert shortened("cut \ud83d", 9) == "cut \ufffd"


@pytest.mark.parametrize(("value", "limits"), BOUNDS, ids=lambda part: type(part).__name__)
@given(text=TEXTS)
def test_every_text_of_a_value_is_bounded_and_can_be_encoded(
    value: Any, limits: dict[str, int], text: str
) -> None:
    made = replace(value, **dict.fromkeys(limits, text))
    for name, limit in limits.items():
        kept = getattr(made, name)
        kept.encode()
        assert len(kept) <= limit
    assert replace(made) == made
