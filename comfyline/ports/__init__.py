"""What the use cases need from the world, by role. Synchronous; adapters are thread-safe.

`memory/` and `aws/` implement these and are judged by the same contract tests. An adapter
translates its technology's errors once, at the call: what may work later becomes `Unavailable`.

Each file has a family and imports what a job is for its types alone: a function that knows no jobs
need not read what they are.
"""

from comfyline.ports.clock import Clock
from comfyline.ports.files import (
    ArtifactStore,
    ModelMissing,
    ModelStore,
    StoredUpload,
    UploadForm,
    UploadStore,
)
from comfyline.ports.fleet import Attendance, Fleet, FleetSize, Presence, Recent, ScalingMemory
from comfyline.ports.jobs import JobStore, ListPosition
from comfyline.ports.keys import ApiKey, Flags, KeyStore, SocketTicket, SocketTicketStore
from comfyline.ports.ledger import Ledger, Usage
from comfyline.ports.metrics import Metrics
from comfyline.ports.owners import OWNER_SHARDS, Full, Limits, OwnerStore, Taken, minute_of
from comfyline.ports.queues import Backlog, DeadLetters, Depths, JobQueue, Ticket
from comfyline.ports.sockets import (
    CONNECTION_LIFETIME,
    Connection,
    ConnectionStore,
    Sockets,
    Subscriber,
)

__all__ = [
    "CONNECTION_LIFETIME",
    "OWNER_SHARDS",
    "ApiKey",
    "ArtifactStore",
    "Attendance",
    "Backlog",
    "Clock",
    "Connection",
    "ConnectionStore",
    "DeadLetters",
    "Depths",
    "Flags",
    "Fleet",
    "FleetSize",
    "Full",
    "JobQueue",
    "JobStore",
    "KeyStore",
    "Ledger",
    "Limits",
    "ListPosition",
    "Metrics",
    "ModelMissing",
    "ModelStore",
    "OwnerStore",
    "Presence",
    "Recent",
    "ScalingMemory",
    "SocketTicket",
    "SocketTicketStore",
    "Sockets",
    "StoredUpload",
    "Subscriber",
    "Taken",
    "Ticket",
    "UploadForm",
    "UploadStore",
    "Usage",
    "minute_of",
]
