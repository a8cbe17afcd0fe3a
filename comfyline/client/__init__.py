"""The Python client: submit jobs to a Comfyline service, follow them, save what they made.

from comfyline.client import Comfyline

with Comfyline() as client:
    job = client.submit("a red fox in the snow", steps=20)
    for message in job.events():
        print(message)
    print(job.download("out"))

`AsyncComfyline` is the same for asyncio. What is not named here may change without notice.
"""

from comfyline.client.aio import AsyncComfyline, AsyncJob
from comfyline.client.backoff import Backoff
from comfyline.client.calls import Retries
from comfyline.client.errors import (
    ApiError,
    ComfylineClientError,
    Conflict,
    DownloadFailed,
    Forbidden,
    InvalidRequest,
    JobCanceled,
    JobExpired,
    JobFailed,
    JobNotSucceeded,
    NotConfigured,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    SubscriptionRefused,
    TransportFailed,
    Unauthorized,
    UnexpectedAnswer,
    UploadFailed,
    WaitTimedOut,
)
from comfyline.client.http import Comfyline, Job
from comfyline.client.stream import Pace
from comfyline.contract.v1.responses import (
    ArtifactView,
    CancelAnswer,
    ErrorView,
    JobAccepted,
    JobPage,
    JobView,
    Models,
    ProgressDetail,
    ResultView,
    Timestamps,
    UsageView,
)
from comfyline.contract.v1.socket import (
    ArtifactMessage,
    DoneMessage,
    JobMessage,
    ProgressMessage,
    StatusMessage,
)

__all__ = [
    "ApiError",
    "ArtifactMessage",
    "ArtifactView",
    "AsyncComfyline",
    "AsyncJob",
    "Backoff",
    "CancelAnswer",
    "Comfyline",
    "ComfylineClientError",
    "Conflict",
    "DoneMessage",
    "DownloadFailed",
    "ErrorView",
    "Forbidden",
    "InvalidRequest",
    "Job",
    "JobAccepted",
    "JobCanceled",
    "JobExpired",
    "JobFailed",
    "JobMessage",
    "JobNotSucceeded",
    "JobPage",
    "JobView",
    "Models",
    "NotConfigured",
    "NotFound",
    "Pace",
    "ProgressDetail",
    "ProgressMessage",
    "RateLimited",
    "ResultView",
    "Retries",
    "ServiceUnavailable",
    "StatusMessage",
    "SubscriptionRefused",
    "Timestamps",
    "TransportFailed",
    "Unauthorized",
    "UnexpectedAnswer",
    "UploadFailed",
    "UsageView",
    "WaitTimedOut",
]
