"""What the CDK context may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.deployment import CONTEXT_KEYS, ROOT, Deployment, Target


def deployment(**context: Any) -> Deployment:
    return Deployment.from_context(context.get)


def test_local_needs_nothing_else() -> None:
    local = deployment(target="local")
    assert local.is_local
    assert local.environment == ROOT / "localcloud" / "engine.lock.toml"
    assert (local.lease_seconds, local.heartbeat_seconds) == (20, 5)
    assert local.stack_name("data") == "comfyline-dev-data"


def test_aws_is_the_default_target() -> None:
    aws = deployment(env="prod", worker_image="image")
    assert (aws.target, aws.is_local) == (Target.AWS, False)
    assert (aws.lease_seconds, aws.heartbeat_seconds) == (120, 30)
    assert aws.stack_name("api") == "comfyline-prod-api"


def test_values_from_a_command_line_are_text() -> None:
    assert deployment(target="local", lease_seconds="90").lease_seconds == 90


def test_aws_says_which_key_it_misses() -> None:
    with pytest.raises(ValueError, match="'worker_image' is required"):
        deployment()


def test_a_lock_of_ones_own(tmp_path: Path) -> None:
    lock = tmp_path / "team.toml"
    lock.write_text((ROOT / "gpu_worker" / "engine.lock.toml").read_text())
    assert deployment(worker_image="image", environment=str(lock)).environment == lock


@pytest.mark.parametrize(
    ("text", "said"), [(None, "No such file"), ("a =", "not TOML"), ("a = 1", "comfyui")]
)
def test_a_lock_that_is_none_deploys_nothing(tmp_path: Path, text: str | None, said: str) -> None:
    lock = tmp_path / "team.toml"
    if text is not None:
        lock.write_text(text)
    with pytest.raises(ValueError, match=f"'environment' is .*team.toml: .*{said}"):
        deployment(worker_image="image", environment=str(lock))


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


AWS = {"worker_image": "image"}


@pytest.mark.parametrize(
    ("context", "kept"),
    [
        ({}, False),
        ({"env": "dev"}, False),
        ({"env": "dev", "keep_data": "true"}, True),
        ({"env": "prod"}, True),
        ({"env": "staging"}, True),
        ({"env": "staging", "keep_data": "false"}, False),
        ({"target": "local", "env": "prod"}, False),
    ],
)
def test_data_is_kept_unless_it_is_dev(context: dict[str, str], kept: bool) -> None:
    assert deployment(**AWS, **context).keep_data is kept


@pytest.mark.parametrize(
    ("context", "key"),
    [
        ({"env": "My_Env"}, "env"),
        ({"keep_data": "perhaps"}, "keep_data"),
        ({"capacity": "fargate"}, "capacity"),
        ({"instance_types": "g5.metal"}, "instance_types"),
        ({"instance_types": ","}, "instance_types"),
        ({"spot_percent": "101"}, "spot_percent"),
        ({"max_workers": "5001"}, "max_workers"),
        ({"min_workers": "11"}, "min_workers"),
        ({"max_workers": "many"}, "max_workers"),
        ({"warm_hours": "mon-fri 07-18"}, "warm_workers"),
        ({"warm_workers": "1", "warm_hours": "always"}, "warm_hours"),
        ({"allowed_origins": "app.example.com"}, "allowed_origins"),
        ({"allowed_origins": "https://app.example.com/path"}, "allowed_origins"),
        ({"api_domain": "a.example.com"}, "socket_domain"),
        ({"api_domain": "a.b", "socket_domain": "a.b", "certificate_arn": "arn"}, "socket_domain"),
        ({"job_seconds": "0"}, "job_seconds"),
        ({"metrics_port": "80"}, "metrics_port"),
        ({"metrics_port": "8188"}, "metrics_port"),
        ({"metrics_port": "40000"}, "metrics_port"),
        ({"metrics_from": "10.0.0.0/8"}, "metrics_port"),
        ({"metrics_port": "9400", "target": "local"}, "metrics_port"),
        *(
            ({"metrics_port": "9400", "metrics_from": source}, "metrics_from")
            for source in ("0.0.0.0/0", "10.0.0.0/7", "8.8.8.8", "10.0.0.1/8", "sg-", "::/0", "me")
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_key(context: dict[str, str], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        deployment(**AWS, **context)


def test_every_key_that_is_read_is_described() -> None:
    read = set[str]()

    def lookup(key: str) -> str | None:
        read.add(key)
        return AWS.get(key)

    Deployment.from_context(lookup)
    assert read == set(CONTEXT_KEYS)


@pytest.mark.parametrize("name", ["s3://models", "Team", "a", "a/b", "arn:aws:s3:::b"])
def test_a_models_bucket_is_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="'models_bucket'"):
        deployment(worker_image="image", models_bucket=name)
    assert deployment(worker_image="image").models_bucket is None


def test_localstack_is_local_with_functions_like_lambdas() -> None:
    emulated = deployment(target="localstack", architecture="x86_64")
    assert (emulated.is_local, emulated.keep_data) == (True, False)
    assert emulated.architecture == "x86_64"
    assert emulated.allowed_origins == ("*",)
    assert deployment(worker_image="image").architecture == "arm64"


def test_an_architecture_that_lambda_lacks() -> None:
    with pytest.raises(ValueError, match="'architecture' is one of arm64, x86_64"):
        deployment(target="local", architecture="riscv")
