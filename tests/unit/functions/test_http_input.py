"""Which headers, queries and bodies are accepted, and which are refused before any use case."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from comfyline.api.json import MAX_JSON_DEPTH
from comfyline.api.v1 import commands
from comfyline.api.v1.messages import encoded
from comfyline.contract.limits import MAX_BODY_BYTES
from comfyline.contract.texts import UNSAFE
from comfyline.contract.v1 import responses
from comfyline.contract.v1.socket import client_message
from comfyline.service.errors import MAX_FIELD_ERRORS, InvalidRequest, MalformedRequest
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.compile import CustomGraph
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.graphs.validate import validate_graph
from functions._handlers import logger
from functions._http import Answer, _refusal, http_handler
from functions._paging import limit_of
from functions._request import Request, invalid
from functions._submission import idempotency_key
from functions._wiring import Wiring
from functions.socket_subscribe import _fault
from tests.support.hostile import hostile_texts

ENOUGH_BYTES = 500_000  # for any problem; Lambda answers 6 MB at most


@http_handler(scope=None)
def parsed(request: Request, wiring: Wiring) -> Answer:
    """Parses a post and does nothing else."""
    work = commands.submission(request.json()).work
    if isinstance(work, CustomGraph):
        validate_graph(work.graph, Catalogue())
    return Answer(responses.Health(status="ok"), 202)


def posted(body: str) -> tuple[int, dict[str, Any]]:
    """The status and the content of the answer to a body."""
    answer = parsed({"body": body, "requestContext": {"requestId": "request-1"}}, None, Wiring({}))
    assert len(answer["body"].encode()) < ENOUGH_BYTES
    return answer["statusCode"], json.loads(answer["body"])


@pytest.mark.parametrize("body", ["", "{", "nan", "[Infinit]", '{"x": 01}', "[1,]"])
def test_a_body_that_is_not_json_is_malformed(body: str) -> None:
    with pytest.raises(MalformedRequest):
        Request({"body": body}).json()


@pytest.mark.parametrize("body", ["\ud800", '["\ud800"]'])
def test_a_body_that_is_not_utf_8_is_malformed(body: str) -> None:
    status, problem = posted(body)
    assert (status, problem["code"]) == (400, "malformed_request")


def test_a_body_above_the_limit_is_refused_with_the_way_to_send_files() -> None:
    picture = {
        "1": {"class_type": "ETN_LoadImageBase64", "inputs": {"image": "A" * MAX_BODY_BYTES}}
    }
    status, problem = posted(json.dumps({"workflow": picture}))
    assert (status, problem["code"]) == (413, "request_too_large")
    assert "POST /api/v1/uploads" in problem["detail"]


HALVES = ["\\ud800", "\\udfff", "\\udc00\\ud800"]


@pytest.mark.parametrize(
    "value", ["NaN", "[Infinity]", "-Infinity", "1e999", *map('"{}"'.format, HALVES)]
)
@pytest.mark.parametrize(
    "field", ["prompt", "cfg_scale", "seed", "metadata", "unknown", "workflow", "inputs", "output"]
)
def test_outside_of_a_workflow_such_values_are_refused_with_their_field(
    field: str, value: str
) -> None:
    sent = '{"prompt": "a red fox", "%s": %s}' % (field, value)  # noqa: UP031 - braces of JSON
    status, problem = posted(sent)
    assert (status, problem["code"]) == (422, "invalid_request")
    assert field in json.dumps(problem["errors"]) or field == "workflow"


@pytest.mark.parametrize("half", HALVES)
def test_half_a_pair_in_a_name_is_refused(half: str) -> None:
    assert posted('{"prompt": "a red fox", "metadata": {"%s": "x"}}' % half)[0] == 422  # noqa: UP031
    assert posted('{"prompt": "a red fox", "%s": 1}' % half)[0] == 422  # noqa: UP031


@pytest.mark.parametrize("value", ["NaN", "[-Infinity]", "1e999", *map('"{}"'.format, HALVES)])
def test_inside_of_a_workflow_they_are_read_where_nothing_executes_them(value: str) -> None:
    save = '{"class_type": "SaveImage", "inputs": {}, "is_changed": %s}' % value  # noqa: UP031
    assert posted('{"workflow": {"1": %s}}' % save)[0] == 202  # noqa: UP031
    executed = '{"class_type": "SaveImage", "inputs": {"a": %s}}' % value  # noqa: UP031
    status, problem = posted('{"workflow": {"1": %s}}' % executed)  # noqa: UP031
    assert status == 422
    assert problem["errors"][0]["loc"] == ["body", "workflow", "1", "inputs", "a"]


def test_a_surrogate_pair_and_an_escaped_backslash_are_read() -> None:
    sent = '["\\ud83e\\udd8a", "\\\\ud800"]'
    assert Request({"body": sent}).json() == ["🦊", "\\ud800"]


@pytest.mark.parametrize("depth", [MAX_JSON_DEPTH + 1, 500, 2_000, 200_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_body_that_is_nested_too_deeply_is_malformed(
    depth: int, opening: str, closing: str
) -> None:
    status, problem = posted(opening * depth + "1" + closing * depth)
    assert (status, problem["code"]) == (400, "malformed_request")


def test_the_deepest_request_is_read_and_fingerprinted() -> None:
    sent = Request({"body": "[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH}).json()
    assert fingerprint(sent)


def test_finite_json_is_read() -> None:
    assert Request({"body": '{"x": [1, 2.5e3, null]}'}).json() == {"x": [1, 2500.0, None]}


def keyed(key: str) -> Request:
    return Request({"headers": {"idempotency-key": key}})


@pytest.mark.parametrize(
    "key", ["", " ", '""', '" "', "é", "a\n", "\x00", "\ud800", "k" * 256, '"' + "k" * 256 + '"']
)
def test_an_invalid_idempotency_key_is_malformed(key: str) -> None:
    with pytest.raises(MalformedRequest):
        idempotency_key(keyed(key))


@pytest.mark.parametrize(
    ("header", "key"), [("k", "k"), ('"k"', "k"), ('"', '"'), ('a "b"', 'a "b"'), ("k" * 255,) * 2]
)
def test_an_idempotency_key_is_read_without_its_quotes(header: str, key: str) -> None:
    assert idempotency_key(keyed(header)) == key
    assert idempotency_key(Request({})) is None


def asking(limit: str | None) -> Request:
    return Request({"queryStringParameters": None if limit is None else {"limit": limit}})


@pytest.mark.parametrize("text", ["", "0", "101", "-1", "1.5", "00999", "0001" + "9" * 5000, "٣"])
def test_a_limit_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        limit_of(asking(text), 20)


@pytest.mark.parametrize(("text", "limit"), [(None, 20), ("1", 1), ("100", 100), ("020", 20)])
def test_a_limit_in_range_is_accepted(text: str | None, limit: int) -> None:
    assert limit_of(asking(text), 20) == limit


def a_node(**inputs: Any) -> dict[str, Any]:
    return {"workflow": {"1": {"class_type": "SaveImage", "inputs": inputs}}}


MANY = range(50_000)
LONG = "\x00🦊" * 400_000


class TestRefusalsAreBounded:
    """A body may have 4 MB of errors. A response has at most 6 MB, a function 512 MB of memory."""

    @pytest.mark.parametrize(
        ("sent", "listed"),
        [
            (a_node(**{f"{n:x}": ["x", 0] for n in MANY}), MAX_FIELD_ERRORS),
            ({"workflow": {LONG: 0}}, 1),
            (a_node(image=[LONG, 0]), 1),
            ({"prompt": "a red fox", LONG: 0}, 1),
            ({"prompt": "a red fox", **{f"{n:x}": 0 for n in range(50)}}, MAX_FIELD_ERRORS),
            ({"prompt": "a red fox", **{f"{n:x}": 0 for n in MANY}}, 1),
            ({"prompt": "a red fox", "metadata": {f"{n:x}": 0 for n in MANY}}, 1),
        ],
        ids=["links", "node id", "link", "field", "some fields", "many fields", "metadata"],
    )
    def test_of_many_or_long_errors_some_are_listed(self, sent: Any, listed: int) -> None:
        status, problem = posted(json.dumps(sent, ensure_ascii=False, separators=(",", ":")))
        assert (status, problem["code"]) == (422, "invalid_request")
        assert len(problem["errors"]) == listed

    def test_an_error_of_ordinary_length_is_listed_whole(self) -> None:
        _, problem = posted(json.dumps(a_node(image=["9", 0])))
        loc = ["body", "workflow", "1", "inputs", "image"]
        assert problem["errors"] == [
            {"loc": loc, "msg": "links to node '9', which is not in the workflow"}
        ]

    def test_on_a_socket(self) -> None:
        body = json.dumps({"action": "ping", LONG: 0})
        with pytest.raises(ValidationError) as caught:
            client_message.validate_json(body)
        assert len(_fault(body, caught.value).message) < 300


def test_log_lines_have_the_callers_request_id_and_the_gateways_own() -> None:
    """A caller may send the id of another caller's request."""
    event = {
        "body": "{}",
        "headers": {"x-request-id": "of-somebody-else"},
        "requestContext": {"requestId": "gateway-1"},
    }
    parsed(event, None, Wiring({}))
    keys = logger.get_current_keys()
    assert (keys["correlation_id"], keys["gateway_request_id"]) == ("of-somebody-else", "gateway-1")


@given(hostile_texts(5_000))
def test_a_problem_shows_no_text_of_the_caller_that_steers_a_terminal(text: str) -> None:
    problem = invalid(f"there is no {text}", text)
    answer = _refusal(problem, "request-1").to_gateway("request-1")
    shown = json.loads(answer["body"])
    for part in (shown["detail"], shown["errors"][0]["loc"][0], shown["errors"][0]["msg"]):
        assert re.search(f"[{UNSAFE}]", part) is None
        assert len(part) <= 1_000


@given(hostile_texts(1_000))
def test_a_message_on_the_socket_is_answered_with_a_small_frame(text: str) -> None:
    for body in (text, json.dumps({"action": text}), json.dumps({"action": "ping", text: text})):
        with suppress(ValidationError):
            client_message.validate_json(body)
            continue
        with pytest.raises(ValidationError) as error:
            client_message.validate_json(body)
        frame = encoded(_fault(body, error.value))
        assert len(frame) < 2_000
        assert json.loads(frame)["type"] == "error"
