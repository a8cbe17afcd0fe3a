"""Multipart forms: any bytes, fields in any order, and clear errors for what is no form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.api.comfy_v2.multipart import MAX_FIELDS, form_of
from comfyline.service.errors import InvalidRequest, MalformedRequest, RequestRefused

TYPE = "multipart/form-data; boundary=x"


def part(name: str, content: bytes, more: str = "") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return b"--x\r\n" + head.encode() + content + b"\r\n"


FILE = part("file", b"abc", '; filename="a.png"\r\nContent-Type: application/octet-stream')
END = b"--x--\r\n"


@given(st.binary().filter(lambda content: b"\r\n--x" not in content), st.booleans())
def test_any_bytes_come_back(content: bytes, is_first: bool) -> None:
    file, field = part("file", content, '; filename="x"'), part("file_path", "é.png".encode())
    form = form_of((file + field if is_first else field + file) + END, TYPE)
    assert (form.file, form.fields) == (content, {"file_path": "é.png"})


@pytest.mark.parametrize(
    "body",
    [b"preamble\r\n" + FILE + END, FILE.replace(b"--x\r\n", b"--x \t\r\n") + b"--x--", FILE + END],
    ids=["a preamble", "blanks after the boundary", "plain"],
)
@pytest.mark.parametrize("kind", [TYPE, 'Multipart/Form-Data; charset=utf-8; boundary="x"'])
def test_forms_of_other_clients(body: bytes, kind: str) -> None:
    assert form_of(body, kind).file == b"abc"


def test_a_repeated_field_keeps_its_first_value() -> None:
    body = part("tags", b"a") + part("tags", b"b") + FILE + END
    assert form_of(body, TYPE).fields == {"tags": "a"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (FILE + END, None),
        (FILE + END, "application/json"),
        (FILE + END, "multipart/form-data"),
        (FILE + END, "multipart/form-data; boundary="),
        (FILE + END, "multipart/form-data; boundary=" + "y" * 71),
        (FILE + END, "multipart/form-data; boundary=y"),
        (FILE, TYPE),
        (b"", TYPE),
        (b"--x\r\nno headers\r\n" + END, TYPE),
        (b"--x\r\nContent-Type: a/b\r\n\r\nabc\r\n" + END, TYPE),
        (b"--x\r\nX: " + b"y" * 5000 + b"\r\n\r\nabc\r\n" + END, TYPE),
    ],
)
def test_what_is_no_form_is_malformed(body: bytes, kind: str | None) -> None:
    with pytest.raises(MalformedRequest):
        form_of(body, kind)


@pytest.mark.parametrize(
    "body",
    [
        END,
        part("file_path", b"a") + END,
        FILE + FILE + END,
        FILE + part("file_path", b"y" * 1025) + END,
        FILE + part("file_path", b"\xff") + END,
        FILE + b"".join(part(str(n), b"") for n in range(MAX_FIELDS + 1)) + END,
    ],
)
def test_a_form_that_is_wrong_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        form_of(body, TYPE)


@given(st.binary(), st.text())
def test_any_input_is_read_or_refused(body: bytes, kind: str) -> None:
    for each in (kind, TYPE):
        try:
            form_of(b"--x" + body, each)
        except RequestRefused:
            continue
