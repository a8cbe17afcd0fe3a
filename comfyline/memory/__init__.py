"""The ports in memory: for unit tests and for trying things. One lock each; nothing is kept."""

from comfyline.memory.files import (
    MODEL_CHUNK,
    InMemoryArtifactStore,
    InMemoryModelStore,
    InMemoryUploadStore,
    StoredFile,
)
from comfyline.memory.fleet import InMemoryAttendance, InMemoryFleet, InMemoryScalingMemory
from comfyline.memory.jobs import MAX_BODY_BYTES, InMemoryJobStore
from comfyline.memory.keys import InMemoryKeyStore, InMemorySocketTicketStore
from comfyline.memory.ledger import InMemoryLedger
from comfyline.memory.metrics import InMemoryMetrics
from comfyline.memory.owners import InMemoryOwnerStore
from comfyline.memory.queues import InMemoryJobQueue
from comfyline.memory.sockets import InMemoryConnectionStore, InMemorySockets

__all__ = [
    "MAX_BODY_BYTES",
    "MODEL_CHUNK",
    "InMemoryArtifactStore",
    "InMemoryAttendance",
    "InMemoryConnectionStore",
    "InMemoryFleet",
    "InMemoryJobQueue",
    "InMemoryJobStore",
    "InMemoryKeyStore",
    "InMemoryLedger",
    "InMemoryMetrics",
    "InMemoryModelStore",
    "InMemoryOwnerStore",
    "InMemoryScalingMemory",
    "InMemorySocketTicketStore",
    "InMemorySockets",
    "InMemoryUploadStore",
    "StoredFile",
]
