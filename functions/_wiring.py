"""The composition root of the Lambdas: it assembles each use case from its adapters.

A use case that is a class is a property here, and a use case that is a function is a method. Each
is assembled at its first use, so that a cold start loads only what the function needs. Tests
construct a `Wiring` with their own environment variables, clock and adapters, and patch nothing.

The file has more than 300 lines so that everything is assembled in one place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfyline.service import settings as of
from comfyline.service.clock import Clock, utc_now
from functions._aws import Aws

if TYPE_CHECKING:
    from comfyline.contract.ids import JobId, KeyId, OwnerId
    from comfyline.service.access.keys import ApiKey, Flags
    from comfyline.service.access.socket_passes import SocketPass
    from comfyline.service.cached import Cached
    from comfyline.service.files.offer_upload import NewUpload, Offer
    from comfyline.service.fleet.scale import Scaler
    from comfyline.service.fleet.wake import ScalerWake
    from comfyline.service.graphs.lock import EngineLock
    from comfyline.service.graphs.published_nodes import PublishedNodes
    from comfyline.service.intake.admit import Admission
    from comfyline.service.intake.submit import Defaults, Submitter
    from comfyline.service.intake.wait import WaitRoom
    from comfyline.service.jobs.cancel import Cancellation
    from comfyline.service.jobs.job import Job, JobRecord, Status
    from comfyline.service.jobs.result import Artifact
    from comfyline.service.jobs.settle import Settlement
    from comfyline.service.jobs.sweep import Sweeper
    from comfyline.service.ledger.count import Meter
    from comfyline.service.live.broadcast import Broadcast
    from comfyline.service.live.close_sockets import SocketCloser
    from comfyline.service.live.messages import ClosingNotice
    from comfyline.service.live.notify import Notifier
    from comfyline.service.live.subscribe import Subscriptions
    from comfyline.service.queue.lanes import Priority

# In a deployed function this file is the deployment's own lock.
ENGINE_LOCK = Path(__file__).parents[1] / "gpu_worker" / "engine.lock.toml"

# Threads that post to sockets, and only wait: a job's 200 subscribers are served in 7 rounds.
POSTS_AT_ONCE = 32
# A place in the queue is approximate anyway. Clients may poll a waiting job once a second, and each
# read of a depth is a billed request of 10 to 30 ms.
DEPTH_LIFETIME = timedelta(seconds=3)
# API Gateway keeps an authorizer's answer for 30 s, so this hardly delays a switch. All calls read
# the same item, which could take 3,000 reads a second.
FLAGS_LIFETIME = timedelta(seconds=5)
# Threads of the sweeper, which wait for two calls per job: 10,000 jobs take 10 s of waiting.
SWEEPS_AT_ONCE = 32


class Wiring:
    """The use cases of one process, and its adapters: `aws`."""

    def __init__(
        self,
        environ: Mapping[str, str],
        clock: Clock = utc_now,
        *,
        aws: Aws | None = None,
        lock_file: Path = ENGINE_LOCK,
    ) -> None:
        self.clock = clock
        self.aws = aws or Aws(environ)
        self._lock_file = lock_file

    # --- posting jobs -----------------------------------------------------------------------------

    @cached_property
    def submitter(self) -> Submitter:
        """Accepts jobs and retries."""
        from comfyline.service.intake.accept import Acceptance
        from comfyline.service.intake.submit import Submitter

        acceptance = Acceptance(
            store=self.aws.jobs,
            queue=self.aws.queue,
            uploads=self.aws.uploads,
            admission=self.admission,
            settle=self._settle,
            clock=self.clock,
            nodes=self._nodes.get,
        )
        return Submitter(
            acceptance=acceptance,
            store=self.aws.jobs,
            metrics=self.aws.metrics,
            clock=self.clock,
            defaults=self._defaults,
            catalogue=self.lock.catalogue,
            nodes=self._nodes.get,
        )

    @cached_property
    def _nodes(self) -> PublishedNodes:
        from comfyline.service.graphs.published_nodes import PublishedNodes

        version = self.aws.settings(of.EngineSettings).engine_version
        return PublishedNodes(self.aws.engine_nodes, version, self.clock)

    @property
    def _defaults(self) -> Defaults:
        from comfyline.service.intake.submit import Defaults

        known = self.aws.settings(of.JobDefaults)
        return Defaults(
            checkpoint=self.lock.default_checkpoint,
            start_deadline=timedelta(seconds=known.start_deadline_seconds),
            execution_timeout=timedelta(seconds=known.execution_timeout_seconds),
            retention=timedelta(seconds=known.retention_seconds),
        )

    @cached_property
    def admission(self) -> Admission:
        """Takes and frees the slots of owners."""
        from comfyline.service.intake.admit import Admission

        return Admission(owners=self.aws.owners, jobs=self.aws.jobs, clock=self.clock)

    @cached_property
    def wait_room(self) -> WaitRoom:
        """Waits for the end of a job that was just posted."""
        from comfyline.service.intake.wait import WaitRoom

        return WaitRoom(
            jobs=self.aws.jobs,
            places=self.aws.wait_places,
            clock=self.clock,
            max_waits=self.aws.settings(of.WaitSettings).max_waits,
        )

    @cached_property
    def lock(self) -> EngineLock:
        """What the engine of this deployment has: the workers are built from the same lock."""
        from comfyline.service.graphs.lock import EngineLock

        return EngineLock.parse(self._lock_file.read_text())

    def offer_upload(self, asked: NewUpload, owner: OwnerId) -> Offer:
        """A form that a client uploads a file with."""
        from comfyline.service.files.offer_upload import offer_upload

        return offer_upload(asked, owner, uploads=self.aws.uploads, clock=self.clock)

    # --- reading and ending jobs ------------------------------------------------------------------

    def read_job(self, job_id: JobId, owner: OwnerId) -> JobRecord:
        """One job of the owner."""
        from comfyline.service.jobs.read import read_job

        return read_job(job_id, owner, store=self.aws.jobs, clock=self.clock)

    def read_artifacts(
        self, job_id: JobId, owner: OwnerId, numbers: range
    ) -> tuple[JobRecord, tuple[Artifact, ...]]:
        """One job of the owner, and the artifacts with these numbers."""
        from comfyline.service.jobs.artifacts import read_artifacts

        return read_artifacts(job_id, owner, numbers, store=self.aws.jobs, clock=self.clock)

    def queue_position(self, job: Job) -> int | None:
        """About where a queued job stands."""
        from comfyline.service.jobs.read import queue_position

        return queue_position(job, depth=lambda lane: self._depths[lane]())

    @cached_property
    def _depths(self) -> Mapping[Priority, Cached[int]]:
        """The depth of each lane. All clients that wait in a lane read the same number."""
        from comfyline.service.cached import Cached
        from comfyline.service.queue.lanes import Priority

        def of(lane: Priority) -> Cached[int]:
            return Cached(lambda: self.aws.queue.depth(lane), DEPTH_LIFETIME, self.clock)

        return {lane: of(lane) for lane in Priority}

    def read_page(
        self, owner: OwnerId, *, status: Status | None, limit: int, cursor: str | None
    ) -> tuple[list[JobRecord], str | None]:
        """One page of the owner's jobs."""
        from comfyline.service.jobs.read import read_page

        return read_page(
            owner,
            status=status,
            limit=limit,
            cursor=cursor,
            store=self.aws.jobs,
            clock=self.clock,
        )

    def cancel(self, job_id: JobId, owner: OwnerId) -> Cancellation:
        """Cancel a job of the owner."""
        from comfyline.service.jobs.cancel import cancel

        return cancel(
            job_id,
            owner,
            store=self.aws.jobs,
            clock=self.clock,
            free_slot=self.admission.free_slot,
        )

    def purge(self, job_id: JobId, owner: OwnerId) -> Cancellation:
        """Remove an ended job of the owner."""
        from comfyline.service.jobs.cancel import purge

        return purge(
            job_id,
            owner,
            store=self.aws.jobs,
            artifacts=self.aws.artifacts,
            settle=self._settle,
            clock=self.clock,
            free_slot=self.admission.free_slot,
        )

    # --- access -----------------------------------------------------------------------------------

    def authenticate(self, authorization: str | None) -> ApiKey | None:
        """The API key behind a header."""
        from comfyline.service.access.authenticate import authenticate

        return authenticate(authorization, keys=self.aws.keys, clock=self.clock)

    @cached_property
    def flags(self) -> Cached[Flags]:
        """The operator's switches, which every authorizer's call needs."""
        from comfyline.service.cached import Cached

        return Cached(self.aws.keys.flags, FLAGS_LIFETIME, self.clock)

    def create_socket_pass(self, owner: OwnerId, key_id: KeyId) -> tuple[SocketPass, str]:
        """A new socket pass."""
        from comfyline.service.access.authenticate import create_socket_pass

        passes = self.aws.socket_passes
        return create_socket_pass(owner, key_id, passes=passes, clock=self.clock)

    def redeem_socket_pass(self, secret: str) -> ApiKey | None:
        """The API key behind a socket pass."""
        from comfyline.service.access.authenticate import redeem_socket_pass

        keys, passes = self.aws.keys, self.aws.socket_passes
        return redeem_socket_pass(secret, passes=passes, keys=keys, clock=self.clock)

    # --- live updates -----------------------------------------------------------------------------

    @cached_property
    def subscriptions(self) -> Subscriptions:
        """Subscribes sockets to jobs."""
        from comfyline.service.live.subscribe import Subscriptions

        return Subscriptions(
            jobs=self.aws.jobs,
            connections=self.aws.connections,
            notifier=self.notifier,
            clock=self.clock,
        )

    @cached_property
    def notifier(self) -> Notifier:
        """Answers subscriptions."""
        return self._notifier(self.broadcast)

    @cached_property
    def pusher(self) -> Notifier:
        """Sends the changes of jobs to their subscribers, with the help of other functions."""
        return self._notifier(replace(self.broadcast, relay=self.aws.relay))

    def _notifier(self, broadcast: Broadcast) -> Notifier:
        from comfyline.api.v1.messages import MessageEncoder
        from comfyline.service.live.notify import Notifier

        return Notifier(
            jobs=self.aws.jobs,
            connections=self.aws.connections,
            broadcast=broadcast,
            encode=MessageEncoder(self.aws.artifacts, self.clock),
            clock=self.clock,
        )

    @cached_property
    def broadcast(self) -> Broadcast:
        """Posts messages to the subscribers of a job."""
        from comfyline.service.live.broadcast import Broadcast
        from comfyline.service.live.delivery import Delivery

        return Broadcast(
            connections=self.aws.connections,
            delivery=Delivery(
                connections=self.aws.connections,
                sockets=self.aws.sockets,
                metrics=self.aws.metrics,
                clock=self.clock,
            ),
            metrics=self.aws.metrics,
            executor=self._posts,
        )

    @cached_property
    def socket_closer(self) -> SocketCloser:
        """Closes the sockets of API keys that were disabled or have expired."""
        from comfyline.service.live.close_sockets import SocketCloser

        return SocketCloser(
            connections=self.aws.connections,
            keys=self.aws.keys,
            sockets=self.aws.sockets,
            encode=_encoded_notice,
            clock=self.clock,
            executor=self._posts,
        )

    @cached_property
    def _posts(self) -> Executor:
        return ThreadPoolExecutor(POSTS_AT_ONCE)  # it starts a thread when there is work for it

    # --- repairs and the fleet --------------------------------------------------------------------

    @cached_property
    def sweeper(self) -> Sweeper:
        """Repairs jobs after a crash or a lost message."""
        from comfyline.service.jobs.sweep import Chore, Sweeper

        return Sweeper(
            store=self.aws.jobs,
            queue=self.aws.queue,
            artifacts=self.aws.artifacts,
            settlement=self.settlement,
            clock=self.clock,
            executor=ThreadPoolExecutor(SWEEPS_AT_ONCE),
            chores=(
                Chore("SocketClosed", self.socket_closer.close_unwanted),
                Chore("SlotDropped", self.admission.reconcile),
            ),
        )

    @cached_property
    def settlement(self) -> Settlement:
        """Runs the steps that follow the end of a job; they are all named here."""
        from comfyline.service.jobs.settle import Settlement, Step

        return Settlement(
            steps=(Step("free_slot", self.admission.free_slots), Step("count", self._count)),
            store=self.aws.jobs,
            clock=self.clock,
        )

    def _count(self, ended: Sequence[Job]) -> None:
        from comfyline.service.ledger.count import count

        with self.aws.grouped_metrics() as metrics:
            count(ended, ledger=self.aws.ledger, metrics=metrics)

    def _settle(self, job: Job) -> Job:
        # The few calls that need the settlement load it then, and no cold start does.
        return self.settlement.complete(job)

    def send_again(self, job_id: JobId) -> bool:
        """Send a new ticket for a job, because its old one reached the dead-letter queue."""
        from comfyline.service.jobs.redrive import send_again

        store, queue = self.aws.jobs, self.aws.queue
        return send_again(job_id, store=store, queue=queue, clock=self.clock)

    @cached_property
    def scaler(self) -> Scaler:
        """Resizes the fleet."""
        from comfyline.service.fleet.scale import Scaler
        from comfyline.service.fleet.scaling import ScalingPolicy

        section = self.aws.settings(of.ScalerSettings).scaling
        return Scaler(
            backlog=self.aws.backlog,
            fleet=self.aws.fleet,
            presence=self.aws.presence,
            memory=self.aws.scaling_memory,
            policy=ScalingPolicy(**json.loads(section)),
            clock=self.clock,
        )

    @cached_property
    def scaler_wake(self) -> ScalerWake | None:
        """Calls the scaler for new jobs; None if this deployment has no scaler."""
        from comfyline.service.fleet.wake import ScalerWake

        if (scaler := self.aws.scaler) is None:
            return None
        return ScalerWake(
            memory=self.aws.scaling_memory, call_scaler=scaler.jobs_arrived, clock=self.clock
        )

    # --- totals -----------------------------------------------------------------------------------

    @cached_property
    def meter(self) -> Meter:
        """Reads what Prometheus is shown."""
        from comfyline.service.ledger.count import Meter

        return Meter(
            ledger=self.aws.ledger,
            queue=self.aws.queue,
            presence=self.aws.presence,
            clock=self.clock,
        )

    # --- the API itself ---------------------------------------------------------------------------

    @cached_property
    def routes(self) -> tuple[str, ...]:
        """Every route of the HTTP API, such as "GET /healthz"."""
        routes = self.aws.settings(of.UnknownRouteSettings).routes
        return tuple(filter(None, routes.split(",")))

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        from comfyline.contract.v1.openapi import document

        return document()


def _encoded_notice(notice: ClosingNotice) -> bytes:
    # The models are loaded here, so that a sweeper that closes no socket starts without them.
    from comfyline.api.v1.messages import closing_message, encoded

    return encoded(closing_message(notice))
