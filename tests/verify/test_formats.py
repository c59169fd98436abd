"""Every format reports the same, and those with a schema are valid by it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest
import xmlschema

from dockerflow.verify import formats
from dockerflow.verify.evidence import Evidence, Service
from dockerflow.verify.probes import Targets
from dockerflow.verify.rules import RULES, Finding
from dockerflow.verify.run import verify
from dockerflow.verify.verdicts import Report, Verdict, judge

HERE = Path(__file__).parent
NASTY = "\x1b[31m<b>&\"'%\r\n::error::%0A,: ]]> \x00\ufffe é"
SARIF = jsonschema.Draft4Validator(
    json.loads((HERE / "schemas" / "sarif-2.1.0-rtm.5.json").read_text("utf-8"))
)
JUNIT = xmlschema.XMLSchema(HERE / "schemas" / "jenkins-junit-10.xsd")


def report(**changes) -> Report:
    """One of each: passed, error, warning, ignored, not checked."""
    rules = list(RULES.values())
    warning = next(rule for rule in rules if rule.level == "warning")
    error = RULES["DF205"]
    finding = Finding(NASTY, NASTY, NASTY, "a b/Dockerfile", 3)
    return Report(
        ["http://a", NASTY],
        [
            Verdict(RULES["DF101"], "passed", []),
            Verdict(error, "failed", [finding, Finding("plain", "http://a")]),
            Verdict(warning, "failed", [Finding("so so", "http://a", "curl a")]),
            Verdict(RULES["DF202"], "ignored", [finding]),
            Verdict(RULES["DF115"], "not checked", []),
        ],
        **changes,
    )


ALL = {
    "findings": report(),
    "strict": report(fail_on="warning"),
    "lenient": report(fail_on="never"),
    "could not run": report(could_not_run=[NASTY]),
    "nothing": Report([], []),
    "not checked": Report([], judge(Evidence())),
}


@pytest.mark.parametrize("name", ALL)
def test_sarif_is_valid(name):
    content = json.loads(formats.sarif(ALL[name]))
    SARIF.validate(content)
    (run,) = content["runs"]
    assert run["invocations"][0]["exitCode"] == ALL[name].exit_code
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_sarif_says_where():
    (run,) = json.loads(formats.sarif(report()))["runs"]
    first = run["results"][0]
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20b/Dockerfile"},
        "region": {"startLine": 3},
    }
    assert [r["level"] for r in run["results"]] == ["error", "error", "warning", "error"]
    assert run["results"][3]["suppressions"] == [{"kind": "inSource"}]


@pytest.mark.parametrize("name", ALL)
def test_junit_is_valid(name):
    text = formats.junit(ALL[name])
    JUNIT.validate(text)
    (suite,) = ET.fromstring(text)
    cases = suite.findall("testcase")
    assert int(suite.get("tests")) == len(cases)
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(attribute)) == len([c for c in cases if c.find(tag) is not None])
    # Ant's schema requires these too.
    assert [child.tag for child in suite] == [
        "properties", *["testcase"] * len(cases), "system-out", "system-err",
    ]  # fmt: skip
    assert {"name", "package", "id", "time", "timestamp", "hostname"} <= set(suite.attrib)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))


def test_junit_warnings_fail_only_when_asked():
    assert formats.junit(report()).count("<failure") == 1
    assert "so so" in formats.junit(report())
    assert formats.junit(report(fail_on="warning")).count("<failure") == 2
    assert formats.junit(report(fail_on="never")).count("<failure") == 0


def test_github():
    lines = formats.github(report()).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("::error file=a b/Dockerfile,line=3,title=DF205 Runs as USER app::")
    assert "%0D%0A" in lines[0]
    assert "%2525" not in lines[0]
    assert lines[2].startswith("::warning title=")
    assert lines[3].startswith("::notice")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("color", [False, True])
def test_text(name, color):
    text = formats.text(ALL[name], color=color)
    assert "\x1b[31m<b>" not in text
    assert "\0" not in text
    for verdict in ALL[name].verdicts:
        assert verdict.rule.id in text
        assert (f"--explain {verdict.rule.id}" in text) == (verdict.status == "failed")
    if name == "findings":
        assert "reproduce with: curl a\n" in text or color
        assert "1 error, 1 warning, 1 passed, 1 ignored, 1 not checked" in text


@pytest.mark.parametrize("name", ALL)
def test_json(name):
    content = json.loads(formats.as_json(ALL[name]))
    assert content["exit_code"] == ALL[name].exit_code
    assert [r["id"] for r in content["rules"]] == [v.rule.id for v in ALL[name].verdicts]
    if name == "findings":
        assert content["rules"][1]["findings"][0]["message"] == NASTY


def test_exit_codes():
    expected = {
        "findings": 1, "strict": 1, "lenient": 0, "could not run": 2, "nothing": 0, "not checked": 0,
    }  # fmt: skip
    assert {name: one.exit_code for name, one in ALL.items()} == expected


def test_judging_does_no_io(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("I/O")

    monkeypatch.setattr("socket.socket", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    judge(Evidence(services=[Service("x")]))


def test_real_reports_are_valid_too():
    one = verify(Targets(dockerfiles=(HERE / "subjects" / "Dockerfile",), logs=("/nonexistent",)))
    SARIF.validate(json.loads(formats.sarif(one)))
    JUNIT.validate(formats.junit(one))
    assert one.exit_code == 2
