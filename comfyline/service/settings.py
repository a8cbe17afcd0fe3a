"""The settings of every process. A field's name in capitals is its environment variable.

A function has one or several groups of settings, and its row in infra/rows/ names them. The
stacks write the environment variables from these classes and the processes read them back with the
same classes, so that a missing or misspelt variable is a type error or a test failure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

if TYPE_CHECKING:
    from comfyline.service.queue.lanes import Priority


def _switch(text: str) -> bool:
    """The value of a switch, as `str` writes it or as TOML and JSON do."""
    values = {"true": True, "false": False}
    try:
        return values[text.lower()]
    except KeyError:
        raise ValueError(f"must be true or false, not {text!r}") from None


# A parser for each annotation, as the source writes it. The classes are dataclasses and not models
# of pydantic, because every request waits for an authorizer, and loading pydantic would take it
# longer than the rest of its cold start.
_PARSERS: Mapping[str, Callable[[str], str | int | float]] = {
    "bool": _switch,
    "str": str,
    "str | None": str,
    "int": int,
    "int | None": int,
    "float": float,
}


class WrongEnvironment(ValueError):
    """Environment variables are missing or wrong; the message names each of them."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Settings:
    """Base class: immutable, without unknown fields. Every subclass becomes a dataclass.

    The methods of all subclasses are here. A dataclass's own would be compiled at every cold start,
    for these thirty classes in 8 ms.
    """

    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        dataclass(init=False, repr=False, eq=False)(cls)

    def __init__(self, **values: str | float | None) -> None:
        known = {field.name: field.default for field in fields(self)}
        unknown = values.keys() - known.keys()
        known |= values
        missing = {name for name, value in known.items() if value is MISSING}
        if unknown or missing:
            kind = type(self).__name__
            raise TypeError(f"{kind}: missing {sorted(missing)}, unknown {sorted(unknown)}")
        vars(self).update(known)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to {name}: settings are immutable")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """The settings that these environment variables hold.

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
        """The environment variables from which `from_environment` reads these settings."""
        values = {field.name.upper(): getattr(self, field.name) for field in fields(self)}
        return {name: str(value) for name, value in values.items() if value is not None}


# --- groups of settings that the functions share --------------------------------------------------


class JobsTable(Settings):
    """The jobs table."""

    jobs_table: str


class OwnersTable(Settings):
    """The table of slots, rates and totals of owners."""

    owners_table: str


class BudgetSettings(OwnersTable):
    """What owners may ask for."""

    requests_per_minute: int = 6_000  # of an owner whose key sets no other limit


class KeysTable(Settings):
    """The table of API keys and switches."""

    keys_table: str


class ConnectionsTable(Settings):
    """The table of open sockets, subscriptions and socket passes."""

    connections_table: str


class ArtifactsBucket(Settings):
    """The bucket of artifacts and uploads."""

    artifacts_bucket: str
    s3_public_endpoint: str | None = None  # in signed URLs; None: where this process reaches S3


class PublicAddress(Settings):
    """Where callers reach the HTTP API."""

    public_url: str = ""  # without a slash at its end; empty: not known, so answers have no links


class EdgeSettings(Settings):
    """What shows that a request has come through the distribution in front of the APIs."""

    # The values of its header that are accepted, separated by commas; None: every request is.
    edge_secrets: str | None = None


class SignInSettings(Settings):
    """The issuer at which people sign in."""

    sign_in: str = ""  # the section [sign_in] of the deployment file, as JSON; empty: keys only


class EngineSettings(Settings):
    """The engine of the deployment's workers."""

    engine_version: str = "unknown"  # changes whenever the image or the lock does


class ScalingTable(Settings):
    """The table of what the scaler remembers."""

    scaling_table: str


class QueueSettings(Settings):
    """The queues of tickets, one for each priority."""

    high_queue_url: str
    normal_queue_url: str
    low_queue_url: str

    @property
    def lanes(self) -> Mapping[Priority, str]:
        """The queue's URL for each priority."""
        # Imported here, because the authorizers import this module and start faster without jobs.
        from comfyline.service.queue.lanes import Priority

        return {
            Priority.HIGH: self.high_queue_url,
            Priority.NORMAL: self.normal_queue_url,
            Priority.LOW: self.low_queue_url,
        }


class MeasuredSettings(Settings):
    """Where metrics are recorded."""

    metrics_namespace: str = ""  # in CloudWatch; empty: no metric is recorded


class SocketSettings(ConnectionsTable):
    """The WebSocket API and the clients that are connected to it."""

    websocket_api_id: str
    websocket_stage: str


class SocketAddress(SocketSettings):
    """The WebSocket API, and the address at which clients open sockets."""

    websocket_url: str


class GreeterSettings(Settings):
    """The function that sends the first message to a new socket: functions/socket_subscribe.py."""

    greeter_function: str


class RelaySettings(Settings):
    """The function that posts to a part of a job's many subscribers: functions/push_chunk.py."""

    relay_function: str


class JobDefaults(Settings):
    """Deadlines and retention of a job, unless its request has others."""

    start_deadline_seconds: int = 24 * 3600
    execution_timeout_seconds: int = 600
    retention_seconds: int = 7 * 24 * 3600


class WaitSettings(Settings):
    """Posts that wait for the end of their job."""

    max_waits: int  # at one time; others are answered at once


class OperatorSettings(Settings):
    """What operators are told of the deployment itself."""

    stage: str
    alarm_prefix: str = ""  # of the names of its alarms; empty: it has none


class DeadLetterQueue(Settings):
    """The queue of tickets that were delivered too often."""

    dead_letter_queue_url: str


class ParkingQueue(Settings):
    """The queue of what functions/settle_jobs.py could not settle."""

    parking_queue_url: str


class WakeSettings(Settings):
    """How new jobs wake functions/scale_workers.py. Empty: this deployment has no scaler."""

    scaler_function: str = ""
    scaling_table: str = ""


class UnknownRouteSettings(Settings):
    """The routes that exist, for the answer to a method that a path does not have."""

    routes: str  # "GET /healthz,POST /api/v1/jobs,…"


class ScalerSettings(ScalingTable, JobsTable):
    """The fleet that functions/scale_workers.py sizes, and the limits of its size."""

    cluster: str
    scaling: str  # the section [scaling] of the deployment file, as JSON


# --- processes other than functions ---------------------------------------------------------------


class RedriveSettings(QueueSettings, JobsTable, DeadLetterQueue):
    """`comfyline admin redrive`"""


class QuarantineSettings(RedriveSettings, ParkingQueue):
    """`comfyline admin quarantine`"""


class AuditSettings(RedriveSettings, SocketSettings, OwnersTable, KeysTable, ArtifactsBucket):
    """`comfyline admin audit`"""


class ModelsSettings(Settings):
    """gpu_worker/fetch_models.py; the worker has the same, and can do without"""

    engine_lock: str
    models_bucket: str
    models_directory: str


class WorkerSettings(
    QueueSettings, MeasuredSettings, JobsTable, OwnersTable, ArtifactsBucket, EngineSettings
):
    """gpu_worker/"""

    comfyui_url: str = "http://127.0.0.1:8188"
    comfyui_command: str | None = None  # starts ComfyUI at that URL; None: it runs already
    # The folder above its input, output and temp, if they are on this disk: the worker owns and
    # empties them. None: the worker gets only files that nodes report, over HTTP.
    comfyui_directory: str | None = None
    comfyui_user: str | None = None  # the user that ComfyUI runs as; None: the worker's
    engine_egress: int = (
        1  # 0: the engine cannot open TCP connections, where the kernel can do that
    )
    engine_max_prompts: int = 1000  # after so many prompts ComfyUI is restarted
    engine_max_memory_mib: int | None = None  # above this resident memory ComfyUI is restarted
    engine_memory_limit_mib: int | None = None  # above it ComfyUI is ended; None: see wiring.py
    min_free_disk_mib: int = 512  # with less free space no job runs
    unhealthy_seconds: float = 600.0  # a worker that cannot run jobs for so long ends
    engine_silent_seconds: float = 900.0  # a prompt without a message in an idle engine is stuck
    follow_queued_prompts: bool = False  # run what nodes queue as rounds of the job, else fail it
    thumbnails: bool = True  # made of the pictures of ended jobs
    engine_lock: str | None = None  # path of the lock; None: no models are fetched, no warm-up runs
    early_jobs: bool = False  # jobs run as soon as their own models are there, else all must be
    models_bucket: str | None = None  # where the lock's models are stored
    models_directory: str | None = None  # where ComfyUI looks for them
    lease_seconds: float = 120.0
    heartbeat_seconds: float = 30.0
    progress_seconds: float = 10.0  # between two writes of progress that no subscriber waits for
    ecs_agent_uri: str | None = None  # set by ECS in every task that it starts
    ecs_container_metadata_uri_v4: str | None = None  # likewise
    is_canary: int = 0  # 1: its revision is not the deployed one, and it does not retire for that
