"""What every Semaphore does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.adapters.aws.access.semaphore import DynamoSemaphore
from comfyline.adapters.aws.attributes import time_of
from comfyline.contract.ids import OwnerId
from comfyline.service.access.semaphore import Semaphore, Share
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


# --- the share of an owner ------------------------------------------------------------------------

FOX, OWL = OwnerId("fox"), OwnerId("owl")


def taken(
    semaphore: Semaphore,
    owner: OwnerId,
    things: range,
    *,
    limit: int = 20,
    late: timedelta = MINUTE,
) -> int:
    """How many of the owner's things get a place."""
    now = NOW + late - MINUTE
    shares = [Share(owner, f"job_{n}", 5) for n in things]
    places = [semaphore.enter(limit, now=now, until=now + MINUTE, share=s) for s in shares]
    return len([place for place in places if place])


def test_an_owner_takes_its_share_and_no_more(semaphore: Semaphore) -> None:
    assert taken(semaphore, FOX, range(50)) == 5
    assert taken(semaphore, OWL, range(50)) == 5
    assert taken(semaphore, FOX, range(100, 150), late=2 * MINUTE) == 5


def test_the_limit_holds_for_the_shares_together(semaphore: Semaphore) -> None:
    assert taken(semaphore, FOX, range(50), limit=7) == 5
    assert taken(semaphore, OWL, range(50), limit=7) == 2


def test_one_thing_has_one_place(semaphore: Semaphore) -> None:
    assert [taken(semaphore, FOX, range(1)) for _ in range(4)] == [1, 0, 0, 0]
    assert taken(semaphore, OWL, range(1)) == 1


def test_a_place_of_a_share_is_free_after_it_was_left(semaphore: Semaphore) -> None:
    share = Share(FOX, "job", 1)
    until = NOW + MINUTE
    place = semaphore.enter(9, now=NOW, until=until, share=share)
    assert place is not None
    assert semaphore.enter(9, now=NOW, until=until, share=share) is None
    semaphore.leave(place)
    assert semaphore.enter(9, now=NOW, until=until, share=share) is not None
    semaphore.leave(place)  # its holder was slow, and the place is another function's now
    assert semaphore.enter(9, now=NOW, until=until, share=share) is None


def test_on_aws_a_place_of_earlier_code_counts_until_its_end(
    calls: tuple[DynamoSemaphore, list[str]], aws_client: AwsClient
) -> None:
    semaphore, _ = calls
    held = {"old": time_of(NOW + MINUTE)}
    item = {"pk": {"S": "semaphore"}, "sk": {"S": "waits"}, "places": {"M": held}}
    aws_client("dynamodb").put_item(TableName="owners", Item=item)
    assert entered(semaphore, 1) is None
    assert entered(semaphore, 1, late=MINUTE) is not None


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
