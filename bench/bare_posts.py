"""Post to all that follow a job, and nothing else: what of telling many is the gateway's own.

A process of its own, as the function that pushes is, with that function's adapters and its number
of posts at once. `python -m bench.bare_posts JOB_ID MESSAGES` prints when it began, in seconds
since the epoch, after one message to each that opens its connections to the gateway.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from comfyline.contract.ids import JobId
from comfyline.service.live.sockets import Subscriber
from functions._wiring import POSTS_AT_ONCE, Wiring

MESSAGE = b'{"type":"bare","text":"%s"}' % (200 * b"x")  # about as long as a state


def post_to_all(job_id: JobId, messages: int) -> float:
    """When the first of them was posted, so many to each."""
    wiring = Wiring(os.environ)
    sockets = wiring.sockets
    followers = wiring.connections.subscribers(job_id, wiring.clock())

    def serve(one: Subscriber, count: int) -> None:
        for _ in range(count):
            sockets.post(one.id, MESSAGE)

    with ThreadPoolExecutor(POSTS_AT_ONCE) as posts:
        list(posts.map(lambda one: serve(one, 1), followers))
        started = time.time()
        list(posts.map(lambda one: serve(one, messages), followers))
    return started


if __name__ == "__main__":
    print(post_to_all(JobId(sys.argv[1]), int(sys.argv[2])))
