"""Validate the body of a request against its model, and name the fields that are wrong."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from comfyline.service.errors import MAX_FIELD_ERRORS, FieldError, InvalidRequest

F = TypeVar("F", bound=BaseModel)


def parsed(form: type[F], sent: Any) -> F:
    """The body as that form.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    try:
        return form.model_validate(sent)
    except ValidationError as error:
        raise InvalidRequest("The request has invalid fields.", _field_errors(error)) from error


def _field_errors(error: ValidationError) -> list[FieldError]:
    if error.error_count() > MAX_FIELD_ERRORS:
        # pydantic takes a kilobyte for each error that it lists, and a body has room for half a
        # million of them.
        return [FieldError(("body",), f"{error.error_count()} fields are invalid")]
    return [FieldError(("body", *e["loc"]), e["msg"]) for e in error.errors()]
