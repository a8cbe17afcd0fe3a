"""Every metric that the service records, and the port that records them.

Each metric is recorded in one place: the first one that knows the fact for certain. CloudWatch
bills each value of a dimension as one metric. So a metric has at most one dimension, with few
values, and never the id of an owner, a job or a worker.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Unit(StrEnum):
    """Units, as CloudWatch names them."""

    COUNT = "Count"
    SECONDS = "Seconds"
    BYTES = "Bytes"


class Metric(StrEnum):
    """The name of a metric, its unit, and the name of its dimension if it has one."""

    unit: Unit
    dimension: str | None

    def __new__(cls, name: str, unit: Unit = Unit.COUNT, dimension: str | None = None) -> Metric:
        metric = str.__new__(cls, name)
        metric._value_ = name
        metric.unit, metric.dimension = unit, dimension
        return metric

    # Recorded when a post is answered.
    JOBS_ACCEPTED = "JobsAccepted"  # posts and retries that made a new job
    JOBS_REPLAYED = "JobsReplayed"  # repeated posts that were answered with the job of the first
    JOBS_REFUSED = "JobsRefused", Unit.COUNT, "code"  # posts that were refused, by problem code

    # Recorded for each ended job when the ledger counts it, which it does once.
    JOBS_ENDED = "JobsEnded", Unit.COUNT, "status"
    JOB_TIME = "JobTime", Unit.SECONDS  # from the first start to the end
    JOB_WAIT = "JobWait", Unit.SECONDS  # from the post to the first start
    GPU_TIME = "GpuTime", Unit.SECONDS  # of all attempts of the job
    INTERRUPTIONS = "Interruptions"  # attempts given back: spot notice, SIGTERM, scale-in

    # Recorded when messages are posted to the sockets of subscribers.
    UPDATES_SENT = "UpdatesSent"  # messages, once for each subscriber that got them
    FOLLOWERS_GONE = "FollowersGone"  # subscribers that had left: their socket is closed
    FOLLOWERS_SLOW = "FollowersSlow"  # subscribers that were disconnected because they read slowly
    UPDATES_THROTTLED = "UpdatesThrottled"  # subscribers that got no message: AWS throttled posts

    # Recorded when a process has set an item aside that it cannot read or handle: a job's row, a
    # ticket or a stream record that is damaged or of another release.
    ITEMS_UNREADABLE = "ItemsUnreadable"

    # Recorded by the sweeper, each minute.
    SWEPT = "Swept", Unit.COUNT, "event"  # repairs, by kind

    # Recorded by the scaler in each round, unless there is no ticket and no worker.
    TICKETS_WAITING = "TicketsWaiting"  # that no worker holds
    TICKETS_IN_FLIGHT = "TicketsInFlight"  # jobs that workers hold
    TICKETS_UNSERVED = "TicketsUnserved"  # that wait while no worker is ready; otherwise 0
    OLDEST_WAIT = "OldestWait", Unit.SECONDS  # of a job until its claim; 0 if none waits
    WORKERS_RUNNING = "WorkersRunning"  # that ECS has started
    WORKERS_ON_SPOT = "WorkersOnSpot"  # those of them that run on spot instances
    WORKERS_READY = "WorkersReady"  # those of them that take jobs
    WORKERS_DESIRED = "WorkersDesired"  # that the scaler asks ECS for
    WORKERS_UNFILLED = "WorkersUnfilled"  # that were ordered earlier and have not started

    # Recorded when ECS reports it.
    WORKERS_CRASHED = "WorkersCrashed"  # that ended with an error, or could not be started

    # Recorded by a worker.
    MODELS_FETCHED = "ModelsFetched", Unit.BYTES  # every ten seconds, while it fetches models
    MODELS_TIME = "ModelsTime", Unit.SECONDS  # when all models are there: since its start
    JOBS_CLAIMED = "JobsClaimed"  # when it has claimed a job
    ENGINE_RESTARTS = "EngineRestarts", Unit.COUNT, "reason"  # when it starts ComfyUI again
    # When a probe finds that the worker cannot run jobs, by the kind of the fault that led to it.
    WORKERS_UNHEALTHY = "WorkersUnhealthy", Unit.COUNT, "reason"
    # When a phase of an attempt ends: how long it took. There are six (gpu_worker/phases.py), which
    # cost $1.80 a month for a fleet that is never idle. The sum of the phase `run` is the time that
    # GPUs were busy.
    PHASE_TIME = "PhaseTime", Unit.SECONDS, "phase"
    # When an attempt ends, by outcome: ended, given_back, lease_lost or abandoned. As long as there
    # are no errors, only `ended` is billed, with $0.30 a month. JOBS_ENDED has the jobs' status.
    ATTEMPTS_ENDED = "AttemptsEnded", Unit.COUNT, "outcome"


class Metrics(Protocol):
    """Records metrics."""

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """Record one value. Any thread may call this.

        `dimensions` must hold the metric's dimension, if it has one, and nothing else.
        """
