"""The times that a client waits while it follows jobs."""

from __future__ import annotations

from dataclasses import dataclass, field

from comfyline.client.retries import Backoff

IDLE_LIMIT_SECONDS = 10 * 60  # API Gateway closes a WebSocket connection that is idle for so long


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The times of following jobs, all in seconds.

    Args:
        silence_seconds: after so long without a message the client reads the jobs over HTTP,
            because the socket may be dead.
        queue_seconds: the same while a job waits, because a job's place in the queue is not pushed.
        place_seconds: the same for the first read, by when an idle worker would have taken the job.
        ping_seconds: how often the client pings; below IDLE_LIMIT_SECONDS by more than one silence.
        poll_seconds: the wait between two reads of a job where no WebSocket URL is set.
        outage_seconds: reads may fail for so long before their error is raised. It covers a laptop
            that wakes up and a redeployment of the service.
        open_seconds: how long opening a socket may take.
        close_seconds: how long closing a socket may take; short, so that Ctrl-C does not wait for a
            server that is gone.
        backoff: the waits before a lost socket is opened again. They grow to a minute, so that the
            clients that have lost their sockets together do not come back together.
    """

    silence_seconds: float = 30
    queue_seconds: float = 10
    place_seconds: float = 3
    ping_seconds: float = 8 * 60
    poll_seconds: float = 2
    outage_seconds: float = 5 * 60
    open_seconds: float = 10
    close_seconds: float = 1
    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=0.5, cap_seconds=60))

    def silence(self, *, any_queued: bool, has_read: bool) -> float:
        """How long the socket may be silent now, before the jobs are read over HTTP."""
        if not any_queued:
            return self.silence_seconds
        first = self.queue_seconds if has_read else self.place_seconds
        return min(first, self.queue_seconds, self.silence_seconds)
