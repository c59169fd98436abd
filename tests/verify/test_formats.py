"""Every format reports the same, and those with a schema are valid by it."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import jsonschema
import pytest
import xmlschema
from markdown_it import MarkdownIt

from dockerflow.verify import formats
from dockerflow.verify.evidence import Evidence, Service
from dockerflow.verify.probes import Targets
from dockerflow.verify.rules import RULES, Finding, Unknown
from dockerflow.verify.run import verify
from dockerflow.verify.verdicts import Report, Verdict, exit_code, judge

HERE = Path(__file__).parent
NASTY = "\x1b[31m<b>&\"'%\r\n::error::%0A,: ]]> \x00\ufffe é"
SARIF = jsonschema.Draft4Validator(
    json.loads((HERE / "schemas" / "sarif-2.1.0-rtm.5.json").read_text("utf-8"))
)
JUNIT = xmlschema.XMLSchema(HERE / "schemas" / "jenkins-junit-10.xsd")


def report(**changes) -> Report:
    """One of each: passed, error, warning, unknown, accepted, ignored, not checked."""
    rules = list(RULES.values())
    warning = next(rule for rule in rules if rule.level == "warning")
    error = RULES["DF205"]
    finding = Finding(NASTY, NASTY, NASTY, "a b/Dockerfile", 3)
    unknown = Unknown("it depends on a base", "Dockerfile", "check the image", "Dockerfile", 1)
    return Report(
        ["http://a", NASTY],
        [
            Verdict(RULES["DF101"], "passed", []),
            Verdict(error, "failed", [finding, Finding("plain", "http://a")], [unknown]),
            Verdict(warning, "failed", [Finding("so so", "http://a", "curl a")]),
            Verdict(RULES["DF203"], "unknown", [], [unknown, Unknown(NASTY, NASTY, NASTY)]),
            Verdict(RULES["DF201"], "accepted", [], accepted=[finding]),
            Verdict(RULES["DF202"], "ignored", [finding]),
            Verdict(RULES["DF115"], "not checked", []),
        ],
        **changes,
    )


class Strict(Report):
    """One that fails for each rule that was not looked at, as can be asked for."""

    def fails(self, verdict: Verdict) -> bool:
        return verdict.status in ("failed", "unknown", "not checked")


def strict() -> list[Report]:
    verdicts = [Verdict(RULES["DF115"], "not checked", []), report().verdicts[3]]
    return [Strict(["http://a"], verdicts, file="Dockerfile")]


ALL = {
    "findings": [report()],
    "strict": [report(fail_on="warning")],
    "lenient": [report(fail_on="never")],
    "could not run": [report(could_not_run=[NASTY])],
    "nothing": [Report([], [])],
    "not checked": [Report([], judge(Evidence()))],
    "stale": [report(stale=[NASTY], file="dockerflow.toml")],
    "fleet": [
        report(name="shop", file="dockerflow.toml"),
        Report(["http://b"], [Verdict(RULES["DF101"], "passed", [])], name="blog"),
        report(name=NASTY, could_not_run=[NASTY], file="dockerflow.toml"),
    ],
}


@pytest.mark.parametrize("name", ALL)
def test_sarif_is_valid(name):
    content = json.loads(formats.sarif(ALL[name]))
    SARIF.validate(content)
    (run,) = content["runs"]
    assert run["invocations"][0]["exitCode"] == exit_code(ALL[name])
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


@pytest.mark.parametrize("name", ALL)
def test_each_sarif_result_has_what_github_requires(name):
    """GitHub rejects a whole file for one result without the place in a file."""
    (run,) = json.loads(formats.sarif(ALL[name]))["runs"]
    for result in run["results"]:
        for location in result["locations"]:
            assert location["physicalLocation"]["artifactLocation"]["uri"]
            assert location["physicalLocation"]["region"]["startLine"] >= 1
        assert result["message"]["text"]
        assert result["partialFingerprints"]["primaryLocationLineHash"]
    # Nothing is left out silently.
    found = [
        one
        for one_report in ALL[name]
        for verdict in one_report.verdicts
        for one in [*verdict.found, *verdict.accepted]
    ]
    notifications = run["invocations"][0]["toolExecutionNotifications"]
    left_out = [n for n in notifications if "it has no file" in n["message"]["text"]]
    assert len(run["results"]) + len(left_out) == len(found)
    assert (not left_out) == (name in ("nothing", "not checked", "stale", "fleet"))


@pytest.mark.parametrize("name", formats.FORMATS)
def test_each_format_tells_why_it_fails(name):
    output = formats.FORMATS[name](strict())
    if name == "json":
        assert json.loads(output)["exit_code"] == 1
        return
    assert output.count("it was not checked; it looks at ") in (1, 2)  # JUnit: message and text
    assert output.count("it depends on a base") in (1, 2)
    if name == "junit":
        JUNIT.validate(output)
        assert output.count("<failure") == 2
        assert "<skipped" not in output
    elif name == "github":
        assert output.count("::error ") == 3
    elif name == "text":
        assert "\n\n\n" not in output
        assert "✗ DF115 error: " in output
        assert "not checked: DF115" not in output
    elif name == "sarif":
        levels = [(one["ruleId"], one["level"]) for one in json.loads(output)["runs"][0]["results"]]
        assert levels == [("DF115", "error"), ("DF203", "none"), ("DF203", "none")]


def test_sarif_says_where():
    (run,) = json.loads(formats.sarif([report(file="dockerflow.toml")]))["runs"]
    places = [
        (
            result["ruleId"],
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            result["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for result in run["results"]
    ]
    warning = run["results"][3]["ruleId"]
    assert places == [
        ("DF205", "a%20b/Dockerfile", 3), ("DF205", "dockerflow.toml", 1), ("DF205", "Dockerfile", 1),
        (warning, "dockerflow.toml", 1), ("DF203", "Dockerfile", 1), ("DF203", "dockerflow.toml", 1),
        ("DF201", "a%20b/Dockerfile", 3), ("DF202", "a%20b/Dockerfile", 3),
    ]  # fmt: skip
    assert [result["level"] for result in run["results"]] == [
        "error", "error", "none", "warning", "none", "none", "error", "error",
    ]  # fmt: skip
    assert [result.get("kind") for result in run["results"]].count("open") == 3
    assert run["results"][6]["suppressions"] == [{"kind": "external"}]
    assert run["results"][7]["suppressions"] == [{"kind": "inSource"}]


def test_a_line_of_stdin_is_no_line_of_the_file_that_stands_for_it():
    verdict = Verdict(RULES["DF303"], "failed", [Finding("line 7: bad", "stdin", line=7)])
    (run,) = json.loads(formats.sarif([Report([], [verdict], file="dockerflow.toml")]))["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 1}


def test_sarif_paths_are_relative_to_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside, outside = str(tmp_path / "a b" / "Dockerfile"), "/elsewhere/a b"
    verdict = Verdict(
        RULES["DF205"], "failed", [Finding("x", f, file=f) for f in (inside, outside)]
    )
    (run,) = json.loads(formats.sarif([Report([], [verdict])]))["runs"]
    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        for result in run["results"]
    ]
    assert uris == ["a%20b/Dockerfile", "file:///elsewhere/a%20b"]


def test_sarif_tells_targets_apart():
    """GitHub makes one alert of results with the same rule, file and fingerprint."""
    finding = Finding("it is slow", "http://a")
    reports = [
        Report(
            [], [Verdict(RULES["DF108"], "failed", [finding])], name=name, file="dockerflow.toml"
        )
        for name in ("shop", "blog")
    ]
    (run,) = json.loads(formats.sarif(reports))["runs"]
    assert len({r["partialFingerprints"]["primaryLocationLineHash"] for r in run["results"]}) == 2
    assert [r["message"]["text"].split(":")[0] for r in run["results"]] == ["shop", "blog"]
    # Nor are two lines with the same message one.
    verdict = Verdict(RULES["DF108"], "failed", [finding, finding])
    (run,) = json.loads(formats.sarif([Report([], [verdict], file="a")]))["runs"]
    assert len({r["partialFingerprints"]["primaryLocationLineHash"] for r in run["results"]}) == 2


@pytest.mark.parametrize("name", ALL)
def test_junit_is_valid(name):
    text = formats.junit(ALL[name])
    JUNIT.validate(text)
    suites = list(ET.fromstring(text))
    assert len(suites) == len(ALL[name])
    assert [suite.get("id") for suite in suites] == [str(n) for n in range(len(suites))]
    for suite in suites:
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases)
        for attribute, tag in (
            ("failures", "failure"), ("errors", "error"), ("skipped", "skipped"),
        ):  # fmt: skip
            assert int(suite.get(attribute)) == len([c for c in cases if c.find(tag) is not None])
        # Ant's schema requires these too.
        assert [child.tag for child in suite] == [
            "properties", *["testcase"] * len(cases), "system-out", "system-err",
        ]  # fmt: skip
        assert {"name", "package", "id", "time", "timestamp", "hostname"} <= set(suite.attrib)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))


def test_junit_warnings_fail_only_when_asked():
    assert formats.junit([report()]).count("<failure") == 1
    assert "so so" in formats.junit([report()])
    assert formats.junit([report(fail_on="warning")]).count("<failure") == 2
    assert formats.junit([report(fail_on="never")]).count("<failure") == 0


def test_junit_names_the_target_and_what_is_skipped():
    suite = ET.fromstring(formats.junit(ALL["fleet"]))[0]
    assert suite.get("name") == "dockerflow verify: shop"
    assert {case.get("classname") for case in suite.iter("testcase")} == {"dockerflow.verify.shop"}
    skipped = [case.find("skipped") for case in suite.iter("testcase")]
    messages = [one.get("message") for one in skipped if one is not None]
    assert messages == ["can't tell", "accepted", "ignored", "not checked"]
    assert "to find out: check the image" in ET.tostring(suite, "unicode")


def test_github():
    lines = formats.github([report()]).splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("::error file=a b/Dockerfile,line=3,title=DF205 Runs as USER app::")
    assert "%0D%0A" in lines[0]
    assert "%2525" not in lines[0]
    assert lines[3].startswith("::warning title=")
    assert lines[4].startswith("::notice file=Dockerfile,line=1,title=DF203 ")
    assert "to find out: check the image" in lines[4]
    assert lines[6].startswith("::notice title=dockerflow verify::Failed: ")
    fleet = formats.github(ALL["fleet"])
    assert ",title=shop%3A DF205 Runs as USER app::" in fleet
    assert "Could not run: 3 targets: 1 passed, 1 failed, 1 could not run, in " in fleet


@pytest.mark.parametrize("name", ALL)
def test_markdown(name):
    text = formats.markdown(ALL[name])
    assert "\x1b" not in text
    assert "\0" not in text
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    assert not [t for t in tokens if t.type == "html_block"]
    inline = [child for t in tokens if t.type == "inline" for child in t.children or ()]
    assert not [child for child in inline if child.type in ("html_inline", "link_open")]
    found = sum(len(v.found) for one in ALL[name] for v in one.verdicts if v.status != "ignored")
    tables = [t for t in tokens if t.type == "tr_open"]
    # A header for each table, a row for each target of several.
    several = len(ALL[name]) + 1 if len(ALL[name]) > 1 else 0
    assert len(tables) == found + several + sum(1 for one in ALL[name] if "failed" in statuses(one))


def test_markdown_keeps_what_would_end_a_cell():
    message = "a | b ` c $d$ <e> *f*"
    verdict = Verdict(RULES["DF205"], "failed", [Finding(message, "x|y")])
    text = formats.markdown([Report([], [verdict])])
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    codes = [child.content.strip() for child in inline if child.type == "code_inline"]
    assert codes[:2] == ["x|y", message.replace("`", "'")]


def test_markdown_has_the_table_of_targets():
    lines = formats.markdown(ALL["fleet"]).splitlines()
    assert lines[0] == "## Dockerflow: could not run"
    header = "| target | result | errors | warnings | can't tell | passed | accepted | ignored | "
    assert lines[2] == header + "not checked |"
    assert lines[4] == "| `` shop `` | failed | 1 | 1 | 1 | 1 | 1 | 1 | 1 |"
    assert lines[5] == "| `` blog `` | passed | 0 | 0 | 0 | 1 | 0 | 0 | 0 |"


def statuses(one: Report) -> list[str]:
    return [verdict.status for verdict in one.verdicts]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("color", [False, True])
def test_text(name, color):
    text = formats.text(ALL[name], color=color)
    assert "\x1b[31m<b>" not in text
    assert "\0" not in text
    assert "\n\n\n" not in text
    for one_report in ALL[name]:
        for verdict in one_report.verdicts:
            assert verdict.rule.id in text or len(ALL[name]) > 1
            in_full = verdict.status in ("failed", "unknown")
            assert (f"--explain {verdict.rule.id}" in text) == in_full
    if name == "findings":
        assert "reproduce with: curl a\n" in text or color
        assert (
            "Failed: 1 error, 1 warning, 1 can't tell, 1 passed, 1 accepted, 1 ignored, "
            "1 not checked, in 0.0 s"
        ) in text


def test_text_has_findings_first():
    """What to do comes first; what wasn't checked takes one line, however many rules it is."""
    rules = [v for v in judge(Evidence()) if v.rule.id not in {"DF101", "DF205", "DF203"}]
    one = report()
    one.verdicts = [*rules, *one.verdicts[:4]]
    lines = formats.text([one]).splitlines()
    marks = [line[0] for line in lines if line[:1] in tuple("✗!?✓=·")]
    assert "".join(dict.fromkeys(marks)) == "✗!?✓·"
    assert len([line for line in lines if "not checked" in line]) == 2  # and the summary
    assert lines[-1].startswith("Failed: ")


def test_text_tells_how_to_find_out():
    text = formats.text([report()])
    assert "? DF203 can't tell: User app has UID 10001" in text
    assert "  Dockerfile:1: can't tell: it depends on a base\n" in text
    assert "    to find out: check the image\n" in text
    assert "= accepted: DF201 (by the baseline)\n" in text


def test_text_of_several_targets():
    text = formats.text(ALL["fleet"], width=120)
    assert "Dockerflow: shop: http://a" in text
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("target "))
    assert lines[at + 1].split() == ["shop", "failed", *"1111111"]
    assert lines[at + 2].split() == ["blog", "passed", *"0001000"]
    assert lines[-1] == ("Could not run: 3 targets: 1 passed, 1 failed, 1 could not run, in 0.0 s")
    # What has no findings is in the table only; of one target there is none.
    assert "Dockerflow: blog" not in text
    assert formats.text(ALL["fleet"][:1]).count("shop") == 1
    assert formats.text(ALL["fleet"][1:2]).startswith(
        "Dockerflow: blog: http://b\n\n✓ passed DF101"
    )


@pytest.mark.parametrize("name", ALL)
def test_json(name):
    content = json.loads(formats.as_json(ALL[name]))
    assert content["exit_code"] == exit_code(ALL[name])
    results = content["results"] if name == "fleet" else [content]
    for result, one in zip(results, ALL[name], strict=True):
        assert result["exit_code"] == one.exit_code
        assert [rule["id"] for rule in result["rules"]] == [v.rule.id for v in one.verdicts]
        assert [rule["status"] for rule in result["rules"]] == statuses(one)
    if name == "findings":
        assert content["rules"][1]["findings"][0]["message"] == NASTY
        assert content["rules"][3]["unknowns"][0] == {
            "message": "it depends on a base",
            "where": "Dockerfile",
            "would_tell": "check the image",
            "file": "Dockerfile",
            "line": 1,
        }
        assert content["rules"][4]["accepted"][0]["message"] == NASTY
    if name == "fleet":
        assert [result["name"] for result in results] == ["shop", "blog", NASTY]


def test_exit_codes():
    expected = {
        "findings": 1, "strict": 1, "lenient": 0, "could not run": 2, "nothing": 0, "not checked": 0,
        "stale": 1, "fleet": 2,
    }  # fmt: skip
    assert {name: exit_code(reports) for name, reports in ALL.items()} == expected


def test_judging_does_no_io(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("I/O")

    monkeypatch.setattr("socket.socket", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    judge(Evidence(services=[Service("x")]))


def test_real_reports_are_valid_too():
    one = verify(Targets(dockerfiles=(HERE / "subjects" / "Dockerfile",), logs=("/nonexistent",)))
    SARIF.validate(json.loads(formats.sarif([one])))
    JUNIT.validate(formats.junit([one]))
    assert one.exit_code == 2
