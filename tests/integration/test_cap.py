"""A cap on the tables of AWS: the post at the moment at which a job ends is never refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import boto3
import pytest
from moto import mock_aws

from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from tests.support.aws import REGION, create_jobs_table, create_table
from tests.support.impatient import ImpatientClient

HOUR = timedelta(hours=1)


@pytest.fixture
def new_client() -> Iterator[Callable[[int], ImpatientClient]]:
    with mock_aws():
        dynamodb = boto3.client("dynamodb", REGION)
        create_jobs_table(dynamodb, "jobs")
        create_table(dynamodb, "owners", "pk", "sk")
        jobs, owners = DynamoJobStore(dynamodb, "jobs"), DynamoOwnerStore(dynamodb, "owners")
        yield lambda posts: ImpatientClient(posts, jobs, owners)


@pytest.mark.parametrize(
    "settled_after", [None, timedelta(0), HOUR], ids=["never", "at once", "late"]
)
def test_the_post_at_the_moment_of_done_is_never_refused(
    new_client: Callable[[int], ImpatientClient], settled_after: timedelta | None, is_long: bool
) -> None:
    client = new_client(200 if is_long else 30)
    client.run(HOUR / 10, settled_after=settled_after)
