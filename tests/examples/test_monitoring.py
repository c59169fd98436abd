"""The rules and the dashboard in examples/monitoring/, as their own tools read them."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import services
import yaml

pytest.importorskip("prometheus_client")

import prometheus_client

from dockerflow import checks
from dockerflow.prometheus import PrometheusObserver

FOLDER = Path(__file__).parents[2] / "examples" / "monitoring"
RULES = FOLDER / "alerts.yaml"
TESTS = FOLDER / "alerts_test.yaml"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))


def promtool(*arguments, **options):
    [program] = services.find("promtool")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )  # fmt: skip


@pytest.fixture(scope="module")
def exposed():
    """What a scrape gives."""
    collector = prometheus_client.CollectorRegistry()
    registry = checks.Registry()
    registry.observe(PrometheusObserver(collector))
    registry.register(lambda: None, name="database")
    registry.run()
    registry.close()
    return prometheus_client.generate_latest(collector).decode()


def test_names_and_texts_of_the_metrics(exposed):
    # "_created" is the client's own.
    lines = [line for line in exposed.splitlines(keepends=True) if "_created" not in line]
    done = promtool("check", "metrics", input="".join(lines))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_rules_are_valid_and_pass_their_tests():
    done = promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stderr
    done = promtool("test", "rules", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


RULE = [
    rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]
]


@pytest.mark.parametrize("index", range(len(RULE)), ids=[rule["alert"] for rule in RULE])
def test_the_tests_notice_a_rule_that_never_fires(tmp_path, index):
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    rules["groups"][0]["rules"][index]["expr"] = "vector(0) > 1"
    (tmp_path / RULES.name).write_text(yaml.safe_dump(rules), encoding="utf-8")
    (tmp_path / TESTS.name).write_bytes(TESTS.read_bytes())
    done = promtool("test", "rules", tmp_path / TESTS.name)
    assert done.returncode != 0
    assert f"alertname: {RULE[index]['alert']}" in done.stdout + done.stderr


def queries():
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_the_queries_of_the_dashboard_are_valid(tmp_path):
    rules = [
        {"record": f"query{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries())
    ]
    assert len(rules) >= 6
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_metrics_that_are_queried_are_exposed(exposed):
    variables = [variable["query"] for variable in DASHBOARD["templating"]["list"]]
    texts = [rule["expr"] for rule in RULE] + queries() + [str(variable) for variable in variables]
    names = set(re.findall(r"\bdockerflow_\w+", " ".join(texts)))
    assert len(names) >= 6
    assert [name for name in names if not re.search(rf"^{name}[ {{]", exposed, re.MULTILINE)] == []


def lost(before, after, path="$"):
    """Yield what Grafana's library doesn't know, and so leaves out."""
    if isinstance(before, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(before, list):
        for number, (value, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(value, other, f"{path}[{number}]")
    elif before != after:
        yield path


def read_by_grafana(dashboard):
    pytest.importorskip("grafana_foundation_sdk")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


def test_grafana_knows_every_field_of_the_dashboard():
    assert list(lost(DASHBOARD, read_by_grafana(DASHBOARD))) == []
    broken = json.loads(json.dumps(DASHBOARD).replace('"legendFormat"', '"legendformat"'))
    assert len(list(lost(broken, read_by_grafana(broken)))) == len(queries())


def test_panels_do_not_overlap():
    taken = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for position in [panel["gridPos"]]
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
