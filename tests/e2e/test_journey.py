"""The life of a job as its owner sees it: submit, follow, cancel, list, download."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from comfyline.client import Comfyline, NotFound
from comfyline.contract.v1.socket import DoneMessage, ProgressMessage
from localcloud.state import Endpoints
from tests.e2e.conftest import executed
from tests.e2e.rounds import simultaneous_rounds
from tests.support.eventually import eventually_now
from tests.support.recordings import FOLDER

PICTURE = {"steps": 12, "width": 128, "height": 96, "seed": 7}


def test_a_job_reports_each_change_and_its_picture_can_be_downloaded(
    client: Comfyline, tmp_path: Path
) -> None:
    job = client.submit("a red fox", **PICTURE)  # type: ignore[arg-type]
    messages = list(job.events(timeout=60))
    done = messages[-1]
    assert isinstance(done, DoneMessage)
    assert done.status == "succeeded"
    order = [(m.version, m.part) for m in messages]
    assert order == sorted(set(order))
    (path,) = job.download(tmp_path)
    with Image.open(path) as image:
        assert image.size == (128, 96)
    view = job.refresh()
    assert view.progress == 1.0
    assert view.params["prompt"] == "a red fox"
    assert view.params["seed"] == 7
    assert view.submitted_by == "local-developer"
    assert view.result is not None
    (artifact,) = view.result.artifacts
    assert artifact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert artifact.kind == "image"
    assert view.timestamps.started_at is not None
    assert view.gpu_seconds > 0


def test_progress_rises_while_a_job_runs(client: Comfyline) -> None:
    job = client.submit("a slow fox", steps=60, width=64, height=64)
    shares = [m.progress for m in job.events(timeout=60) if isinstance(m, ProgressMessage)]
    assert len(shares) >= 2
    assert shares == sorted(shares)
    assert 0 < shares[0] < 1


def test_the_same_seed_makes_the_same_picture(client: Comfyline, tmp_path: Path) -> None:
    prints = []
    for number in range(2):
        job = client.submit("a twin", **PICTURE)  # type: ignore[arg-type]
        assert job.wait(60).status == "succeeded"
        (path,) = job.download(tmp_path / str(number))
        with Image.open(path) as image:
            prints.append(image.tobytes())
    assert prints[0] == prints[1]


def test_a_queued_job_is_canceled_at_once_and_never_runs(
    client: Comfyline, endpoints: Endpoints, local: None
) -> None:
    blockers = [client.submit("in the way", steps=100, width=64, height=64) for _ in range(4)]
    waiting = client.submit("unwanted", steps=1, width=64, height=64, priority="low")
    answer = waiting.cancel()
    assert answer.status == "canceled"
    for blocker in blockers:
        blocker.cancel()
    assert all(b.wait(60).status in ("canceled", "succeeded") for b in blockers)
    after = client.submit("wanted", steps=1, width=64, height=64)
    assert after.wait(60).status == "succeeded"
    assert waiting.refresh().attempt == 0


def test_a_running_job_is_canceled(client: Comfyline) -> None:
    job = client.submit("a very long run", steps=1000, width=64, height=64)
    eventually_now(lambda: job.refresh().status == "running")
    assert job.cancel().status == "canceling"
    done = job.wait(30)
    assert (done.status, done.error) == ("canceled", None)
    assert job.cancel().status == "canceled"


def test_another_owner_cannot_see_or_cancel_a_job(client: Comfyline, stranger: Comfyline) -> None:
    job = client.submit("private", **PICTURE)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        stranger.get(job.id)
    with pytest.raises(NotFound):
        stranger.cancel(job.id)
    assert job.id not in {j.job_id for page in stranger.list() for j in page.jobs}
    assert job.wait(60).status == "succeeded"


def test_jobs_are_listed_newest_first_in_pages(stranger: Comfyline) -> None:
    ids = [stranger.submit(f"number {n}", steps=1, width=64, height=64).id for n in range(5)]
    listed = [job.job_id for page in stranger.list(limit=2) for job in page.jobs]
    assert listed[:5] == ids[::-1]
    for job_id in ids:
        assert stranger.job(job_id).wait(60).status == "succeeded"

    def succeeded() -> set[str]:
        return {job.job_id for page in stranger.list("succeeded") for job in page.jobs}

    eventually_now(lambda: set(ids) <= succeeded())


@pytest.mark.parametrize("name", ["empty_image", "scale_invert_chain", "sd15_tiny_txt2img"])
def test_a_workflow_file_runs_from_the_command_line(
    endpoints: Endpoints, tmp_path: Path, name: str
) -> None:
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("comfyline"), "submit"),
            *("--workflow", FOLDER / "workflows" / f"{name}.json"),
            *("--watch", "--out", tmp_path, "--json"),
        ],
        env={
            "PATH": os.environ["PATH"],
            "COMFYLINE_URL": endpoints.api_url,
            "COMFYLINE_WS_URL": endpoints.ws_url,
            "COMFYLINE_API_KEY": endpoints.api_key,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    saved = [Path(line["path"]) for line in lines if line["type"] == "saved"]
    assert saved
    for path in saved:
        with Image.open(path) as image:
            image.verify()


def test_the_error_of_a_failed_job_names_the_node(
    client: Comfyline, endpoints: Endpoints, local: None
) -> None:
    workflow = json.loads((FOLDER / "workflows" / "load_corrupt_image.json").read_text())
    job = client.submit(workflow=workflow, strict=True)
    view = job.wait(60)
    assert view.status == "failed"
    assert view.error is not None
    assert view.error.node_type == "LoadImage"


def test_simultaneous_posts_with_one_key_make_one_job_and_one_execution(
    endpoints: Endpoints, client: Comfyline, local: None, is_long: bool
) -> None:
    """50 rounds (15 in the ordinary run) of 20 simultaneous posts with one key each."""
    count = 50 if is_long else 15
    before = executed(endpoints)
    rounds = simultaneous_rounds(endpoints, rounds=count, posts=20)
    assert {status for answers in rounds for status, _, _ in answers} == {202}
    ids = [{job_id for _, job_id, _ in answers} for answers in rounds]
    assert all(len(found) == 1 for found in ids)
    firsts = [sum(not replayed for _, _, replayed in answers) for answers in rounds]
    assert firsts == [1] * count
    for found in ids:
        assert client.job(found.pop()).wait(120).status == "succeeded"
    assert executed(endpoints) - before == count
