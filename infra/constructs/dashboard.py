"""One screen: what waits, who works, how fast, what fails, what it costs."""

from __future__ import annotations

from aws_cdk import aws_cloudwatch as cw
from constructs import Construct

from infra.constructs.signals import MINUTE, Signals
from infra.deployment import Deployment
from infra.prices import gpu_hour, prices

WIDTH, HEIGHT = 8, 6  # three widgets a row
PUBLIC_FUNCTIONS = ("SubmitJob", "GetJob", "PushUpdates")


def add_dashboard(scope: Construct, signals: Signals, deployment: Deployment) -> cw.Dashboard:
    """The dashboard of one deployment, named like it."""
    return cw.Dashboard(
        scope,
        "Dashboard",
        dashboard_name=deployment.cluster_name,
        widgets=[
            [_queue(signals), _workers(signals), _outcomes(signals)],
            [_latency(signals), _errors(signals), _cost(signals, deployment)],
        ],
    )


def _graph(title: str, *metrics: cw.IMetric, unit: str = "") -> cw.GraphWidget:
    return cw.GraphWidget(
        title=title,
        width=WIDTH,
        height=HEIGHT,
        left=list(metrics),
        left_y_axis=cw.YAxisProps(min=0, label=unit, show_units=False),
    )


def _queue(signals: Signals) -> cw.GraphWidget:
    waiting = signals.scaler("TicketsWaiting").with_(label="waiting")
    in_flight = signals.scaler("TicketsInFlight").with_(label="with a worker")
    graph = _graph("Queue", waiting, in_flight, unit="jobs")
    graph.add_right_metric(signals.scaler("OldestWait").with_(label="oldest, s"))
    return graph


def _workers(signals: Signals) -> cw.GraphWidget:
    return _graph(
        "Workers",
        signals.scaler("WorkersDesired").with_(label="asked for"),
        signals.scaler("WorkersRunning").with_(label="running"),
        unit="GPUs",
    )


def _outcomes(signals: Signals) -> cw.GraphWidget:
    outcomes = [signals.outcome(status).with_(label=status) for status in signals.outcomes]
    return _graph("Jobs that ended, a minute", *outcomes, unit="jobs")


def _latency(signals: Signals) -> cw.GraphWidget:
    api = [signals.api("Latency", p).with_(label=f"API {p}") for p in ("p50", "p95", "p99")]
    behind = signals.iterator_age().with_(label="updates behind")
    return _graph("Latency", *api, behind, unit="ms")


def _errors(signals: Signals) -> cw.GraphWidget:
    functions = [
        signals.function(name, "Errors", "Sum").with_(label=name) for name in PUBLIC_FUNCTIONS
    ]
    return _graph(
        "Errors, a minute",
        signals.api("5xx").with_(label="API 5xx"),
        signals.api("4xx").with_(label="API 4xx"),
        signals.throttles().with_(label="throttles"),
        *functions,
    )


def _cost(signals: Signals, deployment: Deployment) -> cw.GraphWidget:
    fleet = deployment.fleet
    known = [name for name in fleet.instance_types if name in prices()["gpu"]]
    if not known:
        return _graph("Cost: no list price for these instance types")
    hour = gpu_hour(known[0], fleet.spot_percent / 100)
    cost = cw.MathExpression(
        expression=f"workers * {hour:.4f}",
        using_metrics={"workers": signals.scaler("WorkersRunning", "Average")},
        period=MINUTE,
        label=f"{known[0]} at {hour:.2f} $/h",
    )
    return _graph("Cost of workers at list prices", cost, unit="$/h")
