"""The Compose file for LocalStack agrees with the code and the image."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from comfyline.service.settings import WorkerSettings
from infra.deployment_file import read_deployment
from infra.stacks.worker import STOP_TIMEOUT
from localcloud.elsewhere import COMPOSE_FILE, LOCALSTACK_PORT, worker_env
from localcloud.emulator import ADMINISTRATOR
from localcloud.state import DEFAULT_STATE, ROOT, State
from tests.infra.test_image import environment_of, stages, value

# The variables that the SDK reads, beside the worker's own settings.
SDK = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


@pytest.fixture(scope="module")
def services() -> Any:
    return yaml.safe_load(COMPOSE_FILE.read_text())["services"]


def test_a_missing_token_is_named(services: Any) -> None:
    token = services["localstack"]["environment"]["LOCALSTACK_AUTH_TOKEN"]
    assert token.startswith("${LOCALSTACK_AUTH_TOKEN:?")
    assert "token" in token.partition(":?")[2]


def test_localstack_is_pinned_and_listens_on_this_machine_only(services: Any) -> None:
    name, _, version = services["localstack"]["image"].partition(":")
    assert (name, version.count(".")) == ("localstack/localstack", 2)
    assert services["localstack"]["ports"] == [f"127.0.0.1:{LOCALSTACK_PORT}:{LOCALSTACK_PORT}"]


def test_signed_urls_name_the_port_that_this_machine_reaches() -> None:
    chosen = read_deployment(Path("deployments/localstack.toml"))
    assert chosen.functions.s3_public_endpoint == f"http://127.0.0.1:{LOCALSTACK_PORT}"


def test_the_worker_is_the_images_target_with_a_simulator(services: Any) -> None:
    build = services["worker"]["build"]
    assert (ROOT / build["dockerfile"]).is_file()
    assert build["target"] in stages()
    assert "comfyui_sim" in environment_of(stages()[build["target"]])["COMFYUI_COMMAND"]


def test_its_variables_are_those_of_the_sdk_and_the_settings(services: Any) -> None:
    worker = services["worker"]
    ours = {field.name.upper() for field in fields(WorkerSettings)}
    assert set(worker["environment"]) <= SDK | ours
    assert worker["environment"]["AWS_ENDPOINT_URL"] == f"http://localstack:{LOCALSTACK_PORT}"
    keys = worker["environment"]
    assert (keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]) == ADMINISTRATOR
    (file,) = worker["env_file"]
    default = worker_env(State(DEFAULT_STATE)).relative_to(ROOT)
    assert file["path"] == f"${{WORKER_ENV:-{default}}}"
    assert file["required"] is False  # LocalStack starts before the file exists


def test_it_is_restricted_like_the_task(services: Any) -> None:
    worker = services["worker"]
    assert worker["read_only"] is True
    assert worker["init"] is True
    assert worker["stop_grace_period"] == f"{STOP_TIMEOUT.to_seconds():.0f}s"
    writable = {worker["tmpfs"], *worker["volumes"]}
    volumes = yaml.safe_load(value(stages()["simulated"], "VOLUME"))
    assert writable == set(volumes)


def test_compose_accepts_the_file() -> None:
    compose = ["docker", "compose"]
    if (
        shutil.which("docker") is None
        or subprocess.run([*compose, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("Docker Compose is not installed")
    command = [*compose, "--file", str(COMPOSE_FILE), "config", "--quiet"]
    environ = {**os.environ, "LOCALSTACK_AUTH_TOKEN": "token"}
    subprocess.run(command, env=environ, check=True)
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "LOCALSTACK_AUTH_TOKEN" in refused.stderr
