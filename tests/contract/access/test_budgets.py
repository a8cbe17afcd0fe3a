"""What every BudgetStore does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.adapters.aws.access.budgets import DynamoBudgetStore
from comfyline.service.access.budgets import DAY, REQUESTS, UPLOAD_BYTES, UPLOADS, BudgetStore
from tests.contract.conftest import AwsClient
from tests.support.aws import create_table
from tests.support.builders import NOW, an_owner

OWNER = an_owner()
MINUTE = timedelta(minutes=1)


def test_no_more_is_spent_than_the_limit(budget_store: BudgetStore) -> None:
    spent = [budget_store.spend(OWNER, UPLOADS, 3, 7, NOW) for _ in range(3)]
    assert spent == [True, True, False]
    assert budget_store.spend(OWNER, UPLOADS, 1, 7, NOW)  # the refused amount was not added


def test_more_than_the_whole_limit_is_refused(budget_store: BudgetStore) -> None:
    assert not budget_store.spend(OWNER, UPLOADS, 8, 7, NOW)
    assert budget_store.spend(OWNER, UPLOADS, 7, 7, NOW)


def test_each_window_has_the_whole_limit(budget_store: BudgetStore) -> None:
    for minute in range(3):
        now = NOW + minute * MINUTE
        assert budget_store.spend(OWNER, UPLOADS, 7, 7, now)
        assert not budget_store.spend(OWNER, UPLOADS, 1, 7, now)


def test_a_window_of_a_day_lasts_until_midnight(budget_store: BudgetStore) -> None:
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(seconds=DAY)
    assert budget_store.spend(OWNER, UPLOAD_BYTES, 10**12, 10**12, NOW)
    assert not budget_store.spend(OWNER, UPLOAD_BYTES, 1, 10**12, midnight - timedelta.resolution)
    assert budget_store.spend(OWNER, UPLOAD_BYTES, 1, 10**12, midnight)


def test_a_slow_clock_never_goes_back_to_an_earlier_window(budget_store: BudgetStore) -> None:
    assert budget_store.spend(OWNER, UPLOADS, 5, 7, NOW + MINUTE)
    assert budget_store.spend(OWNER, UPLOADS, 2, 7, NOW)
    assert not budget_store.spend(OWNER, UPLOADS, 1, 7, NOW)
    assert not budget_store.spend(OWNER, UPLOADS, 1, 7, NOW + MINUTE)


def test_owners_and_budgets_are_counted_apart(budget_store: BudgetStore) -> None:
    assert budget_store.spend(OWNER, UPLOADS, 7, 7, NOW)
    assert budget_store.spend(an_owner(), UPLOADS, 7, 7, NOW)
    assert budget_store.spend(OWNER, REQUESTS, 7, 7, NOW)


def test_a_lower_limit_of_another_key_holds_at_once(budget_store: BudgetStore) -> None:
    assert budget_store.spend(OWNER, UPLOADS, 7, 10, NOW)
    assert not budget_store.spend(OWNER, UPLOADS, 1, 5, NOW)
    assert budget_store.spend(OWNER, UPLOADS, 1, 10, NOW)


@pytest.fixture
def calls(aws_client: AwsClient) -> tuple[DynamoBudgetStore, list[str]]:
    client, names = aws_client("dynamodb"), list[str]()
    create_table(client, "owners", "pk", "sk")
    client.meta.events.register("before-call", lambda model, **_: names.append(model.name))
    return DynamoBudgetStore(client, "owners"), names


def test_on_aws_it_is_one_write_and_two_for_the_first_in_a_window(
    calls: tuple[DynamoBudgetStore, list[str]],
) -> None:
    store, names = calls
    store.spend(OWNER, UPLOADS, 1, 2, NOW)
    assert names == 2 * ["UpdateItem"]
    names.clear()
    assert [store.spend(OWNER, UPLOADS, 1, 2, NOW) for _ in range(2)] == [True, False]
    assert names == 2 * ["UpdateItem"]
