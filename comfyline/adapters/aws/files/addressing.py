"""How a client addresses S3: on AWS by the bucket's regional host, at an emulator by its address.

The address matters most for signed URLs and forms, because the host is part of the signature.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from botocore.config import Config

# boto3 takes its endpoint from them; the first one wins.
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def s3_config(endpoint: str | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of an S3 client. `endpoint`: a URL to use in place of AWS's own.

    Without such a URL, here or in the environment variables, URLs name
    `<bucket>.s3.<region>.amazonaws.com`. By boto3's default they would name the bucket's global
    host. That host redirects to the region of a new bucket, where the signature is then wrong, and
    it serves no bucket in newer regions. An emulator is addressed as `<endpoint>/<bucket>`, because
    its host has no names below it.
    """
    variables = os.environ if environ is None else environ
    if endpoint or any(variables.get(name) for name in ENDPOINT_VARIABLES):
        return Config(signature_version="s3v4", s3={"addressing_style": "path"})
    return Config(
        # By default, boto3 signs URLs with a version that newer regions refuse.
        signature_version="s3v4",
        s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
    )
