"""The functions for operators: what the whole service does, and what an operator does about it."""

from __future__ import annotations

from comfyline.service.settings import (
    DeadLetterQueue,
    JobsTable,
    OwnersTable,
    ParkingQueue,
    QueueSettings,
    WakeSettings,
)
from infra import grants
from infra.declarations import BUSY_MEMORY_MB, WAITING_TIMEOUT, Function, Route
from infra.grants import Resource, may

ROWS = (
    Function(
        name="ReadFleet",
        routes=(
            Route("GET", "/api/v1/admin/workers"),
            Route("GET", "/api/v1/admin/queues"),
            Route("GET", "/api/v1/admin/jobs"),
        ),
        settings=(QueueSettings, JobsTable, DeadLetterQueue, ParkingQueue, WakeSettings),
        grants=(
            may("FindWorkers", Resource.JOBS, "dynamodb:Query", partition_keys="workers"),
            may("FindLiveJobs", Resource.JOBS_BY_DUE, "dynamodb:Query"),
            grants.READ_JOBS,
            grants.COUNT_TICKETS,
            may("CountDeadLetters", Resource.DEAD_LETTERS, "sqs:GetQueueAttributes"),
            may("CountParked", Resource.PARKING, "sqs:GetQueueAttributes"),
            may("ReadScaling", Resource.SCALING, "dynamodb:GetItem"),
        ),
        timeout=WAITING_TIMEOUT,  # a look reads a thousand rows, some of them repeatedly
        memory=BUSY_MEMORY_MB,  # to parse them
    ),
    Function(
        name="ManageOwners",
        routes=(Route("GET", "/api/v1/admin/errors"),),
        settings=(OwnersTable,),
        grants=(may("ReadLedger", Resource.OWNERS, "dynamodb:Query"),),
        timeout=WAITING_TIMEOUT,  # a month of failures can be thousands of rows
        memory=BUSY_MEMORY_MB,  # to parse them
    ),
)
