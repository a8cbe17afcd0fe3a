"""Why a running job must stop before its own end."""

from __future__ import annotations

import asyncio
from enum import Enum


class Reason(Enum):
    """What stops a job."""

    CANCEL = "its owner asked"
    TIMEOUT = "it ran past its execution timeout"
    DRAIN = "the worker was told to go"
    LEASE_LOST = "this attempt no longer holds it"


class Stop:
    """A request to stop one job, seen by everybody who runs it. The first reason counts."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.hurry = asyncio.Event()  # do not wait until the engine obeys
        self.reason: Reason | None = None
        self.lost = False  # nothing more may be written

    def request(self, reason: Reason) -> None:
        """Stop for `reason`; again for another is fine."""
        self.reason = self.reason or reason
        self.lost = self.lost or reason is Reason.LEASE_LOST
        self.requested.set()
        if reason in (Reason.DRAIN, Reason.LEASE_LOST):
            self.hurry.set()
