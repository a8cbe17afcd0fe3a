"""What the account asks for: roles, alarms and records."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from infra.sections.section import Section


class Iam(Section):
    """What an account requires of the roles that the stacks make."""

    permissions_boundary: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+$",
        description="policy that bounds every role",
        json_schema_extra={"allowed": "the ARN of a managed policy"},
    )
    role_prefix: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,20}$",
        description="prefix of every role's name, except for the instances' roles: AWS "
        "requires that their names begin with `ecsInstanceRole`",
        json_schema_extra={"allowed": "up to 20 letters, digits, hyphens and underscores"},
    )


class Encryption(Section):
    """Encryption at rest. By default it is with AWS's own keys, which cost nothing."""

    key_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$",
        description="KMS key for tables, queues, bucket, logs and the alarms' topic; its policy "
        "must let CloudWatch use it ([how](#own-key))",
        json_schema_extra={
            "allowed": "the ARN of a symmetric key in the deployment's region",
            "by_default": "AWS's own keys",
        },
    )


class Alarms(Section):
    """CloudWatch alarms."""

    enabled: bool = Field(
        default=True, description="whether alarms are made; beyond ten metrics they cost"
    )
    email: str | None = Field(
        default=None, description="address that receives the alarms", examples=["team@example.com"]
    )
    topic_arn: str | None = Field(
        default=None,
        pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:.+$",
        description="SNS topic that exists; its policy must let CloudWatch publish",
        json_schema_extra={"allowed": "the ARN of a topic", "by_default": "a new one"},
    )
    oldest_job_minutes: int = Field(
        default=30, ge=1, le=1440, description="a job that waits longer than this raises an alarm"
    )
    runbook_url: str = Field(
        default="docs/runbook.md",
        min_length=1,
        description="place of the runbook, which the alarms' descriptions name",
        examples=["https://wiki.example.com/runbook"],
    )

    @model_validator(mode="after")
    def _a_given_topic_has_its_own_subscriptions(self) -> Self:
        if self.topic_arn and self.email:
            raise ValueError("email needs a new topic; subscribe it to topic_arn instead")
        return self


class Observability(Section):
    """What the deployment records about itself."""

    metrics: bool = Field(
        default=True,
        description="whether processes record metrics; three alarms and most graphs read them",
    )
    dashboard: bool = Field(default=True, description="whether a CloudWatch dashboard is made")
    tracing: bool = Field(
        default=False,
        description="whether X-Ray traces the functions; up to $25 for a million jobs",
    )
    log_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827] = Field(
        default=30, description="days for which logs are kept"
    )
    container_insights: bool = Field(
        default=False, description="whether ECS records its own metrics; they cost when idle, too"
    )
