"""One moto AWS account per module, and a new table for each test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import boto3
import pytest
from moto import mock_aws

from comfyline.adapters.aws.jobs.table import DynamoJobStore
from tests.contract.conftest import AwsClient
from tests.support.aws import create_jobs_table

_numbers = count()


@pytest.fixture(scope="module")
def aws_client(aws_session: boto3.Session) -> Iterator[AwsClient]:
    """Makes clients of an AWS that the tests of a module share."""
    with mock_aws():
        yield aws_session.client


@pytest.fixture(scope="module")
def dynamodb(aws_client: AwsClient) -> Any:
    return aws_client("dynamodb")


@pytest.fixture
def jobs_table(dynamodb: Any) -> str:
    """An empty jobs table."""
    name = f"jobs-{next(_numbers)}"
    create_jobs_table(dynamodb, name)
    return name


@pytest.fixture
def dynamo_job_store(dynamodb: Any, jobs_table: str) -> DynamoJobStore:
    return DynamoJobStore(dynamodb, jobs_table)
