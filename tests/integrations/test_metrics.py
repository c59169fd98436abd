"""Results of checks as metrics of prometheus-client and of OpenTelemetry."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("prometheus_client")
pytest.importorskip("opentelemetry.sdk")

import prometheus_client
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from dockerflow import checks
from dockerflow.config import Config
from dockerflow.opentelemetry import OpenTelemetryObserver
from dockerflow.prometheus import PrometheusObserver

NAMES = [
    f"dockerflow_{kind}_{name}"
    for kind in ("check", "heartbeat")
    for name in ("duration_seconds", "level", "results_total")
]


def observe(observer):
    """Three heartbeats: with a warning and a skipped check, of a group, and during a drain."""
    registry = checks.Registry()
    registry.observe(observer)
    registry.register(lambda: checks.Warning("Nearly full.", id="app.W002"), name="disk")
    registry.register(lambda: checks.Error("Down.", id="app.E001"), name="database")
    registry.register(lambda: None, name="search", requires=("database",))
    registry.register(lambda: None, name="cache", ttl=60)
    registry.run()
    registry.run(Config(heartbeat_groups={"ready": "cache"}), group="ready")
    registry.drained()
    registry.close()


@pytest.fixture
def collected():
    collector = prometheus_client.CollectorRegistry()
    observe(PrometheusObserver(collector))
    return collector


class TestPrometheus:
    def test_results_are_counted_by_status(self, collected):
        name = "dockerflow_check_results_total"
        for check, status in [
            ("disk", "warning"), ("database", "error"), ("search", "info"), ("cache", "ok"),
        ]:  # fmt: skip
            assert collected.get_sample_value(name, {"check": check, "status": status}) == 1
        assert collected.get_sample_value(name, {"check": "disk", "status": "ok"}) is None
        name = "dockerflow_heartbeat_results_total"
        assert collected.get_sample_value(name, {"group": "", "status": "error"}) == 2
        assert collected.get_sample_value(name, {"group": "ready", "status": "ok"}) == 1

    def test_levels_are_those_of_the_last_results(self, collected):
        levels = [
            collected.get_sample_value("dockerflow_check_level", {"check": check})
            for check in ("cache", "search", "disk", "database")
        ]
        assert levels == [0, 20, 30, 40]
        for group, level in (("", 40), ("ready", 0)):
            labels = {"group": group}
            assert collected.get_sample_value("dockerflow_heartbeat_level", labels) == level

    def test_only_what_was_run_took_time(self, collected):
        """A check that is skipped, and the heartbeat of a drain, would make the rest look quick."""
        name = "dockerflow_check_duration_seconds_count"
        assert collected.get_sample_value(name, {"check": "disk"}) == 1
        assert collected.get_sample_value(name, {"check": "search"}) == 0
        name = "dockerflow_heartbeat_duration_seconds_count"
        assert collected.get_sample_value(name, {"group": ""}) == 1

    def test_one_observer_serves_several_registries(self):
        collector = prometheus_client.CollectorRegistry()
        observer = PrometheusObserver(collector)
        observe(observer)
        observe(observer)
        labels = {"check": "disk", "status": "warning"}
        assert collector.get_sample_value("dockerflow_check_results_total", labels) == 2
        with pytest.raises(ValueError, match="Duplicated"):
            PrometheusObserver(collector)

    def test_the_default_is_the_registry_of_the_process(self):
        code = (
            "import prometheus_client\n"
            "from dockerflow.prometheus import PrometheusObserver\n"
            "PrometheusObserver()\n"
            "print(prometheus_client.generate_latest().decode())\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
        )
        assert [name for name in NAMES if f"# TYPE {name} " not in done.stdout] == []


WORKER = """
import sys
from dockerflow import checks
from dockerflow.prometheus import PrometheusObserver

registry = checks.Registry()
registry.observe(PrometheusObserver())
broken = "broken" in sys.argv
registry.register(lambda: checks.Error("Down.", id="app.E001") if broken else None, name="database")
registry.run()
registry.close()
"""


def test_several_processes(tmp_path):
    """Results of all of them are counted; the level is that of the most recent result."""
    from prometheus_client import multiprocess

    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for state in ("broken", "well"):
        command = [sys.executable, "-W", "error", "-c", WORKER, state]
        subprocess.run(command, env=environ, check=True)
    collector = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(collector, path=str(tmp_path))
    name, database = "dockerflow_check_results_total", {"check": "database"}
    assert collector.get_sample_value(name, {**database, "status": "error"}) == 1
    assert collector.get_sample_value(name, {**database, "status": "ok"}) == 1
    assert collector.get_sample_value("dockerflow_check_duration_seconds_count", database) == 2
    assert collector.get_sample_value("dockerflow_check_level", database) == 0
    assert collector.get_sample_value("dockerflow_heartbeat_level", {"group": ""}) == 0


@pytest.fixture
def exported():
    """The points of each instrument, with the instrument's unit, by its name."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    observe(OpenTelemetryObserver(provider))
    [resource] = reader.get_metrics_data().resource_metrics
    [scope] = resource.scope_metrics
    assert scope.scope.name == "dockerflow"
    yield {metric.name: (metric.unit, metric.data.data_points) for metric in scope.metrics}
    provider.shutdown()


class TestOpenTelemetry:
    def test_results_are_counted_by_status(self, exported):
        _, points = exported["dockerflow.check.results"]
        assert {(p.attributes["check"], p.attributes["status"], p.value) for p in points} == {
            ("disk", "warning", 1), ("database", "error", 1), ("search", "info", 1),
            ("cache", "ok", 1),
        }  # fmt: skip
        _, points = exported["dockerflow.heartbeat.results"]
        assert [(dict(p.attributes), p.value) for p in points] == [
            ({"status": "error"}, 2), ({"group": "ready", "status": "ok"}, 1),
        ]  # fmt: skip

    def test_levels_are_those_of_the_last_results(self, exported):
        _, points = exported["dockerflow.check.level"]
        levels = {p.attributes["check"]: p.value for p in points}
        assert levels == {"cache": 0, "search": 20, "disk": 30, "database": 40}

    def test_only_what_was_run_took_time(self, exported):
        unit, points = exported["dockerflow.check.duration"]
        assert unit == "s"
        assert {p.attributes["check"]: p.count for p in points} == {
            "disk": 1, "database": 1, "cache": 1,
        }  # fmt: skip
        # For seconds, not for the milliseconds of OpenTelemetry's own.
        assert min(points[0].explicit_bounds) < 0.01
        assert max(points[0].explicit_bounds) == 10


def test_opentelemetry_gives_prometheus_the_same_names():
    """So that the same alerts and the same dashboard fit both."""
    exporter = pytest.importorskip("opentelemetry.exporter.prometheus")
    reader = exporter.PrometheusMetricReader()
    try:
        observe(OpenTelemetryObserver(MeterProvider([reader], shutdown_on_exit=False)))
        text = prometheus_client.generate_latest().decode()
    finally:
        reader.shutdown()
    collector = prometheus_client.CollectorRegistry()
    observe(PrometheusObserver(collector))
    for line in prometheus_client.generate_latest(collector).decode().splitlines():
        if line.startswith("# TYPE dockerflow_") and "_created " not in line:
            assert line in text
    assert 'dockerflow_check_results_total{check="disk",' in text
    assert 'status="warning"' in text
