"""What can be asked of a service and of its jobs, as flows: the one logic of both clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyline.client import settings
from comfyline.client.calls import Calls, Retries, SubmitOptions, job_path
from comfyline.client.download import Downloads
from comfyline.client.errors import ending_error
from comfyline.client.flow import Flow
from comfyline.client.stream import Live, Pace, follow
from comfyline.contract.v1 import responses
from comfyline.contract.v1.common import API_PREFIX

UPLOAD = "upload:"


@dataclass(frozen=True, slots=True)
class Service:
    """One service, and how to speak to it."""

    calls: Calls
    live: Live

    @classmethod
    def configured(
        cls,
        url: str | None,
        api_key: str | None,
        ws_url: str | None,
        retries: Retries | None,
        pace: Pace | None,
    ) -> Service:
        """From arguments first, then the environment.

        Raises:
            NotConfigured: the URL or the key is missing, or one of them cannot be meant.
        """
        base = settings.required_url(url) + API_PREFIX
        calls = Calls(base, settings.required_key(api_key), retries or Retries())
        return cls(calls, Live(settings.optional_ws_url(ws_url), pace or Pace()))

    def submit(
        self,
        prompt: str | None,
        workflow: Mapping[str, Any] | None,
        files: Mapping[str, Path] | None,
        idempotency_key: str | None,
        options: SubmitOptions,
    ) -> Flow[responses.JobAccepted]:
        """Upload the files that the workflow takes, then submit it."""
        inputs = dict(options.get("inputs") or {})
        for place, file in (files or {}).items():
            inputs[place] = yield from self.calls.upload(file)
        given = SubmitOptions(**{**options, "inputs": inputs or None})
        return (yield from self.calls.submit(prompt, workflow, idempotency_key, given))

    def events(self, job_ids: Sequence[str], timeout: float | None) -> Flow[None]:
        """Tells the jobs' messages.

        Raises:
            ValueError: one of them is no job id.
        """
        for job_id in job_ids:
            job_path(job_id)
        return follow(self.calls, self.live, job_ids, timeout)

    def wait(self, job_id: str, timeout: float | None) -> Flow[responses.JobView]:
        """Tells the messages; the job when it has ended."""
        yield from self.events([job_id], timeout)
        return (yield from self.calls.get(job_id))

    def success(self, job_id: str, timeout: float | None) -> Flow[responses.JobView]:
        """The same, where nothing but success will do.

        Raises:
            JobNotSucceeded: it has ended otherwise.
        """
        view = yield from self.wait(job_id, timeout)
        if error := ending_error(view):
            raise error
        return view

    def download(self, job_id: str, directory: Path) -> Flow[list[Path]]:
        """Save the job's files."""
        backoff = self.calls.retries.backoff
        return Downloads(lambda: self.calls.get(job_id), backoff).save(directory)
