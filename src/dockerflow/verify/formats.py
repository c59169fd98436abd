"""PURE: a report as text, JSON, JUnit, SARIF, TAP or annotations of GitHub Actions."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dockerflow import __version__
from dockerflow.verify.rules import Finding, Rule
from dockerflow.verify.verdicts import Report, Verdict

_MARKS: Final = {
    "passed": ("✓", "passed", "green"),
    "error": ("✗", "error", "bold red"),
    "warning": ("!", "warning", "yellow"),
    "ignored": ("-", "ignored", "dim"),
    "not checked": ("·", "not checked", "dim"),
}


def _state(verdict: Verdict) -> str:
    return verdict.rule.level if verdict.status == "failed" else verdict.status


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("mark", "state", "id"):
        table.add_column(name, no_wrap=True)
    table.add_column("title", overflow="fold")
    for verdict in report.verdicts:
        mark, name, style = _MARKS[_state(verdict)]
        title = Text(verdict.rule.title, "dim" if verdict.status == "not checked" else "")
        table.add_row(Text(mark, style), Text(name, style), Text(verdict.rule.id), title)
    return table


def text(report: Report, *, width: int = 100, color: bool = False) -> str:
    """Return a table for people, and below it each finding with its fix."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False,
        legacy_windows=False, emoji=False, markup=False,
    )  # fmt: skip

    def say(*parts: str | tuple[str, str]) -> None:
        # Not wrapped: a terminal does that, and lines that are searched or copied stay whole.
        console.print(Text.assemble(*parts), soft_wrap=True)

    if report.targets:
        say(("Dockerflow: " + ", ".join(map(_one_line, report.targets)), "bold"))
        say("")
    console.print(_table(report))
    for verdict in report.verdicts:
        if verdict.status != "failed":
            continue
        _, name, style = _MARKS[_state(verdict)]
        rule = verdict.rule
        say("")
        say((f"{rule.id} {name}: ", style), (rule.title, "bold"))
        for finding in verdict.findings:
            say(f"  {_place(finding)}: {_one_line(finding.message)}")
            if finding.reproduce:
                say(f"    reproduce with: {_one_line(finding.reproduce)}")
        say(f"  asked: {rule.sentence}")
        say(f"  fix: {rule.fix}")
        say((f"  more: dockerflow verify --explain {rule.id}", "dim"))
    for reason in report.could_not_run:
        say("")
        say(("could not run: ", "bold red"), _one_line(reason))
    say("")
    if report.count("not checked"):
        say(
            (
                "Not checked: there was nothing to look at; --explain ID tells what a rule needs.",
                "dim",
            )
        )
    say((_summary(report), "bold"))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def _summary(report: Report) -> str:
    result = {0: "Passed", 1: "Failed", 2: "Could not run"}[report.exit_code]
    return (
        f"{result}: {_number(report.count('failed', 'error'), 'error')}, "
        f"{_number(report.count('failed', 'warning'), 'warning')}, "
        f"{report.count('passed')} passed, {report.count('ignored')} ignored, "
        f"{report.count('not checked')} not checked, in {report.seconds:.1f} s"
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _one_line(value: str) -> str:
    return "".join(c if c.isprintable() else " " for c in value)


def _place(finding: Finding) -> str:
    if finding.file and finding.line and finding.file == finding.where:
        return f"{_one_line(finding.file)}:{finding.line}"
    return _one_line(finding.where)


def as_json(report: Report) -> str:
    """Return all that is known, for programs."""
    content = {
        "version": __version__,
        "targets": report.targets,
        "exit_code": report.exit_code,
        "seconds": round(report.seconds, 3),
        "could_not_run": report.could_not_run,
        "rules": [
            {
                "id": verdict.rule.id,
                "title": verdict.rule.title,
                "level": verdict.rule.level,
                "status": verdict.status,
                "sentence": verdict.rule.sentence,
                "source": verdict.rule.source,
                "documentation": verdict.rule.page,
                "looks_at": verdict.rule.looks_at,
                "fix": verdict.rule.fix,
                "findings": [
                    {
                        "message": finding.message,
                        "where": finding.where,
                        "file": finding.file or None,
                        "line": finding.line,
                        "reproduce": finding.reproduce or None,
                    }
                    for finding in verdict.findings
                ],
            }
            for verdict in report.verdicts
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def _details(verdict: Verdict) -> str:
    lines: list[str] = []
    for finding in verdict.findings:
        lines.append(f"{_place(finding)}: {finding.message}")
        if finding.reproduce:
            lines.append(f"reproduce with: {finding.reproduce}")
    lines += [f"asked: {verdict.rule.sentence}", f"fix: {verdict.rule.fix}"]
    return "\n".join(map(_one_line, lines))


def junit(report: Report) -> str:
    """Return JUnit's XML, as Jenkins' and Ant's schemas have it."""
    cases: list[str] = []
    noted: list[str] = []
    for verdict in report.verdicts:
        rule = verdict.rule
        inside = ""
        if report.fails(verdict):
            message = quoteattr(_one_line("; ".join(f.message for f in verdict.findings)))
            details = escape(_details(verdict))
            inside = f'<failure message={message} type="{rule.level}">{details}</failure>'
        elif verdict.status in ("not checked", "ignored"):
            inside = "<skipped/>"
        elif verdict.status == "failed":
            noted.append(f"{rule.id} {rule.level}: {rule.title}\n{_details(verdict)}")
        name = quoteattr(f"{rule.id} {rule.title}")
        cases.append(
            f'<testcase name={name} classname="dockerflow.verify" time="0">{inside}</testcase>'
        )
    for reason in report.could_not_run:
        message = quoteattr(_one_line(reason))
        cases.append(
            f'<testcase name={message} classname="dockerflow.verify" time="0">'
            f'<error message={message} type="could not run"/></testcase>'
        )
    failures = sum(map(report.fails, report.verdicts))
    skipped = report.count("not checked") + report.count("ignored")
    # Ant's schema has no time zone in the timestamp, and asks for a host.
    head = (
        f'<testsuite name="dockerflow verify" package="dockerflow" id="0" tests="{len(cases)}" '
        f'failures="{failures}" errors="{len(report.could_not_run)}" skipped="{skipped}" '
        f'time="{report.seconds:.3f}" timestamp="{_now()}" hostname="localhost">'
    )
    body = "\n".join(cases)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n{head}\n<properties/>\n{body}\n'
        f"<system-out>{escape(chr(10).join(noted))}</system-out>\n<system-err/>\n"
        "</testsuite>\n</testsuites>\n"
    )


def _now() -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - only here

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def sarif(report: Report) -> str:
    """Return SARIF 2.1.0, for code scanning."""
    rules = [verdict.rule for verdict in report.verdicts]
    results = [
        {
            "ruleId": verdict.rule.id,
            "ruleIndex": index,
            "level": verdict.rule.level,
            "message": {"text": f"{_place(finding)}: {finding.message}"},
            "locations": [_location(finding)],
            **({"suppressions": [{"kind": "inSource"}]} if verdict.status == "ignored" else {}),
            "properties": {"reproduce": finding.reproduce},
        }
        for index, verdict in enumerate(report.verdicts)
        for finding in verdict.findings
    ]
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "dockerflow verify",
                "semanticVersion": __version__,
                "informationUri": "https://github.com/mozilla-services/Dockerflow",
                "rules": [_sarif_rule(rule) for rule in rules],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not report.could_not_run,
                "exitCode": report.exit_code,
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": reason}}
                    for reason in report.could_not_run
                ],
            }
        ],
        "results": results,
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word[:1].upper() + word[1:] for word in _letters(rule.title).split()),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.sentence},
        "help": {"text": f"{rule.fix} See {rule.page}."},
        "helpUri": rule.source,
        "defaultConfiguration": {"level": rule.level},
    }


def _letters(value: str) -> str:
    return "".join(c if c.isalnum() else " " for c in value)


def _location(finding: Finding) -> dict[str, Any]:
    logical = {"logicalLocations": [{"name": _one_line(finding.where), "kind": "resource"}]}
    if not finding.file:
        return logical
    physical: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.file)}}
    if finding.line:
        physical["region"] = {"startLine": finding.line}
    return {"physicalLocation": physical, **logical}


def tap(report: Report) -> str:
    """Return TAP 13: what doesn't fail the whole is TODO, what was not looked at SKIP."""
    lines = ["TAP version 13", f"1..{len(report.verdicts)}"]
    for number, verdict in enumerate(report.verdicts, 1):
        failed = verdict.status == "failed"
        directive = ""
        if failed and not report.fails(verdict):
            directive = f" # TODO {verdict.rule.level}"
        elif verdict.status in ("not checked", "ignored"):
            directive = f" # SKIP {verdict.status}"
        title = _one_line(verdict.rule.title).replace("#", "")
        lines.append(
            f"{'not ok' if failed else 'ok'} {number} - {verdict.rule.id} {title}{directive}"
        )
        if failed:
            # JSON's strings are YAML's, too.
            lines += ["  ---", f"  message: {json.dumps(_details(verdict))}", "  ..."]
    lines += [f"Bail out! {_one_line(reason)}" for reason in report.could_not_run]
    return "\n".join(lines) + "\n"


def github(report: Report) -> str:
    """Return commands that GitHub Actions shows as annotations."""

    def data(value: str) -> str:
        return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def prop(value: str) -> str:
        return data(value).replace(":", "%3A").replace(",", "%2C")

    lines: list[str] = []
    for verdict in report.verdicts:
        if verdict.status != "failed":
            continue
        rule = verdict.rule
        for finding in verdict.findings:
            properties = {
                "file": finding.file,
                "line": str(finding.line or ""),
                "title": f"{rule.id} {rule.title}",
            }
            shown = ",".join(f"{key}={prop(value)}" for key, value in properties.items() if value)
            message = f"{_place(finding)}: {finding.message}\nfix: {rule.fix}"
            if finding.reproduce:
                message += f"\nreproduce with: {finding.reproduce}"
            lines.append(f"::{rule.level} {shown}::{data(message)}")
    lines += [f"::error title=dockerflow verify::{data(r)}" for r in report.could_not_run]
    lines.append(f"::notice title=dockerflow verify::{data(_summary(report))}")
    return "\n".join(lines) + "\n"


FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "text": text,
    "json": as_json,
    "junit": junit,
    "sarif": sarif,
    "tap": tap,
    "github": github,
}


def explain(rule: Rule) -> str:
    """Return what a rule is about, as its page in the documentation has it."""
    what = "Requirement" if rule.level == "error" else "Recommendation"
    article = "an error" if rule.level == "error" else "a warning"
    return (
        f"# {rule.id}: {rule.heading}\n\n"
        f"{what}: a finding is {article}.\n\n"
        f"> {rule.sentence}\n\n"
        f"Quoted from <{rule.source}>.\n\n"
        f"## What it looks at\n\n{rule.looks_at[0].upper()}{rule.looks_at[1:]}.\n\n"
        f"## How to fix it\n\n{rule.fix}\n\n"
        f"## How to ignore it\n\n"
        f"`dockerflow verify --ignore {rule.id}`"
        + (
            f", or `# dockerflow ignore={rule.id}` as a line of the Dockerfile"
            if "Dockerfile" in rule.looks_at
            else ""
        )
        + ".\n"
    )
