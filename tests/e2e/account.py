"""The administrator's view of a deployment: stacks, policies, rows and files."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any

import boto3

from comfyline.adapters.aws.access.keys import DynamoKeyStore
from comfyline.adapters.aws.access.sessions import DynamoSessionStore
from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.aws.files.artifacts import S3ArtifactStore
from comfyline.adapters.aws.jobs.table import DynamoJobStore
from comfyline.adapters.aws.ledger.table import DynamoLedger
from comfyline.adapters.aws.live.connections import DynamoConnectionStore
from comfyline.contract.ids import JobId, KeyId, OwnerId, random_job_id
from comfyline.service.access.authenticate import create_key, disable_key
from comfyline.service.access.slots import Limits
from comfyline.service.jobs.artifact_keys import artifact_key
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.result import Artifact
from localcloud.deployment import apply_template
from localcloud.emulator import Emulator
from localcloud.state import Endpoints
from tests.support.builders import a_graph, a_job, a_result, some_params
from tests.support.eventually import eventually_now

ROLE = "AWS::IAM::Role"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of one role's policy."""

    stack: str
    role: str  # logical id
    policy: int
    index: int
    sid: str

    @property
    def owner(self) -> str:
        """The function that uses the role, or "Worker"."""
        name = self.role[:-8].removesuffix("Role")
        return "Worker" if name == "Task" else name

    def __str__(self) -> str:
        return f"{self.owner}.{self.sid}"


@dataclass(frozen=True)
class Account:
    """What the administrator of the emulated account can read and change."""

    endpoints: Endpoints

    @cached_property
    def emulator(self) -> Emulator:
        return Emulator(self.endpoints.aws_endpoint_url, self.endpoints.pids.emulator)

    @cached_property
    def jobs(self) -> DynamoJobStore:
        return DynamoJobStore(self.emulator.client("dynamodb"), self.endpoints.outputs["JobsTable"])

    @cached_property
    def artifacts(self) -> S3ArtifactStore:
        bucket = self.endpoints.outputs["ArtifactsBucket"]
        return S3ArtifactStore(self.emulator.client("s3"), bucket)

    @cached_property
    def owners(self) -> DynamoOwnerStore:
        client = self.emulator.client("dynamodb")
        return DynamoOwnerStore(client, self.endpoints.outputs["OwnersTable"])

    @cached_property
    def ledger(self) -> DynamoLedger:
        client = self.emulator.client("dynamodb")
        return DynamoLedger(client, self.endpoints.outputs["OwnersTable"])

    @cached_property
    def connections(self) -> DynamoConnectionStore:
        table = self.endpoints.outputs["ConnectionsTable"]
        return DynamoConnectionStore(self.emulator.client("dynamodb"), table)

    def as_role(self, output: str) -> Callable[[str], Any]:
        """A function that makes clients with the permissions of the role."""
        given = self.emulator.client("sts").assume_role(
            RoleArn=self.endpoints.outputs[output], RoleSessionName="smoke"
        )["Credentials"]
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        session = boto3.Session(*(given[n] for n in names), region_name=self.endpoints.region)
        return partial(session.client, endpoint_url=self.endpoints.aws_endpoint_url)

    @cached_property
    def sessions(self) -> DynamoSessionStore:
        table = self.endpoints.outputs["ConnectionsTable"]
        return DynamoSessionStore(self.emulator.client("dynamodb"), table)

    @cached_property
    def keys(self) -> DynamoKeyStore:
        client = self.emulator.client("dynamodb")
        return DynamoKeyStore(client, self.endpoints.outputs["KeysTable"])

    def new_key(self, owner: OwnerId, limits: Limits | None = None, scope: str = "jobs") -> str:
        """A new key, which no authorizer has cached."""
        _, token = create_key(
            owner, scopes=[scope], expires_at=None, keys=self.keys, clock=now, limits=limits
        )
        return token

    def disabled_key(self, owner: OwnerId) -> KeyId:
        """A new key that was disabled a moment ago."""
        scopes = ["jobs", "keys"]  # the sweeper looks for keys that it has made
        key, _ = create_key(owner, scopes=scopes, expires_at=None, keys=self.keys, clock=now)
        disable_key(key.id, keys=self.keys, clock=now)
        return key.id

    def items(self, output: str, key: dict[str, Any]) -> list[dict[str, Any]]:
        """The items of a table under a partition key."""
        answer = self.emulator.client("dynamodb").query(
            TableName=self.endpoints.outputs[output],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": key},
            ConsistentRead=True,
        )
        found: list[dict[str, Any]] = answer["Items"]
        return found

    def physical_id(self, part: str, name: str) -> str:
        """The physical id of the resource of a construct in the stack."""
        pages = (
            self.emulator.client("cloudformation")
            .get_paginator("list_stack_resources")
            .paginate(StackName=f"comfyline-local-{part}")
        )
        (found,) = (
            str(resource["PhysicalResourceId"])
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["LogicalResourceId"][:-8] == name
        )
        return found

    def invoke(self, function: str, event: Any) -> None:
        """Call a function by its name, and check that it failed neither whole nor for a record."""
        answer = self.emulator.client("lambda").invoke(
            FunctionName=function, Payload=json.dumps(event).encode()
        )
        result = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, result
        assert not (isinstance(result, dict) and result.get("batchItemFailures")), result

    def files(self, job: Job) -> int:
        """How many files are stored under the job's prefix."""
        bucket = self.endpoints.outputs["ArtifactsBucket"]
        answer = self.emulator.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"jobs/{job.id}/")
        return int(answer["KeyCount"])

    # --- jobs that were not submitted -------------------------------------------------------------

    def seeded(self, owner: OwnerId, **overrides: Any) -> Job:
        """A job in the table without a ticket. The sweeper ignores it for a day."""
        queued_at = overrides.pop("queued_at", now())
        fresh = a_job(
            id=overrides.pop("id", random_job_id(now())),
            owner=owner,
            queued_at=queued_at,
            start_deadline=queued_at + timedelta(hours=1),
        )
        job = replace(fresh, **{"due_at": now() + timedelta(days=1), **overrides})
        self.jobs.put_request(job, some_params(), a_graph())
        assert self.jobs.add(job) is None
        return job

    def unsettled(self, ended: Job) -> Job:
        """Make an ended, settled job unsettled again, as if settle_jobs had missed it.

        The stream's filter does not pass this change on to settle_jobs.
        """
        row = eventually_now(lambda: self._settled(ended.id))
        assert row is not None
        return self.jobs.save(row, replace(row, settle_pending=True, has_slot=True))

    def _settled(self, job_id: JobId) -> Job | None:
        row = self.jobs.get(job_id)
        return row if row is not None and not row.settle_pending else None

    @contextmanager
    def dropped(self, job: Job) -> Iterator[None]:
        """Delete all items of the job after the block, even if the removal under test has failed.

        Otherwise the audit would report a half removed job, or one that the sweeper retries later.
        """
        try:
            yield
        finally:
            for item in self.items("JobsTable", {"S": job.id}):
                self.emulator.client("dynamodb").delete_item(
                    TableName=self.endpoints.outputs["JobsTable"],
                    Key={"pk": item["pk"], "sk": item["sk"]},
                )

    def stored_artifact(self, job: Job) -> Artifact:
        """Store a file of the job's attempt, and the list of artifacts that names it."""
        key = artifact_key(job, 0, "a.txt")
        self.artifacts.put(key, io.BytesIO(b"made"), "text/plain")
        made = Artifact(
            key=key,
            name="a.txt",
            kind="text",
            content_type="text/plain",
            bytes=4,
            sha256="0" * 64,
            node="1",
        )
        self.jobs.put_result(job, a_result(made))
        return made

    # --- policies ---------------------------------------------------------------------------------

    def statements(self) -> list[Statement]:
        """Every statement of the deployed roles."""
        return [
            Statement(stack, role, policy, index, statement.get("Sid", ""))
            for stack, template in self._templates.items()
            for role, resource in template["Resources"].items()
            if resource["Type"] == ROLE
            for policy, document in enumerate(resource["Properties"].get("Policies", []))
            for index, statement in enumerate(document["PolicyDocument"]["Statement"])
        ]

    @contextmanager
    def without(self, statement: Statement) -> Iterator[None]:
        """Update the stack without that statement, and restore it at the end of the block."""
        template = self._templates[statement.stack]
        mutated = copy.deepcopy(template)
        role = mutated["Resources"][statement.role]["Properties"]
        del role["Policies"][statement.policy]["PolicyDocument"]["Statement"][statement.index]
        self._apply(statement.stack, mutated)
        try:
            yield
        finally:
            self._apply(statement.stack, template)

    @cached_property
    def _templates(self) -> dict[str, Any]:
        cloudformation = self.emulator.client("cloudformation")
        names = [stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"]]
        return {name: _parsed(cloudformation.get_template(StackName=name)) for name in names}

    def _apply(self, stack: str, template: Any) -> None:
        s3, bucket = self.emulator.client("s3"), "mutated-templates"
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=stack, Body=json.dumps(template).encode())
        url = f"{self.endpoints.aws_endpoint_url}/{bucket}/{stack}"
        apply_template(stack, url, self.emulator)


def _parsed(answer: Any) -> Any:
    body = answer["TemplateBody"]
    return json.loads(body) if isinstance(body, str) else body
