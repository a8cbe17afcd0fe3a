"""A client follows a job over its socket.

Subscribe first, then note that the job is watched, whose answer is the snapshot: a change before
that note is in the snapshot, a change after it finds the subscription. Nothing falls between.
"""

from __future__ import annotations

from datetime import timedelta

from comfyline.domain.errors import JobNotFound
from comfyline.domain.ids import JobId
from comfyline.ports import Clock, Connection, ConnectionStore, JobStore
from comfyline.usecases.notify import Notifier

CONNECTION_LIFETIME = timedelta(hours=2)  # API Gateway ends a WebSocket then


def follow(
    connection: Connection,
    job_id: JobId,
    *,
    jobs: JobStore,
    connections: ConnectionStore,
    notifier: Notifier,
    clock: Clock,
) -> None:
    """Subscribe the socket to its owner's job and send it the snapshot.

    Raises:
        JobNotFound: unknown, past its retention, or somebody else's; the socket does not follow it.
    """
    # Whose it is comes before everything: a push must not find another's subscription even once.
    job = jobs.get(job_id)
    if job is None or job.owner != connection.owner or job.is_past_retention(clock()):
        raise JobNotFound(job_id)
    if not job.status.is_terminal:
        connections.subscribe(connection, job_id)
        job = jobs.watch(job_id, connection.expires_at) or job
    notifier.tell(connection.id, job)
