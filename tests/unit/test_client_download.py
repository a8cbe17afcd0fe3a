"""Files: complete and checked or not there at all, inside the directory, over nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.client import Comfyline, DownloadFailed
from comfyline.client.download import MAX_NAME_BYTES, TRIES, safe_name
from tests.unit.client_fakes import JOB, Service, artifact, job_view, succeeded


class Bucket:
    """Serves files like S3, behind the job's API; each answer is used once, the last stays."""

    def __init__(self, job: dict[str, Any], *answers: httpx.Response | bytes | Exception) -> None:
        self.job = job
        self.answers = list(answers)
        self.fetched: list[httpx.Request] = []
        self.reads = 0
        self._service = Service(self._route)

    def _route(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "api.test":
            self.reads += 1
            return httpx.Response(200, json=self.job)
        self.fetched.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else stored(answer)

    def download(self, directory: Path) -> list[Path]:
        client: Comfyline = self._service.client()
        with client:
            return client.job(JOB).download(directory)


def stored(content: bytes) -> httpx.Response:
    return httpx.Response(200, content=iter([content]))  # a stream, as from the network


def test_saves_each_file_under_its_name(tmp_path: Path) -> None:
    job = succeeded(artifact("a.png", b"one"), artifact("b.png", b"two"))
    bucket = Bucket(job, b"one", b"two")
    paths = bucket.download(tmp_path / "new" / "out")
    assert [path.name for path in paths] == ["a.png", "b.png"]
    assert [path.read_bytes() for path in paths] == [b"one", b"two"]
    assert sorted(paths) == sorted((tmp_path / "new" / "out").iterdir())


def test_the_key_does_not_go_to_the_bucket(tmp_path: Path) -> None:
    bucket = Bucket(succeeded(artifact(content=b"one")), b"one")
    bucket.download(tmp_path)
    assert "authorization" not in bucket.fetched[0].headers


def test_a_file_that_is_there_already_is_kept_and_not_fetched(tmp_path: Path) -> None:
    bucket = Bucket(succeeded(artifact("a.png", b"one")), b"one")
    assert bucket.download(tmp_path) == bucket.download(tmp_path) == [tmp_path / "a.png"]
    assert len(bucket.fetched) == 1


def test_another_file_of_the_name_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    (tmp_path / "a-2.png").symlink_to("nowhere")
    (tmp_path / "a-3.png").mkdir()
    bucket = Bucket(succeeded(artifact("a.png", b"one"), artifact("a.png", b"two")), b"one", b"two")
    paths = bucket.download(tmp_path)
    assert [path.name for path in paths] == ["a-4.png", "a-5.png"]
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()
    assert bucket.download(tmp_path) == paths


@pytest.mark.parametrize("stale", [400, 403])
def test_a_stale_url_is_replaced_by_a_fresh_one(tmp_path: Path, stale: int) -> None:
    bucket = Bucket(succeeded(artifact(content=b"one")), httpx.Response(stale), b"one")
    assert bucket.download(tmp_path)[0].read_bytes() == b"one"
    assert bucket.reads == 2


def test_a_broken_transfer_is_tried_again(tmp_path: Path) -> None:
    bucket = Bucket(
        succeeded(artifact(content=b"one")),
        httpx.ReadError("cut"),
        httpx.Response(500),
        b"on",
        b"two",
        b"one",
    )
    assert bucket.download(tmp_path)[0].read_bytes() == b"one"
    assert len(bucket.fetched) == TRIES


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"two", "SHA-256"),
        (b"on", "not the 3 bytes"),
        (b"one and more", "not the 3 bytes"),
        (httpx.Response(403), "HTTP 403"),
        (httpx.ConnectError("down"), "ConnectError"),
    ],
)
def test_what_did_not_arrive_as_promised_leaves_nothing(
    tmp_path: Path, answer: Any, why: str
) -> None:
    bucket = Bucket(succeeded(artifact(content=b"one")), answer, answer)
    if isinstance(answer, bytes):
        bucket.answers = [stored(answer) for _ in range(TRIES)]
    with pytest.raises(DownloadFailed, match=why) as told:
        bucket.download(tmp_path)
    assert "signature" not in str(told.value)
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_job_without_a_result_has_no_files(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="running"):
        Bucket(job_view(), b"").download(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("ComfyUI_00001_.png", "ComfyUI_00001_.png"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\Windows\\evil.exe", "evil.exe"),
        ("..", "artifact"),
        ("a/", "artifact"),
        ("", "artifact"),
        (".bashrc", "bashrc"),
        ("nul.png", "_nul.png"),
        ("a\x1b[2Jb\n.png", "a_[2Jb_.png"),
        ("fox\u202egnp.exe", "fox_gnp.exe"),
        ("лиса.png", "лиса.png"),
        ("v1." + "x" * 30, "v1." + "x" * 30),
        ("é" * 300 + ".png", "é" * 98 + ".png"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(st.characters(codec=None), max_size=300))
def test_no_name_leaves_the_directory(name: str) -> None:
    safe = safe_name(name)
    path = Path("/out") / safe
    assert path.parent == Path("/out")
    assert path.name == safe
    assert not safe.startswith(".")
    assert len(safe.encode()) <= MAX_NAME_BYTES
    assert safe_name(safe) == safe
