"""Calls the functions of a job in this process, as AWS calls them, and counts their AWS calls.

The authorizer is called once, and its answer is used for both the post and the read, because API
Gateway caches it. The stream calls settle_jobs and the pusher with one change at a time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from comfyline.contract.ids import OwnerId
from comfyline.service.access.authenticate import create_key
from comfyline.service.access.slots import Limits
from functions import _handlers
from functions._clients import Clients
from tests.support.aws import create_services
from tests.support.aws_ledger import Change, Ledger
from tests.support.gateway import Gateway

PICTURE = {"prompt": "a red fox", "steps": 20, "width": 64, "height": 64}
_METRICS = {"METRICS_NAMESPACE": "Comfyline/cost"}
_SCALING = {
    "max_workers": 4,
    "job_seconds": 30,
    "target_wait_seconds": 120,
    "boot_seconds": 180,
    "quiet_seconds": 180,
}
_SCALER = {
    "CLUSTER": "comfyline",
    "SERVICE": "worker",
    "SCALING": json.dumps(_SCALING),
    "SCALER_FUNCTION": "scaler",
    "PARKING_QUEUE_URL": "parking",
}


@dataclass(slots=True)
class Work:
    """How often a function was called, and how many AWS calls it made in all."""

    calls: int = 0
    aws_calls: float = 0


@dataclass(slots=True)
class Functions:
    """Calls the functions for jobs of one caller. `work` is by function, in the order of a job."""

    ledger: Ledger
    token: str
    api: Gateway
    work: dict[str, Work] = field(default_factory=lambda: defaultdict(Work))
    _caller: dict[str, str] = field(default_factory=dict)

    def post(self) -> str:
        """Post one job, and return its id."""
        header = {"authorization": f"Bearer {self.token}"}
        with self._counted("authorize"):
            answer = self.api.call("AuthorizeHttp", {"headers": header})
        self._caller = answer["context"]
        with self._counted("submit"):
            reply = self._gateway("POST", "/api/v1/jobs", PICTURE)
        return str(reply.json["job_id"])

    def arrive(self, change: Change) -> None:
        """Call settle_jobs as the stream does for a new job."""
        with self._counted("arrive"):
            answer = self.api.call("SettleJobs", _batch("INSERT", change))
        assert answer == {"batchItemFailures": []}

    def settle(self, change: Change) -> None:
        """Call settle_jobs as the stream does for the end of a job."""
        with self._counted("settle"):
            answer = self.api.call("SettleJobs", _batch("MODIFY", change))
        assert answer == {"batchItemFailures": []}

    def push(self, change: Change) -> None:
        """Call the pusher as the stream does for a change of a watched job."""
        with self._counted("push"):
            answer = self.api.call("PushUpdates", _batch("MODIFY", change))
        assert answer == {"batchItemFailures": []}

    def read(self, job_id: str) -> Any:
        """The job as its owner reads it."""
        with self._counted("read"):
            return self._gateway("GET", f"/api/v1/jobs/{job_id}").json

    @property
    def _gateway(self) -> Gateway:
        return replace(self.api, owner=self._caller["owner"], caller=self._caller)

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        before = self.ledger.calls
        yield
        self.work[name].calls += 1
        self.work[name].aws_calls += self.ledger.calls - before


def deployed(
    api: Gateway, session: Any, patch: pytest.MonkeyPatch, printed: Any, limits: Limits
) -> str:
    """Create what the functions need beside the API's resources, and return the token of a new key.

    The functions then print to `printed`. The fleet is awake, because a sleeping fleet is woken
    once, independently of the number of jobs.
    """
    create_services(session.client("ecs"))
    patch.setenv("METRICS_NAMESPACE", _METRICS["METRICS_NAMESPACE"])  # for the worker
    patch.setattr(_handlers.logger.registered_handler, "stream", printed)
    measured(api, session).call("ScaleWorkers", {"arrived": 1})
    _key, token = create_key(
        OwnerId("fox"),
        scopes=["jobs"],
        expires_at=None,
        limits=limits,
        keys=api.aws.keys,
        clock=api.clock,
    )
    return token


def measured(api: Gateway, session: Any) -> Gateway:
    """The same functions with the scaler's settings, with metrics and with new clients."""
    environ = {**api.environ, **_SCALER, **_METRICS}
    return replace(api, environ=environ, client=Clients(session.client), made={})


def _batch(event: str, change: Change) -> dict[str, Any]:
    before, after = change
    item: Any = after or before
    keys = {"pk": item["pk"], "sk": item["sk"]}
    record = {"Keys": keys, "SequenceNumber": "1", "NewImage": after, "OldImage": before}
    known = {name: value for name, value in record.items() if value is not None}
    return {"Records": [{"eventName": event, "dynamodb": known}]}
