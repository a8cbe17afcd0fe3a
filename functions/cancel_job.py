"""DELETE /api/v1/jobs/{job_id}"""

from __future__ import annotations

from comfyline.api.v1 import views
from comfyline.contract.v1 import responses
from functions._http import Answer, Request, http_handler, invalid
from functions._wiring import Wiring


@http_handler()
def handler(request: Request, wiring: Wiring) -> Answer:
    """202 with the job's state after the cancel or the purge."""
    text = request.query("purge")
    if text not in (None, "true", "false"):
        raise invalid("purge must be true or false", "query", "purge")
    end = wiring.purge if text == "true" else wiring.cancel
    done = end(request.job_id, request.owner)
    status = views.status_of(done.job)
    return Answer(
        responses.CancelAnswer(job_id=done.job.id, status=status, message=done.message), 202
    )
