"""The functions that no caller waits for: settlement, repairs and the fleet."""

from __future__ import annotations

from comfyline.service.settings import (
    ArtifactsBucket,
    JobsTable,
    KeysTable,
    MeasuredSettings,
    OwnersTable,
    ParkingQueue,
    QueueSettings,
    ScalerSettings,
    ScalingTable,
    SocketSettings,
    WakeSettings,
)
from infra import grants
from infra.declarations import (
    BUSY_MEMORY_MB,
    ROW_OF_A_JOB,
    AsyncCalls,
    EveryMinute,
    Function,
    JobsStream,
    Queue,
    TaskCrashes,
)
from infra.grants import Resource, may

# One round and, if it hangs, the next.
RESERVED_FOR_ROUNDS = 2
# All batches of ten shards at once. With fewer calls than batches, Lambda waits and tries again.
RESERVED_FOR_SETTLEMENT = 40
# Twice the time of a batch in which the SDK has to retry every call.
SETTLE_TIMEOUT = 180
# Shorter than the interval between two rounds, so that they never overlap.
SWEEP_TIMEOUT = 55
# Three calls of some milliseconds for each ticket, some of them retried.
REDRIVE_TIMEOUT = 30
# Six calls of some milliseconds, one of them retried.
SCALER_TIMEOUT = 20

_NEW_JOB = {"eventName": ["INSERT"], "dynamodb": ROW_OF_A_JOB}
_END_OF_A_JOB = {
    "dynamodb": {
        **ROW_OF_A_JOB,
        "OldImage": {"status": {"S": ["queued", "running"]}},
        "NewImage": {"status": {"S": ["succeeded", "failed", "canceled", "expired"]}},
    }
}

ROWS = (
    Function(
        name="SettleJobs",
        settings=(MeasuredSettings, JobsTable, OwnersTable, ParkingQueue, WakeSettings),
        grants=(
            *grants.FOLLOW_STREAM,
            grants.FREE_SLOT,
            grants.COUNT_ENDS,
            grants.CHANGE_JOB,  # the note that a job is settled
            grants.GET_JOB,  # the job of a parked step
            may("Park", Resource.PARKING, "sqs:SendMessage"),
            may("FollowParked", Resource.PARKING, *grants.READ_QUEUE),
            may("LimitWakes", Resource.SCALING, "dynamodb:GetItem", "dynamodb:UpdateItem"),
            may("WakeScaler", Resource.SCALER, "lambda:InvokeFunction"),
        ),
        triggers=(
            # No bound on retries and age: nothing that this function does may be lost.
            JobsStream(
                filters=(_END_OF_A_JOB,),
                filters_for_scaler=(_NEW_JOB,),
                batch_size=100,
                window_seconds=1,  # jobs that end together are counted by fewer writes
                parallel_batches=4,  # more would meet on the rows of the totals
                reports_failures=True,
            ),
            Queue(Resource.PARKING, batch_size=10),
        ),
        timeout=SETTLE_TIMEOUT,
        reserved=RESERVED_FOR_SETTLEMENT,
        # The stream does not carry the trace of a job, so these traces would be connected with
        # nothing. Lambda samples the first call of each second: up to $10 for a million jobs.
        is_traced=False,
    ),
    Function(
        name="SweepJobs",
        settings=(
            QueueSettings,
            SocketSettings,
            MeasuredSettings,
            KeysTable,
            JobsTable,
            OwnersTable,
            ArtifactsBucket,
        ),
        grants=(
            may("FindDueJobs", Resource.JOBS_BY_DUE, "dynamodb:Query"),
            grants.READ_JOBS,
            grants.CHANGE_JOB,
            grants.SEND_TICKET,
            grants.COUNT_TICKETS,
            grants.READ_JOB,  # a job's sibling items, which are deleted with it
            grants.DELETE_JOB,
            grants.LIST_ARTIFACTS,
            grants.DELETE_ARTIFACTS,
            may("FindSlots", Resource.OWNERS, "dynamodb:Query"),
            grants.FREE_SLOT,
            grants.COUNT_ENDS,
            may("FindVoidKeys", Resource.KEYS_BY_VOID_AT, "dynamodb:Query"),
            may("FindMadeKeys", Resource.KEYS_BY_OWNER, "dynamodb:Query"),
            may("FindSockets", Resource.CONNECTIONS_BY_KEY, "dynamodb:Query"),
            may(
                "FindEndedSessions",
                Resource.CONNECTIONS,
                "dynamodb:Query",
                partition_keys="ended",
            ),
            grants.READ_KEY,  # the switches
            may("ReadKeys", Resource.KEYS, "dynamodb:BatchGetItem"),
            grants.POST_TO_SOCKET,
            *grants.CLOSE_CONNECTION,
        ),
        triggers=(EveryMinute(),),
        timeout=SWEEP_TIMEOUT,
        memory=BUSY_MEMORY_MB,
        reserved=RESERVED_FOR_ROUNDS,
    ),
    Function(
        name="RedriveTickets",
        settings=(QueueSettings, MeasuredSettings, JobsTable),
        grants=(
            may("FollowDeadLetters", Resource.DEAD_LETTERS, *grants.READ_QUEUE),
            grants.GET_JOB,
            grants.CHANGE_JOB,
            grants.SEND_TICKET,
        ),
        triggers=(Queue(Resource.DEAD_LETTERS, batch_size=10),),
        timeout=REDRIVE_TIMEOUT,
    ),
    Function(
        name="ScaleWorkers",
        stack="scaler",
        settings=(QueueSettings, MeasuredSettings, ScalerSettings),
        grants=(
            may("ReadDepths", Resource.QUEUES, "sqs:GetQueueAttributes"),
            may("FindWorkers", Resource.JOBS, "dynamodb:Query", partition_keys="workers"),
            may("RetireWorkers", Resource.JOBS, "dynamodb:PutItem", partition_keys="workers"),
            may("ReadFleet", Resource.FLEET, "ecs:DescribeServices"),
            may("ResizeFleet", Resource.FLEET, "ecs:UpdateService"),
            may("RememberNeeds", Resource.SCALING, "dynamodb:GetItem", "dynamodb:PutItem"),
        ),
        triggers=(
            EveryMinute(),
            # SettleJobs calls it when a job is new. The next minute's round is the retry, and it
            # covers every older job.
            AsyncCalls(),
        ),
        timeout=SCALER_TIMEOUT,
        reserved=RESERVED_FOR_ROUNDS,
    ),
    Function(
        name="CountCrashes",
        stack="scaler",
        settings=(MeasuredSettings, ScalingTable),
        grants=(may("CountCrash", Resource.SCALING, "dynamodb:UpdateItem"),),
        triggers=(TaskCrashes(),),
    ),
)
