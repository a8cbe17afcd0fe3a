"""The files of jobs in the console: compared, saved as one archive, and shown in 3D."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from comfyline.client import Comfyline
from comfyline.contract.ids import random_job_id
from localcloud.state import Endpoints
from tests.e2e.console import PHONE, a_page, assert_accessible, show, sign_in
from tests.support import models_3d
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.usefixtures("local", "console_packages"), needs_chromium]

# In place of the picker that writes to a file, which no test can answer.
NO_PICKER = "delete window.showSaveFilePicker"
PICKER = """
window.saved = [];
window.showSaveFilePicker = async () => ({
  createWritable: async () => new WritableStream({ write: chunk => window.saved.push(...chunk) }),
});
"""


def a_job_with(page: Page, client: Comfyline, files: dict[str, bytes | None]) -> str:
    """The id of a job that shows these files; None for a file that is gone.

    Only this page knows the job. What follows `|` tells files of the same name apart.
    """
    template = client.submit("files", steps=1)
    view = json.loads(template.wait(60).model_dump_json())
    first = view["result"]["artifacts"][0]
    origin = "/".join(first["url"].split("/")[:3])
    job_id = random_job_id(datetime.now(UTC))
    shown = []
    for number, (name, body) in enumerate(files.items()):
        url = f"{origin}/made-for-{job_id}/{number}"
        about = {
            "number": number,
            "url": url,
            "name": name.split("|")[0],
            "bytes": len(body or b""),
        }
        shown.append({**first, **about, "content_type": "application/octet-stream"})
        answer: dict[str, Any] = {"body": body} if body is not None else {"status": 404}
        answer["headers"] = {"access-control-allow-origin": "*"}
        page.route(url, lambda route, _=None, a=answer: route.fulfill(**a))
    view["result"] |= {"artifacts": shown, "artifacts_total": len(shown)}
    base = f"**/api/v1/jobs/{job_id}"
    for path, answered in {
        "": {**view, "job_id": job_id},
        "/events": {"job_id": job_id, "events": []},
        "/graph": {"job_id": job_id, "workflow": {}, "bytes": 2},
    }.items():
        page.route(base + path, lambda route, _=None, a=answered: route.fulfill(json=a))
    return job_id


def test_two_pictures_of_two_jobs_are_compared(page: Page, client: Comfyline) -> None:
    ids = [client.submit("a dune", steps=1, seed=seed).id for seed in (1, 2)]
    for job_id in ids:
        client.job(job_id).wait(60)
        show(page, f"#/jobs/{job_id}")
        expect(page.locator("code", has_text=job_id).first).to_be_visible()
        page.get_by_role("button", name="Compare image").click()
    expect(page.get_by_role("heading", name="Compare two pictures")).to_be_visible()
    expect(page.locator(".beside img")).to_have_count(2)
    expect(page.locator(".differences")).to_contain_text("seed")
    assert_accessible(page)
    page.get_by_role("button", name="Slider").click()
    page.get_by_label("Border between the pictures").focus()
    page.keyboard.press("ArrowRight")
    border = page.locator(".over-border")
    assert border.evaluate("element => element.style.left") == "51%"
    assert_accessible(page)
    page.get_by_role("button", name="Exchange").click()
    expect(page.locator(".over-pictures img").first).to_be_visible()
    show(page, f"#/compare?a={ids[0]}.0&b=__proto__.x")
    expect(page.get_by_role("alert")).to_be_visible()


def test_all_files_are_saved_as_one_archive_with_safe_names(
    page: Page, client: Comfyline, tmp_path: Path
) -> None:
    files = {
        "../../etc/passwd": b"1",
        "a.txt": b"2",
        "A.TXT": b"3",
        "a.txt|again": b"4",
        "CON.png": b"5",
        "x\u202egnp.exe": b"6",
        "": b"7",
        "long" * 100 + ".png": b"8" * 100_000,
        "漢" * 120 + ".png": b"9",
        "x" * 199 + " y": b"10",
    }
    safe = [".._.._etc_passwd", "a.txt", "A (2).TXT", "a (3).txt", "_CON.png", "x_gnp.exe", "file"]
    page.evaluate(NO_PICKER)
    show(page, f"#/jobs/{a_job_with(page, client, files)}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all (10 files").click()
    download.value.save_as(tmp_path / "all.zip")
    expect(page.get_by_text("All files are saved.")).to_be_visible()
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist()[1:7] == safe[1:]
        assert "/" not in archive.namelist()[0]
        assert all(len(name.encode()) <= 255 for name in archive.namelist())
        assert not any(name.endswith((" ", ".")) for name in archive.namelist())
        assert [archive.read(name) for name in archive.namelist()] == [*files.values()]

    page.evaluate(PICKER)
    gone = a_job_with(page, client, {"here.txt": b"1", "gone.txt": None})
    show(page, f"#/jobs/{gone}")
    page.get_by_role("button", name="Download all (2 files").click()
    expect(page.get_by_role("alert")).to_contain_text("gone.txt could not be read")
    show(page, f"#/jobs/{a_job_with(page, client, {'a.txt': b'1', 'b.txt': b'2'})}")
    page.get_by_role("button", name="Download all (2 files").click()
    expect(page.get_by_text("All files are saved.")).to_be_visible()
    body = bytes(page.evaluate("window.saved.slice(-1000)"))
    assert zipfile.ZipFile(io.BytesIO(body)).namelist() == ["a.txt", "b.txt"]


def test_models_are_shown_in_3d_and_hostile_ones_say_so(page: Page, client: Comfyline) -> None:
    good = {
        "a.glb": models_3d.glb(),
        "b.ply": models_3d.ply(),
        "c.gltf": models_3d.gltf_with_its_buffer(),
        "d.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    }
    bad = {
        "e.glb": b"glTF" + b"\xff" * 60,
        "f.gltf": models_3d.gltf_that_names_other_files(),
        "g.glb": models_3d.glb_of_any_size(2**31),
        "h.obj": b"\xff" * 1000,
        "i.ply": b"ply\n" + b"element vertex 99999999999\n" * 3,
        "j.stl": b"\xff" * 84,
    }
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    show(page, f"#/jobs/{a_job_with(page, client, good | bad)}")
    buttons = page.get_by_role("button", name="Show in 3D")
    expect(buttons).to_have_count(10)
    for _ in range(10):
        buttons.first.click()
    expect(page.locator("canvas.model")).to_have_count(len(good))
    expect(page.get_by_text("cannot be shown in 3D")).to_have_count(len(bad))
    expect(page.get_by_text("Loading…")).to_have_count(0)
    assert not any("elsewhere" in url for url in asked)
    canvas = page.locator("canvas.model").first
    before = canvas.screenshot()
    canvas.focus()
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.keyboard.press(key)
    assert canvas.screenshot() != before
    assert_accessible(page)


def test_the_pages_of_files_fit_a_phone(
    browser: Browser, endpoints: Endpoints, client: Comfyline
) -> None:
    job = client.submit("a dune", steps=1, batch_size=2)
    job.wait(60)
    with a_page(browser, endpoints, viewport=PHONE, color_scheme="dark") as page:
        sign_in(page, endpoints.api_key)
        show(page, f"#/jobs/{job.id}")
        page.locator("#graph").scroll_into_view_if_needed()  # it is drawn when it comes near
        expect(page.locator(".graph-picture")).to_be_visible()
        assert_accessible(page)
        show(page, f"#/compare?a={job.id}.0&b={job.id}.1")
        page.get_by_role("button", name="Slider").click()
        expect(page.locator(".over-pictures img")).to_have_count(2)
        assert_accessible(page)
