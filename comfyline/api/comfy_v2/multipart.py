"""Read a multipart form (RFC 7578) of a few short fields and one file, in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message

from comfyline.service.errors import InvalidRequest, MalformedRequest

MAX_FIELDS, MAX_FIELD_BYTES = 20, 1024
MAX_HEADER_BYTES = 4096
FILE = "file"


@dataclass(frozen=True, slots=True)
class Form:
    """The fields, of which a repeated one keeps its first value, and the bytes of the file."""

    fields: dict[str, str]
    file: bytes


def form_of(body: bytes, content_type: str | None) -> Form:
    """The form in the body.

    Raises:
        MalformedRequest: the body is not a multipart form.
        InvalidRequest: it has no file or several, or too many or too long fields.
    """
    fields: dict[str, str] = {}
    files = []
    for name, content in _parts(body, _boundary(content_type)):
        if name == FILE:
            files.append(content)
        elif len(content) > MAX_FIELD_BYTES or len(fields) >= MAX_FIELDS:
            raise InvalidRequest(
                f"A form has at most {MAX_FIELDS} fields of at most {MAX_FIELD_BYTES} bytes."
            )
        else:
            fields.setdefault(name, _text(name, content))
    if len(files) != 1:
        raise InvalidRequest(f"The form must have one `file`; it has {len(files)}.")
    return Form(fields, files[0])


def _boundary(content_type: str | None) -> bytes:
    parsed = _header("content-type", content_type or "")
    boundary = parsed.get_param("boundary", header="content-type")
    if parsed.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise MalformedRequest("Send multipart/form-data with a boundary.")
    if not (0 < len(boundary) <= 70 and boundary.isascii()):  # RFC 2046, section 5.1.1
        raise MalformedRequest("The boundary must have 1 to 70 ASCII characters.")
    return boundary.encode()


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each part.

    The first delimiter may stand at the very start; every other one begins with a line break, which
    is no part of the content before it.
    """
    delimiter = b"\r\n--" + boundary
    _, *parts = (b"\r\n" + body).split(delimiter)
    if not parts or not parts[-1].startswith(b"--"):
        raise MalformedRequest("The form is cut off: its last boundary is missing.")
    for part in parts[:-1]:
        head, separator, content = part.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not separator or len(head) > MAX_HEADER_BYTES:
            raise MalformedRequest("A part of the form has no headers, or too long ones.")
        yield _name(head), content


def _name(head: bytes) -> str:
    for line in head.split(b"\r\n"):
        field, _, value = line.decode("utf-8", "replace").partition(":")
        if field.strip().lower() == "content-disposition":
            parsed = _header("content-disposition", value.strip())
            name = parsed.get_param("name", header="content-disposition")
            if isinstance(name, str):
                return name
    raise MalformedRequest("A part of the form has no name.")


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = value.replace("\r", "").replace("\n", "")
    return message


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The field {name!r:.100} is not UTF-8.") from error
