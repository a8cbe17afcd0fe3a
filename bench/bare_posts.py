"""Posts messages to all subscribers of a job and does nothing else, to measure the gateway alone.

It is a separate process, like the pusher's function, and uses the pusher's adapters and its
number of parallel posts. `python -m bench.bare_posts JOB_ID MESSAGES` first posts one message to
each subscriber, which opens the connections to the gateway. Then it posts MESSAGES to each, and
prints when these began, in seconds since the epoch.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from comfyline.contract.ids import JobId
from comfyline.service.live.sockets import Subscriber
from functions._live import POSTS_AT_ONCE
from functions._wiring import Wiring

MESSAGE = b'{"type":"bare","text":"%s"}' % (200 * b"x")  # about as long as a state message


def post_to_all(job_id: JobId, messages: int) -> float:
    """Post that many messages to each subscriber, and return when the first one was posted."""
    wiring = Wiring(os.environ)
    sockets = wiring.aws.sockets
    subscribers = wiring.aws.connections.subscribers(job_id, wiring.clock())

    def post(subscriber: Subscriber, count: int) -> None:
        for _ in range(count):
            sockets.post(subscriber.id, MESSAGE)

    with ThreadPoolExecutor(POSTS_AT_ONCE) as posts:
        list(posts.map(lambda subscriber: post(subscriber, 1), subscribers))
        started = time.time()
        list(posts.map(lambda subscriber: post(subscriber, messages), subscribers))
    return started


if __name__ == "__main__":
    print(post_to_all(JobId(sys.argv[1]), int(sys.argv[2])))
