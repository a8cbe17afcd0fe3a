"""Make commands of the requests of API v1: a body is validated and becomes a plain value."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from comfyline.api.v1.unwrap import unwrapped
from comfyline.contract.ids import UserId
from comfyline.contract.v1 import requests
from comfyline.service.errors import MAX_FIELD_ERRORS, FieldError, InvalidRequest
from comfyline.service.files.offer_upload import NewUpload
from comfyline.service.graphs.compile import CustomGraph, Work
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.graphs.text_to_image import TextToImage
from comfyline.service.intake.submission import Submission
from comfyline.service.jobs.job import JobOptions, PictureEncoding, PictureFormat
from comfyline.service.queue.lanes import Priority

if TYPE_CHECKING:
    from comfyline.service.access.tokens import NewToken

JobForm = requests.TextToImageRequest | requests.WorkflowRequest
F = TypeVar("F", bound=BaseModel)

_WEBHOOK = "webhook_url is reserved and not supported yet."


def submission(sent: Any) -> Submission:
    """The job that the body asks for.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    form = _job_form(sent)
    work = _work(form)
    return Submission(
        work=work,
        fingerprint=fingerprint(sent),
        priority=Priority(form.priority),
        start_deadline=_seconds(form.start_deadline_seconds),
        execution_timeout=_seconds(form.execution_timeout_seconds),
        metadata=form.metadata,
        reuse=form.reuse,
        options=_options(form, work),
    )


def new_upload(sent: Any) -> NewUpload:
    """The file that the body announces.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    form = parsed(requests.UploadRequest, sent)
    return NewUpload(
        name=form.name,
        content_type=form.content_type,
        bytes=form.bytes,
        sha256=form.sha256,
        blake3=form.blake3,
    )


def new_token(sent: Any) -> NewToken:
    """The token that the body asks for.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    # Loaded here, because the functions that accept jobs load this module and start faster without.
    from comfyline.service.access.tokens import NewToken

    form = parsed(requests.TokenRequest, sent)
    return NewToken(
        user=UserId(form.user),
        scopes=frozenset(form.scopes),
        lifetime=timedelta(seconds=form.expires_in),
        max_jobs=form.max_jobs,
    )


def _job_form(sent: Any) -> JobForm:
    if not isinstance(sent, dict):
        raise InvalidRequest(
            "The body must be a JSON object.", [FieldError(("body",), "not an object")]
        )
    if "webhook_url" in sent:
        raise InvalidRequest(_WEBHOOK, [FieldError(("body", "webhook_url"), _WEBHOOK)])
    body = unwrapped(sent)
    if ("prompt" in body) == ("workflow" in body):
        detail = "Send exactly one of `prompt` and `workflow`."
        raise InvalidRequest(detail, [FieldError(("body",), detail)])
    if "workflow" in body:
        return parsed(requests.WorkflowRequest, body)
    return parsed(requests.TextToImageRequest, body)


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


def _work(form: JobForm) -> Work:
    if isinstance(form, requests.WorkflowRequest):
        pnginfo = form.extra_data.extra_pnginfo if form.extra_data else {}
        return CustomGraph(graph=form.workflow, inputs=form.inputs, extra_pnginfo=pnginfo)
    return TextToImage(**form.model_dump(include={field.name for field in fields(TextToImage)}))


def _options(form: JobForm, work: Work) -> JobOptions:
    return JobOptions(
        output=_encoding(form.output),
        wants_previews=form.previews,
        has_pnginfo=isinstance(work, CustomGraph) and bool(work.extra_pnginfo),
        strict=isinstance(form, requests.WorkflowRequest) and form.strict,
    )


def _encoding(output: requests.OutputOptions | None) -> PictureEncoding | None:
    if output is None:
        return None
    return PictureEncoding(format=PictureFormat(output.format), quality=output.quality)


def _seconds(number: int | None) -> timedelta | None:
    return None if number is None else timedelta(seconds=number)
