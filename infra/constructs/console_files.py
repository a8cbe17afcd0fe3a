"""The console's files in a private bucket, which only the distribution reads."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_deployment as deployment
from constructs import Construct

from comfyline.contract.console_page import ASK_EACH_TIME, FOR_A_YEAR, PAGE
from infra.constructs.function import LOG_RETENTION

# The keys are the paths below the distribution, so that it changes no path: the page is the object
# `console`, and its files are below `console/`.
PAGE_KEY = "console"


class ConsoleFiles(Construct):
    """The bucket, filled at each deployment with the files that were built.

    Files of earlier deployments stay, because a page that is open may still load them: their names
    contain a hash of their content. The page's own file is written last.
    """

    NAME = "ConsoleFiles"

    def __init__(self, scope: Construct, *, folder: Path) -> None:
        super().__init__(scope, self.NAME)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.RETAIN,  # CloudFormation deletes empty buckets only
        )
        self._logs = logs.LogGroup(
            self, "Logs", retention=LOG_RETENTION, removal_policy=RemovalPolicy.DESTROY
        )
        files = self._filled(
            "Files",
            deployment.Source.asset(str(folder), exclude=[PAGE]),
            prefix=PAGE_KEY,
            cache=FOR_A_YEAR,
        )
        page = self._filled(
            "Page",
            deployment.Source.data(PAGE_KEY, (folder / PAGE).read_text()),
            cache=ASK_EACH_TIME,
            content_type="text/html; charset=utf-8",
        )
        page.node.add_dependency(files)

    def _filled(
        self,
        name: str,
        source: deployment.ISource,
        *,
        cache: str,
        prefix: str | None = None,
        content_type: str | None = None,
    ) -> deployment.BucketDeployment:
        return deployment.BucketDeployment(
            self,
            name,
            sources=[source],
            destination_bucket=self.bucket,
            destination_key_prefix=prefix,
            cache_control=[deployment.CacheControl.from_string(cache)],
            content_type=content_type,
            prune=False,
            retain_on_delete=True,
            log_group=self._logs,
        )
