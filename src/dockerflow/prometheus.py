"""Results of checks as metrics of prometheus-client."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from dockerflow.checks import Observation


class PrometheusObserver:
    """Counts and times the results of checks and heartbeats; pass it to ``checks.observe``.

    It creates ``dockerflow_check_duration_seconds``, ``dockerflow_check_results_total`` and
    ``dockerflow_check_level`` with the label ``check``, and the same for ``dockerflow_heartbeat``
    with the label ``group``, which is empty for the whole heartbeat. Where prometheus-client
    collects from several processes, a level is that of the most recent result. A scrape runs no
    check.

    :param registry: the collector registry; by default that of ``prometheus_client``.
    :raises ValueError: when the collector registry already has these metrics, for example from
        another observer. One can observe several registries of checks.

    .. versionadded:: 0.1.0
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._check = _Metrics("check", ("check",), registry)
        self._heartbeat = _Metrics("heartbeat", ("group",), registry)
        self._heartbeat.level.labels(group="")  # is exported from the start, as 0

    def __call__(self, observation: Observation) -> None:
        """Record one result."""
        if observation.kind == "check":
            self._check.record(observation, check=observation.name)
        else:
            self._heartbeat.record(observation, group=observation.name.partition("/")[2])


class _Metrics:
    def __init__(self, kind: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            f"dockerflow_{kind}_duration_seconds",
            f"How long each {kind} took.",
            labels,
            registry=registry,
        )
        self._results = Counter(
            f"dockerflow_{kind}_results_total",
            f"Results of each {kind} by status.",
            (*labels, "status"),
            registry=registry,
        )
        self.level = Gauge(
            f"dockerflow_{kind}_level",
            f"Level of the last {kind}: 0 ok, 20 info, 30 warning, 40 error, 50 critical.",
            labels,
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    def record(self, observation: Observation, **labels: str) -> None:
        duration = self._duration.labels(**labels)
        if observation.duration:  # else nothing was run
            duration.observe(observation.duration)
        self._results.labels(**labels, status=observation.status).inc()
        self.level.labels(**labels).set(observation.level)
