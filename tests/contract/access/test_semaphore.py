"""What every Semaphore does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.adapters.aws.access.semaphore import DynamoSemaphore
from comfyline.service.access.semaphore import Semaphore
from tests.contract.conftest import AwsClient
from tests.support.aws import create_table
from tests.support.builders import NOW

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def entered(semaphore: Semaphore, limit: int = 2, *, late: timedelta = timedelta(0)) -> str | None:
    now = NOW + late
    return semaphore.enter(limit, now=now, until=now + MINUTE)


def test_no_more_places_are_taken_than_the_limit(semaphore: Semaphore) -> None:
    places = [entered(semaphore) for _ in range(3)]
    assert None not in places[:2]
    assert places[2] is None
    assert len(set(places)) == 3


def test_leaving_frees_a_place_once(semaphore: Semaphore) -> None:
    first, _ = entered(semaphore), entered(semaphore)
    assert first is not None
    for _ in range(2):
        semaphore.leave(first)
    assert entered(semaphore) is not None
    assert entered(semaphore) is None


def test_a_place_is_free_when_its_time_is_over(semaphore: Semaphore) -> None:
    old = [entered(semaphore), entered(semaphore, late=SECOND)]
    assert entered(semaphore, late=MINUTE - timedelta.resolution) is None
    assert entered(semaphore, late=MINUTE) is not None
    assert entered(semaphore, late=MINUTE) is None
    for (
        place
    ) in old:  # their holders were slow and leave only now, which must not free a place of others
        semaphore.leave(str(place))
    assert entered(semaphore, late=MINUTE) is not None
    assert entered(semaphore, late=MINUTE) is None


def test_many_expired_places_are_freed_at_once(semaphore: Semaphore) -> None:
    assert all(entered(semaphore, 100) for _ in range(100))
    assert entered(semaphore, 100, late=MINUTE) is not None
    assert all(entered(semaphore, 100, late=MINUTE) for _ in range(99))
    assert entered(semaphore, 100, late=MINUTE) is None


@pytest.fixture
def calls(aws_client: AwsClient) -> tuple[DynamoSemaphore, list[str]]:
    client, names = aws_client("dynamodb"), list[str]()
    create_table(client, "owners", "pk", "sk")
    client.meta.events.register("before-call", lambda model, **_: names.append(model.name))
    return DynamoSemaphore(client, "owners", "waits"), names


def test_on_aws_entering_and_leaving_take_one_write_each(
    calls: tuple[DynamoSemaphore, list[str]],
) -> None:
    semaphore, names = calls
    entered(semaphore)  # creates the row
    names.clear()
    place = entered(semaphore)
    assert place is not None
    semaphore.leave(place)
    assert names == ["UpdateItem", "UpdateItem"]


def test_on_aws_semaphores_in_one_table_are_independent(aws_client: AwsClient) -> None:
    client = aws_client("dynamodb")
    create_table(client, "owners", "pk", "sk")
    first, second = (DynamoSemaphore(client, "owners", name) for name in ("first", "second"))
    assert entered(first, 1) is not None
    assert entered(second, 1) is not None
    assert entered(first, 1) is None
