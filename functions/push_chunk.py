"""Post a job's messages to some of its many subscribers.

push_updates calls this function asynchronously, once for each chunk of the subscribers.
"""

from __future__ import annotations

from comfyline.adapters.aws.live.relay import chunk_of
from functions._handlers import Event, at_start, lambda_handler, logger
from functions._wiring import Wiring

at_start(lambda wiring: wiring.live.broadcast)


@lambda_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Post the chunk. A client that it does not reach polls."""
    chunk = chunk_of(event)
    sent = wiring.live.broadcast.post(chunk)
    counts: dict[str, object] = {"subscribers": len(chunk.subscribers), "sent": sent}
    extra = {"action": "chunk_pushed", "job_id": chunk.job_id}
    logger.info("chunk pushed", extra=extra | counts)
