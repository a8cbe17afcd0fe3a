"""The table in memory behaves as moto's where the slots and the ledger use it."""

from __future__ import annotations

import pytest

from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.ledger.table import DynamoLedger
from tests.contract.access.test_slots import TestAnotherCap, TestMove, TestRate, TestSlots
from tests.contract.ledger.test_failures import (
    test_each_failure_is_in_its_group_once,
    test_made_up_node_classes_make_a_bounded_number_of_groups,
)
from tests.contract.ledger.test_months import (
    test_each_job_is_counted_once_in_the_month_of_its_end,
)
from tests.contract.ledger.test_store import (
    test_a_job_that_used_no_gpu_adds_nothing_to_the_usage,
    test_a_later_job_of_the_same_id_is_counted_too,
    test_an_empty_ledger_has_only_zeros,
    test_buckets_are_cumulative,
    test_each_end_is_counted_once_whatever_the_order_and_number_of_calls,
    test_more_jobs_than_one_transaction_can_hold,
)
from tests.scale.table import Table

__all__ = [
    "TestAnotherCap",
    "TestMove",
    "TestRate",
    "TestSlots",
    "test_a_job_that_used_no_gpu_adds_nothing_to_the_usage",
    "test_a_later_job_of_the_same_id_is_counted_too",
    "test_an_empty_ledger_has_only_zeros",
    "test_buckets_are_cumulative",
    "test_each_end_is_counted_once_whatever_the_order_and_number_of_calls",
    "test_each_failure_is_in_its_group_once",
    "test_each_job_is_counted_once_in_the_month_of_its_end",
    "test_made_up_node_classes_make_a_bounded_number_of_groups",
    "test_more_jobs_than_one_transaction_can_hold",
]


@pytest.fixture
def owner_store() -> DynamoOwnerStore:
    return DynamoOwnerStore(Table(), "owners")  # type: ignore[arg-type]


@pytest.fixture
def ledger() -> DynamoLedger:
    return DynamoLedger(Table(), "owners")  # type: ignore[arg-type]
