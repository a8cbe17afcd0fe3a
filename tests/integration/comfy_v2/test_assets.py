"""Assets over Comfy API v2: the same file is sent once, owners are apart, and graphs name them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import requests
from blake3 import blake3
from comfy_low import models as sdk

from comfyline.contract.ids import JobId, OwnerId, UploadId
from comfyline.service.files.assets import RENEW_AFTER
from comfyline.service.files.uploads import UPLOAD_LIFETIME, upload_key
from comfyline.service.graphs.uploads import references
from tests.integration.comfy_v2.requests import JOBS, SAVE, refusal, submitted
from tests.support.builders import FrozenClock, a_result, an_artifact, succeeded
from tests.support.gateway import Gateway, Reply

ASSETS = "/api/v2/assets"
BODY = b"\x89PNG\r\n\x1a\n\r\n--almost a boundary\x00\xff"
FORM = {"content-type": "multipart/form-data; boundary=x"}


def hash_of(body: bytes) -> str:
    return "blake3:" + blake3(body).hexdigest()


def form(body: bytes = BODY, **fields: str) -> bytes:
    fields = {"content_type": "image/png", "file_path": "photo.png", **fields}
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items() if value]
    parts.append(b'name="file"; filename="f"\r\n\r\n' + body)
    head = b"--x\r\nContent-Disposition: form-data; "
    return b"".join(head + part + b"\r\n" for part in parts) + b"--x--\r\n"


def sent(gateway: Gateway, body: bytes = BODY, *, owner: str = "fox", **fields: str) -> sdk.Asset:
    reply = gateway("POST", ASSETS, body=form(body, **fields), headers=FORM, owner=owner)
    assert reply.status in (200, 201), reply.text
    asset = sdk.Asset.model_validate_json(reply.text)
    assert asset.created_new == (reply.status == 201)
    return asset


def known(gateway: Gateway, body: bytes = BODY, owner: str = "fox") -> int:
    hash_ = hash_of(body).replace(":", "%3A")
    reply = gateway("HEAD", f"{ASSETS}/by-hash/{hash_}", owner=owner)
    assert reply.text == ""
    return reply.status


def reused(gateway: Gateway, name: str | None = "photo.png", owner: str = "fox") -> Reply:
    body = {"hash": hash_of(BODY), **({"file_path": name} if name else {})}
    return gateway("POST", f"{ASSETS}/from-hash", body, owner=owner)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(datetime.now(UTC))  # S3 stamps files by its own clock


class TestFiles:
    def test_a_file_is_kept(self, gateway: Gateway) -> None:
        assert known(gateway) == 404
        asset = sent(gateway, expected_hash=hash_of(BODY))
        assert (asset.hash, asset.size_bytes) == (hash_of(BODY), len(BODY))
        assert (asset.content_type, asset.file_path) == ("image/png", "photo.png")
        assert known(gateway) == 200
        assert requests.get(str(asset.url), timeout=5).content == BODY

    def test_the_same_file_is_the_same_asset(self, gateway: Gateway) -> None:
        first, second = sent(gateway), sent(gateway)
        assert first.id == second.id
        assert (first.created_new, second.created_new) == (True, False)
        third = reused(gateway)
        assert (third.status, third.json["id"]) == (200, first.id)

    def test_the_same_bytes_under_another_name_are_another_asset(self, gateway: Gateway) -> None:
        first = sent(gateway)
        reply = reused(gateway, "sub/other.png")
        assert (reply.status, reply.json["created_new"]) == (201, True)
        assert reply.json["id"] != first.id
        gateway("DELETE", f"{ASSETS}/{first.id}")
        assert requests.get(reply.json["url"], timeout=5).content == BODY
        assert known(gateway) == 200

    def test_a_name_may_be_left_to_the_bytes(self, gateway: Gateway) -> None:
        asset = sent(gateway)
        assert reused(gateway, None).json["id"] == asset.id

    def test_another_owner_does_not_know_the_bytes(self, gateway: Gateway) -> None:
        asset = sent(gateway)
        assert known(gateway, owner="owl") == 404
        assert refusal(reused(gateway, owner="owl")) == (404, "blob_not_found")
        for method, what in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
            reply = gateway(method, f"{ASSETS}/{asset.id}{what}", owner="owl")
            assert refusal(reply) == (404, "not_found")
        assert sent(gateway, owner="owl").created_new
        assert sent(gateway, owner="owl").id != asset.id

    def test_a_wrong_hash_stores_nothing(self, gateway: Gateway) -> None:
        body = form(expected_hash=hash_of(b"other"))
        reply = gateway("POST", ASSETS, body=body, headers=FORM)
        assert refusal(reply) == (409, "hash_mismatch")
        assert known(gateway) == 404
        assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket="files")

    def test_its_content_is_elsewhere(self, gateway: Gateway) -> None:
        asset = sent(gateway, file_path="sub/photo.png")
        reply = gateway("GET", f"{ASSETS}/{asset.id}/content")
        assert (reply.status, reply.headers["cache-control"]) == (302, "private, no-store")
        found = requests.get(reply.headers["location"], timeout=5)
        assert found.content == BODY
        assert 'filename="photo.png"' in found.headers["content-disposition"]

    def test_a_removed_asset_is_gone_and_may_be_sent_again(self, gateway: Gateway) -> None:
        asset = sent(gateway)
        assert gateway("DELETE", f"{ASSETS}/{asset.id}").status == 204
        assert refusal(gateway("DELETE", f"{ASSETS}/{asset.id}")) == (404, "not_found")
        assert refusal(gateway("GET", f"{ASSETS}/{asset.id}")) == (404, "not_found")
        assert known(gateway) == 404
        assert sent(gateway).created_new

    def test_bytes_that_are_gone_are_sent_again(self, gateway: Gateway) -> None:
        asset = sent(gateway)
        key = upload_key(OwnerId("fox"), UploadId(asset.id))
        boto3.client("s3").delete_object(Bucket="files", Key=key)
        assert known(gateway) == 404
        sent(gateway)
        assert known(gateway) == 200


class TestClaims:
    """Large files are announced with their hash, and sent by a form."""

    def claimed(self, gateway: Gateway, body: bytes = BODY, owner: str = "fox") -> None:
        """The file of a claim for BODY is stored; `body` is what was really sent."""
        asked = {"name": "photo.png", "content_type": "image/png", "bytes": len(body)}
        asked["blake3"] = blake3(BODY).hexdigest()
        form = gateway("POST", "/api/v1/uploads", asked, owner=owner).json["fields"]
        boto3.client("s3").put_object(
            Bucket="files", Key=form["key"], Body=body, ContentType="image/png"
        )

    def test_a_file_that_was_announced_need_not_be_sent(self, gateway: Gateway) -> None:
        self.claimed(gateway)
        assert known(gateway) == 200
        reply = reused(gateway, "another.png")
        assert (reply.status, reply.json["hash"]) == (201, hash_of(BODY))
        assert requests.get(reply.json["url"], timeout=5).content == BODY
        assert reused(gateway, "another.png").json["id"] == reply.json["id"]

    def test_a_form_that_was_not_used_is_nothing(self, gateway: Gateway) -> None:
        asked = {"name": "a.png", "content_type": "image/png", "bytes": 3}
        asked["blake3"] = blake3(BODY).hexdigest()
        assert gateway("POST", "/api/v1/uploads", asked).status == 201
        assert known(gateway) == 404
        assert refusal(reused(gateway)) == (404, "blob_not_found")

    def test_a_false_hash_is_found_out(self, gateway: Gateway) -> None:
        self.claimed(gateway, b"other bytes")
        assert refusal(reused(gateway)) == (404, "blob_not_found")
        assert known(gateway) == 404

    def test_a_claim_names_no_file_of_a_graph(self, gateway: Gateway) -> None:
        self.claimed(gateway)
        job_id = submitted(gateway, loading("photo.png")).id
        graph = gateway("GET", f"{JOBS}/{job_id}/workflow").json["workflow"]
        assert graph["1"]["inputs"]["image"] == "photo.png"

    def test_a_claim_of_another_owner_is_nothing(self, gateway: Gateway) -> None:
        self.claimed(gateway, owner="owl")
        assert known(gateway) == 404
        assert refusal(reused(gateway)) == (404, "blob_not_found")

    def test_the_name_must_be_a_relative_path(self, gateway: Gateway) -> None:
        asked = {"name": "../a", "content_type": "image/png", "bytes": 3, "blake3": "0" * 64}
        assert gateway("POST", "/api/v1/uploads", asked).status == 422


class TestLifetimes:
    def test_an_old_asset_is_renewed_by_its_use(self, gateway: Gateway, clock: FrozenClock) -> None:
        asset = sent(gateway)
        clock.advance(RENEW_AFTER.total_seconds())
        again = sdk.Asset.model_validate_json(reused(gateway).text)
        assert again.id == asset.id
        assert again.expires_at == clock() + UPLOAD_LIFETIME
        read = gateway("GET", f"{ASSETS}/{asset.id}")
        assert sdk.Asset.model_validate_json(read.text).expires_at == again.expires_at

    def test_an_expired_asset_is_gone_before_its_record(
        self, gateway: Gateway, clock: FrozenClock
    ) -> None:
        asset = sent(gateway)
        clock.advance(UPLOAD_LIFETIME.total_seconds())
        assert known(gateway) == 404
        assert refusal(gateway("GET", f"{ASSETS}/{asset.id}")) == (404, "not_found")
        again = sent(gateway)
        assert (again.id, again.created_new) == (asset.id, True)

    def test_a_renewed_asset_outlives_every_job(self) -> None:
        longest = timedelta(days=7, hours=6)  # of start deadline and execution timeout
        assert longest < UPLOAD_LIFETIME - RENEW_AFTER


def handle(asset_id: Any) -> dict[str, Any]:
    return {"__type": "core/ASSET", "info": {"id": asset_id}}


def loading(image: Any, **more: Any) -> dict[str, Any]:
    load = {"class_type": "LoadImage", "inputs": {"image": image, **more}}
    return {"workflow": {"1": load, "2": SAVE}}


class TestGraphs:
    def inputs(self, gateway: Gateway, body: Any) -> dict[str, Any]:
        """The inputs of node 1, as the worker reads them."""
        job = gateway.aws.jobs.get(JobId(submitted(gateway, body).id))
        assert job is not None
        return dict(gateway.aws.jobs.graph(job)["1"]["inputs"])

    def test_an_asset_is_an_upload(self, gateway: Gateway) -> None:
        asset = sent(gateway)
        found = self.inputs(gateway, loading(handle(asset.id)))
        assert found == {"image": f"upload:{asset.id}"}

    def test_an_asset_may_stand_anywhere(self, gateway: Gateway) -> None:
        asset = sent(gateway)
        deep = {"list": [[handle(asset.id)], {"a": handle(asset.id), "b": 1}]}
        found = self.inputs(gateway, loading("a.png", text=handle(asset.id), deep=deep))
        upload = f"upload:{asset.id}"
        assert found["deep"] == {"list": [[upload], {"a": upload, "b": 1}]}
        assert found["text"] == upload
        named = list(references({"1": {"class_type": "X", "inputs": found}}))
        assert [each.upload_id for each in named] == [asset.id] * 3

    def test_a_plain_name_is_an_asset(self, gateway: Gateway) -> None:
        asset = sent(gateway)
        assert self.inputs(gateway, loading("photo.png")) == {"image": f"upload:{asset.id}"}
        assert self.inputs(gateway, loading("another.png")) == {"image": "another.png"}
        assert self.inputs(gateway, loading("x", title="photo.png"))["title"] == "photo.png"

    def test_the_newest_of_a_name_is_meant(self, gateway: Gateway, clock: FrozenClock) -> None:
        sent(gateway)
        clock.advance(1)
        newest = sent(gateway, b"another")
        assert self.inputs(gateway, loading("photo.png")) == {"image": f"upload:{newest.id}"}

    def test_a_name_of_another_owner_is_none(self, gateway: Gateway) -> None:
        sent(gateway, owner="owl")
        assert self.inputs(gateway, loading("photo.png")) == {"image": "photo.png"}

    def test_the_workflow_that_is_read_may_be_submitted_again(self, gateway: Gateway) -> None:
        job_id = submitted(gateway, loading(handle(sent(gateway).id))).id
        graph = gateway("GET", f"{JOBS}/{job_id}/workflow").json["workflow"]
        submitted(gateway, {"workflow": graph})

    @pytest.mark.parametrize(
        "bad",
        [
            {"__type": "core/ASSET"},
            {"__type": "core/ASSET", "info": {}},
            {"__type": "core/ASSET", "info": "upl_1"},
            handle(1),
            handle(None),
            handle(""),
            handle("x" * 2000),
            handle("upl_" + "0" * 26),
            handle("job_" + "0" * 26 + ".0"),
            [{"a": handle("upl_" + "0" * 26)}],
        ],
    )
    def test_an_asset_that_is_missing_or_malformed(self, gateway: Gateway, bad: Any) -> None:
        reply = gateway("POST", JOBS, loading(bad))
        assert refusal(reply) == (422, "missing_asset")
        assert [*reply.json["error"]["details"]["node_errors"]] == ["1"]

    def test_an_asset_of_another_owner_is_missing(self, gateway: Gateway) -> None:
        asset = sent(gateway, owner="owl")
        reply = gateway("POST", JOBS, loading(handle(asset.id)))
        assert refusal(reply) == (422, "missing_asset")

    def test_too_many_assets(self, gateway: Gateway) -> None:
        images = [handle(sent(gateway).id)] * 101
        reply = gateway("POST", JOBS, loading(images))
        assert refusal(reply) == (422, "invalid_workflow")


class TestOutputs:
    def made(self, gateway: Gateway, clock: FrozenClock, owner: str = "fox") -> str:
        """The id of a stored output of an ended job."""
        job_id = JobId(submitted(gateway, loading("x"), owner=owner).id)
        before = gateway.aws.jobs.get(job_id)
        assert before is not None
        after = succeeded(before, now=clock())
        artifact = an_artifact(after)
        boto3.client("s3").put_object(Bucket="files", Key=artifact.key, Body=BODY)
        gateway.aws.jobs.put_result(after, a_result(artifact))
        gateway.aws.jobs.save(before, after)
        return f"{job_id}.0"

    def test_an_output_is_an_asset(self, gateway: Gateway, clock: FrozenClock) -> None:
        output = self.made(gateway, clock)
        reply = gateway("GET", f"{ASSETS}/{output}")
        asset = sdk.Asset.model_validate_json(reply.text)
        assert (asset.id, asset.hash, asset.job_id) == (output, None, output[:-2])
        assert asset.expires_at is not None
        content = gateway("GET", f"{ASSETS}/{output}/content")
        assert requests.get(content.headers["location"], timeout=5).content == BODY
        assert refusal(gateway("DELETE", f"{ASSETS}/{output}")) == (409, "asset_in_use")
        missing = gateway("GET", f"{ASSETS}/{output}1")
        assert refusal(missing) == (404, "not_found")
        assert refusal(gateway("GET", f"{ASSETS}/{output}", owner="owl"))[0] == 404

    def test_an_output_is_an_input(self, gateway: Gateway, clock: FrozenClock) -> None:
        output = self.made(gateway, clock)
        graphs = [
            gateway("GET", f"{JOBS}/{submitted(gateway, loading(handle(output))).id}/workflow")
            for _ in range(2)
        ]
        first, second = (reply.json["workflow"]["1"]["inputs"]["image"] for reply in graphs)
        assert first == second
        key = upload_key(OwnerId("fox"), UploadId(first.removeprefix("upload:")))
        copied = boto3.client("s3").get_object(Bucket="files", Key=key)
        assert copied["Body"].read() == BODY

    def test_an_output_of_another_owner_is_missing(
        self, gateway: Gateway, clock: FrozenClock
    ) -> None:
        output = self.made(gateway, clock, owner="owl")
        reply = gateway("POST", JOBS, loading(handle(output)))
        assert refusal(reply) == (422, "missing_asset")


class TestRefusals:
    @pytest.mark.parametrize(
        "fields",
        [
            {"file_path": ""},
            {"content_type": ""},
            {"content_type": "png"},
            {"file_path": "/etc/passwd"},
            {"file_path": "a/../b"},
            {"file_path": ".."},
            {"file_path": "a\\b"},
            {"file_path": "a\x01b"},
            {"file_path": "x" * 256},
            {"expected_hash": "sha256:00"},
            {"expected_hash": "blake3:" + "AB" * 32},
        ],
        ids=str,
    )
    def test_a_wrong_field(self, gateway: Gateway, fields: dict[str, str]) -> None:
        reply = gateway("POST", ASSETS, body=form(**fields), headers=FORM)
        assert refusal(reply) == (422, "invalid_request")

    def test_no_form(self, gateway: Gateway) -> None:
        reply = gateway("POST", ASSETS, body=b"{}", headers={"content-type": "application/json"})
        assert refusal(reply) == (400, "invalid_request")

    def test_an_empty_file(self, gateway: Gateway) -> None:
        reply = gateway("POST", ASSETS, body=form(b""), headers=FORM)
        assert refusal(reply) == (422, "invalid_request")

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ({}, (422, "invalid_request")),
            ({"hash": 1}, (422, "invalid_request")),
            ({"hash": "x"}, (422, "invalid_request")),
            ([], (422, "invalid_request")),
            ({"hash": hash_of(b""), "file_path": "/a"}, (404, "blob_not_found")),
            ({"hash": hash_of(b"")}, (404, "blob_not_found")),
            ({"hash": hash_of(b""), "what": 1}, (422, "invalid_request")),
        ],
        ids=str,
    )
    def test_from_hash(self, gateway: Gateway, body: Any, answer: tuple[int, str]) -> None:
        assert refusal(gateway("POST", f"{ASSETS}/from-hash", body)) == answer

    @pytest.mark.parametrize("text", ["x", "blake3:", "blake3:" + "0" * 63, "%00", "x" * 3000])
    def test_a_hash_that_is_none(self, gateway: Gateway, text: str) -> None:
        assert gateway("HEAD", f"{ASSETS}/by-hash/{text}").status == 404

    @pytest.mark.parametrize("text", ["x", "upl_", "%00", "x" * 3000, "job_x.0"])
    def test_an_id_that_is_none(self, gateway: Gateway, text: str) -> None:
        assert refusal(gateway("GET", f"{ASSETS}/{text}")) == (404, "not_found")

    def test_bytes_have_a_budget(self, gateway: Gateway) -> None:
        gateway.caller["uploads_per_minute"] = "1"
        sent(gateway)
        reply = gateway("POST", ASSETS, body=form(), headers=FORM)
        assert refusal(reply) == (429, "rate_limited")
