"""What the CDK context may say."""

from __future__ import annotations

from typing import Any

import pytest

from infra.deployment import Deployment, Target


def deployment(**context: Any) -> Deployment:
    return Deployment.from_context(context.get)


def test_local_needs_nothing_else() -> None:
    local = deployment(target="local")
    assert local.is_local
    assert local.default_checkpoint == "sd15-sim.safetensors"
    assert (local.lease_seconds, local.heartbeat_seconds) == (20, 5)
    assert local.stack_name("data") == "comfyline-dev-data"


def test_aws_is_the_default_target() -> None:
    aws = deployment(env="prod", default_checkpoint="a.safetensors", worker_image="image")
    assert (aws.target, aws.is_local) == (Target.AWS, False)
    assert (aws.lease_seconds, aws.heartbeat_seconds) == (120, 30)
    assert aws.stack_name("api") == "comfyline-prod-api"


def test_values_from_a_command_line_are_text() -> None:
    assert deployment(target="local", lease_seconds="90").lease_seconds == 90


@pytest.mark.parametrize("missing", ["default_checkpoint", "worker_image"])
def test_aws_says_which_key_it_misses(missing: str) -> None:
    context = {"default_checkpoint": "a.safetensors", "worker_image": "image"}
    del context[missing]
    with pytest.raises(ValueError, match=f"'{missing}' is required"):
        deployment(**context)


@pytest.mark.parametrize(
    "times",
    [
        {"lease_seconds": 15, "heartbeat_seconds": 5},
        {"lease_seconds": 20, "heartbeat_seconds": 0},
        {"lease_seconds": 12 * 3600 + 1, "heartbeat_seconds": 5},
    ],
)
def test_a_lease_outlives_three_heartbeats(times: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="lease_seconds"):
        deployment(target="local", **times)


def test_unknown_target() -> None:
    with pytest.raises(ValueError, match="mars"):
        deployment(target="mars")
