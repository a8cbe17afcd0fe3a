"""The CloudWatch dashboard, on one screen: queue, workers, ends, latency, errors and cost."""

from __future__ import annotations

from aws_cdk import aws_cloudwatch as cw
from constructs import Construct

from comfyline.service.metrics import Metric
from infra.constructs.signals import MINUTE, OUTCOMES, Signals
from infra.deployment import Deployment
from infra.prices import gpu_hour, prices

WIDTH, HEIGHT = 8, 6  # three widgets a row
PUBLIC_FUNCTIONS = ("SubmitJob", "GetJob", "PushUpdates")


def add_dashboard(scope: Construct, signals: Signals, deployment: Deployment) -> cw.Dashboard:
    """The dashboard of one deployment. It has the name of the cluster."""
    rows: list[list[cw.IWidget]] = [[_latency(signals), _errors(signals)]]
    if deployment.observability.metrics:
        rows.insert(0, [_queue(signals), _workers(signals), _outcomes(signals)])
        rows[-1].append(_cost(signals, deployment))
    return cw.Dashboard(scope, "Dashboard", dashboard_name=deployment.cluster_name, widgets=rows)


def _graph(title: str, *metrics: cw.IMetric, unit: str = "") -> cw.GraphWidget:
    return cw.GraphWidget(
        title=title,
        width=WIDTH,
        height=HEIGHT,
        left=list(metrics),
        left_y_axis=cw.YAxisProps(min=0, label=unit, show_units=False),
    )


def _queue(signals: Signals) -> cw.GraphWidget:
    waiting = signals.recorded(Metric.TICKETS_WAITING, "Maximum").with_(label="waiting")
    in_flight = signals.recorded(Metric.TICKETS_IN_FLIGHT, "Maximum")
    graph = _graph("Queue", waiting, in_flight.with_(label="held by a worker"), unit="jobs")
    oldest = signals.recorded(Metric.OLDEST_WAIT, "Maximum").with_(label="oldest, s")
    graph.add_right_metric(oldest)
    graph.add_right_metric(signals.recorded(Metric.JOB_WAIT, "p95").with_(label="waited, p95, s"))
    return graph


def _workers(signals: Signals) -> cw.GraphWidget:
    return _graph(
        "Workers",
        signals.recorded(Metric.WORKERS_DESIRED, "Maximum").with_(label="desired"),
        signals.recorded(Metric.WORKERS_RUNNING, "Maximum").with_(label="running"),
        signals.recorded(Metric.WORKERS_READY, "Maximum").with_(label="ready"),
        signals.recorded(Metric.WORKERS_ON_SPOT, "Maximum").with_(label="on spot"),
        unit="GPUs",
    )


def _outcomes(signals: Signals) -> cw.GraphWidget:
    outcomes = [signals.outcome(status).with_(label=status) for status in OUTCOMES]
    return _graph("Jobs that ended, per minute", *outcomes, unit="jobs")


def _latency(signals: Signals) -> cw.GraphWidget:
    api = [signals.api("Latency", p).with_(label=f"API {p}") for p in ("p50", "p95", "p99")]
    behind = signals.iterator_age("PushUpdates").with_(label="updates are behind by")
    return _graph("Latency", *api, behind, unit="ms")


def _errors(signals: Signals) -> cw.GraphWidget:
    functions = [signals.errors(name).with_(label=name) for name in PUBLIC_FUNCTIONS]
    return _graph(
        "Errors per minute",
        signals.api("5xx").with_(label="API 5xx"),
        signals.api("4xx").with_(label="API 4xx"),
        signals.throttles(),
        *functions,
    )


def _cost(signals: Signals, deployment: Deployment) -> cw.GraphWidget:
    fleet = deployment.fleet
    known = [name for name in fleet.instance_types if name in prices()["gpu"]]
    if not known:
        return _graph("Cost: no list price for these instance types")
    spot, on_demand = (gpu_hour(known[0], share, capacity=fleet.capacity) for share in (1, 0))
    cost = cw.MathExpression(
        expression=f"spot * {spot:.4f} + (workers - spot) * {on_demand:.4f}",
        using_metrics={
            "workers": signals.recorded(Metric.WORKERS_RUNNING, "Average"),
            "spot": signals.recorded(Metric.WORKERS_ON_SPOT, "Average"),
        },
        period=MINUTE,
        label=f"{known[0]} at {spot:.2f} and {on_demand:.2f} $/h",
    )
    return _graph("Cost of workers at list prices", cost, unit="$/h")
