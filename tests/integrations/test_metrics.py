"""The recipes of docs/metrics.md, as they stand there, with the real packages."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)

CHECKS = """
from dockerflow import checks

@checks.register(critical=False)
def broken():
    return checks.Error("e")

@checks.register(name="a name: odd")
async def good(): ...

checks.default_registry.run()
checks.default_registry.close()
"""


def recipe(package: str) -> str:
    [block] = [
        block for block in BLOCKS if re.search(rf"^(import|from) {package}\b", block, re.MULTILINE)
    ]
    return block


def run(source: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_statsd() -> None:
    pytest.importorskip("statsd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        source = recipe("statsd").replace('"localhost", 8125', f'"127.0.0.1", {port}')
        assert str(port) in source
        run(source + CHECKS)
        packets = {re.sub(r":[\d.]+\|", ":#|", server.recv(1000).decode()) for _ in range(6)}
    assert packets == {
        "app.check.broken:#|ms",
        "app.check.broken.error:#|c",
        "app.check.a_name__odd:#|ms",
        "app.check.a_name__odd.ok:#|c",
        "app.heartbeat.heartbeat:#|ms",
        "app.heartbeat.heartbeat.warning:#|c",
    }


def test_prometheus() -> None:
    pytest.importorskip("prometheus_client")
    tail = "import prometheus_client; print(prometheus_client.generate_latest().decode())"
    lines = run(recipe("prometheus_client") + CHECKS + tail).splitlines()
    assert 'dockerflow_level{kind="check",name="broken"} 40.0' in lines
    assert 'dockerflow_level{kind="check",name="a name: odd"} 0.0' in lines
    assert 'dockerflow_level{kind="heartbeat",name="heartbeat"} 30.0' in lines
    assert 'dockerflow_seconds_count{kind="check",name="broken"} 1.0' in lines


def test_opentelemetry() -> None:
    pytest.importorskip("opentelemetry.sdk")
    head = """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
"""
    tail = """
for resource in reader.get_metrics_data().resource_metrics:
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            for point in metric.data.data_points:
                attributes = dict(point.attributes)
                print(metric.name, metric.unit, point.count, *(attributes[k] for k in
                      ("kind", "name", "status")))
"""
    lines = set(run(head + recipe("opentelemetry") + CHECKS + tail).splitlines())
    assert lines == {
        "dockerflow.duration s 1 check broken error",
        "dockerflow.duration s 1 check a name: odd ok",
        "dockerflow.duration s 1 heartbeat heartbeat warning",
    }
