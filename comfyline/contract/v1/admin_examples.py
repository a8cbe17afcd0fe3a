"""Examples of the models for operators; see examples.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from comfyline.contract.v1 import accounts, failures, fleet, switches, trouble

Json = dict[str, Any]

_JOB_ID = "job_01khhk2xg0z6v8q4m3n7r5t9wb"
_WORKER_ID = "wrk_7f3k9m2p5r8t1v4x6z0b3d5g7j"
_QUEUED, _SINCE, _NOW = "2026-03-02T09:30:00Z", "2026-03-02T09:30:02Z", "2026-03-02T09:30:07Z"
_HELD = {"job_id": _JOB_ID, "owner": "team-a"}
_KEY_VIEW = {
    "id": "6f1d2c3b4a596877",
    "owner": "team-a",
    "scopes": ["jobs"],
    "state": "active",
    "created_at": _QUEUED,
    "limits": {"max_active_jobs": 20},
}
_OWNER = {
    "owner": "team-a",
    "keys": [_KEY_VIEW],
    "active_jobs": 3,
    "posts_this_minute": 12,
    "gpu_seconds": 5321.4,
    "jobs": 812,
}
_GROUP = {
    "type": "node_error",
    "node_type": "KSampler",
    "engine_version": "8c5e6f1a2b3d4c7e",
    "jobs": 12,
    "first_at": _QUEUED,
    "last_at": _NOW,
    "samples": [_HELD],
}
_WORKER = {
    "worker_id": _WORKER_ID,
    "pool": "default",
    "state": "running",
    "reason": "The disk is full.",
    "jobs": [_HELD],
    "held_jobs": 1,
    "checkpoint": "sd15.safetensors",
    "gpu": "cuda:0 NVIDIA L4",
    "gpu_memory_bytes": 23_609_475_072,
    "engine_version": "4f2c81d09a7b",
    "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/comfyline-prod-worker:7",
    "revision": "arn:aws:ecs:eu-central-1:123456789012:task-definition/worker:12",
    "capacity": "spot",
    "instance_id": "i-0123456789abcdef0",
    "instance_type": "g6.xlarge",
    "zone": "eu-central-1b",
    "reported_at": _NOW,
}
_DEPTH = {"waiting": 2, "in_flight": 1}
_LANE = {"lane": "normal", "waiting": 12, "in_flight": 3, "oldest_waiting_since": _QUEUED}
_SIZE = {"ondemand": 1, "spot": 3}
_SCALER = {
    "since": _SINCE,
    "waiting": 12,
    "in_flight": 3,
    "ready": 2,
    "asked": _SIZE,
    "running": _SIZE,
    "reason": "backlog",
}
_POOL = {"pool": "default", "lanes": [_LANE], "knows_oldest": True, "scaler": _SCALER}
_JOB = {
    **_HELD,
    "user": "alice@example.com",
    "status": "running",
    "priority": "normal",
    "progress": 0.5,
    "attempt": 1,
    "interruptions": 0,
    "worker_id": _WORKER_ID,
    "queued_at": _QUEUED,
    "since": _SINCE,
}

_DEAD_LETTER = {
    "message_id": "5fea7756-0ea4-451a-a703-a558b933e274",
    "job_id": _JOB_ID,
    "text": "'not a ticket'",
    "sent_at": _QUEUED,
    "received": 51,
    "owner": "team-a",
    "status": "queued",
}
_SWITCHES = {"jobs_enabled": False, "sockets_enabled": True, "version": 3}
_ALARM = {
    "name": "dead-letters",
    "description": "A ticket was delivered more often than allowed.",
    "state": "raised",
    "since": _SINCE,
}

ADMIN_EXAMPLES: Mapping[type[BaseModel], Json] = {
    fleet.HeldJobView: _HELD,
    fleet.WorkerView: _WORKER,
    fleet.WorkerList: {"workers": [_WORKER], "workers_total": 1},
    fleet.QueueDepth: _DEPTH,
    fleet.LaneView: _LANE,
    fleet.FleetSizeView: _SIZE,
    fleet.ScalerStateView: _SCALER,
    fleet.PoolQueues: _POOL,
    fleet.QueueList: {
        "at": _NOW,
        "pools": [_POOL],
        "dead_letters": _DEPTH,
        "parked_settlements": _DEPTH,
    },
    trouble.DeadLetterView: _DEAD_LETTER,
    trouble.DeadLetterList: {"dead_letters": [_DEAD_LETTER], "depth": _DEPTH},
    trouble.RedriveAnswer: {
        "sent_again": 4,
        "of_no_live_job": 1,
        "out_of_reach": 0,
        "more": False,
    },
    trouble.AlarmView: _ALARM,
    trouble.AlarmList: {"stage": "prod", "watched": True, "alarms": [_ALARM]},
    switches.SwitchesRequest: _SWITCHES,
    switches.SwitchesView: {**_SWITCHES, "changed_at": _SINCE, "changed_by": "ops"},
    fleet.LiveJobView: _JOB,
    fleet.LiveJobPage: {"jobs": [_JOB], "next_cursor": "WyIyMDI2LTAzLTAyVDA5OjMwOjAyIl0"},
    accounts.OwnerView: _OWNER,
    accounts.OwnerPage: {"owners": [_OWNER], "next_cursor": "team-a"},
    accounts.KeyPage: {"keys": [_KEY_VIEW], "next_cursor": "6f1d2c3b4a596877"},
    accounts.SessionsEnd: {"owner": "team-a", "key_id": "6f1d2c3b4a596877"},
    accounts.SessionsEnded: {"ended": 2, "more": False},
    accounts.LimitsChange: {"limits": {"max_active_jobs": 20}},
    failures.FailureSample: _HELD,
    failures.FailureGroupView: _GROUP,
    failures.FailureList: {"days": 7, "jobs": 41, "groups_total": 3, "groups": [_GROUP]},
}
