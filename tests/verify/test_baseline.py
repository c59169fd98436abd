"""What a baseline accepts, and that nothing else becomes of what it holds."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerflow.verify import baseline, dockerfile
from dockerflow.verify.evidence import Evidence
from dockerflow.verify.rules import RULES, Finding, Unknown
from dockerflow.verify.verdicts import Report, Verdict, judge

PLACES = st.sampled_from(["Dockerfile", "http://a", "stdout of http://a", "\udcff", "é"])
FINDINGS = st.builds(Finding, st.text(max_size=20), PLACES, line=st.integers(1, 9) | st.none())
UNKNOWNS = st.builds(Unknown, st.text(max_size=5), PLACES, st.just("look"))


@st.composite
def reports(draw) -> Report:
    verdicts = [
        Verdict(RULES[id_], "failed", findings, draw(st.lists(UNKNOWNS, max_size=1)))
        for id_ in ("DF101", "DF205", "DF306")
        if (findings := draw(st.lists(FINDINGS, max_size=3)))
    ]
    examined = {"Dockerfile", "http://a", "\udcff", "é"}
    return Report([], verdicts, name=draw(st.sampled_from(["", "shop"])), examined=examined)


@given(reports())
def test_what_is_written_is_accepted(report):
    accepted = baseline.update([report], set())
    assert baseline.update([report], accepted) == accepted
    findings = [finding for verdict in report.verdicts for finding in verdict.findings]
    unknowns = [bool(verdict.unknowns) for verdict in report.verdicts]
    baseline.apply(report, accepted)
    assert report.stale == []
    assert [f for verdict in report.verdicts for f in verdict.accepted] == findings
    assert not any(verdict.findings for verdict in report.verdicts)
    # What can't be told isn't accepted with them.
    assert [verdict.status == "unknown" for verdict in report.verdicts] == unknowns
    assert report.exit_code == 0


@given(reports(), FINDINGS)
def test_only_what_is_new_fails(report, finding):
    accepted = baseline.update([report], set())
    report.verdicts.append(Verdict(RULES["DF201"], "failed", [finding]))
    baseline.apply(report, accepted)
    assert [v.rule.id for v in report.verdicts if v.status == "failed"] == ["DF201"]


@given(reports())
def test_a_file_holds_all_entries(report):
    accepted = baseline.update([report], set())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "baseline.json")
        path.write_text(baseline.dump(accepted), "utf-8")
        assert baseline.read(path) == accepted
    assert baseline.dump(accepted) == baseline.dump(sorted(accepted, reverse=True))


@pytest.mark.parametrize(
    ("place", "is_stale"),
    [
        ("http://a", True),
        ("/__version__ of http://a", True),
        ("http://b", False),
        ("services/Dockerfile", False),
    ],
)
def test_what_was_examined_and_not_found_is_stale(place, is_stale):
    accepted = {baseline.Entry("", place, "DF101", "slow")}
    passed = [Verdict(RULES["DF101"], "passed", [])]
    report = Report([], passed, examined={"http://a", "Dockerfile"})
    baseline.apply(report, accepted)
    assert report.stale == ([f"DF101 at {place}: slow"] if is_stale else [])
    assert baseline.update([report], accepted) == (set() if is_stale else accepted)
    unchecked = Report([], [Verdict(RULES["DF101"], "not checked", [])], examined={"http://a"})
    baseline.apply(unchecked, accepted)
    assert unchecked.stale == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("it listens on port 4711", "it listens on port 8", True),
        ("it took 1.5 s", "it took 12 s", True),
        ("line 3: it is not JSON", "line 77: it is not JSON", True),
        ("HTTP 404, not HTTP 200", "HTTP 500, not HTTP 200", False),
        ("it runs as root", "it runs as app2", False),
    ],
)
def test_numbers_that_vary_make_no_other_entry(one, other, same):
    entries = {baseline.entry("", "DF101", Finding(message, "a")) for message in (one, other)}
    assert (len(entries) == 1) == same


def test_an_ignored_unknown_is_ignored(monkeypatch):
    """It is no pass, neither with a comment nor by place."""
    unknown = Unknown("it depends on its base", "a/Dockerfile", "look", "a/Dockerfile", 1)
    rule = RULES["DF205"]._replace(judge=lambda _: iter([unknown]))
    monkeypatch.setitem(RULES, "DF205", rule)

    def status(ignored: set[str], **options) -> str:
        file = replace(dockerfile.parse("FROM a\n", "a/Dockerfile"), ignored=ignored)
        (verdict,) = judge(Evidence(dockerfiles=[file]), {"DF205"}, **options)
        return verdict.status

    assert status(set()) == "unknown"
    assert status({"DF205"}) == "ignored"
    assert status(set(), ignored_at=[("a/*", {"DF205"})]) == "ignored"
    assert status(set(), ignored_at=[("a/*", {"DF201"}), ("b/*", {"DF205"})]) == "unknown"
