"""Pictures: in memory, in a terminal that can show them, and in a notebook."""

from __future__ import annotations

import asyncio
import io
import re
import sys
import types
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from comfyline.client import DownloadFailed, Picture
from comfyline.client.cli import pictures
from comfyline.client.notebook import as_html, shown
from comfyline.contract.v1.responses import JobView
from comfyline.contract.v1.socket import ProgressMessage
from comfyline.service.texts import valid_text
from tests.support.hostile import hostile_texts
from tests.unit.client.fakes import JOB, Service, Stream, accepted, artifact, job_view, succeeded


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


PNG = png()
FILES = {
    "fox.png": (PNG, "image/png"),
    "film.mp4": (b"film", "video/mp4"),
    "large.png": (b"x" * 999, "image/png"),
    "fox.jpg": (b"\xff\xd8\xff jpeg", "image/jpeg"),
}
ARTIFACTS = [artifact(name, body, content_type=kind) for name, (body, kind) in FILES.items()]


def service(*artifacts: dict[str, Any], broken: bool = False) -> Service:
    bodies = {a["url"]: FILES[a["name"]][0] for a in ARTIFACTS}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "files.test":
            body = b"other" if broken else bodies[str(request.url)]
            return httpx.Response(200, stream=Stream(body))
        if request.url.path.endswith("/jobs"):
            return accepted()
        return httpx.Response(200, json=succeeded(*artifacts))

    return Service(answer)


# --- in memory ------------------------------------------------------------------------------------


def names_by_both(of: Service, **limits: int) -> list[str]:
    async def awaited() -> list[str]:
        async with of.async_client() as client:
            return [picture.name for picture in await client.job(JOB).images(**limits)]

    with of.client() as client:
        names = [picture.name for picture in client.job(JOB).images(**limits)]
    assert asyncio.run(awaited()) == names
    return names


def test_images_are_the_jobs_pictures_in_its_order() -> None:
    assert names_by_both(service(*ARTIFACTS)) == ["fox.png", "large.png", "fox.jpg"]
    assert names_by_both(service(*ARTIFACTS), max_bytes=500) == ["fox.png", "fox.jpg"]
    assert names_by_both(service(*ARTIFACTS), most=1) == ["fox.png"]
    assert names_by_both(service(*ARTIFACTS), most=0) == []
    assert names_by_both(service(ARTIFACTS[1])) == []


def test_the_same_picture_twice_is_fetched_once() -> None:
    twice = service(ARTIFACTS[0], ARTIFACTS[0])
    with twice.client() as client:
        found = client.job(JOB).images()
    assert [picture.content for picture in found] == [PNG, PNG]
    assert sum(request.url.host == "files.test" for request in twice.requests) == 1


def test_a_picture_opens_in_pillow_and_shows_itself() -> None:
    with service(*ARTIFACTS).client() as client:
        picture = client.job(JOB).images(most=1)[0]
    assert picture.open().size == (8, 8)
    assert b64decode(picture._repr_mimebundle_()["image/png"]) == PNG
    assert repr(picture) == "Picture(name='fox.png', content_type='image/png')"
    assert set(Picture("a", "image/svg+xml", b"<svg>")._repr_mimebundle_()) == {"text/plain"}


def test_a_picture_that_arrives_wrong_is_refused() -> None:
    with service(ARTIFACTS[0], broken=True).client() as client, pytest.raises(DownloadFailed):
        client.job(JOB).images()


# --- in a terminal --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        ({}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, None),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "iTerm.app"}, None),
        ({"TMUX": "/tmp/tmux", "KITTY_WINDOW_ID": "1"}, None),
        ({"COMFYLINE_PICTURES": "none", "TERM": "xterm-kitty"}, None),
        ({"COMFYLINE_PICTURES": "kitty"}, "kitty"),
        ({"COMFYLINE_PICTURES": "nonsense"}, None),
    ],
)
def test_the_protocol_is_that_of_the_terminal(
    environ: dict[str, str], protocol: str | None
) -> None:
    assert pictures.protocol_of(environ) == protocol


def test_iterm2_gets_the_file_in_base64() -> None:
    code = pictures.encoded("iterm2", PNG)
    found = re.fullmatch(r"\x1b\]1337;File=([^:]*):([A-Za-z0-9+/=]*)\x07", code)
    assert found is not None
    assert b64decode(found[2]) == PNG
    assert f"size={len(PNG)}" in found[1]


def test_kitty_gets_the_file_in_chunks() -> None:
    content = PNG + bytes(9999)
    chunks = re.findall(
        r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", pictures.encoded("kitty", content)
    )
    assert b64decode("".join(data for _, data in chunks)) == content
    assert [keys.rpartition("m=")[2] for keys, _ in chunks] == [*"1" * (len(chunks) - 1), "0"]
    assert max(len(data) for _, data in chunks) <= 4096


@given(st.binary(max_size=64), st.sampled_from(["iterm2", "kitty"]))
def test_no_file_steers_the_terminal(content: bytes, protocol: Any) -> None:
    code = pictures.encoded(protocol, b"\x89PNG\r\n\x1a\n" + content)
    own = re.sub(r"\x1b\]1337;File=[a-z0-9=;]*:|\x07|\x1b_G[A-Za-z0-9=,]*;|\x1b\\", "", code)
    assert re.fullmatch("[A-Za-z0-9+/=]*", own)
    assert pictures.encoded(protocol, b"no picture" + content) == ""


@pytest.mark.parametrize(("is_terminal", "times"), [(True, 1), (False, 0)])
def test_pictures_are_shown_in_terminals_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_terminal: bool, times: int
) -> None:
    monkeypatch.setenv("COMFYLINE_PICTURES", "iterm2")
    (tmp_path / "fox.png").write_bytes(PNG)
    (tmp_path / "film.mp4").write_bytes(b"film")
    paths = sorted(tmp_path.iterdir())
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal)
    pictures.show_files(console, paths)
    assert out.getvalue().count(b64encode(PNG).decode()) == times
    with service(*ARTIFACTS).client() as client:
        pictures.show_of_job(console, client, JOB)
    assert out.getvalue().count(b64encode(PNG).decode()) == 2 * times


# --- in a notebook --------------------------------------------------------------------------------


def test_a_job_shows_its_state_then_its_pictures_then_what_was_fetched() -> None:
    of = service(*ARTIFACTS)
    with of.client() as client:
        job = client.job(JOB)
        assert JOB in job._repr_mimebundle_()["text/html"]
        before = len(of.requests)
        job.refresh()
        linked = job._repr_mimebundle_()["text/html"]
        assert linked.count('<img src="https://files.test/') == 3
        job.images(most=1)
        embedded = job._repr_mimebundle_()["text/html"]
        assert f"data:image/png;base64,{b64encode(PNG).decode()}" in embedded
        assert "files.test" not in embedded
    assert len(of.requests) == before + 3  # a representation asks nothing
    running = JobView.model_validate(job_view())
    assert '<progress value="0.420">' in as_html(JOB, running, [])


@given(hostile_texts(200).map(valid_text))
def test_a_hostile_text_is_no_html(text: str) -> None:
    files = [artifact(text, url=f"javascript:{text}"), artifact(text, url=f"https://x/{text}")]
    error = {"type": text, "message": text}
    for view in (succeeded(*files), job_view("failed", error=error)):
        job = JobView.model_validate(view)
        for fetched in ([], [Picture(text, "image/png", PNG)]):
            page = as_html(JOB, job, fetched)
            assert re.search(r"<(?!/?(div|code|progress|img)\b)", page) is None
            attributes = re.sub('"[^"]*"', "", "".join(re.findall("<[^>]*>", page)))
            assert re.search("on[a-z]+=|javascript:", attributes) is None
            assert 'src="javascript:' not in page


def test_run_shows_progress_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with service(*ARTIFACTS).client() as client:
        assert client.run("a fox", progress=True).view is not None
    out, err = capsys.readouterr()
    assert out == ""
    assert "succeeded 100%" in err


def test_run_shows_one_bar_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    ipython = types.ModuleType("IPython")
    shell = types.SimpleNamespace(kernel=object())
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    display = types.ModuleType("IPython.display")

    class Handle:
        def update(self, bar: Any) -> None:
            told.append(bar._repr_mimebundle_()["text/html"])

    display.display = lambda bar, display_id: Handle()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with service(*ARTIFACTS).client() as client:
        client.run("a fox", progress=True)
    assert '<progress value="1.000"></progress> succeeded 100%' in told[-1]
    with shown(JOB) as show:
        show(ProgressMessage(job_id=JOB, version=1, progress=0.5, message="<b>"))
    assert "&lt;b&gt;" in told[-1]
