"""An audit needs no more memory for more jobs."""

from __future__ import annotations

import tracemalloc

import pytest

from tests.support.generated import audited


def peak(jobs: int) -> int:
    """The most bytes that Python held at once. SQLite's part is bounded by its cache."""
    tracemalloc.start()
    try:
        assert audited(jobs).is_clean(strict=True)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(1800)  # at full size
def test_the_memory_of_an_audit_does_not_grow_with_the_jobs(is_long: bool) -> None:
    peak(100)  # fills the caches of the interpreter
    # 1,200 jobs fill every batch that an audit reads at once.
    few, many = peak(1_200), peak(50_000 if is_long else 3_600)
    assert many < few * 1.25, (few, many)
