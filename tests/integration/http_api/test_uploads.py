"""Uploading files and using them in a graph."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from comfyline.contract.ids import JobId
from comfyline.contract.v1 import responses
from comfyline.service.files.uploads import UPLOAD_LIFETIME
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.published_nodes import KEPT_UNKNOWN
from comfyline.service.settings import EngineSettings
from tests.integration.http_api.requests import (
    KEY,
    LOADING,
    code,
    submit,
)
from tests.support.builders import FrozenClock
from tests.support.gateway import Gateway


class TestUploads:
    def offered(self, gateway: Gateway, kind: str = "image/png", **options: Any) -> str:
        asked = {"name": "a.png", "content_type": kind, "bytes": 3}
        reply = gateway("POST", "/api/v1/uploads", asked, **options)
        assert reply.status == 201, reply.text
        answer = responses.UploadAccepted.model_validate_json(reply.text)
        boto3.client("s3").put_object(
            Bucket="files", Key=answer.fields["key"], Body=b"abc", ContentType=kind
        )
        return answer.upload_id

    def body(self, upload_id: str, place: str = "1.image") -> dict[str, Any]:
        return {"workflow": LOADING, "inputs": {place: f"upload:{upload_id}"}}

    @pytest.fixture
    def clock(self) -> FrozenClock:
        return FrozenClock(datetime.now(UTC))  # S3 stamps uploads by its own clock

    def test_a_file_is_placed_into_the_graph(self, gateway: Gateway) -> None:
        upload_id = self.offered(gateway)
        job_id = submit(gateway, self.body(upload_id))
        job = gateway.aws.jobs.get(JobId(job_id))
        assert job is not None
        graph = gateway.aws.jobs.graph(job)
        assert graph["1"]["inputs"]["image"] == f"upload:{upload_id}"

    def refused(self, gateway: Gateway, body: Any) -> str:
        reply = gateway("POST", "/api/v1/jobs", body)
        assert code(reply) == (422, "invalid_request")
        (error,) = reply.json["errors"]
        assert error["loc"][:2] == ["body", "inputs"]
        return str(error["msg"])

    def test_an_unknown_upload_is_refused(self, gateway: Gateway) -> None:
        message = self.refused(gateway, self.body("upl_" + "0" * 26))
        assert "node 1 (LoadImage), input image" in message
        assert "there is no upload" in message

    def test_an_upload_of_another_owner_is_refused(self, gateway: Gateway) -> None:
        upload_id = self.offered(gateway, owner="wolf")
        assert "there is no upload" in self.refused(gateway, self.body(upload_id))

    def test_an_upload_of_another_kind_is_refused(self, gateway: Gateway) -> None:
        upload_id = self.offered(gateway, "audio/flac")
        message = self.refused(gateway, self.body(upload_id))
        assert "takes animation or image, the upload is audio/flac" in message

    def test_an_upload_that_may_be_removed_too_early_is_refused(
        self, gateway: Gateway, clock: FrozenClock
    ) -> None:
        upload_id = self.offered(gateway)
        clock.advance(UPLOAD_LIFETIME - timedelta(hours=1))
        assert "may be removed before the job runs" in self.refused(gateway, self.body(upload_id))

    @pytest.mark.parametrize("place", ["9.image", "1", ".image", "1."])
    def test_an_input_that_does_not_exist_is_refused(self, gateway: Gateway, place: str) -> None:
        assert self.refused(gateway, self.body(self.offered(gateway), place))

    def test_an_input_takes_a_file_unless_the_engine_says_that_it_does_not(
        self, gateway: Gateway, clock: FrozenClock
    ) -> None:
        body = self.body(self.offered(gateway), "1.seed")
        assert submit(gateway, body)
        takes = {"image": [[], {"image_upload": True}], "seed": ["INT"]}
        described = {"output_node": False, "input": {"required": takes}}
        nodes = EngineNodes.parse({"LoadImage": described})
        gateway.aws.engine_nodes.publish(EngineSettings.engine_version, nodes)
        clock.advance(KEPT_UNKNOWN)
        assert "takes no uploaded file" in self.refused(gateway, body)

    def test_a_reference_in_the_graph_is_checked(self, gateway: Gateway) -> None:
        reference = "upload:upl_" + "0" * 26
        graph = {**LOADING, "1": {"class_type": "LoadImage", "inputs": {"image": reference}}}
        assert "there is no upload" in self.refused(gateway, {"workflow": graph})

    def test_a_replay_does_not_need_the_upload_any_more(self, gateway: Gateway) -> None:
        body = self.body(self.offered(gateway))
        job_id = submit(gateway, body, **KEY)
        bucket = boto3.resource("s3").Bucket("files")
        bucket.objects.all().delete()
        assert submit(gateway, body, **KEY) == job_id
