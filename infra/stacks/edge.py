"""The edge: CloudFront serves console, documents, API and sockets under one name."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CfnOutput, Duration, Fn, Stack
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cdn
from aws_cdk import aws_cloudfront_origins as origins
from constructs import Construct

from comfyline.contract.console_page import COMMON, page_policy
from comfyline.service.access.edge import HEADER
from infra.constructs.console_files import PAGE_KEY, ConsoleFiles
from infra.constructs.websocket_api import STAGE
from infra.deployment import Deployment
from infra.sections.edge import REGION
from infra.stacks.api import ApiStack
from infra.stacks.data import DataStack
from infra.stacks.firewall import OUTPUT as WEB_ACL
from infra.stacks.firewall import FirewallStack

DESCRIPTION = "Comfyline: the distribution in front of the APIs, and the console's files"
# Above the 30 s after which API Gateway gives up, so that its answer and not CloudFront's arrives.
ANSWER_TIMEOUT = Duration.seconds(35)
# Between two requests of a location to an API. Each new connection costs three more round trips.
KEEP_ALIVE = Duration.seconds(60)
DOCUMENTS = ("/docs", "/docs/*", "/openapi.json", "/asyncapi.json")
HSTS_AGE = Duration.days(365)
# By default CloudFront keeps these for 10 s, also of paths that are not cached otherwise, and not
# by caller: one caller's refusal would be another's.
UNCACHED_ERRORS = (400, 403, 404, 405, 414, 500, 501, 502, 503, 504)


class EdgeStack(Stack):
    """One distribution, which knows no caller: it passes keys, cookies and queries on to the API.

    Only the console and the documents are cached, as long as their own headers say.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        deployment: Deployment,
        data: DataStack,
        api: ApiStack,
        console: Path,
        firewall: FirewallStack | None,
    ) -> None:
        super().__init__(scope, name, stack_name=name, description=DESCRIPTION)
        self._deployment = deployment
        self._cached, self._transport = self._cache_policy(), self._transport_policy()
        console_files = self._of_console(data, ConsoleFiles(self, folder=console))
        http = self._origin(api.http_api.api_id)
        domain, certificate = deployment.edge.domain, deployment.edge.certificate_arn
        assert domain is not None
        assert certificate is not None
        self.distribution = cdn.Distribution(
            self,
            "Distribution",
            comment=f"Comfyline, stage {deployment.stage}",
            domain_names=[domain],
            certificate=acm.Certificate.from_certificate_arn(self, "Certificate", certificate),
            minimum_protocol_version=cdn.SecurityPolicyProtocol.TLS_V1_2_2021,
            http_version=cdn.HttpVersion.HTTP2_AND_3,
            web_acl_id=self._web_acl(firewall),
            error_responses=[
                cdn.ErrorResponse(http_status=status, ttl=Duration.seconds(0))
                for status in UNCACHED_ERRORS
            ],
            default_behavior=self._of_api(http),
            additional_behaviors={
                f"/{PAGE_KEY}": console_files,
                # The API leads from here to the page. The bucket has no such file.
                f"/{PAGE_KEY}/": self._of_api(http, cdn.ViewerProtocolPolicy.REDIRECT_TO_HTTPS),
                f"/{PAGE_KEY}/*": console_files,
                **dict.fromkeys(DOCUMENTS, self._of_documents(http)),
                f"/{STAGE}": self._of_sockets(api.socket_api_id),
            },
        )
        self._write_outputs(domain)

    def _of_api(
        self,
        http: cdn.IOrigin,
        protocol: cdn.ViewerProtocolPolicy = cdn.ViewerProtocolPolicy.HTTPS_ONLY,
    ) -> cdn.BehaviorOptions:
        """For whatever no other pattern takes. Keys, cookies and queries reach the API.

        CloudFront refuses a request without TLS by default. If it redirected such a request, a
        client that sends its key without TLS would work, and nobody would notice.
        """
        return cdn.BehaviorOptions(
            origin=http,
            allowed_methods=cdn.AllowedMethods.ALLOW_ALL,
            viewer_protocol_policy=protocol,
            cache_policy=cdn.CachePolicy.CACHING_DISABLED,
            # With the viewer's host, API Gateway would look for a domain of that name.
            origin_request_policy=cdn.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
            response_headers_policy=self._transport,
        )

    def _of_sockets(self, api_id: str) -> cdn.BehaviorOptions:
        """The path of a WebSocket API is its stage, so the path is the same here and there.

        Paths below it are for posts to sockets, which functions send to the API itself.
        """
        return cdn.BehaviorOptions(
            origin=self._origin(api_id),
            allowed_methods=cdn.AllowedMethods.ALLOW_GET_HEAD,
            viewer_protocol_policy=cdn.ViewerProtocolPolicy.HTTPS_ONLY,
            cache_policy=cdn.CachePolicy.CACHING_DISABLED,
            origin_request_policy=cdn.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
        )

    def _of_documents(self, http: cdn.IOrigin) -> cdn.BehaviorOptions:
        return cdn.BehaviorOptions(
            origin=http,
            allowed_methods=cdn.AllowedMethods.ALLOW_ALL,  # the API answers 405
            viewer_protocol_policy=cdn.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
            cache_policy=self._cached,
            response_headers_policy=self._transport,
        )

    def _origin(self, api_id: str) -> cdn.IOrigin:
        """One of the two APIs, which knows the distribution by the secret header."""
        return origins.HttpOrigin(
            f"{api_id}.execute-api.{self.region}.{self.url_suffix}",
            protocol_policy=cdn.OriginProtocolPolicy.HTTPS_ONLY,
            origin_ssl_protocols=[cdn.OriginSslPolicy.TLS_V1_2],
            custom_headers={HEADER: self._deployment.edge_secret},
            read_timeout=ANSWER_TIMEOUT,
            keepalive_timeout=KEEP_ALIVE,
        )

    def _global_name(self, part: str) -> str:
        # CloudFront's names are of the account, so the name has the region, too.
        return f"{self._deployment.cluster_name}-{part}-{self.region}"

    def _cache_policy(self) -> cdn.CachePolicy:
        """Files are kept as long as they say, by path and encoding, for all callers."""
        return cdn.CachePolicy(
            self,
            "AsFilesSay",
            cache_policy_name=self._global_name("files"),
            comment="as long as Cache-Control says",
            min_ttl=Duration.seconds(0),
            default_ttl=Duration.seconds(0),
            max_ttl=Duration.days(365),
            enable_accept_encoding_gzip=True,
            enable_accept_encoding_brotli=True,
        )

    def _of_console(self, data: DataStack, files: ConsoleFiles) -> cdn.BehaviorOptions:
        buckets = f"https://{data.artifacts.bucket_name}.s3.{self.region}.{self.url_suffix}"
        policy = page_policy(
            (buckets, f"wss://{self._deployment.edge.domain}"),
            self._deployment.sign_in.page_origins,
        )
        security = {name: value for name, value in COMMON.items() if name.startswith("cross-")}
        headers = cdn.ResponseHeadersPolicy(
            self,
            "ConsoleHeaders",
            response_headers_policy_name=self._global_name("console"),
            comment="of the console's files",
            security_headers_behavior=cdn.ResponseSecurityHeadersBehavior(
                content_security_policy=cdn.ResponseHeadersContentSecurityPolicy(
                    content_security_policy=policy, override=True
                ),
                content_type_options=cdn.ResponseHeadersContentTypeOptions(override=True),
                frame_options=cdn.ResponseHeadersFrameOptions(
                    frame_option=cdn.HeadersFrameOption.DENY, override=True
                ),
                referrer_policy=cdn.ResponseHeadersReferrerPolicy(
                    referrer_policy=cdn.HeadersReferrerPolicy.NO_REFERRER, override=True
                ),
                strict_transport_security=_transport_security(),
            ),
            custom_headers_behavior=cdn.ResponseCustomHeadersBehavior(
                custom_headers=[
                    cdn.ResponseCustomHeader(header=name, value=value, override=True)
                    for name, value in security.items()
                ]
            ),
        )
        return cdn.BehaviorOptions(
            origin=origins.S3BucketOrigin.with_origin_access_control(
                files.bucket,
                # Without LIST, S3 answers 403 and not 404 for a file that is not there.
                origin_access_levels=[cdn.AccessLevel.READ, cdn.AccessLevel.LIST],
                origin_access_control=cdn.S3OriginAccessControl(
                    self, "Reader", origin_access_control_name=self._global_name("console")
                ),
            ),
            viewer_protocol_policy=cdn.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
            allowed_methods=cdn.AllowedMethods.ALLOW_GET_HEAD,
            cache_policy=self._cached,
            response_headers_policy=headers,
            compress=True,
        )

    def _transport_policy(self) -> cdn.ResponseHeadersPolicy:
        """The API and the documents have headers of their own; this adds what only TLS needs."""
        return cdn.ResponseHeadersPolicy(
            self,
            "TransportHeaders",
            response_headers_policy_name=self._global_name("transport"),
            comment="of the API's answers",
            security_headers_behavior=cdn.ResponseSecurityHeadersBehavior(
                strict_transport_security=_transport_security()
            ),
        )

    def _web_acl(self, firewall: FirewallStack | None) -> str | None:
        if firewall is None:
            return self._deployment.edge.web_acl_arn
        self.add_stack_dependency(firewall)
        return Fn.get_stack_output(firewall.stack_name, WEB_ACL, REGION)

    def _write_outputs(self, domain: str) -> None:
        outputs = {
            "EdgeTarget": (
                self.distribution.distribution_domain_name,
                f"Target to which the DNS entry of {domain} must point",
            ),
            "DistributionId": (self.distribution.distribution_id, "Id of the distribution"),
            "EdgeSecretVersion": (
                str(self._deployment.edge.secret_version),
                "Version of the secret that the distribution sends",
            ),
        }
        for name, (value, description) in outputs.items():
            CfnOutput(self, name, value=value, description=description)


def _transport_security() -> cdn.ResponseHeadersStrictTransportSecurity:
    return cdn.ResponseHeadersStrictTransportSecurity(
        access_control_max_age=HSTS_AGE, include_subdomains=False, override=True
    )
