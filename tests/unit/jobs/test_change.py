"""A change is the row before and after one write."""

from __future__ import annotations

from comfyline.service.jobs.change import Change
from tests.support.builders import a_job, running, succeeded


def test_only_the_write_that_ends_a_job_ends_it() -> None:
    job = running(a_job())
    ended = succeeded(a_job())
    assert Change(job, ended).ends_the_job
    assert Change(None, ended).ends_the_job
    for before, after in ((None, job), (job, job), (ended, ended)):
        assert not Change(before, after).ends_the_job
