"""The worker's clock follows AWS and not the machine's wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.auth
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.aws_clock import MAX_ERROR, AwsClock, sign_by
from tests.support.builders import NOW

PRECISION = timedelta(seconds=1.021)  # of `Date`, and the time of a call


class Machine:
    """True time, a wall clock that is off by `error`, and a connection to AWS."""

    def __init__(self, error: timedelta = timedelta(0)) -> None:
        self.passed, self.error = timedelta(0), error
        self.clock = AwsClock(lambda: self.now + self.error, self.ticks)

    def ticks(self) -> float:
        return self.passed.total_seconds()

    @property
    def now(self) -> datetime:
        return NOW + self.passed

    def call(self, *, there: float = 0.01, back: float = 0.01) -> None:
        """A request that takes so many seconds on its way, and its answer."""
        sent_at = self.passed.total_seconds()
        self.passed += timedelta(seconds=there)
        date = self.now.replace(microsecond=0)
        self.passed += timedelta(seconds=back)
        self.clock.heard(date, sent_at)

    @property
    def is_off_by(self) -> timedelta:
        return abs(self.clock() - self.now)


@pytest.mark.parametrize("seconds", [-86_400, -180, -6, -2, 0, 2, 6, 180, 86_400])
def test_one_answer_corrects_any_error(seconds: int) -> None:
    machine = Machine(timedelta(seconds=seconds))
    machine.call()
    assert machine.is_off_by <= PRECISION
    assert abs(machine.clock.wall_error - timedelta(seconds=seconds)) <= PRECISION


def test_a_clock_that_is_right_is_not_moved() -> None:
    machine = Machine()
    for _ in range(100):
        machine.call(there=0.13, back=0.21)
        assert machine.is_off_by < timedelta(microseconds=2)


@given(
    st.floats(-1e5, 1e5),
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20), st.floats(0, 100)), max_size=20),
)
def test_answers_of_any_delay_never_make_the_clock_worse(
    error: float, calls: list[tuple[float, float, float]]
) -> None:
    machine = Machine(timedelta(seconds=error))
    machine.call()
    assert machine.is_off_by <= PRECISION
    for there, back, pause in calls:
        before = machine.is_off_by
        machine.call(there=there, back=back)
        assert machine.is_off_by <= before + timedelta(microseconds=10)
        machine.passed += timedelta(seconds=pause)


@pytest.mark.parametrize("jump", [-180, 180])
def test_a_wall_clock_that_jumps_does_not_move_it(jump: int) -> None:
    machine = Machine()
    machine.call()
    machine.error = timedelta(seconds=jump)
    assert machine.is_off_by < timedelta(microseconds=2)
    assert machine.clock.fault is not None


@pytest.mark.parametrize(
    ("seconds", "fault"),
    [
        (-181, "the clock of this machine is 181 s behind AWS"),
        (181, "the clock of this machine is 181 s ahead of AWS"),
        (4, None),
        (-4, None),
    ],
)
def test_a_wall_clock_that_is_far_off_is_a_fault(seconds: int, fault: str | None) -> None:
    machine = Machine()
    machine.call()
    machine.error = timedelta(seconds=seconds)
    assert machine.clock.fault == fault


def test_a_wall_clock_that_was_set_right_is_no_fault_any_more() -> None:
    machine = Machine(MAX_ERROR * 2)
    machine.call()
    assert machine.clock.fault is not None
    machine.error = timedelta(0)
    assert machine.clock.fault is None


class Events:
    """The events of a boto3 client."""

    def __init__(self) -> None:
        self.handlers: dict[str, object] = {}

    def register(self, name: str, handler: object) -> None:
        self.handlers[name] = handler

    def emit(self, name: str, **values: object) -> None:
        handler = self.handlers[name]
        assert callable(handler)
        handler(**values)


@pytest.mark.parametrize(
    "headers",
    [{}, {"date": ""}, {"date": "yesterday"}, {"date": "Tue, 31 Feb 2026 00:00:00 GMT"}],
)
def test_an_answer_without_a_date_changes_nothing(headers: dict[str, str]) -> None:
    machine, events, context = Machine(), Events(), {}
    machine.clock.follow(events)
    events.emit("before-call", context=context, model=None)
    parsed = {"ResponseMetadata": {"HTTPHeaders": headers}}
    events.emit("after-call", parsed=parsed, context=context, http_response=SimpleNamespace())
    assert machine.is_off_by == timedelta(0)


def test_the_answers_of_a_client_are_heard_errors_included() -> None:
    machine, events, context = Machine(timedelta(hours=1)), Events(), {}
    machine.clock.follow(events)
    events.emit("before-call", context=context, model=None)
    headers = {"date": format_datetime(machine.now.astimezone(UTC), usegmt=True)}
    parsed = {"Error": {"Code": "RequestExpired"}, "ResponseMetadata": {"HTTPHeaders": headers}}
    events.emit("after-call", parsed=parsed, context=context)
    assert machine.is_off_by <= PRECISION


# --- signatures -----------------------------------------------------------------------------------


class Aws:
    """Answers every call with the right time, and refuses a signature that is 5 minutes off."""

    def __init__(self, error: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error = error  # of the machine's wall clock
        self.clock = AwsClock(self.wall)
        # botocore reads the wall clock, until `sign_by` replaces this function too.
        monkeypatch.setattr(botocore.auth, "get_current_datetime", self.wall)
        session = boto3.Session("id", "secret", region_name="eu-west-1")
        config = Config(retries={"total_max_attempts": 1})
        self.dynamodb = session.client("dynamodb", config=config)
        self.dynamodb.meta.events.register("before-send", self.answer)
        self.clock.follow(self.dynamodb.meta.events)
        sign_by(self.clock)

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.error

    def answer(self, request: Any, **_: Any) -> AWSResponse:
        signed_at = request.headers["X-Amz-Date"].decode()
        now = datetime.now(UTC)
        off = now - datetime.strptime(signed_at, "%Y%m%dT%H%M%S%z")
        is_right = abs(off) < timedelta(minutes=5)
        body = b"{}" if is_right else b'{"__type": "InvalidSignatureException"}'
        headers = {"Date": format_datetime(now, usegmt=True)}
        raw = SimpleNamespace(stream=lambda: iter([body]))
        return AWSResponse(request.url, 200 if is_right else 400, headers, raw)

    def call(self) -> None:
        self.dynamodb.get_item(TableName="jobs", Key={"pk": {"S": "job"}})


@pytest.mark.parametrize("seconds", [-1200, -180, 0, 180, 1200])
def test_aws_takes_the_signatures_after_a_jump(
    seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = Aws(timedelta(0), monkeypatch)
    aws.call()
    aws.error = timedelta(seconds=seconds)
    aws.call()


@pytest.mark.parametrize("seconds", [-1200, 1200])
def test_aws_refuses_one_signature_of_a_clock_that_is_wrong_from_the_start(
    seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = Aws(timedelta(seconds=seconds), monkeypatch)
    with pytest.raises(ClientError, match="InvalidSignature"):
        aws.call()
    aws.call()
    assert aws.clock.fault is not None
