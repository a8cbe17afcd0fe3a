"""The platforms of an image in ECR, as its manifest and its configuration name them."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)[:@](.+)")
_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def platforms_of(ecr: Any, image: str) -> frozenset[str]:
    """The platforms that the image is for, such as `linux/amd64`; none if it does not exist.

    `ecr` is a boto3 client.

    Raises:
        ValueError: the image is not in ECR.
        BotoCoreError, ClientError, OSError: ECR did not answer.
    """
    match = _ECR.fullmatch(image)
    if match is None:
        raise ValueError(f"{image!r} is not in ECR")
    account, _region, repository, version = match.groups()
    by = {"imageDigest": version} if version.startswith("sha256:") else {"imageTag": version}
    answer = ecr.batch_get_image(
        registryId=account,
        repositoryName=repository,
        imageIds=[by],
        acceptedMediaTypes=list(_MANIFESTS),
    )
    if not answer["images"]:
        return frozenset()
    manifest = json.loads(answer["images"][0]["imageManifest"])
    return frozenset(_platforms(ecr, account, repository, manifest))


def _platforms(
    ecr: Any, account: str, repository: str, manifest: Mapping[str, Any]
) -> Iterator[str]:
    if "manifests" in manifest:  # one image for each platform
        for image in manifest["manifests"]:
            yield _named(image["platform"])
        return
    answer = ecr.get_download_url_for_layer(
        registryId=account,
        repositoryName=repository,
        layerDigest=manifest["config"]["digest"],
    )
    with urllib.request.urlopen(answer["downloadUrl"], timeout=10) as response:
        config = json.load(response)
    yield _named(config)


def _named(platform: Mapping[str, Any]) -> str:
    return f"{platform['os']}/{platform['architecture']}"
