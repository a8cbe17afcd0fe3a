"""Request models take documented values only; response models ignore unknown fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from comfyline.contract.ids import random_job_id
from comfyline.contract.v1 import responses
from comfyline.contract.v1.openapi import OPERATIONS
from comfyline.contract.v1.socket import Ping, Subscribe, Unsubscribe, client_message
from tests.support.builders import NOW

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
FORMS = sorted({m for o in OPERATIONS.values() for m in o.body}, key=lambda m: m.__name__)
EXAMPLES = {m: example for o in OPERATIONS.values() for m, example in o.body.items()}
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)


def errors_of(model: type[BaseModel] | TypeAdapter[Any], value: Any) -> list[str]:
    """The fields that the model refuses; empty if it accepts the value."""
    check = model.validate_python if isinstance(model, TypeAdapter) else model.model_validate
    try:
        check(value)
    except ValidationError as error:
        return [".".join(map(str, e["loc"])) for e in error.errors()]
    return []


@every_form
def test_the_example_in_the_document_is_accepted(form: type[BaseModel]) -> None:
    assert errors_of(form, EXAMPLES[form]) == []


@every_form
@given(name=st.text(min_size=1, max_size=20), value=JSON)
def test_an_unknown_field_is_refused(form: type[BaseModel], name: str, value: Any) -> None:
    if name not in form.model_fields:
        assert errors_of(form, {**EXAMPLES[form], name: value}) == [name]


@every_form
@given(data=st.data())
def test_an_accepted_field_is_never_converted(form: type[BaseModel], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(form.model_fields)))
    value = data.draw(JSON)
    sent = {**EXAMPLES[form], name: value}
    if not errors_of(form, sent):
        kept = form.model_validate(sent).model_dump(mode="json", exclude_unset=True)[name]
        assert kept == value
        assert not (isinstance(value, bool) and not isinstance(kept, bool))


@every_form
def test_a_whole_number_may_be_written_with_a_point(form: type[BaseModel]) -> None:
    for name, value in EXAMPLES[form].items():
        if type(value) is int:
            made = form.model_validate({**EXAMPLES[form], name: float(value)})
            assert repr(getattr(made, name)) == repr(value)
            assert errors_of(form, {**EXAMPLES[form], name: value + 0.5}) == [name]


@given(st.text(max_size=30) | JSON.map(json.dumps))
def test_a_client_message_is_one_of_three_or_refused(body: str) -> None:
    try:
        message = client_message.validate_json(body)
    except ValidationError:
        return
    assert isinstance(message, Subscribe | Unsubscribe | Ping)


@pytest.mark.parametrize("after", [-1, 1.5, "x"])
def test_a_subscription_resumes_after_a_version(after: Any) -> None:
    message = {"action": "subscribe", "job_id": random_job_id(NOW)}
    assert errors_of(client_message, message) == []
    assert errors_of(client_message, {**message, "after": 3}) == []
    assert errors_of(client_message, {**message, "after": 3.0}) == []
    assert errors_of(client_message, {**message, "after": after}) == ["subscribe.after"]


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4))
def test_an_unknown_field_of_an_answer_is_ignored(more: dict[str, Any]) -> None:
    known = {"status": "ok"}
    assert responses.Health.model_validate({**more, **known}) == responses.Health(status="ok")
