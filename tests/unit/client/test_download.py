"""Downloads: complete and checked, inside the directory, and over no other file."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.client import Comfyline, DownloadFailed
from comfyline.client.aio.downloads import AT_ONCE, TRIES
from comfyline.client.files import MAX_NAME_BYTES, part_path, safe_name
from comfyline.contract.v1.results import ArtifactView
from tests.support.eventually import WITHIN
from tests.unit.client.fakes import JOB, Service, Stream, artifact, job_view, succeeded


class Bucket:
    """Serves a job and, like S3, its files. Each answer is used once, the last one repeatedly."""

    def __init__(self, job: dict[str, Any], *answers: Any) -> None:
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
        answer = self._of(str(request.url))
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(request)
        return answer if isinstance(answer, httpx.Response) else stored(answer)

    def _of(self, url: str) -> Any:
        """The next answer. If all answers are files, the one of this URL: their order is open."""
        if all(isinstance(answer, bytes) for answer in self.answers):
            own = [each for each in self.answers if artifact(content=each)["url"] == url]
            return (own or self.answers)[0]
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def download(self, directory: Path) -> list[Path]:
        client: Comfyline = self._service.client()
        with client:
            return client.job(JOB).download(directory)


def stored(content: bytes) -> httpx.Response:
    return httpx.Response(200, content=iter([content]))  # a stream, as from the network


def test_each_file_is_saved_under_its_name(tmp_path: Path) -> None:
    job = succeeded(artifact("a.png", b"one"), artifact("b.png", b"two"))
    bucket = Bucket(job, b"one", b"two")
    paths = bucket.download(tmp_path / "new" / "out")
    assert [path.name for path in paths] == ["a.png", "b.png"]
    assert [path.read_bytes() for path in paths] == [b"one", b"two"]
    assert sorted(paths) == sorted((tmp_path / "new" / "out").iterdir())


def test_the_key_is_not_sent_to_the_file_store(tmp_path: Path) -> None:
    bucket = Bucket(succeeded(artifact(content=b"one")), b"one")
    bucket.download(tmp_path)
    assert "authorization" not in bucket.fetched[0].headers


def test_an_existing_file_with_the_same_content_is_not_fetched_again(tmp_path: Path) -> None:
    bucket = Bucket(succeeded(artifact("a.png", b"one")), b"one")
    assert bucket.download(tmp_path) == bucket.download(tmp_path) == [tmp_path / "a.png"]
    assert len(bucket.fetched) == 1


def test_another_file_with_the_same_name_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    (tmp_path / "a-2.png").symlink_to("nowhere")
    (tmp_path / "a-3.png").mkdir()
    bucket = Bucket(succeeded(artifact("a.png", b"one"), artifact("a.png", b"two")), b"one", b"two")
    paths = bucket.download(tmp_path)
    assert [path.name for path in paths] == ["a-4.png", "a-5.png"]
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()
    assert bucket.download(tmp_path) == paths


@pytest.mark.parametrize("expired", [400, 403])
def test_an_expired_url_is_replaced_by_a_fresh_one(tmp_path: Path, expired: int) -> None:
    bucket = Bucket(succeeded(artifact(content=b"one")), httpx.Response(expired), b"one")
    assert bucket.download(tmp_path)[0].read_bytes() == b"one"
    assert bucket.reads == 2


def test_a_broken_transfer_is_retried(tmp_path: Path) -> None:
    bucket = Bucket(
        succeeded(artifact(content=b"one")),
        httpx.ReadError("cut"),
        httpx.Response(500),
        stored(b"on"),
        stored(b"two"),
        stored(b"one"),
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
def test_a_wrong_file_is_not_saved(tmp_path: Path, answer: Any, why: str) -> None:
    bucket = Bucket(succeeded(artifact(content=b"one")), answer, answer)
    if isinstance(answer, bytes):
        bucket.answers = [stored(answer) for _ in range(TRIES)]
    with pytest.raises(DownloadFailed, match=why) as raised:
        bucket.download(tmp_path)
    assert "signature" not in str(raised.value)
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


# --- continuing, and side by side -----------------------------------------------------------------


def ranged(content: bytes, *, breaks_at: int | None = None) -> Any:
    """A store that supports ranges; its first response breaks at byte `breaks_at`."""
    breaks = [breaks_at] if breaks_at is not None else []

    def answer(request: httpx.Request) -> httpx.Response:
        begin = int(request.headers.get("range", "bytes=0-")[6:-1])
        status = 206 if "range" in request.headers else 200
        if breaks:
            part = content[begin : breaks.pop()]
            return httpx.Response(status, stream=Stream(part, httpx.ReadError("cut")))
        return httpx.Response(status, stream=Stream(content[begin:]))

    return answer


def test_a_broken_transfer_continues_where_it_broke(tmp_path: Path) -> None:
    bucket = Bucket(succeeded(artifact(content=b"0123456789")), ranged(b"0123456789", breaks_at=4))
    (path,) = bucket.download(tmp_path)
    assert path.read_bytes() == b"0123456789"
    assert [request.headers.get("range") for request in bucket.fetched] == [None, "bytes=4-"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_process_continues_where_another_has_died(tmp_path: Path) -> None:
    job = succeeded(artifact(content=b"0123456789"))
    cut = httpx.Response(200, stream=Stream(b"01234", httpx.ReadError("cut")))
    with pytest.raises(DownloadFailed):
        Bucket(job, cut, httpx.ConnectError("gone")).download(tmp_path)
    bucket = Bucket(job, ranged(b"0123456789"))
    (path,) = bucket.download(tmp_path)
    assert path.read_bytes() == b"0123456789"
    assert bucket.fetched[0].headers["range"] == "bytes=5-"


def test_a_store_without_ranges_sends_the_whole_file_again(tmp_path: Path) -> None:
    cut = httpx.Response(200, stream=Stream(b"012", httpx.ReadError("cut")))
    bucket = Bucket(succeeded(artifact(content=b"0123456789")), cut, b"0123456789")
    assert bucket.download(tmp_path)[0].read_bytes() == b"0123456789"


def test_a_transfer_does_not_continue_from_wrong_bytes(tmp_path: Path) -> None:
    cut = httpx.Response(200, stream=Stream(b"XXXX", httpx.ReadError("cut")))
    rest = httpx.Response(206, stream=Stream(b"456789"))
    bucket = Bucket(succeeded(artifact(content=b"0123456789")), cut, rest, b"0123456789")
    assert bucket.download(tmp_path)[0].read_bytes() == b"0123456789"
    assert "range" not in bucket.fetched[2].headers


def test_files_are_fetched_side_by_side(tmp_path: Path) -> None:
    together = threading.Barrier(AT_ONCE)
    contents = [bytes([n]) for n in range(AT_ONCE)]
    by_url = {artifact(content=content)["url"]: content for content in contents}

    def answer(request: httpx.Request) -> httpx.Response:
        together.wait(WITHIN)  # raises unless all transfers have begun
        return stored(by_url[str(request.url)])

    job = succeeded(*(artifact(f"{n}.png", content) for n, content in enumerate(contents)))
    paths = Bucket(job, answer).download(tmp_path)
    assert [path.read_bytes() for path in paths] == contents


def test_files_with_equal_content_are_fetched_once(tmp_path: Path) -> None:
    job = succeeded(artifact("a.png"), artifact("b.png"), artifact("a.png"))
    bucket = Bucket(job, b"pixels")
    paths = bucket.download(tmp_path)
    assert [path.name for path in paths] == ["a.png", "b.png", "a.png"]
    assert all(path.read_bytes() == b"pixels" for path in paths)
    assert len(bucket.fetched) == 1


class Pages:
    """A job with many files, of which each answer has `limit`; its URLs expire once."""

    def __init__(self, count: int, limit: int, *, expires: bool = False) -> None:
        self.files = [artifact(f"{n:05}.png", str(n).encode(), number=n) for n in range(count)]
        self.contents = {file["url"]: str(n).encode() for n, file in enumerate(self.files)}
        self.limit, self.expires = limit, expires
        self.cursors: list[str | None] = []
        self._expired: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != "api.test":
            return self._file(str(request.url))
        cursor = request.url.params.get("cursor")
        self.cursors.append(cursor)
        page = self._page(int(cursor or 0))
        if request.url.path.endswith("/artifacts"):
            return httpx.Response(200, json={"job_id": JOB, **page})
        return httpx.Response(200, json=job_view("succeeded", 9, result=page))

    def _page(self, first: int) -> dict[str, Any]:
        following = first + self.limit
        return {
            "artifacts": self.files[first:following],
            "artifacts_total": len(self.files),
            "next_cursor": str(following) if following < len(self.files) else None,
        }

    def _file(self, url: str) -> httpx.Response:
        if self.expires and url not in self._expired:
            self._expired.add(url)
            return httpx.Response(403)
        return stored(
            next(f["name"].lstrip("0")[:-4] or "0" for f in self.files if f["url"] == url).encode()
        )


def test_the_files_of_all_pages_are_saved_in_order(tmp_path: Path) -> None:
    pages = Pages(count=250, limit=100)
    with Service(pages).client() as client:
        paths = client.job(JOB).download(tmp_path)
    assert [path.name for path in paths] == [f["name"] for f in pages.files]
    assert [path.read_bytes() for path in paths] == [str(n).encode() for n in range(250)]
    assert pages.cursors == [None, "100", "200"]


def test_an_expired_url_of_any_page_is_replaced_by_reading_that_page_again(tmp_path: Path) -> None:
    pages = Pages(count=5, limit=2, expires=True)
    with Service(pages).client() as client:
        paths = client.job(JOB).download(tmp_path)
    assert [path.read_bytes() for path in paths] == [str(n).encode() for n in range(5)]
    assert sorted(pages.cursors, key=str) == ["2", "2", "2", "4", "4", None, None, None]


def test_the_files_of_a_job_are_listed_page_by_page() -> None:
    pages = Pages(count=250, limit=100)
    with Service(pages).client() as client:
        listed = [file for page in client.job(JOB).artifacts() for file in page.artifacts]
    assert [file.number for file in listed] == list(range(250))
    assert pages.cursors == [None, "100", "200"]


# --- what others have put into the directory ------------------------------------------------------


def part_of(directory: Path, content: bytes) -> Path:
    return part_path(directory, ArtifactView.model_validate(artifact(content=content)))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_bytes(b"mine")
    return path


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.mkdir()
    return path


@pytest.mark.parametrize("plant", ["symlink_to", "hardlink_to"])
@pytest.mark.parametrize("content", [b"one", b"mine", b"a longer file", b""])
def test_a_link_in_place_of_the_part_is_not_written_through(
    shared: Path, victim: Path, plant: str, content: bytes
) -> None:
    getattr(part_of(shared, content), plant)(victim)
    with pytest.raises(DownloadFailed, match="is a link or no ordinary file"):
        Bucket(succeeded(artifact("a.png", content)), content).download(shared)
    assert victim.read_bytes() == b"mine"
    assert not (shared / "a.png").exists()


def test_a_link_to_nowhere_or_a_pipe_in_place_of_the_part_is_refused(
    shared: Path, victim: Path
) -> None:
    part_of(shared, b"one").symlink_to(shared / "new")
    os.mkfifo(part_of(shared, b"two"))
    for content in (b"one", b"two"):
        with pytest.raises(DownloadFailed, match="remove it"):
            Bucket(succeeded(artifact("a.png", content)), content).download(shared)
    assert not (shared / "new").exists()


def test_a_link_that_is_planted_between_the_check_and_the_write_is_refused(
    shared: Path, victim: Path
) -> None:
    def plant(_request: httpx.Request) -> httpx.Response:
        part_of(shared, b"one").symlink_to(victim)
        return stored(b"one")

    with pytest.raises(DownloadFailed, match="is a link"):
        Bucket(succeeded(artifact("a.png", b"one")), plant).download(shared)
    assert victim.read_bytes() == b"mine"


def test_a_copy_of_the_same_content_is_not_written_through_a_link(
    shared: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = succeeded(artifact("a.png", b"one"), artifact("b.png", b"one"))
    replace = Path.replace

    def replace_and_plant(part: Path, target: Path) -> Path:
        placed = replace(part, target)
        part.symlink_to(victim)
        return placed

    monkeypatch.setattr(Path, "replace", replace_and_plant)
    with pytest.raises(DownloadFailed, match="is a link"):
        Bucket(job, b"one").download(shared)
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("content", [b"one", b"mine"])
def test_a_link_in_place_of_the_file_is_left_as_it_is(
    shared: Path, victim: Path, content: bytes
) -> None:
    (shared / "a.png").symlink_to(victim)
    paths = Bucket(succeeded(artifact("a.png", content)), content).download(shared)
    assert paths == [shared / "a-2.png"]
    assert paths[0].read_bytes() == content
    assert not paths[0].is_symlink()
    assert victim.read_bytes() == b"mine"
