"""Settings: a process reads from its environment variables what infra wrote into them."""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyline.service import settings
from comfyline.service.settings import Settings, WorkerSettings, WrongEnvironment

MODELS = [
    model
    for model in vars(settings).values()
    if isinstance(model, type) and issubclass(model, Settings) and model is not Settings
]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)

# The values that an environment variable can have. An empty variable counts as set.
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
OTHERS = {"int": st.integers(), "float": st.floats(allow_nan=False), "bool": st.booleans()}


def required(model: type[Settings]) -> set[str]:
    return {f.name for f in fields(model) if f.default is MISSING}


def plain(model: type[Settings]) -> Settings:
    """The settings with only the required variables."""
    return model.from_environment({name.upper(): "1" for name in required(model)})


def anything(field: Field[Any]) -> st.SearchStrategy[Any]:
    kind, _, maybe = str(field.type).partition(" | ")
    values = OTHERS.get(kind, TEXT)
    return values | st.none() if maybe else values


def test_there_are_groups_of_settings() -> None:
    assert len(MODELS) > 10


@every_model
@given(data=st.data())
def test_what_is_written_is_read_back(model: type[Settings], data: st.DataObject) -> None:
    known = replace(plain(model), **{f.name: data.draw(anything(f)) for f in fields(model)})
    written = known.to_environment()
    assert vars(model.from_environment(written)) == vars(known)
    noise = {"PATH": "/bin", "AWS_REGION": "us-east-1", "_HANDLER": "x"}
    assert vars(model.from_environment({**noise, **written})) == vars(known)


@every_model
def test_each_missing_variable_is_named(model: type[Settings]) -> None:
    if not required(model):
        assert vars(model.from_environment({})) == vars(plain(model))
        return
    with pytest.raises(WrongEnvironment) as refusal:
        model.from_environment({})
    said = str(refusal.value).split("; ")
    assert sorted(said) == sorted(f"{name.upper()} is missing" for name in required(model))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ENGINE_MAX_PROMPTS": "http"}, "ENGINE_MAX_PROMPTS: .*'http'"),
        ({"ENGINE_MAX_PROMPTS": ""}, "ENGINE_MAX_PROMPTS: .*''"),
        ({"ENGINE_MAX_PROMPTS": "1.5"}, "ENGINE_MAX_PROMPTS: .*'1.5'"),
        ({"FOLLOW_QUEUED_PROMPTS": "1"}, "FOLLOW_QUEUED_PROMPTS: .*'1'"),
        (
            {"LEASE_SECONDS": "long", "ENGINE_MAX_PROMPTS": "x"},
            "ENGINE_MAX_PROMPTS: .*; LEASE_SECONDS: ",
        ),
    ],
)
def test_each_wrong_variable_is_named(wrong: dict[str, str], said: str) -> None:
    with pytest.raises(WrongEnvironment, match=said):
        WorkerSettings.from_environment({**plain(WorkerSettings).to_environment(), **wrong})


@every_model
def test_they_are_immutable_and_refuse_unknown_fields(model: type[Settings]) -> None:
    known = plain(model)
    with pytest.raises(TypeError, match="no_such_field"):
        replace(known, no_such_field="x")
    for field in fields(model):
        with pytest.raises(FrozenInstanceError):
            setattr(known, field.name, getattr(known, field.name))
