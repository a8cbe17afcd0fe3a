"""The Python client: submit jobs to a Comfyline service, follow them, save what they made.

from comfyline.client import Comfyline

with Comfyline() as client:
    job = client.submit("a red fox in the snow", steps=20)
    for message in job.events():
        print(message)
    print(job.download("out"))
"""

from comfyline.client.errors import (
    ApiError,
    ComfylineClientError,
    Conflict,
    DownloadFailed,
    Forbidden,
    InvalidRequest,
    NotConfigured,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    SubscriptionRefused,
    TransportFailed,
    Unauthorized,
    UnexpectedAnswer,
    WaitTimedOut,
)
from comfyline.client.http import Comfyline, Job, Retries
from comfyline.client.stream import Pace

__all__ = [
    "ApiError",
    "Comfyline",
    "ComfylineClientError",
    "Conflict",
    "DownloadFailed",
    "Forbidden",
    "InvalidRequest",
    "Job",
    "NotConfigured",
    "NotFound",
    "Pace",
    "RateLimited",
    "Retries",
    "ServiceUnavailable",
    "SubscriptionRefused",
    "TransportFailed",
    "Unauthorized",
    "UnexpectedAnswer",
    "WaitTimedOut",
]
