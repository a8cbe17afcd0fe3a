"""The functions of a job in this process: called as AWS calls them, alone, and counted each.

The authorizer is asked once for the post and the read, and its answer goes to both; the stream
wakes the scaler for the job alone and tells the pusher each change alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bench.calls import Image, Ledger
from comfyline.contract.ids import OwnerId
from comfyline.service.access.authenticate import create_key
from functions import authorize, get_job, push_updates, scale_workers, submit_job
from functions._aws import Clients
from tests.support.aws import create_service, create_table
from tests.support.gateway import Gateway

PICTURE = {"prompt": "a red fox", "steps": 20, "width": 64, "height": 64}
_MEASURED = {"METRICS_NAMESPACE": "Comfyline/cost"}
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
    "SCALING_TABLE": "scaling",
    "SCALING": json.dumps(_SCALING),
}


@dataclass(slots=True)
class Work:
    """What the calls of one function came to."""

    calls: int = 0
    aws_calls: float = 0


@dataclass(slots=True)
class Functions:
    """What is called for jobs of one caller; `work` is by function, in the order of a life."""

    ledger: Ledger
    token: str
    api: Gateway
    work: dict[str, Work] = field(default_factory=lambda: defaultdict(Work))
    _caller: dict[str, str] = field(default_factory=dict)

    def post(self) -> str:
        """Accept one job; its id."""
        header = {"authorization": f"Bearer {self.token}"}
        with self._call("authorize"):
            answer = self.api.call("AuthorizeHttp", {"headers": header})
        self._caller = answer["context"]
        with self._call("submit"):
            reply = self._gateway("POST", "/api/v1/jobs", PICTURE)
        return str(reply.json["job_id"])

    def wake(self, image: Image) -> None:
        """The stream tells the scaler of a new job."""
        with self._call("scale"):
            self.api.call("ScaleWorkers", _batch("INSERT", image))

    def push(self, image: Image) -> None:
        """The stream tells the pusher of a change."""
        with self._call("push"):
            answer = self.api.call("PushUpdates", _batch("MODIFY", image))
        assert answer == {"batchItemFailures": []}

    def read(self, job_id: str) -> Any:
        """The job as its owner sees it."""
        with self._call("read"):
            return self._gateway("GET", f"/api/v1/jobs/{job_id}").json

    @property
    def _gateway(self) -> Gateway:
        return replace(self.api, owner=self._caller["owner"], caller=self._caller)

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        before = self.ledger.calls
        yield
        self.work[name].calls += 1
        self.work[name].aws_calls += self.ledger.calls - before


def deployed(api: Gateway, session: Any, patch: pytest.MonkeyPatch, printed: Any) -> str:
    """What the functions need beside the API's own, and a key; they print to `printed`.

    The fleet is awake afterwards: one that sleeps is woken once, however many jobs come then.
    """
    create_table(session.client("dynamodb"), "scaling", "pk")
    create_service(session.client("ecs"))
    patch.setenv("METRICS_NAMESPACE", _MEASURED["METRICS_NAMESPACE"])  # the worker's
    for module in (authorize, submit_job, scale_workers, push_updates, get_job):
        patch.setattr(module.logger.registered_handler, "stream", printed)
    measured(api, session).call("ScaleWorkers", {"Records": [{}]})
    _key, token = create_key(
        OwnerId("fox"),
        scopes=["jobs"],
        expires_at=None,
        keys=api.aws.keys,
        clock=api.clock,
    )
    return token


def measured(api: Gateway, session: Any) -> Gateway:
    """The same functions with the scaler's settings, with metrics and with clients of their own."""
    environ = {**api.environ, **_SCALER, **_MEASURED}
    return replace(api, environ=environ, client=Clients(session), made={})


def _batch(event: str, image: Image) -> dict[str, Any]:
    before, after = image
    row: Any = after or before
    keys = {"pk": row["pk"], "sk": row["sk"]}
    told = {"Keys": keys, "SequenceNumber": "1", "NewImage": after, "OldImage": before}
    known = {name: value for name, value in told.items() if value is not None}
    return {"Records": [{"eventName": event, "dynamodb": known}]}
