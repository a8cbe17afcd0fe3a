"""DELETE /api/v1/jobs/{job_id}, and POST /api/v2/jobs/{job_id}/cancel of Comfy's API"""

from __future__ import annotations

from comfyline.contract.v1 import responses
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request, invalid
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.aws.jobs, wiring.intake.admission))


@http_handler(for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """202 with the job's state after the cancel or the purge; in Comfy's API 200 with the job."""
    if request.is_comfy:
        from functions._comfy import job_view  # requests of API v1 never load it

        done = wiring.cancel(request.job_id, request.principal)
        return Answer(job_view(done.job.id, request, wiring))
    text = request.query("purge")
    if text not in (None, "true", "false"):
        raise invalid("purge must be true or false", "query", "purge")
    if text == "true":
        request.require_key()
    end = wiring.purge if text == "true" else wiring.cancel
    done = end(request.job_id, request.principal)
    job = done.job
    answer = responses.CancelAnswer(job_id=job.id, status=job.shown_status, message=done.message)
    return Answer(answer, 202)
