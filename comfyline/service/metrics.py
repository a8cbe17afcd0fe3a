"""What is measured while it happens, each metric named once; who takes it is a port, `Metrics`.

A fact is recorded in one place, where it is first known for sure. CloudWatch bills each value of a
dimension as a metric of its own, so a metric has one dimension at most, of few values: never an
owner, a job or a worker.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Unit(StrEnum):
    """As CloudWatch names them."""

    COUNT = "Count"
    SECONDS = "Seconds"


class Metric(StrEnum):
    """A name, its unit, and the name of its dimension if it has one."""

    unit: Unit
    dimension: str | None

    def __new__(cls, name: str, unit: Unit = Unit.COUNT, dimension: str | None = None) -> Metric:
        metric = str.__new__(cls, name)
        metric._value_ = name
        metric.unit, metric.dimension = unit, dimension
        return metric

    # What becomes of posts.
    JOBS_ACCEPTED = "JobsAccepted"
    JOBS_REPLAYED = "JobsReplayed"
    JOBS_REFUSED = "JobsRefused", Unit.COUNT, "code"

    # What has ended, counted with the ledger.
    JOBS_ENDED = "JobsEnded", Unit.COUNT, "status"
    JOB_TIME = "JobTime", Unit.SECONDS  # from the first start to the end
    JOB_WAIT = "JobWait", Unit.SECONDS  # from the post to the first start
    GPU_TIME = "GpuTime", Unit.SECONDS
    INTERRUPTIONS = "Interruptions"

    # What followers are told.
    UPDATES_SENT = "UpdatesSent"
    FOLLOWERS_GONE = "FollowersGone"
    FOLLOWERS_SLOW = "FollowersSlow"  # hung up on

    # What keeps it all going.
    SWEPT = "Swept", Unit.COUNT, "event"
    TICKETS_WAITING = "TicketsWaiting"
    TICKETS_IN_FLIGHT = "TicketsInFlight"
    TICKETS_UNSERVED = "TicketsUnserved"  # waiting while no worker is up
    OLDEST_WAIT = "OldestWait", Unit.SECONDS
    WORKERS_RUNNING = "WorkersRunning"
    WORKERS_DESIRED = "WorkersDesired"

    # What a worker does.
    JOBS_CLAIMED = "JobsClaimed"
    ENGINE_RESTARTS = "EngineRestarts", Unit.COUNT, "reason"
    # Six phases (gpu_worker/phases.py): $1.80 a month for a fleet that is never idle. The sum of
    # the phase `run` is the time that GPUs were busy.
    PHASE_TIME = "PhaseTime", Unit.SECONDS, "phase"
    # Four outcomes: ended, given_back, lease_lost, abandoned. Without trouble only `ended` is
    # billed, $0.30 a month. JOBS_ENDED has how the jobs ended.
    ATTEMPTS_ENDED = "AttemptsEnded", Unit.COUNT, "outcome"


class Metrics(Protocol):
    """Takes what is measured while it happens."""

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """Note a fact, at once and from any thread.

        `dimensions` has what the metric names as its dimension, and nothing else.
        """
