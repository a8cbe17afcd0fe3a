"""What a platform team decides about one deployment: the model of `deployments/<stage>.toml`.

The bounds and descriptions here and in sections/ are the whole documentation of a key. The table in
docs/deploy.md and the messages about a wrong file are made from them. deployment_file.py reads the
file.
"""

from __future__ import annotations

import platform
from typing import Literal, Self

from pydantic import Field, model_validator

from infra.sections.account import Alarms, Encryption, Iam, Observability
from infra.sections.edge import Edge
from infra.sections.requests import Api, Functions
from infra.sections.section import Section
from infra.sections.sign_in import SignIn
from infra.sections.workers import Fleet, Network, Scaling, Worker

PROJECT = "comfyline"  # the first part of the names of stacks and cluster, and a tag
# The names under which Python knows the two architectures of Lambda.
_ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "x86_64", "AMD64": "x86_64"}

Target = Literal["aws", "local", "localstack"]


class Deployment(Section):
    """One deployment: the file as a whole."""

    stage: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,19}$",  # it is part of the names of stacks and in ARNs
        description="name of the deployment, which is part of every stack's name",
        json_schema_extra={
            "allowed": "up to 20 lower-case letters, digits and hyphens, with a letter first",
            "by_default": "the file's name",
        },
    )
    target: Target = Field(
        default="aws", description="where it is deployed; local and localstack are emulators"
    )
    keep_data: bool | None = Field(
        default=None,
        description="whether tables and bucket outlive their stack",
        json_schema_extra={"by_default": "true, except for the stage `dev`"},
    )
    tags: dict[str, str] = Field(
        default={},
        max_length=40,  # AWS allows 50 for a resource, of which the CDK and ECS use some
        description="tags of every resource, besides `project` and `stage`",
        examples=[{"cost-center": "42"}],
    )
    functions: Functions = Functions()
    api: Api = Api()
    edge: Edge = Edge()
    worker: Worker
    fleet: Fleet = Fleet()
    network: Network = Network()
    scaling: Scaling = Scaling()
    sign_in: SignIn = SignIn()
    iam: Iam = Iam()
    encryption: Encryption = Encryption()
    alarms: Alarms = Alarms()
    observability: Observability = Observability()

    @model_validator(mode="after")
    def _callers_have_one_address(self) -> Self:
        """With an edge, every other address of the APIs would go round it or be refused."""
        if self.edge.domain is None:
            return self
        if self.is_local:
            raise ValueError('edge.domain needs target = "aws": an emulator has no CloudFront')
        if self.api.domain is not None:
            raise ValueError(
                "edge.domain replaces api.domain, api.socket_domain and api.certificate_arn: "
                "remove these three, because their names would go round the edge"
            )
        if self.api.public_url is not None:
            raise ValueError(
                f"edge.domain replaces api.public_url, which is then https://{self.edge.domain}: "
                "remove api.public_url"
            )
        return self

    @property
    def has_edge(self) -> bool:
        """Whether CloudFront is in front of the APIs."""
        return self.edge.domain is not None

    @property
    def requires_edge(self) -> bool:
        """Whether the APIs refuse requests that have not come through the edge."""
        return self.has_edge and self.edge.required

    @property
    def edge_secret(self) -> str:
        """The secret that the edge sends, which CloudFormation reads from Parameter Store."""
        return self._edge_secret(self.edge.secret_version)

    @property
    def accepted_edge_secrets(self) -> str:
        """The secrets that the APIs accept, separated by commas: of this version and the last."""
        newest = self.edge.secret_version
        return ",".join(map(self._edge_secret, range(newest, max(0, newest - 2), -1)))

    def _edge_secret(self, version: int) -> str:
        # The operator's command makes this parameter: comfyline/operate/edge_secret.py.
        return f"{{{{resolve:ssm:/{PROJECT}/{self.stage}/edge-secret:{version}}}}}"

    @property
    def keeps_data(self) -> bool:
        """Whether the data outlives the stacks. A team that forgets the key must not lose data."""
        return self.stage != "dev" if self.keep_data is None else self.keep_data

    @property
    def is_local(self) -> bool:
        """Whether an emulator takes the templates."""
        return self.target != "aws"

    @property
    def architecture(self) -> str:
        """The functions' architecture, as Lambda calls it."""
        chosen = self.functions.architecture
        return _ARCHITECTURES[platform.machine()] if chosen == "host" else chosen

    @property
    def requests_per_second(self) -> int:
        """Requests a second that the HTTP API accepts; a post takes a function some 100 ms.

        With more, the rounds of sweeper and scaler find no function in a burst.
        """
        return self.api.requests_per_second or min(10 * self.functions.concurrency, 2000)

    @property
    def owner_requests_per_minute(self) -> int:
        """Requests of one owner: the half of those of all, so that others find room."""
        return max(1, self.requests_per_second * 60 // 2)

    @property
    def max_waits(self) -> int:
        """Posts that may wait for their job at one time; each occupies a function meanwhile."""
        chosen = self.api.max_waits
        return min(self.functions.concurrency // 10, 100) if chosen is None else chosen

    @property
    def metrics_namespace(self) -> str:
        """Where in CloudWatch processes record metrics; empty if they record none."""
        return f"Comfyline/{self.stage}" if self.observability.metrics else ""

    @property
    def cluster_name(self) -> str:
        """The fleet's cluster. Grants name its tasks before the cluster exists."""
        return f"{PROJECT}-{self.stage}"

    def stack_name(self, part: str) -> str:
        """The name of one of the deployment's stacks."""
        return f"{self.cluster_name}-{part}"
