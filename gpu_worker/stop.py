"""Why a job must stop before its prompt has ended by itself."""

from __future__ import annotations

import asyncio
from enum import Enum


class StopReason(Enum):
    """What stops a job."""

    CANCEL = "the job's cancel was requested"
    TIMEOUT = "the job ran past its execution timeout"
    DRAIN = "the worker has to stop"
    OUT_OF_DISK = "the job has nearly filled the worker's disk"
    LEASE_LOST = "the attempt no longer holds the job"


class Stop:
    """A request to stop one job, seen by every task that works on it.

    The first reason is kept, because it decides how the job ends. Only a lost lease replaces it,
    because nothing may be written after that.
    """

    def __init__(self) -> None:
        self.reason: StopReason | None = None  # None while nothing has asked for a stop
        self.requested = asyncio.Event()  # set with the first reason: the engine cancels the prompt
        self.drained = asyncio.Event()  # set by a drain: do not wait for the engine
        self.hurry = asyncio.Event()  # set by a drain or a lost lease: do not store more files
        self.moot = asyncio.Event()  # the result of a probe no longer matters

    def request(self, reason: StopReason) -> None:
        """Stop for `reason`; a further request for another reason is allowed."""
        if self.reason is None or reason is StopReason.LEASE_LOST:
            self.reason = reason
        self.requested.set()
        if reason is StopReason.DRAIN:
            self.drained.set()
        if reason in (StopReason.DRAIN, StopReason.LEASE_LOST):
            self.hurry.set()
        if reason in (StopReason.CANCEL, StopReason.DRAIN, StopReason.LEASE_LOST):
            self.moot.set()
