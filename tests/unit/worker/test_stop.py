"""The first reason to stop counts, unless the lease is lost."""

from __future__ import annotations

import pytest

from gpu_worker.stop import Stop, StopReason

CANCEL, TIMEOUT = StopReason.CANCEL, StopReason.TIMEOUT
DRAIN, LEASE_LOST = StopReason.DRAIN, StopReason.LEASE_LOST


@pytest.mark.parametrize(
    ("reasons", "reason", "hurry"),
    [
        ([], None, False),
        ([CANCEL], CANCEL, False),
        ([TIMEOUT, CANCEL], TIMEOUT, False),
        ([DRAIN], DRAIN, True),
        ([CANCEL, DRAIN], CANCEL, True),
        ([TIMEOUT, LEASE_LOST], LEASE_LOST, True),
        ([LEASE_LOST, CANCEL], LEASE_LOST, True),
    ],
)
def test_reasons_in_order(
    reasons: list[StopReason], reason: StopReason | None, hurry: bool
) -> None:
    stop = Stop()
    for each in reasons:
        stop.request(each)
    assert (stop.reason, stop.hurry.is_set()) == (reason, hurry)
    assert stop.requested.is_set() == bool(reasons)
