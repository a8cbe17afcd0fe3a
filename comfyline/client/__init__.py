"""The Python client: submit jobs to a Comfyline service, follow them, and save their files.

from comfyline.client import Comfyline

with Comfyline() as client:
    job = client.submit("a red fox in the snow", steps=20)
    for message in job.events():
        print(message)
    print(job.download("out"))

`AsyncComfyline` has the same methods for asyncio. Only the names in `__all__` are stable.
"""

from comfyline.client.aio.client import AsyncComfyline
from comfyline.client.aio.job import AsyncJob
from comfyline.client.blocking.client import Comfyline
from comfyline.client.blocking.job import Job
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
    PlainHttpWarning,
    RateLimited,
    ServiceUnavailable,
    SubscriptionRefused,
    TransportFailed,
    Unauthorized,
    UnexpectedAnswer,
    UploadFailed,
    WaitTimedOut,
)
from comfyline.client.pace import Pace
from comfyline.client.pictures import Picture
from comfyline.client.retries import Backoff, Retries
from comfyline.contract.v1.access import (
    Caller,
    CallerKey,
    KeyLimits,
    KeyList,
    KeyView,
    NewKeyResponse,
)
from comfyline.contract.v1.history import EventList, EventView
from comfyline.contract.v1.responses import (
    CancelAnswer,
    ErrorView,
    JobAccepted,
    JobPage,
    JobView,
    Models,
    ProgressDetail,
    Timestamps,
    UsageView,
)
from comfyline.contract.v1.results import ArtifactPage, ArtifactView, ResultView, WarningView
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
    "ArtifactPage",
    "ArtifactView",
    "AsyncComfyline",
    "AsyncJob",
    "Backoff",
    "Caller",
    "CallerKey",
    "CancelAnswer",
    "Comfyline",
    "ComfylineClientError",
    "Conflict",
    "DoneMessage",
    "DownloadFailed",
    "ErrorView",
    "EventList",
    "EventView",
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
    "KeyLimits",
    "KeyList",
    "KeyView",
    "Models",
    "NewKeyResponse",
    "NotConfigured",
    "NotFound",
    "Pace",
    "Picture",
    "PlainHttpWarning",
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
    "WarningView",
]
