"""What a platform team decides about one deployment: the model of `deployments/<stage>.toml`.

The bounds and descriptions here are the whole documentation of a key. The table in docs/deploy.md
and the messages about a wrong file are made from them. deployment_file.py reads the file.
"""

from __future__ import annotations

import hashlib
import platform
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from comfyline.service.fleet.scaling import ScalingPolicy
from comfyline.service.graphs.lock import EngineLock

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "comfyline"  # the first part of the names of stacks and cluster, and a tag
# Tickets become visible again when the lease ends, and SQS hides a message for 12 h at most.
MAX_LEASE_SECONDS = 12 * 3600
# The default quota of ECS for the tasks of one service. More GPUs need several deployments.
MAX_WORKERS = 5000
# API Gateway's own limit, which all APIs of an account and the posts to sockets share.
MAX_REQUESTS_PER_SECOND = 10_000
# The names under which Python knows the two architectures of Lambda.
_ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64", "AMD64": "x86_64"}

Target = Literal["aws", "local", "localstack"]
SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
GroupId = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")]
Zone = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$")]
Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^/*\s]+)$")]
# One task fills an instance, so further GPUs of an instance would be idle.
InstanceType = Annotated[str, Field(pattern=r"^[a-z0-9]+\.(x|2x|4x|8x|16x)?large$")]


class Section(BaseModel):
    """One section of the file. Unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class Functions(Section):
    """The Lambda functions."""

    architecture: Literal["arm64", "x86_64", "host"] = Field(
        default="arm64",
        description="processor of the functions; host: that of the machine that deploys",
    )
    log_level: Literal["info", "debug"] = Field(
        default="info", description="debug adds one log line for each call"
    )
    concurrency: int = Field(
        default=10,
        ge=10,
        le=100_000,
        description="calls of functions that may run at once, at most the account's limit, which "
        "`comfyline admin preflight` shows; new accounts have 10",
    )
    s3_public_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+$",
        description="where callers reach an emulator's S3, if its functions use another address",
        examples=["http://127.0.0.1:4566"],
    )


class Api(Section):
    """The two APIs."""

    allowed_origins: tuple[Origin, ...] = Field(
        default=(),
        description="origins of web pages that may call the API; `*` allows every page",
        json_schema_extra={"allowed": "a list of origins, such as `https://app.example.com`"},
    )
    requests_per_second: int | None = Field(
        default=None,
        ge=1,
        le=MAX_REQUESTS_PER_SECOND,
        description="requests of all callers together; more are refused with 429",
        json_schema_extra={"by_default": "20 for each of `functions.concurrency`, at most 2,000"},
    )
    open_requests_per_second: int = Field(
        default=20,
        ge=1,
        le=MAX_REQUESTS_PER_SECOND,
        description="requests without a key, for each of the open routes",
    )
    max_waits: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="posts that wait for their job at one time; others are answered at once",
        json_schema_extra={"by_default": "a tenth of `functions.concurrency`, at most 100"},
    )
    domain: str | None = Field(
        default=None, description="custom domain of the HTTP API", examples=["api.example.com"]
    )
    socket_domain: str | None = Field(
        default=None,
        description="custom domain of the WebSocket API; it must differ from `api.domain`",
        examples=["live.example.com"],
    )
    certificate_arn: str | None = Field(
        default=None,
        description="ACM certificate for both domains, in the deployment's region",
        examples=["arn:aws:acm:eu-west-1:123456789012:certificate/..."],
    )

    @model_validator(mode="after")
    def _domains_are_complete(self) -> Self:
        given = [self.domain, self.socket_domain, self.certificate_arn]
        if any(given) and not all(given):
            raise ValueError("domain, socket_domain and certificate_arn must be given together")
        if self.domain is not None and self.domain == self.socket_domain:
            raise ValueError("socket_domain must differ from domain")
        return self


class Worker(Section):
    """What a GPU worker runs, and how long it may hold a job."""

    image: str = Field(
        min_length=1,
        description="image of the worker, with its tag or digest",
        examples=["123456789012.dkr.ecr.eu-west-1.amazonaws.com/comfyline:1"],
    )
    lock: str = Field(
        default="gpu_worker/engine.lock.toml",
        description="the lock that the image was built with, as a path from the repository's root",
        examples=["gpu_worker/team.lock.toml"],
    )
    models_bucket: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="bucket with the `models/` that the workers read",
        json_schema_extra={
            "allowed": "the name of a bucket, such as `team-models`",
            "by_default": "the deployment's own",
        },
    )
    engine_egress: bool = Field(
        default=False,
        description="whether ComfyUI and its nodes may open connections; nodes that download must",
    )
    lease_seconds: int = Field(
        default=120,
        ge=1,
        le=MAX_LEASE_SECONDS,
        description="a worker that is silent so long loses its job",
    )
    heartbeat_seconds: int = Field(
        default=30,
        ge=1,
        le=MAX_LEASE_SECONDS,
        description="interval at which a worker renews its lease",
    )
    follow_queued_prompts: bool = Field(
        default=False,
        description="whether prompts that a node queues, as VHS_BatchManager does, are run as a "
        "part of the job, which fails otherwise; a worker then queues no job ahead of another",
    )

    @field_validator("lock", mode="after")
    @classmethod
    def _lock_is_valid(cls, lock: str) -> str:
        try:
            EngineLock.parse((ROOT / lock).read_text())
        except OSError as error:
            raise ValueError(f"{lock} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(f"{lock} is not a lock: {error}") from error
        return lock

    @model_validator(mode="after")
    def _lease_outlives_two_lost_heartbeats(self) -> Self:
        if self.heartbeat_seconds * 3 >= self.lease_seconds:
            raise ValueError(
                f"lease_seconds ({self.lease_seconds}) must be more than three times "
                f"heartbeat_seconds ({self.heartbeat_seconds})"
            )
        return self

    @property
    def lock_file(self) -> Path:
        """Where the lock is."""
        return ROOT / self.lock

    @property
    def engine_version(self) -> str:
        """A name of the engine, which changes whenever the image or the lock does."""
        return hashlib.sha256(self.image.encode() + self.lock_file.read_bytes()).hexdigest()[:16]


class Fleet(Section):
    """The GPU instances."""

    capacity: Literal["managed", "asg"] = Field(
        default="managed",
        description="managed: ECS Managed Instances; asg: an Auto Scaling group, for an own AMI",
    )
    instance_types: tuple[InstanceType, ...] = Field(
        default=("g6.xlarge", "g5.xlarge"),
        min_length=1,
        description="EC2 instance types, each with one GPU",
        json_schema_extra={"allowed": "a list of types up to 16xlarge, such as `g6.xlarge`"},
    )
    zones: tuple[Zone, ...] = Field(
        default=(),
        description="zones of a new network; `comfyline admin preflight` names those that have the "
        "types",
        json_schema_extra={
            "allowed": "a list of zones, such as `eu-west-1a`",
            "by_default": "the region's first two",
        },
    )


class Network(Section):
    """The network of the GPU instances."""

    cidr: str = Field(
        default="10.0.0.0/16",
        pattern=r"^\d{1,3}(\.\d{1,3}){3}/(1[6-9]|2[0-4])$",
        description="address range of a new network",
        json_schema_extra={"allowed": "a range from /16 to /24, such as `10.20.0.0/20`"},
    )
    vpc_id: str | None = Field(
        default=None,
        pattern=r"^vpc-[0-9a-f]{8,17}$",
        description="a network that exists; its subnets need a way to AWS's APIs and to the image",
        json_schema_extra={"allowed": "the id of a VPC", "by_default": "a new one"},
    )
    subnet_ids: tuple[SubnetId, ...] = Field(
        default=(),
        description="subnets of `network.vpc_id`, in zones that have the instance types",
        json_schema_extra={"allowed": "a list of ids of subnets"},
    )
    security_group_ids: tuple[GroupId, ...] = Field(
        default=(),
        description="security groups of `network.vpc_id` for the instances",
        json_schema_extra={
            "allowed": "a list of ids of security groups",
            "by_default": "a new one: nothing in, TLS out",
        },
    )

    @field_validator("cidr", mode="after")
    @classmethod
    def _cidr_is_a_network(cls, cidr: str) -> str:
        try:
            return str(IPv4Network(cidr))
        except ValueError as error:
            raise ValueError(f"{cidr} is no range of addresses: {error}") from error

    @model_validator(mode="after")
    def _subnets_belong_to_a_network(self) -> Self:
        if (self.vpc_id is None) != (not self.subnet_ids):
            raise ValueError("vpc_id and subnet_ids must be given together")
        if self.vpc_id is None and self.security_group_ids:
            raise ValueError("security_group_ids needs vpc_id")
        return self


class Scaling(Section):
    """The number of workers. The scaler reads this section; ScalingPolicy has its rules."""

    min_workers: int = Field(default=0, ge=0, le=MAX_WORKERS, description="workers that always run")
    max_workers: int = Field(
        default=10, ge=0, le=MAX_WORKERS, description="most workers at one time"
    )
    ondemand_workers: int = Field(
        default=1,
        ge=0,
        le=MAX_WORKERS,
        description="number of workers that are never spot; those above are spot, if it can be had",
    )
    warm_workers: int = Field(
        default=0,
        ge=0,
        le=MAX_WORKERS,
        description="workers that run in the warm hours even without jobs",
    )
    warm_hours: str = Field(
        default="", description="hours of the week in UTC", examples=["mon-fri 07-18"]
    )
    job_seconds: int = Field(default=10, ge=1, le=21_600, description="GPU seconds of a usual job")
    target_wait_seconds: int = Field(
        default=120,
        ge=1,
        le=86_400,
        description="time to finish a backlog, once its workers have started",
    )
    boot_seconds: int = Field(
        default=180, ge=1, le=3600, description="time from the order of a worker to its first job"
    )
    quiet_seconds: int = Field(
        default=180, ge=0, le=86_400, description="time that a worker without jobs is kept"
    )

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        ScalingPolicy(**self.model_dump())
        return self


class Iam(Section):
    """What an account requires of the roles that the stacks make."""

    permissions_boundary: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+$",
        description="policy that bounds every role",
        json_schema_extra={"allowed": "the ARN of a managed policy"},
    )
    role_prefix: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,20}$",
        description="prefix of every role's name, except for the instances' roles: AWS "
        "requires that their names begin with `ecsInstanceRole`",
        json_schema_extra={"allowed": "up to 20 letters, digits, hyphens and underscores"},
    )


class Alarms(Section):
    """CloudWatch alarms."""

    enabled: bool = Field(
        default=True, description="whether alarms are made; beyond ten metrics they cost"
    )
    email: str | None = Field(
        default=None, description="address that receives the alarms", examples=["team@example.com"]
    )
    topic_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:.+$",
        description="SNS topic that exists; its policy must let CloudWatch publish",
        json_schema_extra={"allowed": "the ARN of a topic", "by_default": "a new one"},
    )
    oldest_job_minutes: int = Field(
        default=30, ge=1, le=1440, description="a job that waits longer than this raises an alarm"
    )
    runbook_url: str = Field(
        default="docs/runbook.md",
        min_length=1,
        description="place of the runbook, which the alarms' descriptions name",
        examples=["https://wiki.example.com/runbook"],
    )

    @model_validator(mode="after")
    def _a_given_topic_has_its_own_subscriptions(self) -> Self:
        if self.topic_arn and self.email:
            raise ValueError("email needs a new topic; subscribe it to topic_arn instead")
        return self


class Observability(Section):
    """What the deployment records about itself."""

    metrics: bool = Field(
        default=True,
        description="whether processes record metrics; three alarms and most graphs read them",
    )
    dashboard: bool = Field(default=True, description="whether a CloudWatch dashboard is made")
    tracing: bool = Field(
        default=False,
        description="whether X-Ray traces the functions; up to $25 for a million jobs",
    )
    log_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827] = Field(
        default=30, description="days for which logs are kept"
    )
    container_insights: bool = Field(
        default=False, description="whether ECS records its own metrics; they cost when idle, too"
    )


class Deployment(Section):
    """One deployment: the file as a whole."""

    stage: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,19}$",  # it is part of the names of stacks and in ARNs
        description="name of the deployment, which is part of every stack's name",
        json_schema_extra={
            "allowed": "up to 20 lower-case letters, digits and hyphens, with a letter first",
            "by_default": "the file's name",
        },
    )
    target: Target = Field(
        default="aws", description="where it is deployed; local and localstack are emulators"
    )
    keep_data: bool | None = Field(
        default=None,
        description="whether tables and bucket outlive their stack",
        json_schema_extra={"by_default": "true, except for the stage `dev`"},
    )
    tags: dict[str, str] = Field(
        default={},
        max_length=40,  # AWS allows 50 for a resource, of which the CDK and ECS use some
        description="tags of every resource, besides `project` and `stage`",
        examples=[{"cost-center": "42"}],
    )
    functions: Functions = Functions()
    api: Api = Api()
    worker: Worker
    fleet: Fleet = Fleet()
    network: Network = Network()
    scaling: Scaling = Scaling()
    iam: Iam = Iam()
    alarms: Alarms = Alarms()
    observability: Observability = Observability()

    @property
    def keeps_data(self) -> bool:
        """Whether the data outlives the stacks. A team that forgets the key must not lose data."""
        return self.stage != "dev" if self.keep_data is None else self.keep_data

    @property
    def is_local(self) -> bool:
        """Whether an emulator takes the templates."""
        return self.target != "aws"

    @property
    def architecture(self) -> str:
        """The functions' architecture, as Lambda calls it."""
        chosen = self.functions.architecture
        return _ARCHITECTURES[platform.machine()] if chosen == "host" else chosen

    @property
    def requests_per_second(self) -> int:
        """Requests a second that the HTTP API accepts; a call of a function takes some 50 ms."""
        return self.api.requests_per_second or min(20 * self.functions.concurrency, 2000)

    @property
    def max_waits(self) -> int:
        """Posts that may wait for their job at one time; each occupies a function meanwhile."""
        chosen = self.api.max_waits
        return min(self.functions.concurrency // 10, 100) if chosen is None else chosen

    @property
    def metrics_namespace(self) -> str:
        """Where in CloudWatch processes record metrics; empty if they record none."""
        return f"Comfyline/{self.stage}" if self.observability.metrics else ""

    @property
    def cluster_name(self) -> str:
        """The fleet's cluster. Grants name its tasks before the cluster exists."""
        return f"{PROJECT}-{self.stage}"

    def stack_name(self, part: str) -> str:
        """The name of one of the deployment's stacks."""
        return f"{self.cluster_name}-{part}"
