"""The GPU workers: their image, their place, and their number."""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from comfyline.service.fleet.scaling import ScalingPolicy
from comfyline.service.graphs.lock import EngineLock
from infra import ROOT
from infra.sections.section import Section

# Tickets become visible again when the lease ends, and SQS hides a message for 12 h at most.
MAX_LEASE_SECONDS = 12 * 3600
# The default quota of ECS for the tasks of one service. More GPUs need several deployments.
MAX_WORKERS = 5000

SubnetId = Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")]
GroupId = Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")]
Zone = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$")]
# One task fills an instance, so further GPUs of an instance would be idle.
InstanceType = Annotated[str, Field(pattern=r"^[a-z0-9]+\.(x|2x|4x|8x|16x)?large$")]


class Worker(Section):
    """What a GPU worker runs, and how long it may hold a job."""

    image: str = Field(
        min_length=1,
        description="image of the worker by its digest; a tag is accepted with a warning",
        examples=["123456789012.dkr.ecr.eu-west-1.amazonaws.com/comfyline@sha256:..."],
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
    early_jobs: bool = Field(
        default=False,
        description="whether a worker takes jobs whose models are there while it fetches others; a "
        "job with nodes that are not ComfyUI's own waits for all of them",
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
    progress_seconds: int = Field(
        default=10,
        ge=1,
        le=300,
        description="interval at which a worker writes the progress of a job without subscribers, "
        "and so learns of a cancel or a first subscriber",
    )
    follow_queued_prompts: bool = Field(
        default=False,
        description="whether prompts that a node queues, as VHS_BatchManager does, are run as a "
        "part of the job, which fails otherwise; a worker then queues no job ahead of another",
    )
    thumbnails: bool = Field(
        default=True,
        description="whether workers make thumbnails of the first 100 pictures of each ended job, "
        "which lists of jobs and `?w=512` show",
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
    def image_is_pinned(self) -> bool:
        """Whether the image is named by its digest, so that it is the same on every instance."""
        return "@sha256:" in self.image

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
    ami_id: str | None = Field(
        default=None,
        pattern=r"^ami-[0-9a-f]{8,17}$",
        description='an own image of the instances, with `capacity = "asg"`; made from the one of '
        "ECS for GPUs, it may hold the worker's image and models",
        json_schema_extra={"allowed": "the id of an AMI", "by_default": "the newest of ECS"},
    )
    restore_mib_a_second: int | None = Field(
        default=None,
        ge=100,
        le=300,
        description="MiB a second at which an instance's disk is restored from `fleet.ami_id`; AWS "
        "bills it by the GB of the snapshot, and without it each block waits for its first read",
        json_schema_extra={"by_default": "none: at first reads"},
    )
    warm_pool: int = Field(
        default=0,
        ge=0,
        le=100,
        description="stopped on-demand instances that have image and models, with "
        '`capacity = "asg"`; each costs its disk '
        "([scaling](scaling.md#from-zero-to-the-first-picture))",
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

    @model_validator(mode="after")
    def _only_a_group_has_images_and_a_pool(self) -> Self:
        if self.capacity != "asg" and (self.ami_id or self.warm_pool):
            raise ValueError('ami_id and warm_pool need capacity = "asg"')
        if self.restore_mib_a_second and not self.ami_id:
            raise ValueError("restore_mib_a_second needs ami_id, whose snapshot is restored")
        return self


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
