"""Format reports: as text, JSON, JUnit, SARIF, Markdown or annotations of GitHub Actions."""

from __future__ import annotations

import hashlib
import io
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dockerflow import __version__
from dockerflow.verify import baseline
from dockerflow.verify.evidence import one_line
from dockerflow.verify.rules import Finding, Rule, Unknown
from dockerflow.verify.verdicts import Report, Status, Verdict, exit_code

Reports: TypeAlias = Sequence[Report]

# What the text shows for a verdict: a mark, a word, a style.
_SHOWN: Final = {
    "error": ("✗", "error", "bold red"),
    "warning": ("!", "warning", "yellow"),
    "unknown": ("?", "can't tell", "cyan"),
    "passed": ("✓", "passed", "green"),
    "accepted": ("=", "accepted", "dim"),
    "ignored": ("-", "ignored", "dim"),
    "not checked": ("·", "not checked", "dim"),
}
_RESULTS: Final = ("Passed", "Failed", "Could not run")
"""By exit code."""


def text(reports: Reports, *, width: int = 100, color: bool = False) -> str:
    """Return a report to read: findings with their fixes first, then the rest, briefly.

    Of several targets only those with findings are shown, and a table of all.
    """
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False,
        legacy_windows=False, emoji=False, markup=False,
    )  # fmt: skip
    is_one = len(reports) == 1
    for report in reports:
        if is_one or _in_full(report) or report.could_not_run or report.stale:
            _print_found(console, report)
        if is_one:
            _print_rest(console, report)
    if not is_one:
        console.print(_table(reports))
        _print(console)
        _print(console, (_total(reports), "bold"))
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def _print(console: Console, *parts: str | tuple[str, str]) -> None:
    # Not wrapped: a terminal does that, and lines can be searched and copied.
    console.print(Text.assemble(*parts), soft_wrap=True)


def _shown(report: Report, verdict: Verdict) -> tuple[str, str, str]:
    is_finding = verdict.status == "failed" or report.fails(verdict)
    return _SHOWN[verdict.rule.level if is_finding else verdict.status]


def _print_found(console: Console, report: Report) -> None:
    if heading := _heading(report):
        _print(console, (f"Dockerflow: {heading}", "bold"))
        _print(console)
    for verdict in _in_full(report):
        _print_details(console, report, verdict)
    for reason in report.could_not_run:
        _print(console, ("could not run: ", "bold red"), one_line(reason))
        _print(console)
    for stale in report.stale:
        _print(console, ("in the baseline, but no longer found: ", "dim"), one_line(stale))
        _print(console)


def _print_rest(console: Console, report: Report) -> None:
    statuses: tuple[Status, ...] = ("passed", "accepted", "ignored", "not checked")
    for status in statuses:
        _print_status(console, report, status)
    if not all(verdict in _in_full(report) for verdict in report.verdicts):
        _print(console)
    _print(console, (_summary(report), "bold"))


def _heading(report: Report) -> str:
    targets = ", ".join(map(one_line, report.targets))
    return f"{one_line(report.name)}: {targets}" if report.name else targets


def _in_full(report: Report) -> list[Verdict]:
    """Return the verdicts to show in full: what fails, findings, then what can't be told."""
    failed = [v for v in report.verdicts if v.status == "failed" or report.fails(v)]
    unknown = [v for v in report.verdicts if v.status == "unknown" and v not in failed]
    return failed + unknown


def _print_details(console: Console, report: Report, verdict: Verdict) -> None:
    rule = verdict.rule
    mark, name, style = _shown(report, verdict)
    _print(console, (f"{mark} {rule.id} {name}: ", style), (rule.title, "bold"))
    _print(console, indent(_details(report, verdict), "  "))
    _print(console, (f"  more: dockerflow verify --explain {rule.id}", "dim"))
    _print(console)


def _print_status(console: Console, report: Report, status: Status) -> None:
    verdicts = [v for v in report.verdicts if v.status == status and not report.fails(v)]
    mark, name, style = _SHOWN[status]
    if status == "passed":
        for verdict in verdicts:
            _print(console, (f"{mark} {name} {verdict.rule.id} ", style), verdict.rule.title)
        return
    ids = [verdict.rule.id for verdict in verdicts]
    if status == "accepted":
        ids = [verdict.rule.id for verdict in report.verdicts if verdict.accepted]
    if ids:
        _print(console, (f"{mark} {name}: {', '.join(ids)}{_NOTES.get(status, '')}", style))


_NOTES: Final = {
    "accepted": " (by the baseline)",
    "not checked": " (nothing to check; --explain ID shows what a rule needs)",
}


def _found(report: Report, verdict: Verdict) -> list[Finding | Unknown]:
    """Return what there is to show of a verdict, also if it fails since it was not checked."""
    if verdict.status == "not checked" and report.fails(verdict):
        message = f"it was not checked; it looks at {verdict.rule.looks_at}"
        return [Finding(message, ", ".join(report.targets))]
    return verdict.found


def _details(report: Report, verdict: Verdict) -> str:
    lines: list[str] = []
    for one in _found(report, verdict):
        if isinstance(one, Unknown):
            lines.append(f"{_place(one)}: can't tell: {one.message}")
            lines.append(f"  to find out: {one.would_tell}")
        else:
            lines.append(f"{_place(one)}: {one.message}")
            lines += [f"  reproduce with: {one.reproduce}"] if one.reproduce else []
    lines.append(f"specification: {verdict.rule.sentence}")
    if verdict.findings:
        lines.append(f"fix: {verdict.rule.fix}")
    return "\n".join(map(one_line, lines))


def _place(found: Finding | Unknown) -> str:
    if found.line and found.file == found.where:
        return f"{one_line(found.file)}:{found.line}"
    return one_line(found.where)


def _counts(report: Report) -> list[tuple[str, int]]:
    accepted = sum(len(verdict.accepted) for verdict in report.verdicts)
    return [
        ("errors", report.count("failed", "error")),
        ("warnings", report.count("failed", "warning")),
        ("can't tell", report.count("unknown")),
        ("passed", report.count("passed")),
        ("accepted", accepted),
        ("ignored", report.count("ignored")),
        ("not checked", report.count("not checked")),
    ]


def _summary(report: Report) -> str:
    shown = [
        f"{number} {name.removesuffix('s') if number == 1 else name}"
        for name, number in _counts(report)
        if number or name not in ("can't tell", "accepted")
    ]
    unseen = sum(report.fails(one) for one in report.verdicts if one.status != "failed")
    if unseen:  # by --require or --fail-on
        shown.insert(0, f"{unseen} not verified")
    return f"{_RESULTS[report.exit_code]}: {', '.join(shown)}, in {report.seconds:.1f} s"


def _total(reports: Reports) -> str:
    codes = [report.exit_code for report in reports]
    counts = [f"{codes.count(code)} {_RESULTS[code].lower()}" for code in (0, 1, 2)]
    seconds = sum(report.seconds for report in reports)
    result = _RESULTS[exit_code(reports)]
    return f"{result}: {len(reports)} targets: {', '.join(counts)}, in {seconds:.1f} s"


def _rows(reports: Reports) -> list[list[str]]:
    """Return the table of several targets; its first row is the header."""
    header = ["target", "result", *(name for name, _ in _counts(reports[0]))]
    return [header] + [
        [
            one_line(report.name),
            _RESULTS[report.exit_code].lower(),
            *(str(number) for _, number in _counts(report)),
        ]
        for report in reports
    ]


def _table(reports: Reports) -> Table:
    header, *rows = _rows(reports)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(header):
        justify: Literal["left", "right"] = "right" if number > 1 else "left"
        table.add_column(name, justify=justify, overflow="fold")
    for report, row in zip(reports, rows, strict=True):
        table.add_row(*row, style=("green", "red", "bold red")[report.exit_code])
    return table


def as_json(reports: Reports) -> str:
    """Return everything in the reports, for other programs.

    Named targets are in the list ``results``, each with what one without a name has at the top.
    """
    content: dict[str, Any] = {"version": __version__}
    if any(report.name for report in reports):
        content |= {
            "exit_code": exit_code(reports),
            "seconds": round(sum(report.seconds for report in reports), 3),
            "results": [{"name": report.name, **_json_report(report)} for report in reports],
        }
    else:
        for report in reports:
            content |= _json_report(report)
    return json.dumps(content, indent=2) + "\n"


def _json_report(report: Report) -> dict[str, Any]:
    return {
        "targets": report.targets,
        "exit_code": report.exit_code,
        "seconds": round(report.seconds, 3),
        "could_not_run": report.could_not_run,
        "stale": report.stale,
        "rules": [_json_verdict(verdict) for verdict in report.verdicts],
    }


def _json_verdict(verdict: Verdict) -> dict[str, Any]:
    rule = verdict.rule._asdict()
    for name in ("why", "language", "bad", "good", "judge"):  # its page has them
        del rule[name]
    return rule | {
        "documentation": verdict.rule.page,
        "status": verdict.status,
        "findings": list(map(_json_found, verdict.findings)),
        "unknowns": list(map(_json_found, verdict.unknowns)),
        "accepted": list(map(_json_found, verdict.accepted)),
    }


def _json_found(found: Finding | Unknown) -> dict[str, Any]:
    return {name: None if value == "" else value for name, value in found._asdict().items()}


def junit(reports: Reports) -> str:
    """Return JUnit XML that is valid under the schemas of Jenkins and Ant."""
    suites = ET.Element("testsuites")
    for number, report in enumerate(reports):
        _junit_suite(suites, number, report)
    ET.indent(suites)
    return ET.tostring(suites, "unicode", xml_declaration=True) + "\n"


def _junit_suite(suites: ET.Element, number: int, report: Report) -> None:
    failures = [verdict for verdict in report.verdicts if report.fails(verdict)]
    skipped = [
        verdict
        for verdict in report.verdicts
        if verdict.status not in ("passed", "failed") and verdict not in failures
    ]
    name = one_line(report.name)
    suite = ET.SubElement(
        suites,
        "testsuite",
        name=f"dockerflow verify: {name}" if name else "dockerflow verify",
        package="dockerflow",
        id=str(number),
        tests=str(len(report.verdicts) + len(report.could_not_run)),
        failures=str(len(failures)),
        errors=str(len(report.could_not_run)),
        skipped=str(len(skipped)),
        time=f"{report.seconds:.3f}",
        # Ant's schema requires a host, and a time without a zone.
        timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        hostname="localhost",
    )
    ET.SubElement(suite, "properties")
    for verdict in report.verdicts:
        case = _junit_case(suite, name, f"{verdict.rule.id} {verdict.rule.title}")
        if verdict in failures:
            message = one_line("; ".join(one.message for one in _found(report, verdict)))
            failure = ET.SubElement(case, "failure", message=message, type=verdict.rule.level)
            failure.text = _details(report, verdict)
        elif verdict in skipped:
            skip = ET.SubElement(case, "skipped", message=_SHOWN[verdict.status][1])
            if verdict.unknowns:
                skip.text = _details(report, verdict)
    for reason in map(one_line, report.could_not_run):
        case = _junit_case(suite, name, reason)
        ET.SubElement(case, "error", message=reason, type="could not run")
    ET.SubElement(suite, "system-out").text = "\n".join(
        f"{verdict.rule.id} {verdict.rule.level}: {verdict.rule.title}\n{_details(report, verdict)}"
        for verdict in report.verdicts
        if verdict.status == "failed" and verdict not in failures
    )
    ET.SubElement(suite, "system-err")


def _junit_case(suite: ET.Element, target: str, name: str) -> ET.Element:
    classname = f"dockerflow.verify.{target}" if target else "dockerflow.verify"
    return ET.SubElement(suite, "testcase", name=name, classname=classname, time="0")


def sarif(reports: Reports) -> str:
    """Return SARIF 2.1.0, for code scanning.

    GitHub rejects a file with any result that has no physical location. So what was found at a URL,
    in an image or by a command is shown at the target's own file; without one it is left out,
    and a notification reports it.
    """
    rules = {v.rule.id: v.rule for report in reports for v in report.verdicts}
    indexes = {id_: index for index, id_ in enumerate(rules)}
    results: list[dict[str, Any]] = []
    seen = Counter[str]()
    notifications = [
        _notification("error", _named(report, reason))
        for report in reports
        for reason in report.could_not_run
    ]
    for report, verdict, found, extra in _sarif_found(reports):
        message = _named(report, f"{_place(found)}: {_message(found)}")
        file = found.file or report.file
        if not file:
            left_out = f"{verdict.rule.id}: {message} (not in the results, as it has no file)"
            notifications.append(_notification("warning", left_out))
            continue
        # Otherwise GitHub takes the line's text, which is the same for all that a file stands for.
        entry = "\n".join(baseline.entry(report.name, verdict.rule.id, found))
        digest = hashlib.sha256(entry.encode("utf-8", "replace")).hexdigest()[:16]
        seen[digest] += 1
        results.append(
            {
                "ruleId": verdict.rule.id,
                "ruleIndex": indexes[verdict.rule.id],
                "message": {"text": message},
                "locations": [_location(file, found)],
                "partialFingerprints": {"primaryLocationLineHash": f"{digest}:{seen[digest]}"},
                "properties": {"target": report.name},
                **extra,
            }
        )
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "dockerflow verify",
                "semanticVersion": __version__,
                "informationUri": "https://github.com/mozilla-services/Dockerflow",
                "rules": list(map(_sarif_rule, rules.values())),
            }
        },
        "invocations": [
            {
                "executionSuccessful": not any(report.could_not_run for report in reports),
                "exitCode": exit_code(reports),
                "toolExecutionNotifications": notifications,
            }
        ],
        "results": results,
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _sarif_found(
    reports: Reports,
) -> Iterable[tuple[Report, Verdict, Finding | Unknown, dict[str, Any]]]:
    """Yield each result, with the properties that its status gives it."""
    for report in reports:
        for verdict in report.verdicts:
            extra: dict[str, Any] = {"level": verdict.rule.level}
            if verdict.status == "ignored":
                extra["suppressions"] = [{"kind": "inSource"}]
            for found in _found(report, verdict):
                is_open = isinstance(found, Unknown)
                yield (
                    report,
                    verdict,
                    found,
                    {"level": "none", "kind": "open"} if is_open else extra,
                )
            for found in verdict.accepted:
                yield report, verdict, found, {**extra, "suppressions": [{"kind": "external"}]}


def _named(report: Report, message: str) -> str:
    return f"{report.name}: {message}" if report.name else message


def _message(found: Finding | Unknown) -> str:
    if isinstance(found, Unknown):
        return f"can't tell: {found.message}; to find out: {found.would_tell}"
    return found.message + (f"; reproduce with: {found.reproduce}" if found.reproduce else "")


def _notification(level: str, message: str) -> dict[str, Any]:
    return {"level": level, "message": {"text": message}}


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word[:1].upper() + word[1:] for word in re.findall(r"[^\W_]+", rule.title)),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.sentence},
        "help": {"text": f"{rule.fix} See {rule.page}."},
        "helpUri": rule.source,
        "defaultConfiguration": {"level": rule.level},
    }


def _location(file: str, found: Finding | Unknown) -> dict[str, Any]:
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):  # GitHub's are relative
        path = path.relative_to(Path.cwd())
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix())
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": uri},
            "region": {"startLine": (found.line if found.file else None) or 1},
        },
        "logicalLocations": [{"name": one_line(found.where), "kind": "resource"}],
    }


def markdown(reports: Reports) -> str:
    """Return Markdown, as for the summary of a job on GitHub."""
    lines = [f"## Dockerflow: {_RESULTS[exit_code(reports)].lower()}", ""]
    if len(reports) > 1:
        header, *rows = _rows(reports)
        lines += [_row(header), _row(["---"] * len(header))]
        lines += [_row([_code(name), *others]) for name, *others in rows]
        lines.append("")
    for report in reports:
        lines += [f"### {_code(report.name)}", ""] if report.name else []
        found = [
            _markdown_row(report, verdict, one)
            for verdict in _in_full(report)
            for one in _found(report, verdict)
        ]
        if found:
            header = ["", "rule", "where", "what", "fix"]
            lines += [_row(header), _row(["---"] * len(header)), *found, ""]
        lines += [f"- could not run: {_code(reason)}" for reason in report.could_not_run]
        lines += [f"- no longer found: {_code(stale)}" for stale in report.stale]
        lines += ["", _summary(report), ""]
    return "\n".join(lines)


def _markdown_row(report: Report, verdict: Verdict, found: Finding | Unknown) -> str:
    where, what = _code(_place(found)), _code(_message(found))
    return _row([_shown(report, verdict)[1], verdict.rule.id, where, what, verdict.rule.fix])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(value: str) -> str:
    text = one_line(value).replace("`", "'")
    return f"`` {text} ``"


def github(reports: Reports) -> str:
    """Return workflow commands, which GitHub Actions shows as annotations."""
    title = "title=dockerflow verify"
    lines: list[str] = []
    for report in reports:
        for verdict in _in_full(report):
            lines += [_annotation(report, verdict, one) for one in _found(report, verdict)]
        lines += [
            f"::error {title}::{_escape_data(_named(report, reason))}"
            for reason in report.could_not_run
        ]
    summary = _total(reports) if len(reports) > 1 else "".join(map(_summary, reports))
    lines.append(f"::notice {title}::{_escape_data(summary)}")
    return "\n".join(lines) + "\n"


def _annotation(report: Report, verdict: Verdict, found: Finding | Unknown) -> str:
    rule = verdict.rule
    level: str = rule.level
    if isinstance(found, Unknown) and not report.fails(verdict):
        level = "notice"
    title = _named(report, f"{rule.id} {rule.title}")
    line = found.line if found.file else None
    properties = {"file": found.file, "line": line, "title": title}
    shown = ",".join(f"{key}={_escape_property(str(v))}" for key, v in properties.items() if v)
    message = f"{_place(found)}: {_message(found)}"
    if isinstance(found, Finding):
        message += f"\nfix: {rule.fix}"
    return f"::{level} {shown}::{_escape_data(message)}"


def _escape_data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(value: str) -> str:
    return _escape_data(value).replace(":", "%3A").replace(",", "%2C")


FORMATS: Final[dict[str, Callable[[Reports], str]]] = {
    "text": text,
    "json": as_json,
    "junit": junit,
    "sarif": sarif,
    "markdown": markdown,
    "github": github,
}


def explain(rule: Rule) -> str:
    """Return the page on a rule, as in the documentation."""
    kind = "Recommendation: a finding is a warning"
    if rule.level == "error":
        kind = "Requirement: a finding is an error"
    silence = (
        f'Use `--ignore {rule.id}`, or `ignore = ["{rule.id}"]` in `dockerflow.toml`; '
        "`per-file-ignores` there silences it in some places only."
    )
    if "Dockerfile" in rule.looks_at:
        silence += f" A line `# dockerflow ignore={rule.id} and why` silences it for a Dockerfile."
    return f"""\
# {rule.id}: {rule.heading}

{kind}.

> {rule.sentence}

Quoted from <{rule.source}>.

## What it looks at

{rule.looks_at[0].upper()}{rule.looks_at[1:]}.

## Why it matters

{rule.why}

## Example

This breaks the rule:

```{rule.language}
{rule.bad}
```

This passes:

```{rule.language}
{rule.good}
```

## How to fix it

{rule.fix}

## How to silence it

{silence}
"""
