"""OpenTelemetry metrics of check results, and a sampler that drops the traces of probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import Meter, MeterProvider, get_meter
from opentelemetry.trace import SpanKind

from dockerflow import __version__
from dockerflow._core.endpoints import ALL_ENDPOINTS, path_of
from dockerflow._core.exchange import current_exchange
from dockerflow.checks import Observation

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

_SEGMENTS: Final = frozenset(path_of(endpoint)[1:] for endpoint in ALL_ENDPOINTS)
_PATHS: Final = ("url.path", "http.target", "url.full", "http.url")
"""The attributes that may contain a request's path."""

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""In seconds; OpenTelemetry's default buckets are meant for milliseconds."""


class OpenTelemetryObserver:
    """Counts and times the results of checks and heartbeats; pass it to ``checks.observe``.

    It creates the instruments ``dockerflow.check.duration`` in seconds,
    ``dockerflow.check.results`` and ``dockerflow.check.level`` with the attribute ``check``, and
    the same for ``dockerflow.heartbeat``, with the attribute ``group`` for the heartbeat of a
    group. An export runs no check.

    :param meter_provider: by default the global one, even if it is set later.

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
            group = observation.name.partition("/")[2]
            self._heartbeat.record(observation, **({"group": group} if group else {}))


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


def traces_sampler(rest: Sampler | float | str | None = None) -> Sampler:
    """Return a sampler that drops the traces of Dockerflow's endpoints and of the checks they run.

    This needs the OpenTelemetry SDK. A request counts as a probe if its path contains an endpoint's
    name as a segment, such as ``__heartbeat__``, even below a mount point or a prefix.

    :param rest: decides about all other spans: a sampler, or a rate from 0 to 1, which may be a
        string. With a rate, a request that continues a trace is sampled if that trace is. By
        default, all of them are sampled.
    :raises ValueError: if ``rest`` isn't a valid rate.
    :raises ImportError: if the SDK is not installed.

    .. versionadded:: 0.1.0
    """
    from opentelemetry.sdk.trace import sampling

    if not isinstance(rest, sampling.Sampler):
        rest = sampling.ParentBasedTraceIdRatio(1.0 if rest is None else float(rest))
    sampler = rest

    class ProbesSampler(sampling.Sampler):
        def should_sample(
            self,
            parent_context: Any,
            trace_id: int,
            name: str,
            kind: SpanKind | None = None,
            attributes: Any = None,
            *args: Any,
            **options: Any,
        ) -> sampling.SamplingResult:
            if _is_probe(name, kind, attributes or {}):
                return sampling.SamplingResult(sampling.Decision.DROP)
            return sampler.should_sample(
                parent_context, trace_id, name, kind, attributes, *args, **options
            )

        def get_description(self) -> str:
            return "DockerflowProbes"

    return ProbesSampler()


def _is_probe(name: str, kind: SpanKind | None, attributes: Mapping[str, Any]) -> bool:
    """Whether a span is of a request to one of our endpoints, or starts while one is served."""
    exchange = current_exchange.get()
    if exchange is not None and exchange.endpoint is not None:
        return True
    if kind is not SpanKind.SERVER:
        return False
    # Without such an attribute, the name may contain the path, as in "GET /__heartbeat__".
    url = next((str(attributes[key]) for key in _PATHS if key in attributes), name)
    return not _SEGMENTS.isdisjoint(url.partition("?")[0].split("/"))
