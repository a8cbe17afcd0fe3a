"""`comfyline keys` and `comfyline admin`, on the tables and queues that the functions use."""

from __future__ import annotations

import json

import boto3
import pytest
from typer.testing import CliRunner, Result

from comfyline.operate import admin, keys, wiring
from functions._access import FLAGS_LIFETIME
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway


def run(command: str, *arguments: str) -> Result:
    apps = {"keys": keys.app, "admin": admin.app}
    return CliRunner().invoke(apps[command], [*arguments])


def done(command: str, *arguments: str) -> str:
    result = run(command, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def context(gateway: Gateway, token: str) -> dict[str, str] | None:
    event = {"headers": {"authorization": f"Bearer {token}"}}
    answer = gateway.call("AuthorizeHttp", event)
    caller: dict[str, str] | None = answer.get("context")
    return caller


def test_a_key_is_created_listed_and_disabled(gateway: Gateway) -> None:
    made = json.loads(done("keys", "create", "--owner", "fox", "--max-active-jobs", "5", "--json"))
    assert context(gateway, made["key"]) == {
        "owner": "fox",
        "key_id": made["id"],
        "scopes": "jobs",
        "max_active_jobs": "5",
        "jobs_enabled": "true",
        "websocket_enabled": "true",
    }
    (listed,) = [json.loads(line) for line in done("keys", "list", "--json").splitlines()]
    assert (listed["id"], listed["max_active_jobs"], listed["disabled"]) == (made["id"], 5, False)
    assert made["key"].rpartition("_")[2] not in done("keys", "list")
    done("keys", "disable", made["id"])
    assert context(gateway, made["key"]) == {"invalid_key": "true"}
    assert gateway.wiring.access.authenticate(f"Bearer {made['key']}") is None


@pytest.mark.parametrize("owner", ["", "~waits", "a b", "x" * 65])
def test_an_owner_with_another_name_is_refused(gateway: Gateway, owner: str) -> None:
    assert run("keys", "create", "--owner", owner).exit_code == 2


def test_an_unknown_key_cannot_be_disabled(gateway: Gateway) -> None:
    assert run("keys", "disable", "0" * 16).exit_code == 2


def test_a_missing_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYS_TABLE", raising=False)
    result = run("keys", "list")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "KEYS_TABLE is missing" in result.stderr


def test_pause_and_resume_reach_the_authorizer(gateway: Gateway, clock: FrozenClock) -> None:
    token = json.loads(done("keys", "create", "--owner", "fox", "--json"))["key"]
    for command, enabled in (("pause", "false"), ("resume", "true")):
        done("admin", command)
        clock.advance(FLAGS_LIFETIME)
        caller = context(gateway, token)
        assert caller is not None
        assert caller["jobs_enabled"] == enabled


def test_pause_and_resume_may_include_sockets(gateway: Gateway, clock: FrozenClock) -> None:
    token = json.loads(done("keys", "create", "--owner", "fox", "--json"))["key"]
    for command, status in (("pause", 503), ("resume", 200)):
        done("admin", command, "--sockets")
        clock.advance(FLAGS_LIFETIME)
        caller = context(gateway, token)
        event = {"requestContext": {"requestId": "r", "connectionId": "c", "authorizer": caller}}
        assert gateway.call("SocketConnect", event) == {"statusCode": status}


def test_drain_pauses_and_waits_for_the_queues(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "DRAIN_POLL_SECONDS", 0.0)
    gateway("POST", "/api/v1/jobs", {"prompt": "a fox"})
    waiting = run("admin", "drain", "--timeout", "0")
    assert (waiting.exit_code, waiting.output) == (1, "1 left\n")
    boto3.client("sqs").purge_queue(QueueUrl=_url("normal"))
    assert done("admin", "drain") == "drained\n"
    assert not gateway.wiring.aws.keys.flags().jobs_enabled


def test_redrive_sends_new_tickets_for_live_jobs(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs = boto3.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    monkeypatch.setenv("DEAD_LETTER_QUEUE_URL", dead)
    monkeypatch.setattr(wiring, "now", gateway.clock)
    live, ended = (
        gateway("POST", "/api/v1/jobs", {"prompt": name}).json["job_id"] for name in ("a", "b")
    )
    gateway("DELETE", f"/api/v1/jobs/{ended}")
    sqs.purge_queue(QueueUrl=_url("normal"))
    for body in (json.dumps({"job_id": live}), json.dumps({"job_id": ended}), "nonsense"):
        sqs.send_message(QueueUrl=dead, MessageBody=body)
    assert json.loads(done("admin", "redrive", "--json")) == {"sent again": 1, "of no live job": 2}
    (message,) = sqs.receive_message(QueueUrl=_url("normal"), MaxNumberOfMessages=10)["Messages"]
    assert json.loads(message["Body"])["job_id"] == live


def _url(lane: str) -> str:
    return str(boto3.client("sqs").get_queue_url(QueueName=lane)["QueueUrl"])
