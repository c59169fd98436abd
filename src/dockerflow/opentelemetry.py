"""Results of checks as metrics of OpenTelemetry."""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import Meter, MeterProvider, get_meter

from dockerflow import __version__
from dockerflow.checks import Observation

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds; OpenTelemetry's own are for milliseconds."""


class OpenTelemetryObserver:
    """Counts and times the results of checks and heartbeats; pass it to ``checks.observe``.

    It creates the instruments ``dockerflow.check.duration`` in seconds,
    ``dockerflow.check.results`` and ``dockerflow.check.level`` with the attribute ``check``, and
    the same for ``dockerflow.heartbeat`` without that attribute. An export runs no check.

    :param meter_provider: by default the one that is set for the process, even if it is set later.

    .. versionadded:: 0.1.0
    """

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        meter = get_meter("dockerflow", __version__, meter_provider)
        self._check, self._heartbeat = _Metrics("check", meter), _Metrics("heartbeat", meter)

    def __call__(self, observation: Observation) -> None:
        """Record one result."""
        if observation.kind == "check":
            self._check.record(observation, check=observation.name)
        else:
            self._heartbeat.record(observation)


class _Metrics:
    def __init__(self, kind: str, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            f"dockerflow.{kind}.duration",
            unit="s",
            description=f"How long each {kind} took.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._results = meter.create_counter(
            f"dockerflow.{kind}.results",
            unit="{result}",
            description=f"Results of each {kind} by status.",
        )
        self._level = meter.create_gauge(
            f"dockerflow.{kind}.level",
            description=f"Level of the last {kind}: "
            "0 ok, 20 info, 30 warning, 40 error, 50 critical.",
        )

    def record(self, observation: Observation, **attributes: str) -> None:
        if observation.duration:  # else nothing was run
            self._duration.record(observation.duration, attributes)
        self._results.add(1, {**attributes, "status": observation.status})
        self._level.set(observation.level, attributes)
