"""Settings: what infra writes into an environment is what the process reads back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from comfyline import settings
from comfyline.settings import Settings

MODELS = [
    model
    for model in vars(settings).values()
    if isinstance(model, type) and issubclass(model, Settings) and model is not Settings
]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)

# What an environment can hold; an empty variable is one that is set.
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
OF_A_FORM = {"WARM_HOURS": "mon-fri 08-18"}


def plain(model: type[Settings]) -> Settings:
    """The model with the least that it takes."""
    required = [name.upper() for name, f in model.model_fields.items() if f.is_required()]
    return model.from_environment({name: OF_A_FORM.get(name, "1") for name in required})


@every_model
def test_what_is_written_is_read_back(model: type[Settings]) -> None:
    known = plain(model)
    assert model.from_environment(known.to_environment()) == known
    noise = {"PATH": "/bin", "AWS_REGION": "us-east-1", "_HANDLER": "x"}
    assert model.from_environment({**noise, **known.to_environment()}) == known


@every_model
@given(data=st.data())
def test_any_text_survives(model: type[Settings], data: st.DataObject) -> None:
    texts = [name for name, f in model.model_fields.items() if f.annotation is str]
    drawn = {name: data.draw(TEXT) for name in texts}
    free = {name: text for name, text in drawn.items() if _takes(model, name, text)}
    known = model.model_validate({**plain(model).model_dump(), **free})
    assert model.from_environment(known.to_environment()) == known


@every_model
def test_each_missing_variable_is_named(model: type[Settings]) -> None:
    required = {name for name, f in model.model_fields.items() if f.is_required()}
    if not required:
        assert model.from_environment({}) == plain(model)
        return
    with pytest.raises(ValidationError) as refusal:
        model.from_environment({})
    assert {error["loc"][0] for error in refusal.value.errors()} == required


@every_model
def test_they_do_not_change_and_take_no_stray_field(model: type[Settings]) -> None:
    known = plain(model)
    with pytest.raises(ValidationError, match="Extra inputs"):
        model.model_validate({**known.model_dump(), "no_such_field": "x"})
    for name in model.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(known, name, getattr(known, name))


def _takes(model: type[Settings], name: str, text: Any) -> bool:
    try:
        model.model_validate({**plain(model).model_dump(), name: text})
    except ValidationError:
        return False
    return True
