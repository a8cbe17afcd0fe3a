"""Where the worker's image is, and what its puller may therefore read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aws_cdk import Stack

# <account>.dkr.ecr.<region>.amazonaws.com/<repository>[:tag][@digest]
_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?:[:@].+)?")


def repository_arns(stack: Stack, image: str) -> Sequence[str]:
    """The ECR repository of the image; none for a public registry."""
    match = _ECR.fullmatch(image)
    if match is None:
        return ()
    account, region, name = match.groups()
    arn = stack.format_arn(
        service="ecr", resource="repository", resource_name=name, account=account, region=region
    )
    return (arn,)
