"""Chunks of a job's subscribers, posted by asynchronous calls of another function."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from comfyline.adapters.aws.errors import translated
from comfyline.contract.ids import ConnectionId, JobId
from comfyline.service.live.broadcast import Chunk
from comfyline.service.live.delivery import Post
from comfyline.service.live.sockets import Subscriber


class LambdaRelay:
    """`Relay` that calls a function for each chunk."""

    def __init__(self, client: Any, function: str) -> None:
        self._client = client
        self._function = function

    @translated()
    def send(self, chunk: Chunk) -> None:
        """See Relay."""
        self._client.invoke(
            FunctionName=self._function,
            InvocationType="Event",
            Payload=json.dumps(event_of(chunk)).encode(),
        )


def event_of(chunk: Chunk) -> dict[str, Any]:
    """The chunk as the event of the function."""
    return {
        "job_id": chunk.job_id,
        "is_end": chunk.is_end,
        "subscribers": [[each.id, each.since.isoformat()] for each in chunk.subscribers],
        "posts": [[post.body.decode(), post.must_arrive] for post in chunk.posts],
    }


def chunk_of(event: Mapping[str, Any]) -> Chunk:
    """The chunk of an event that `event_of` made."""
    job_id = JobId(event["job_id"])
    subscribers = [
        Subscriber(ConnectionId(id_), datetime.fromisoformat(since))
        for id_, since in event["subscribers"]
    ]
    posts = [Post(job_id, body.encode(), must_arrive) for body, must_arrive in event["posts"]]
    return Chunk(job_id, subscribers, posts, event["is_end"])
