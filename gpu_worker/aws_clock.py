"""The time as AWS's servers tell it, because leases are judged by their clock and not by ours.

Every response of AWS has a `Date` header in whole seconds, so each response gives two bounds: when
it arrived, the time was not earlier than `Date`; when the request was sent, the time was not later
than `Date` plus one second. A clock outside of these bounds is moved to the nearer bound, so even a
slow response cannot make it worse.

Between two responses it runs on the machine's monotonic clock. If the wall clock jumps in the
middle of a job, the worker still writes no lease that has already ended. Requests are signed with
this time too, because AWS refuses a signature that is more than 5 minutes off. So the worker goes
on with its job, and reports that its clock is wrong.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import botocore.auth

from comfyline.service.clock import Clock

# A worker with a larger error of its wall clock takes no job. It could go on by this clock, but
# something is wrong with the machine.
MAX_ERROR = timedelta(seconds=5)
_RESOLUTION = timedelta(seconds=1)  # of the header
_SENT_AT = "comfyline_sent_at"  # the key of a request's context

_log = logging.getLogger(__name__)


def sign_by(clock: Clock) -> None:
    """Sign all requests of this process with the time of `clock`.

    botocore has no setting for this. It reads the time of a signature by the function that this
    replaces.
    """

    def current(remove_tzinfo: bool = True) -> datetime:
        at = clock().astimezone(UTC)
        return at.replace(tzinfo=None) if remove_tzinfo else at

    vars(botocore.auth)["get_current_datetime"] = current


class AwsClock:
    """A `Clock` that follows AWS. Any thread may use it."""

    def __init__(self, wall: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        """The clock has the time of `wall` until the first response has come."""
        self._wall, self._monotonic = wall, monotonic
        self._anchor = wall(), monotonic()  # one value, so that threads see both parts change
        self._is_right = True

    def __call__(self) -> datetime:
        """The time now."""
        at, ticks = self._anchor
        return at + timedelta(seconds=self._monotonic() - ticks)

    @property
    def wall_error(self) -> timedelta:
        """How far the machine's wall clock is ahead of AWS; negative if it is behind."""
        return self._wall() - self()

    @property
    def fault(self) -> str | None:
        """Why this worker must take no job; None if its wall clock is right."""
        error = self.wall_error
        if abs(error) <= MAX_ERROR:
            return None
        seconds, way = abs(error).total_seconds(), "ahead of" if error > timedelta(0) else "behind"
        return f"the clock of this machine is {seconds:.0f} s {way} AWS"

    def follow(self, events: Any) -> None:
        """Compare this clock with each response that a boto3 client gets, errors included.

        `events`: the client's `meta.events`.
        """
        events.register("before-call", self._note_sent)
        events.register("after-call", self._note_answer)

    def heard(self, date: datetime, sent_at: float) -> None:
        """Use the `Date` of a response to a request that was sent at monotonic time `sent_at`."""
        now, waited = self(), timedelta(seconds=self._monotonic() - sent_at)
        earliest, latest = date, date + _RESOLUTION + waited
        if not earliest <= now <= latest:
            self._anchor = min(max(now, earliest), latest), self._monotonic()
        self._report()

    def _note_sent(self, *, context: dict[str, Any], **_: Any) -> None:
        context[_SENT_AT] = self._monotonic()

    def _note_answer(
        self, *, parsed: Mapping[str, Any], context: Mapping[str, Any], **_: Any
    ) -> None:
        headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        try:
            date = parsedate_to_datetime(headers["date"])
        except (KeyError, ValueError):
            return
        if date.tzinfo is not None:
            self.heard(date, context[_SENT_AT])

    def _report(self) -> None:
        was_right, fault = self._is_right, self.fault
        self._is_right = fault is None
        if was_right and fault is not None:
            _log.error("clock wrong", extra={"action": "clock_wrong", "why": fault})
        elif fault is None and not was_right:
            _log.info("clock right", extra={"action": "clock_right"})
