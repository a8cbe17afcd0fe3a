"""What one deployment is: the choices that come from outside, checked once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from comfyline.service.graphs.lock import EngineLock
from infra.context import Context, ContextLookup
from infra.fleet_choices import FLEET_DEFAULTS, FleetChoices
from infra.scraping import SCRAPING_DEFAULTS, Scraping

ROOT = Path(__file__).resolve().parents[1]
# Queue visibility follows the lease, and SQS takes at most 12 hours of it.
MAX_LEASE_SECONDS = 12 * 3600
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Names of stacks, of the cluster and in ARNs are made from it.
_ENV = re.compile(r"[a-z][a-z0-9-]{0,19}")


class Target(StrEnum):
    """Where the templates go."""

    AWS = "aws"
    LOCAL = "local"  # an emulator on this machine: plain HTTP, nothing worth keeping
    LOCALSTACK = "localstack"  # the same, where functions run in containers as Lambda's


_COMMON: Mapping[str, Any] = {
    "env": "dev",
    "architecture": "arm64",
    "dashboard": "true",
    "tracing": "true",
    "log_level": "info",
    "alarms": "true",
    "metrics": "true",
    "container_insights": "false",
    "oldest_job_minutes": 30,
    "runbook_url": "docs/runbook.md",
    **FLEET_DEFAULTS,
    **SCRAPING_DEFAULTS,
}
_EMULATED: Mapping[str, Any] = {
    **_COMMON,
    "metrics": "false",  # nobody reads them there
    # After a call that has logged nothing, the emulator waits 50 ms for what might come.
    "log_level": "debug",
    "lease_seconds": 20,
    "heartbeat_seconds": 5,
    "environment": "localcloud/engine.lock.toml",
    "worker_image": "comfyline-worker",  # never pulled: the worker runs beside the emulator
}
# Locally a crash should be seen to heal while one waits; on AWS renewals are paid for.
_DEFAULTS: Mapping[Target, Mapping[str, Any]] = MappingProxyType(
    {
        Target.AWS: {
            **_COMMON,
            "environment": "gpu_worker/engine.lock.toml",
            "lease_seconds": 120,
            "heartbeat_seconds": 30,
        },
        Target.LOCAL: _EMULATED,
        Target.LOCALSTACK: _EMULATED,
    }
)

# What every context key means, for docs and for the message about a key that nobody knows.
CONTEXT_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "env": "name of the environment; several live side by side in one account",
        "target": "aws, or local or localstack for an emulator",
        "architecture": "of the functions: arm64 or x86_64",
        "environment": "path of the engine lock: the image's, too",
        "worker_image": "the worker's image, with its tag or digest",
        "models_bucket": "whose models/ workers fetch from; the deployment's own bucket if missing",
        "lease_seconds": "how long a worker that is silent keeps its job",
        "heartbeat_seconds": "how often a worker renews its lease",
        "keep_data": "whether tables and bucket outlive the stack; only env=dev may lose them",
        "allowed_origins": "web pages that may call the API and post uploads, between commas",
        "api_domain": "custom domain of the HTTP API",
        "socket_domain": "custom domain of the WebSocket API; it cannot be the same",
        "certificate_arn": "the certificate of both domains, in the region of the deployment",
        "capacity": "managed (ECS Managed Instances) or asg (an Auto Scaling group)",
        "instance_types": "GPU instance types with one GPU each, between commas",
        "spot_percent": "share of spot in the fleet",
        "min_workers": "workers that always run",
        "max_workers": "workers that may run at most",
        "warm_workers": "workers that run at least in the warm hours",
        "warm_hours": "UTC, such as `mon-fri 07-18`",
        "job_seconds": "GPU time of a usual job",
        "target_wait_seconds": "how long a backlog may take once its workers are up",
        "boot_seconds": "from the order of a worker to its first job",
        "quiet_seconds": "how long a worker that is needed no more is kept",
        "alarm_email": "who is told of alarms",
        "runbook_url": "where alarms say the runbook is",
        "oldest_job_minutes": "a job that waits longer raises an alarm",
        "alarms": "whether there are alarms (true, false); beyond ten metrics they are paid for",
        "metrics": "whether processes record what they do (true, false); alarms and graphs read it",
        "metrics_port": "where Prometheus may scrape each worker (from 1024); nowhere if missing",
        "metrics_from": "who else than the same instance may: a security group or private network",
        "dashboard": "whether there is a dashboard (true, false)",
        "tracing": "whether X-Ray traces the functions (true, false); up to $25 a million jobs",
        "log_level": "of the functions: info, or debug for a line about each call",
        "container_insights": "whether ECS reports its own metrics, which are paid for when idle",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Domains:
    """The deployment's own names. The APIs' two domains cannot be one."""

    api: str
    socket: str
    certificate_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One environment's choices.

    Raises:
        ValueError: the lease could run out between two heartbeats, or is longer than SQS can hide
            a message; the name of the environment cannot be part of other names.
    """

    env: str
    target: Target
    architecture: str  # of the functions
    environment: Path  # the engine lock; it is a valid one
    worker_image: str
    models_bucket: str | None
    lease_seconds: int
    heartbeat_seconds: int
    keep_data: bool
    allowed_origins: tuple[str, ...]
    domains: Domains | None
    fleet: FleetChoices
    alarm_email: str | None
    oldest_job_minutes: int
    runbook_url: str
    alarms: bool
    metrics: bool
    scraping: Scraping  # of workers, one by one
    dashboard: bool
    tracing: bool  # of the functions, by X-Ray
    log_level: str  # of the functions
    container_insights: bool

    def __post_init__(self) -> None:
        if not _ENV.fullmatch(self.env):
            raise ValueError(f"env={self.env!r} must match {_ENV.pattern}")
        # Two renewals may fail before a lease is lost.
        if not 0 < self.heartbeat_seconds * 3 < self.lease_seconds <= MAX_LEASE_SECONDS:
            raise ValueError(
                f"lease_seconds={self.lease_seconds} must be more than three times "
                f"heartbeat_seconds={self.heartbeat_seconds} and at most {MAX_LEASE_SECONDS}"
            )

    @property
    def is_local(self) -> bool:
        """Whether an emulator takes the templates."""
        return self.target is not Target.AWS

    @property
    def metrics_namespace(self) -> str:
        """Where the deployment's processes record what they measure; empty if they do not."""
        return f"Comfyline/{self.env}" if self.metrics else ""

    @property
    def cluster_name(self) -> str:
        """The fleet's cluster; known before it is made, for the grants that name its tasks."""
        return f"comfyline-{self.env}"

    def stack_name(self, part: str) -> str:
        """The name of one of the deployment's stacks."""
        return f"comfyline-{self.env}-{part}"

    @classmethod
    def from_context(cls, lookup: ContextLookup) -> Self:
        """The deployment that the CDK context describes.

        Raises:
            ValueError: a required key is missing or a value is wrong; the message says which.
        """
        target = Target(lookup("target") or Target.AWS)
        context = Context(lookup, _DEFAULTS[target])
        env = context.text("env")
        return cls(
            env=env,
            target=target,
            architecture=context.choice("architecture", "arm64", "x86_64"),
            environment=_environment(context),
            worker_image=context.text("worker_image"),
            models_bucket=_models_bucket(context),
            lease_seconds=context.number("lease_seconds", 1, 10**6),
            heartbeat_seconds=context.number("heartbeat_seconds", 0, 10**6),
            keep_data=_keep_data(context, env, target),
            allowed_origins=_origins(context, target),
            domains=_domains(context),
            fleet=FleetChoices.from_context(context),
            alarm_email=context.optional("alarm_email"),
            oldest_job_minutes=context.number("oldest_job_minutes", 1, 24 * 60),
            runbook_url=context.text("runbook_url"),
            alarms=context.switch("alarms"),
            metrics=context.switch("metrics"),
            scraping=_scraping(context, target),
            dashboard=context.switch("dashboard"),
            tracing=context.switch("tracing"),
            log_level=context.choice("log_level", "info", "debug").upper(),
            container_insights=context.switch("container_insights"),
        )


def _environment(context: Context) -> Path:
    path = ROOT / context.text("environment")
    try:
        EngineLock.parse(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"context key 'environment' is {path}: {error}") from error
    return path


def _scraping(context: Context, target: Target) -> Scraping:
    scraping = Scraping.from_context(context)
    if scraping.port and target is not Target.AWS:
        raise ValueError("context key 'metrics_port' is for AWS: emulated workers share one host")
    return scraping


def _models_bucket(context: Context) -> str | None:
    name = context.optional("models_bucket")
    if name is not None and not _BUCKET.fullmatch(name):
        raise ValueError(f"context key 'models_bucket' is the name of a bucket, not {name!r}")
    return name


def _keep_data(context: Context, env: str, target: Target) -> bool:
    # Forgetting the key must not cost a team its data: only what is called dev is disposable.
    if context.optional("keep_data") is not None:
        return context.switch("keep_data")
    return target is Target.AWS and env != "dev"


def _origins(context: Context, target: Target) -> tuple[str, ...]:
    origins = context.items("allowed_origins")
    wrong = [o for o in origins if o != "*" and not re.fullmatch(r"https?://[^/*\s]+", o)]
    if wrong:
        raise ValueError(f"context key 'allowed_origins' holds {wrong[0]!r}: no origin")
    return origins or (() if target is Target.AWS else ("*",))


def _domains(context: Context) -> Domains | None:
    keys = ("api_domain", "socket_domain", "certificate_arn")
    given = {key: context.optional(key) for key in keys}
    if not any(given.values()):
        return None
    api, socket, certificate = (context.text(key) for key in keys)
    if api == socket:
        raise ValueError("context key 'socket_domain' must differ from 'api_domain'")
    return Domains(api=api, socket=socket, certificate_arn=certificate)
