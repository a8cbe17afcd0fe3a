"""The functions for operators: what the whole service does, and what an operator does about it."""

from __future__ import annotations

from comfyline.service.settings import (
    ConnectionsTable,
    DeadLetterQueue,
    JobsTable,
    KeysTable,
    OperatorSettings,
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
            Route("GET", "/api/v1/admin/alarms"),
        ),
        settings=(
            *(QueueSettings, JobsTable, DeadLetterQueue, ParkingQueue, WakeSettings),
            OperatorSettings,
        ),
        grants=(
            may("FindWorkers", Resource.JOBS, "dynamodb:Query", partition_keys="workers"),
            may("FindLiveJobs", Resource.JOBS_BY_DUE, "dynamodb:Query"),
            grants.READ_JOBS,
            grants.COUNT_TICKETS,
            may("CountDeadLetters", Resource.DEAD_LETTERS, "sqs:GetQueueAttributes"),
            may("CountParked", Resource.PARKING, "sqs:GetQueueAttributes"),
            may("ReadScaling", Resource.SCALING, "dynamodb:GetItem"),
            may("ReadAlarms", Resource.ALARMS, "cloudwatch:DescribeAlarms"),
        ),
        timeout=WAITING_TIMEOUT,  # a look reads a thousand rows, some of them repeatedly
        memory=BUSY_MEMORY_MB,  # to parse them
    ),
    Function(
        name="ManageOwners",
        routes=(
            Route("GET", "/api/v1/admin/errors"),
            Route("GET", "/api/v1/admin/owners"),
            Route("GET", "/api/v1/admin/keys"),
            Route("POST", "/api/v1/admin/keys/{key_id}/disable"),
            Route("PUT", "/api/v1/admin/keys/{key_id}/limits"),
            Route("POST", "/api/v1/admin/sessions/end"),
        ),
        settings=(OwnersTable, KeysTable, ConnectionsTable),
        grants=(
            may("ReadLedger", Resource.OWNERS, "dynamodb:Query"),
            may("ListOwners", Resource.KEYS_BY_OWNER, "dynamodb:Scan"),
            may("FindOwnKeys", Resource.KEYS_BY_OWNER, "dynamodb:Query"),
            may("ListKeys", Resource.KEYS, "dynamodb:Scan"),
            may("ReadOwnKeys", Resource.KEYS, "dynamodb:GetItem", "dynamodb:BatchGetItem"),
            may("ChangeKey", Resource.KEYS, "dynamodb:PutItem"),
            may(
                "FindSessions",
                Resource.CONNECTIONS,
                "dynamodb:Query",
                partition_keys="sessions#*",
            ),
            may("NameEnded", Resource.CONNECTIONS, "dynamodb:PutItem", partition_keys="ended"),
            may(
                "EndSessions",
                Resource.CONNECTIONS,
                "dynamodb:DeleteItem",
                partition_keys=("session#*", "sessions#*"),
            ),
        ),
        timeout=WAITING_TIMEOUT,  # a month of failures can be thousands of rows
        memory=BUSY_MEMORY_MB,  # to parse them
    ),
    Function(
        name="ServeDeadLetters",
        routes=(
            Route("GET", "/api/v1/admin/dead-letters"),
            Route("POST", "/api/v1/admin/dead-letters/redrive"),
        ),
        settings=(QueueSettings, JobsTable, DeadLetterQueue),
        grants=(
            may(
                "TakeDeadLetters",
                Resource.DEAD_LETTERS,
                *grants.READ_QUEUE,
                "sqs:ChangeMessageVisibility",  # after a look, messages can be seen again
            ),
            grants.READ_JOBS,
            grants.GET_JOB,
            grants.CHANGE_JOB,
            grants.SEND_TICKET,
        ),
        timeout=WAITING_TIMEOUT,  # a call handles many tickets
    ),
    Function(
        name="ServeSwitches",
        routes=(
            Route("GET", "/api/v1/admin/switches"),
            Route("PUT", "/api/v1/admin/switches"),
        ),
        settings=(KeysTable,),
        grants=(
            may(
                "Switch",
                Resource.KEYS,
                *("dynamodb:GetItem", "dynamodb:UpdateItem"),
                partition_keys="flags",
            ),
        ),
    ),
)
