"""One settings model per process; a field's name in capitals is its environment variable.

infra/ builds each function's environment from these models and each process reads its own back, so
a variable that is missing or misspelt is a type error or a test failure, never a surprise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Self, dataclass_transform

# By a field's annotation as it is written. Dataclasses and no pydantic: an authorizer, which every
# call waits for, would take longer to load that than all else.
_PARSERS: Mapping[str, Callable[[str], str | int | float]] = {
    "str": str,
    "str | None": str,
    "int": int,
    "int | None": int,
    "float": float,
}


class WrongEnvironment(ValueError):
    """The environment is not this process's; the message names each variable that is wrong."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True)
class Settings:
    """Base: immutable, no stray fields. What extends it is a dataclass."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """The settings of this process.

        Raises:
            WrongEnvironment: naming each variable that is missing or wrong.
        """
        values, wrong = dict[str, str | int | float](), list[str]()
        for field in fields(cls):
            parse, variable = _PARSERS[str(field.type)], field.name.upper()
            try:
                values[field.name] = parse(environ[variable])
            except KeyError:
                wrong += [] if field.default is not MISSING else [f"{variable} is missing"]
            except ValueError as error:
                wrong.append(f"{variable}: {error}")
        if wrong:
            raise WrongEnvironment("; ".join(wrong))
        return cls(**values)

    def to_environment(self) -> dict[str, str]:
        """The environment that reads back as these settings."""
        values = {field.name.upper(): getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in values.items() if value is not None}


class QueueSettings(Settings):
    """Where tickets are."""

    high_queue_url: str
    normal_queue_url: str
    low_queue_url: str


class MeasuredSettings(Settings):
    """What records metrics."""

    metrics_namespace: str = ""  # in CloudWatch; empty: none are recorded


class RedriveSettings(QueueSettings):
    """`comfyline admin redrive`"""

    jobs_table: str
    dead_letter_queue_url: str


class SocketSettings(Settings):
    """The WebSocket API and who is connected to it."""

    connections_table: str
    websocket_api_id: str
    websocket_stage: str


class AuditSettings(RedriveSettings, SocketSettings):
    """`comfyline admin audit`"""

    owners_table: str
    artifacts_bucket: str


class AuthorizeSettings(Settings):
    """functions/authorize.py: the HTTP API"""

    keys_table: str


class AuthorizeSocketSettings(AuthorizeSettings):
    """functions/authorize.py: the WebSocket API, which also takes one-time tickets"""

    connections_table: str


class SubmitJobSettings(QueueSettings, MeasuredSettings):
    """functions/submit_job.py, functions/generate.py and functions/retry_job.py"""

    jobs_table: str
    owners_table: str
    artifacts_bucket: str
    start_deadline_seconds: int = 24 * 3600
    execution_timeout_seconds: int = 600
    retention_seconds: int = 7 * 24 * 3600


class GetJobSettings(QueueSettings):
    """functions/get_job.py"""

    jobs_table: str
    artifacts_bucket: str


class ListJobsSettings(Settings):
    """functions/list_jobs.py"""

    jobs_table: str


class CancelJobSettings(Settings):
    """functions/cancel_job.py"""

    jobs_table: str
    artifacts_bucket: str


class ListEventsSettings(Settings):
    """functions/list_events.py"""

    jobs_table: str


class CreateUploadSettings(Settings):
    """functions/create_upload.py"""

    artifacts_bucket: str


class CreateSocketPassSettings(Settings):
    """functions/create_socket_pass.py"""

    connections_table: str


class GetUsageSettings(Settings):
    """functions/get_usage.py"""

    owners_table: str


class GetMetricsSettings(QueueSettings):
    """functions/get_metrics.py"""

    jobs_table: str
    owners_table: str


class SocketConnectSettings(Settings):
    """functions/socket_connect.py"""

    connections_table: str
    greeter_function: str  # functions/socket_subscribe.py


class SocketSubscribeSettings(SocketSettings, MeasuredSettings):
    """functions/socket_subscribe.py"""

    jobs_table: str
    artifacts_bucket: str


class SocketDisconnectSettings(Settings):
    """functions/socket_disconnect.py"""

    connections_table: str


class PushUpdatesSettings(SocketSettings, MeasuredSettings):
    """functions/push_updates.py"""

    jobs_table: str
    owners_table: str
    artifacts_bucket: str


class SweepJobsSettings(QueueSettings, SocketSettings, MeasuredSettings):
    """functions/sweep_jobs.py"""

    keys_table: str
    jobs_table: str
    owners_table: str
    artifacts_bucket: str


class RedriveTicketsSettings(QueueSettings):
    """functions/redrive_tickets.py"""

    jobs_table: str


class ScaleWorkersSettings(QueueSettings, MeasuredSettings):
    """functions/scale_workers.py; what each limit means is in comfyline/service/fleet/scaling.py"""

    cluster: str
    service: str
    scaling_table: str
    min_workers: int
    max_workers: int
    warm_workers: int
    warm_hours: str  # UTC; empty for none
    job_seconds: int
    target_wait_seconds: int
    boot_seconds: int
    quiet_seconds: int


class UnknownRouteSettings(Settings):
    """functions/unknown_route.py"""

    routes: str  # "GET /healthz,POST /api/v1/jobs,…": every route that the API has


class WorkerSettings(QueueSettings, MeasuredSettings):
    """gpu_worker/"""

    jobs_table: str
    artifacts_bucket: str
    comfyui_url: str = "http://127.0.0.1:8188"
    comfyui_command: str | None = None  # starts it there; None: somebody else keeps it
    comfyui_directory: str | None = None  # its base directory (input, output), if it is ours
    comfyui_user: str | None = None  # whom it runs as
    engine_max_prompts: int = 1000  # before it is started anew
    engine_max_memory_mib: int | None = None
    engine_silent_seconds: float = 900.0  # of a running prompt, before it counts as stuck
    engine_lock: str | None = None  # its path; None: nothing is fetched, nothing warmed up
    models_bucket: str | None = None  # where the lock's models are
    models_directory: str | None = None  # where the engine looks for them
    lease_seconds: float = 120.0
    heartbeat_seconds: float = 30.0
    metrics_port: int = 0  # where Prometheus may scrape this worker; 0: nowhere
    metrics_host: str = "127.0.0.1"  # of which interface
    ecs_agent_uri: str | None = None  # set by ECS for every task of its own
