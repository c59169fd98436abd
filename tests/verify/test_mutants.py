"""Each rule catches a broken subject, and passes a sound one: the table of both."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dockerflow.verify.probes import Targets
from dockerflow.verify.rules import RULES
from dockerflow.verify.run import verify
from dockerflow.verify.verdicts import Report

SUBJECTS = Path(__file__).parent / "subjects"
APP = (sys.executable, str(SUBJECTS / "app.py"))
VERSION = SUBJECTS / "version.json"
DOCKERFILE = (SUBJECTS / "Dockerfile").read_text()
LINE = json.dumps(
    {
        "Timestamp": 1,
        "Type": "request.summary",
        "Logger": "app",
        "Hostname": "h",
        "EnvVersion": "2.0",
        "Severity": 6,
        "Pid": 1,
        "Fields": {"agent": "", "errno": 0, "lang": "", "method": "GET", "path": "/", "t": 1},
    }
)

# Rule, mutant of the app, options besides.
APPS: list[tuple[str, str, dict[str, Any]]] = [
    ("DF101", "any-port,ignores-database", {"breaks": (("DATABASE", "down"),)}),
    ("DF102", "any-port", {}),
    ("DF104", "version-lacks", {}),
    ("DF105", "version-says-nothing", {}),
    ("DF106", "no-version", {}),
    ("DF106", "version-text", {}),
    ("DF107", "other-version", {"version_jsons": (VERSION,)}),
    ("DF108", "no-heartbeat", {}),
    ("DF108", "heartbeat-redirects", {}),
    ("DF109", "ignores-database", {"breaks": (("DATABASE", "down"),)}),
    ("DF109", "dies-without-database", {"breaks": (("DATABASE", "down"),)}),
    ("DF110", "no-lbheartbeat", {}),
    ("DF110", "lb-302", {}),
    ("DF111", "lb-needs-database", {"breaks": (("DATABASE", "down"),)}),
    ("DF111", "unwell", {}),
    ("DF112", "no-head", {}),
    ("DF113", "post", {}),
    ("DF114", "silent", {}),
    ("DF114", "log-file", {}),
    ("DF115", "no-static", {}),
    ("DF115", "", {"static": ("/nothing-here.css",)}),
    ("DF116", "ignores-sigterm", {"grace": 0.3}),
    ("DF117", "drops-requests", {"slow": "/slow"}),
    ("DF301", "two-processes", {}),
    ("DF302", "plain-logs", {}),
    ("DF302", "stderr", {}),
    ("DF303", "no-timestamp", {}),
    ("DF304", "no-logger", {}),
]

# Rule, what is replaced in the sound Dockerfile, by what.
DOCKERFILES: list[tuple[str, str, str]] = [
    ("DF102", '["app.py"]', '["app.py", "--port", "9000"]'),
    ("DF102", 'CMD ["app.py"]', "CMD -m gunicorn -b 0.0.0.0:9000 app"),
    ("DF201", "COPY . /app", "COPY . /srv"),
    ("DF201", "COPY . /app", "COPY version.json /app/"),
    ("DF201", "WORKDIR /app\nCOPY . /app", "WORKDIR /srv\nCOPY . ."),
    ("DF202", "groupadd --gid 10001 app", "groupadd app"),
    ("DF202", "groupadd --gid 10001 app", "groupadd --gid 1000 app"),
    ("DF202", "groupadd --gid 10001 app", "groupadd --gid 10001 other"),
    ("DF202", "RUN groupadd --gid 10001", "ARG GID\nRUN groupadd --gid $GID"),
    ("DF203", "--uid 10001", "--uid 1000"),
    ("DF203", "--gid 10001 --home-dir /app app", "--gid 20000 app"),
    ("DF203", "/app app", "/app web"),
    ("DF204", 'CMD ["app.py"]', ""),
    ("DF204", 'ENTRYPOINT ["python"]', ""),
    ("DF204", 'ENTRYPOINT ["python"]', "ENTRYPOINT []"),
    ("DF204", 'ENTRYPOINT ["python"]\nCMD ["app.py"]', 'CMD ["x"]\nFROM 1\nENTRYPOINT ["y"]'),
    ("DF205", "USER app", ""),
    ("DF205", "USER app", "USER root"),
    ("DF205", "USER app", "USER app\nUSER root"),
    ("DF205", "USER app", "ARG WHO=root\nUSER ${WHO}"),
    ("DF305", "COPY --from=build /install /usr/local", "COPY . .\nRUN pip install -r x.txt"),
    ("DF305", "WORKDIR /app", "RUN apt-get update && apt-get install -y curl"),
    ("DF306", "ENV PORT=8000\nEXPOSE 8000", ""),
    ("DF306", "ENV PORT=8000\nEXPOSE 8000", "EXPOSE 80"),
]

# Rule, and what the image has instead.
IMAGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("DF103", {"app/version.json": None}, {}),
    ("DF104", {"app/version.json": "[]"}, {}),
    ("DF201", {"app/app.py": None}, {}),
    ("DF202", {"etc/group": "app:x:1000:\n"}, {}),
    ("DF202", {"etc/group": None}, {}),
    ("DF203", {"etc/passwd": "app:x:1000:10001::/:\n"}, {}),
    ("DF203", {"etc/passwd": "app:x:10001:100::/:\n"}, {}),
    ("DF203", {"etc/passwd": None}, {}),
    ("DF204", {}, {"Cmd": None}),
    ("DF204", {}, {"Entrypoint": None}),
    ("DF205", {}, {"User": ""}),
    ("DF205", {}, {"User": "root"}),
    ("DF306", {}, {"Env": ["PORT=80"]}),
    ("DF306", {}, {"Env": [], "ExposedPorts": None}),
]

LOGS: list[tuple[str, str]] = [
    ("DF114", "\udcff\udcfe"),
    ("DF302", "hello"),
    ("DF302", '{"level": "info", "message": "hello"}'),
    ("DF303", LINE.replace('"Timestamp": 1', '"Timestamp": "now"')),
    ("DF303", LINE.replace('"Timestamp": 1, ', "")),
    ("DF303", LINE.replace('"errno": 0', '"errno": null')),
    ("DF303", LINE.replace('"errno": 0', '"errno": NaN')),
    ("DF303", LINE.replace('"errno": 0', '"errno": "0"')),
    ("DF303", LINE.replace('"Severity": 6', '"Severity": 9')),
    ("DF304", LINE.replace('"Hostname": "h", ', "")),
    ("DF304", LINE.replace('"method": "GET", ', "")),
    ("DF304", LINE.replace('"t": 1', '"email": "a@b.c"')),
]

VERSIONS: list[tuple[str, str]] = [
    ("DF104", ""),
    ("DF104", "{"),
    ("DF104", "[]"),
    ("DF104", '{"version": "1"}'),
    ("DF104", '{"source": 1, "version": null, "commit": "", "build": ""}'),
    ("DF105", '{"source": "", "version": "1", "commit": "HEAD", "build": "12"}'),
]


def statuses(report: Report) -> dict[str, str]:
    assert report.could_not_run == []
    return {verdict.rule.id: verdict.status for verdict in report.verdicts}


def failed(report: Report) -> set[str]:
    return {rule for rule, status in statuses(report).items() if status == "failed"}


@cache
def sound_app() -> Report:
    return verify(
        Targets(command=APP, version_jsons=(VERSION,), breaks=(("DATABASE", "down"),), slow="/slow")
    )


def test_sound_app_passes_all_that_an_app_can():
    report = sound_app()
    assert {k for k, v in statuses(report).items() if v != "passed"} == {
        "DF103", "DF201", "DF202", "DF203", "DF204", "DF205", "DF305", "DF306",
    }  # fmt: skip
    assert report.exit_code == 0
    assert report.count("not checked") == 8


@pytest.mark.parametrize(("rule", "mutant", "options"), APPS)
def test_apps(rule, mutant, options, tmp_path):
    environ = {"MUTANT": mutant, "LOG_FILE": str(tmp_path / "app.log")}
    if "," in mutant:
        # An app that takes no setting at all: what $PORT and the database are is fixed.
        command = (
            sys.executable, "-c",
            "import os, runpy, socket; s = socket.socket(); s.bind(('127.0.0.1', 0));"
            "os.environ.update(PORT=str(s.getsockname()[1]), MUTANT='ignores-database');"
            f"s.close(); runpy.run_path({APP[1]!r})",
        )  # fmt: skip
    else:
        command = APP
    report = verify(Targets(command=command, environ=environ, **options))
    assert rule in failed(report)
    (verdict,) = [v for v in report.verdicts if v.rule.id == rule]
    assert all(finding.reproduce for finding in verdict.findings)


@pytest.mark.parametrize(("rule", "old", "new"), DOCKERFILES)
def test_dockerfiles(rule, old, new, tmp_path):
    assert old in DOCKERFILE
    path = tmp_path / "Dockerfile"
    path.write_text(DOCKERFILE.replace(old, new))
    report = verify(Targets(dockerfiles=(path,)))
    assert rule in failed(report)
    (verdict,) = [v for v in report.verdicts if v.rule.id == rule]
    assert all(finding.line for finding in verdict.findings)


def test_sound_dockerfile_passes_all_that_a_dockerfile_can():
    report = verify(Targets(dockerfiles=(SUBJECTS / "Dockerfile",)))
    passed = {rule for rule, status in statuses(report).items() if status == "passed"}
    assert passed == {"DF201", "DF202", "DF203", "DF204", "DF205", "DF305", "DF306"}
    assert failed(report) == set()


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_sound_image_passes_all_that_an_image_can(kind, images):
    report = verify(Targets(archives=(getattr(images, kind)(),)))
    passed = {rule for rule, status in statuses(report).items() if status == "passed"}
    assert passed == {
        "DF103", "DF104", "DF105", "DF201", "DF202", "DF203", "DF204", "DF205", "DF306",
    }  # fmt: skip
    assert failed(report) == set()


@pytest.mark.parametrize("kind", ["docker", "oci"])
@pytest.mark.parametrize(("rule", "changes", "config"), IMAGES)
def test_images(rule, changes, config, kind, images):
    files = {k: v for k, v in {**images.sound_files(), **changes}.items() if v is not None}
    report = verify(Targets(archives=(getattr(images, kind)([files], **config),)))
    assert rule in failed(report)


@pytest.mark.parametrize(("rule", "text"), LOGS)
def test_logs(rule, text, tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(f"{text}\n{text}\n".encode(errors="surrogateescape"))
    assert rule in failed(verify(Targets(logs=(str(path),))))


def test_sound_log(tmp_path):
    path = tmp_path / "app.log"
    path.write_text(f"Traceback that no reader minds\n{LINE}\n")
    report = verify(Targets(logs=(str(path),)))
    passed = {rule for rule, status in statuses(report).items() if status == "passed"}
    assert passed == {"DF114", "DF302", "DF303", "DF304"}
    assert failed(report) == set()


@pytest.mark.parametrize(("rule", "text"), VERSIONS)
def test_versions(rule, text, tmp_path):
    path = tmp_path / "version.json"
    path.write_text(text)
    assert rule in failed(verify(Targets(version_jsons=(path,))))


def test_sound_version():
    report = verify(Targets(version_jsons=(VERSION,)))
    assert failed(report) == set()
    assert report.count("passed") == 2


def test_every_rule_has_a_mutant_and_a_sound_subject(images):
    caught = {row[0] for table in (APPS, DOCKERFILES, IMAGES, LOGS, VERSIONS) for row in table}
    assert caught == set(RULES)
    reports = [
        sound_app(),
        verify(Targets(dockerfiles=(SUBJECTS / "Dockerfile",), archives=(images.docker(),))),
    ]
    passed = {k for report in reports for k, v in statuses(report).items() if v == "passed"}
    assert passed == set(RULES)


def test_nothing_to_look_at_is_never_passed():
    report = verify(Targets())
    assert {verdict.status for verdict in report.verdicts} == {"not checked"}
    assert report.exit_code == 2
