"""The host in signed URLs and forms: of functions and of the worker, on AWS and at an emulator.

Signing makes no call, so every test works without a network.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import boto3
import pytest

from comfyline.adapters.aws.files.addressing import s3_config
from comfyline.adapters.aws.live.sockets import callback_url
from functions._aws import Aws
from functions._clients import Clients
from gpu_worker.wiring import Wiring as WorkerWiring

BUCKET = "comfyline-prod-artifacts"
HOSTS = {
    "us-east-1": f"{BUCKET}.s3.us-east-1.amazonaws.com",
    "us-east-2": f"{BUCKET}.s3.us-east-2.amazonaws.com",
    "eu-north-1": f"{BUCKET}.s3.eu-north-1.amazonaws.com",
    "ap-south-2": f"{BUCKET}.s3.ap-south-2.amazonaws.com",
    "cn-north-1": f"{BUCKET}.s3.cn-north-1.amazonaws.com.cn",
}
WORKER = {
    "HIGH_QUEUE_URL": "high",
    "NORMAL_QUEUE_URL": "normal",
    "LOW_QUEUE_URL": "low",
    "JOBS_TABLE": "jobs",
    "OWNERS_TABLE": "owners",
    "ARTIFACTS_BUCKET": BUCKET,
}

Sign = Callable[[str], str]  # the URL that a process signs in a region


def _aws(region: str, **environ: str) -> Aws:
    session = boto3.Session("testing", "testing", region_name=region)
    return Aws({"ARTIFACTS_BUCKET": BUCKET, **environ}, Clients(session.client))


def signed_download(region: str, **environ: str) -> str:
    return _aws(region, **environ).artifacts.sign("jobs/a/1/0", name="a.png", seconds=60)


def offered_upload(region: str, **environ: str) -> str:
    uploads = _aws(region, **environ).uploads
    return uploads.offer(
        "u/1", name="a.png", content_type="image/png", size=1, sha256=None, seconds=60
    ).url


def signed_by_the_worker(region: str, **environ: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", region)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        client = WorkerWiring(WORKER | environ).aws._client("s3")
        url: str = client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "k"})
        return url


processes = pytest.mark.parametrize(
    "sign", [signed_download, offered_upload, signed_by_the_worker], ids=lambda sign: sign.__name__
)


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localstack:4566")
    return "http://localstack:4566"


@processes
@pytest.mark.parametrize("region", HOSTS)
def test_on_aws_it_is_the_buckets_host_in_its_region(sign: Sign, region: str) -> None:
    url = urlsplit(sign(region))
    assert (url.scheme, url.netloc) == ("https", HOSTS[region])
    assert BUCKET not in url.path


@processes
def test_at_an_emulator_it_is_the_emulators(sign: Callable[..., str], emulator: str) -> None:
    url = sign("eu-west-1", AWS_ENDPOINT_URL=emulator)
    assert url.startswith(f"{emulator}/{BUCKET}")


@pytest.mark.parametrize("sign", [signed_download, offered_upload])
def test_callers_may_reach_an_emulator_at_another_address(
    sign: Callable[..., str], emulator: str
) -> None:
    public = "http://127.0.0.1:4566"
    assert sign("eu-west-1", S3_PUBLIC_ENDPOINT=public).startswith(f"{public}/{BUCKET}")
    aws = _aws("eu-west-1", S3_PUBLIC_ENDPOINT=public)
    assert aws.client("s3").meta.endpoint_url == emulator  # for calls, not for URLs


def test_a_variable_for_s3_alone_counts_too() -> None:
    variables = {"AWS_ENDPOINT_URL_S3": "http://minio:9000"}
    assert s3_config(environ=variables).s3 == {"addressing_style": "path"}


def test_a_bucket_with_dots_keeps_a_certificate_that_covers_its_host() -> None:
    session = boto3.Session("testing", "testing", region_name="eu-west-1")
    client = session.client("s3", config=s3_config(environ={}))
    url = client.generate_presigned_url("get_object", {"Bucket": "team.models", "Key": "k"})
    assert url.startswith("https://s3.eu-west-1.amazonaws.com/team.models/k?")


@pytest.mark.parametrize(
    ("region", "domain"), [("eu-west-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")]
)
def test_posts_to_sockets_go_to_the_regions_domain(region: str, domain: str) -> None:
    assert callback_url("api", "live", region) == f"https://api.execute-api.{region}.{domain}/live"
