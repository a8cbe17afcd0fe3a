"""The worker's Dockerfile, without building it: hadolint, versions, users, volumes, variables."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from comfyline.service.graphs.lock import EngineLock
from comfyline.service.settings import WorkerSettings
from infra import ROOT
from infra.stacks.worker import USER, VOLUMES

DOCKERFILE = ROOT / "gpu_worker" / "Dockerfile"

Instruction = tuple[str, str]


def stages() -> dict[str, list[Instruction]]:
    """The instructions of each stage, by its name."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\\\n", "", text).splitlines() if line.strip()]
    found: dict[str, list[Instruction]] = {"": []}
    current = ""
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            current = rest.rpartition(" AS ")[2]
            found[current] = []
        found[current].append((word, rest.strip()))
    return found


@pytest.fixture(scope="module")
def runtime() -> list[Instruction]:
    return stages()["runtime"]


def environment_of(stage: list[Instruction]) -> dict[str, str]:
    variables = [word for kind, rest in stage if kind == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in variables)


def value(stage: list[Instruction], kind: str) -> str:
    """The argument of the last instruction of that kind."""
    return [rest for word, rest in stage if word == kind][-1]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint has no wheel for this machine")
    found = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_default_target_is_the_worker() -> None:
    assert list(stages())[-1] == "runtime"


PLACEHOLDER = "ENTER_THE_DIGEST"


def is_pinned(image: str) -> bool:
    """Whether an image has a tag and a digest, or the placeholder that `make image` refuses."""
    return (
        re.fullmatch(rf"python:3\.13\.\d+-[\w-]+@sha256:([0-9a-f]{{64}}|{PLACEHOLDER})", image)
        is not None
    )


def test_base_images_are_pinned_by_digest() -> None:
    arguments = dict(rest.split("=") for kind, rest in stages()[""] if kind == "ARG")
    bases = {value(stage, "FROM").partition(" AS ")[0] for name, stage in stages().items() if name}
    assert bases - set(stages()) == {"${BUILD_IMAGE}", "${RUNTIME_IMAGE}"}
    build, runtime = arguments["BUILD_IMAGE"], arguments["RUNTIME_IMAGE"]
    assert is_pinned(build)
    assert is_pinned(runtime)
    # The environments are built by the interpreter of one image and run by that of the other.
    assert build.partition("@")[0] == runtime.partition("@")[0].replace("-slim", "")
    compose = (ROOT / "docker-compose.localstack.yml").read_text()
    assert f"BUILD_IMAGE: {build.partition('@')[0]} " in compose


@pytest.mark.parametrize(
    "image", ["python:3.13.11-bookworm", "python@sha256:" + "0" * 64, "python:3.13.11-x@sha256:1"]
)
def test_an_image_without_tag_or_digest_is_not_pinned(image: str) -> None:
    assert not is_pinned(image)


@pytest.mark.parametrize("digest", [PLACEHOLDER, "0" * 64])
def test_an_image_is_built_only_from_bases_with_a_digest(tmp_path: Path, digest: str) -> None:
    """The script is run in a copy of the checkout, with a PATH that has no Docker."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "gpu_worker").mkdir()
    shutil.copy(ROOT / "tools" / "push_image.sh", tmp_path / "tools")
    text = DOCKERFILE.read_text().replace(PLACEHOLDER, digest)
    (tmp_path / "gpu_worker" / "Dockerfile").write_text(text)
    done = subprocess.run(
        [tmp_path / "tools" / "push_image.sh"],
        env={"PATH": "/usr/bin:/bin", "TAG": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert ("enter the digests" in done.stderr) is (digest == PLACEHOLDER)


def test_every_package_is_pinned() -> None:
    text = (DOCKERFILE.parent / "engine.requirements.txt").read_text()
    pins = re.findall(r"^[^#\s].*", text, re.MULTILINE)
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+ \\", pin) for pin in pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert {"torch", "torchvision"} <= {pin.partition("==")[0] for pin in pins}
    installs = re.findall(r"pip install .*", DOCKERFILE.read_text())
    assert all("==" in line or "/opt/engine" in line for line in installs)


@pytest.mark.parametrize("name", ["runtime", "simulated"])
def test_user_and_entry_point_are_those_of_the_task(name: str) -> None:
    stage = stages()[name]
    assert value(stage, "USER") == USER
    assert value(stage, "ENTRYPOINT") == '["/opt/worker/bin/python", "-m", "gpu_worker"]'


def test_volumes_are_those_of_the_task(runtime: list[Instruction]) -> None:
    assert set(re.findall(r'"([^"]+)"', value(runtime, "VOLUME"))) == set(VOLUMES.values())


def test_volumes_are_made_before_they_are_declared() -> None:
    """A volume takes its owner and mode from the folder in the image."""
    text = DOCKERFILE.read_text()
    assert text.index("--group worker --mode 0755 /models") < text.index('VOLUME ["/models"')
    assert text.index("--group worker --mode 2770") < text.index('VOLUME ["/models"')


def test_it_is_stopped_by_the_signal_that_drains_it(runtime: list[Instruction]) -> None:
    assert value(runtime, "STOPSIGNAL") == "SIGTERM"


@pytest.mark.parametrize("name", ["runtime", "simulated"])
def test_its_variables_are_settings(name: str) -> None:
    given = environment_of(stages()[name])
    ours = {name.lower() for name in given} & {field.name for field in fields(WorkerSettings)}
    others = {"HOME", "NVIDIA_DRIVER_CAPABILITIES", "PYTHONUNBUFFERED"}
    assert {name for name in given if name.lower() not in ours} <= others
    assert {"comfyui_command", "comfyui_directory"} <= ours
    assert shlex.split(given["COMFYUI_COMMAND"])[0].startswith("/opt/")


def test_the_engine_listens_on_the_port_that_the_worker_uses() -> None:
    port = WorkerSettings.comfyui_url.rpartition(":")[2]
    for name in ("runtime", "simulated"):
        command = environment_of(stages()[name])["COMFYUI_COMMAND"]
        assert f"--port {port}" in command


def test_the_simulator_that_runs_is_copied() -> None:
    stage = stages()["simulated"]
    command = shlex.split(environment_of(stage)["COMFYUI_COMMAND"])
    package = command[command.index("-m") + 1]
    assert ("COPY", f"{package} {package}") in stage


def test_the_lock_and_its_warm_up_are_copied() -> None:
    arguments = dict(rest.split("=") for kind, rest in stages()[""] if kind == "ARG")
    lock = EngineLock.parse((ROOT / arguments["LOCK"]).read_text())
    assert Path(arguments["WARM_UP"]).name == lock.warm_up
    given = environment_of(stages()["runtime"])
    copies = [rest for kind, rest in stages()["runtime"] if kind == "COPY"]
    assert f"${{LOCK}} {given['ENGINE_LOCK']}" in copies
    assert f"${{WARM_UP}} {Path(given['ENGINE_LOCK']).parent}/" in copies


def test_the_extension_is_copied_into_comfyui(runtime: list[Instruction]) -> None:
    assert ("COPY", "gpu_worker/comfyui_extension /opt/comfyui/custom_nodes/comfyline") in runtime


def test_every_copied_file_is_in_the_build_context() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    for stage in stages().values():
        for kind, rest in stage:
            if kind == "COPY" and "--from" not in rest and "$" not in rest:
                for source in rest.split()[:-1]:
                    assert (ROOT / source).exists()
                    assert Path(source).parts[0] in let_in
