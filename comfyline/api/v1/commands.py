"""Make commands of the requests of API v1: a body is validated and becomes a plain value."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

from comfyline.api.v1.parsing import parsed
from comfyline.api.v1.unwrap import unwrapped
from comfyline.contract.v1 import requests
from comfyline.service.errors import FieldError, InvalidRequest
from comfyline.service.graphs.compile import CustomGraph, Work
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.graphs.text_to_image import TextToImage
from comfyline.service.intake.submission import Submission
from comfyline.service.jobs.job import JobOptions, PictureEncoding, PictureFormat
from comfyline.service.queue.lanes import Priority

JobForm = requests.TextToImageRequest | requests.WorkflowRequest

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
