"""The dashboard, the alarms, and the topic to which the alarms publish."""

from __future__ import annotations

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cw
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from comfyline.service.metrics import Metric
from infra.constructs.alarms import Watch, add_alarms, stopped
from infra.constructs.dashboard import add_dashboard
from infra.constructs.signals import Signals
from infra.deployment import Deployment
from infra.stacks.api import ApiStack
from infra.stacks.data import DataStack
from infra.stacks.scaler import ScalerStack

# A single job that fails is usually its owner's fault. This many in five minutes are the operator's
# concern.
FAILED_JOBS = 10
# As many as make the scaler keep the fleet small (comfyline/service/fleet/scale.py).
CRASH_LOOP = 3
# A client that receives nothing for half a minute polls over HTTP.
LATE_UPDATES = Duration.seconds(30)
# The sweeper settles a job that is an hour late. The alarm leaves time to find the cause before.
LATE_SETTLEMENT = Duration.minutes(10)
# Of five minutes each: the queue has delivered a message twice by then.
PARKED_PERIODS = 8
# Longer than an instance needs to boot and to load its models.
UNSERVED_MINUTES = 15

DESCRIPTION = "Comfyline: alarms and dashboard"


class ObservabilityStack(Stack):
    """No job needs this stack to run."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        deployment: Deployment,
        data: DataStack,
        api: ApiStack,
        scaler: ScalerStack,
    ) -> None:
        super().__init__(scope, name, stack_name=name, description=DESCRIPTION)
        self._deployment = deployment
        self._data, self._api, self._scaler = data, api, scaler
        self._signals = Signals(deployment, data, api)
        if deployment.alarms.enabled:
            self._add_alarms()
        if deployment.observability.dashboard:
            add_dashboard(self, self._signals, deployment)

    def _add_alarms(self) -> None:
        topic = self._topic()
        add_alarms(
            self,
            self._watches(),
            prefix=self._deployment.cluster_name,
            runbook=self._deployment.alarms.runbook_url,
            topic=topic,
        )
        CfnOutput(
            self,
            "AlarmTopic",
            value=topic.topic_arn,
            description="SNS topic to which the alarms publish",
        )

    def _topic(self) -> sns.ITopic:
        given = self._deployment.alarms.topic_arn
        if given is not None:
            return sns.Topic.from_topic_arn(self, "Alarms", given)
        topic = sns.Topic(self, "Alarms", enforce_ssl=True)
        # The topic's own policy replaces the default one, which lets the account's alarms publish.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsMayPublish",
                actions=["sns:Publish"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        address = self._deployment.alarms.email
        if address is not None:
            topic.add_subscription(subscriptions.EmailSubscription(address))
        return topic

    def _watches(self) -> list[Watch]:
        recorded = self._recorded_watches() if self._deployment.observability.metrics else []
        return [*recorded, *self._job_watches(), *self._service_watches()]

    def _recorded_watches(self) -> list[Watch]:
        signals = self._signals
        return [
            Watch(
                name="OldestJobWaits",
                description="A job waits longer than the deployment allows.",
                metric=signals.recorded(Metric.OLDEST_WAIT, "Maximum"),
                threshold=self._deployment.alarms.oldest_job_minutes * 60,
                periods=5,
            ),
            Watch(
                name="NoWorkerForWaitingJobs",
                description="Jobs wait and no worker is ready.",
                metric=signals.recorded(Metric.TICKETS_UNSERVED, "Minimum"),
                periods=UNSERVED_MINUTES,
            ),
            Watch(
                name="WorkersUnfilled",
                description="Workers that were ordered do not start.",
                metric=signals.recorded(Metric.WORKERS_UNFILLED, "Minimum"),
                periods=UNSERVED_MINUTES,
            ),
            Watch(
                name="WorkersCrash",
                description="Workers end with an error, or their container cannot be started.",
                metric=signals.recorded(Metric.WORKERS_CRASHED, "Sum").with_(
                    period=Duration.minutes(15)
                ),
                threshold=CRASH_LOOP - 1,
            ),
            Watch(
                name="ItemsUnreadable",
                description="Rows, tickets or stream records could not be read and were set aside: "
                "see `comfyline admin quarantine list`.",
                metric=signals.recorded(Metric.ITEMS_UNREADABLE, "Sum"),
            ),
            Watch(
                name="JobsFail",
                description=f"More than {FAILED_JOBS} jobs have failed within five minutes.",
                metric=signals.outcome("failed").with_(period=Duration.minutes(5)),
                threshold=FAILED_JOBS,
            ),
        ]

    def _job_watches(self) -> list[Watch]:
        return [
            Watch(
                name="DeadLetters",
                description="A ticket was delivered more often than allowed.",
                # Their function takes a message too soon for a count of waiting ones.
                metric=self._data.dead_letters.metric_number_of_messages_received(),
            ),
            Watch(
                name="SettlementsParked",
                description="Slots or counts of ended jobs could not be settled.",
                metric=_depth(self._api.parking),
                periods=PARKED_PERIODS,
            ),
            Watch(
                name="SettlementLate",
                description="Slots and counts of ended jobs are settled late.",
                metric=self._signals.iterator_age("SettleJobs"),
                threshold=LATE_SETTLEMENT.to_milliseconds(),
                periods=5,
            ),
        ]

    def _service_watches(self) -> list[Watch]:
        signals = self._signals
        return [
            Watch(
                name="ApiFails",
                description="The API answers with status 500 or above.",
                metric=signals.api("5xx").with_(period=Duration.minutes(5)),
                threshold=5,
            ),
            Watch(
                name="FunctionsThrottled",
                description="Calls are refused for the limit of concurrent function calls.",
                metric=signals.throttles(),
                periods=2,
            ),
            Watch(
                name="TablesThrottled",
                description="DynamoDB refuses writes to a table, or for one of its indexes.",
                metric=signals.throttled_writes(),
                periods=2,
            ),
            Watch(
                name="UpdatesLate",
                description="Subscribers receive changes late.",
                metric=signals.iterator_age("PushUpdates"),
                threshold=LATE_UPDATES.to_milliseconds(),
                periods=5,
            ),
            Watch(
                name="UpdatesDropped",
                description="Changes of jobs were not sent to subscribers.",
                metric=signals.dropped_updates(),
            ),
            stopped(
                "SweeperStopped",
                "The sweeper has stopped, so nothing repairs the damage of crashes.",
                self._api.functions["SweepJobs"],
            ),
            stopped(
                "ScalerStopped",
                "The scaler has stopped, so nothing starts or stops workers.",
                self._scaler.function,
            ),
        ]


def _depth(queue: sqs.IQueue) -> cw.MathExpression:
    """The messages of a queue; those that its function has just tried are not visible."""
    return cw.MathExpression(
        expression="visible + tried",
        using_metrics={
            "visible": queue.metric_approximate_number_of_messages_visible(),
            "tried": queue.metric_approximate_number_of_messages_not_visible(),
        },
        period=Duration.minutes(5),
        label="messages",
    )
