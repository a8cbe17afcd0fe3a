"""A clean deployment in moto, and the same content in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest

from comfyline.operate import wiring
from tests.support.audited import Builder, Deployed
from tests.support.audited_stores import AGE, MotoStored
from tests.support.gateway import functions_on_moto


@pytest.fixture(scope="module")
def clean_moto() -> Iterator[Deployed]:
    """A deployment in moto, which all tests of a module use one after the other."""
    now = datetime.now(UTC) - AGE
    with pytest.MonkeyPatch.context() as patch, functions_on_moto(patch, lambda: now) as gateway:
        dead = boto3.client("sqs").create_queue(QueueName="dead")["QueueUrl"]
        patch.setenv("DEAD_LETTER_QUEUE_URL", dead)
        jobs = Builder(gateway, now).build()
        stored = MotoStored(gateway, wiring.inventory())
        yield Deployed(stored, jobs, now, contents=stored.in_memory().contents)


@pytest.fixture(scope="module")
def clean_memory(clean_moto: Deployed) -> Deployed:
    """The same content in memory."""
    assert isinstance(clean_moto.stored, MotoStored)
    copy = clean_moto.stored.in_memory()
    return Deployed(copy, clean_moto.jobs, clean_moto.now, contents={**copy.contents})


@pytest.fixture
def moto(clean_moto: Deployed) -> Iterator[Deployed]:
    """The deployment in moto, which is put back after the test."""
    try:
        yield clean_moto
    finally:
        clean_moto.restore()


@pytest.fixture
def deployed(request: pytest.FixtureRequest) -> Iterator[Deployed]:
    """The deployment in `memory` or in `moto`, which is put back after the test."""
    deployment: Deployed = request.getfixturevalue(f"clean_{request.param}")
    try:
        yield deployment
    finally:
        deployment.restore()
