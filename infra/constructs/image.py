"""The repository of the worker's image, which the role that pulls the image may read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aws_cdk import Stack

# <account>.dkr.ecr.<region>.amazonaws.com/<repository>[:tag][@digest]
_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?:[:@].+)?")


def repository_arns(stack: Stack, image: str) -> Sequence[str]:
    """The ARN of the image's ECR repository; none if the image is in another registry."""
    match = _ECR.fullmatch(image)
    if match is None:
        return ()
    account, region, name = match.groups()
    arn = stack.format_arn(
        service="ecr", resource="repository", resource_name=name, account=account, region=region
    )
    return (arn,)
