"""Each rule catches subjects that break it and no other rule, and passes a sound one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import pytest
from verify_helpers import (
    APP,
    COMPOSE,
    DOCKERFILE,
    LINE_TEXT,
    MANIFEST,
    VERSION,
    failed,
    findings,
    with_status,
)

from dockerflow.verify import dockerfile, probes
from dockerflow.verify.probes import Targets
from dockerflow.verify.process import Process, started
from dockerflow.verify.rules import RULES
from dockerflow.verify.run import verify
from dockerflow.verify.verdicts import Report

BROKEN = {"breaks": (("DATABASE", "down"),)}

# Each row breaks its rule and no other; a few can't but break those after it, too.
# Rule, mutant of the app that is running, further options.
SERVICES: list[tuple[str, str, dict[str, Any]]] = [
    ("DF104", "version-lacks", {}),
    ("DF105", "version-says-nothing", {}),
    ("DF106", "no-version", {}),
    ("DF106 DF104", "version-list", {}),
    ("DF107", "other-version", {"version_jsons": (VERSION,)}),
    ("DF108", "no-heartbeat", {}),
    ("DF108", "heartbeat-redirects", {}),
    ("DF110", "no-lbheartbeat", {}),
    ("DF110", "lb-302", {}),
    ("DF111 DF110", "unwell", {}),
    ("DF112", "no-head", {}),
    ("DF113", "post", {}),
    ("DF115", "no-static", {}),
    ("DF307", "two-request-ids", {}),
    ("DF115", "", {"static": ("/nothing-here.css",)}),
]

# The same, of the app that is started.
COMMANDS: list[tuple[str, str, dict[str, Any]]] = [
    ("DF101 DF102 DF109", "without-settings", BROKEN),
    ("DF102", "any-port", {}),
    ("DF109", "ignores-database", BROKEN),
    ("DF109 DF111", "dies-without-database", BROKEN),
    ("DF111", "lb-needs-database", BROKEN),
    ("DF114", "silent", {}),
    ("DF114", "log-file", {}),
    ("DF116", "ignores-sigterm", {"grace": 0.3}),
    ("DF117", "drops-requests", {"slow": "/slow"}),
    ("DF118", "loopback", {}),
    ("DF301", "two-processes", {}),
    ("DF302", "plain-logs", {}),
    ("DF302", "stderr", {}),
    ("DF303", "no-timestamp", {}),
    ("DF304", "no-logger", {}),
]

IDS = "groupadd --gid 10001 app \\\n && useradd --uid 10001 --gid 10001 --home-dir /app app"

# Rule, what is replaced in the sound Dockerfile, by what.
DOCKERFILES: list[tuple[str, str, str]] = [
    ("DF102", '["app.py"]', '["app.py", "--port", "9000"]'),
    ("DF102", 'CMD ["app.py"]', "CMD -m gunicorn -b 0.0.0.0:9000 app"),
    ("DF102", '["app.py"]', '["app.py", "--addr", "127.0.0.1:9000"]'),
    ("DF102", 'ENTRYPOINT ["python"]\nCMD ["app.py"]', "ENTRYPOINT PORT=9000 python app.py\nCMD x"),
    ("DF201", "COPY . /app", "COPY . /srv"),
    ("DF201", "COPY . /app", "RUN cp /app/x /usr/bin"),
    ("DF201", "COPY . /app", "COPY . /app\nRUN rm -rf /app"),
    ("DF201", "COPY . /app", "COPY version.json /app/"),
    ("DF201", "WORKDIR /app\nCOPY . /app", "WORKDIR /srv\nCOPY . ."),
    ("DF202", IDS, "groupadd app && useradd --uid 10001 --gid app app"),
    ("DF202", IDS, "groupadd --gid 1000 app && useradd --uid 10001 --gid app app"),
    ("DF202 DF203", IDS, "groupadd --gid $GID app && useradd --uid 10001 --gid app app"),
    ("DF202", "groupadd --gid 10001 app", "groupadd --gid 10001 other"),
    ("DF202", IDS, f"{IDS}\nRUN groupmod --gid 5 app"),
    ("DF203", "--uid 10001", "--uid 1000"),
    ("DF203", IDS, f"{IDS}\nRUN userdel app"),
    ("DF203", "--gid 10001 --home-dir /app app", "app"),
    ("DF203", "--gid 10001 --home-dir /app app", "--no-user-group app"),
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
    ("DF305", "WORKDIR /app", "RUN apt-get update && apt-get install -y curl\nWORKDIR /app"),
    ("DF306", "ENV PORT=8000\nEXPOSE 8000", ""),
    ("DF306", "ENV PORT=8000\nEXPOSE 8000", "EXPOSE 80"),
]

LIVENESS = "livenessProbe:\n            httpGet: {path: /__lbheartbeat__, port: http}"
READINESS = "readinessProbe:\n            httpGet: {path: /__lbheartbeat__, port: 8000}"
COMMAND = "command: [uvicorn]"
TEST = '[CMD, curl, --fail, "http://localhost:$${PORT}/__lbheartbeat__"]'

# Rule, what is replaced in the sound manifest, by what.
MANIFESTS: list[tuple[str, str, str]] = [
    ("DF401", LIVENESS, LIVENESS.replace("lb", "")),
    ("DF401", LIVENESS, LIVENESS.replace("/__lb", "/prefix/__").replace("t__,", "t__/?x=1,")),
    (
        "DF401",
        LIVENESS,
        "livenessProbe:\n            exec: {command: [dockerflow, healthcheck, /__heartbeat__]}",
    ),
    ("DF401", "healthcheck-path: /__lb", "healthcheck-path: /__"),
    ("DF402", LIVENESS, LIVENESS.replace("/__lbheartbeat__", "/healthz")),
    ("DF402", LIVENESS, LIVENESS.replace("path: /__lbheartbeat__, ", "")),
    ("DF402", LIVENESS, "livenessProbe:\n            tcpSocket: {port: http}"),
    ("DF402", READINESS, ""),
    ("DF402", READINESS, READINESS.replace("/__lbheartbeat__", "/")),
    ("DF402", "timeoutSeconds: 6", ""),
    ("DF402", "timeoutSeconds: 6", "timeoutSeconds: 5"),
    ("DF402", 'DOCKERFLOW_HEARTBEAT_TIMEOUT: "5"', "OTHER: x"),
    ("DF403", '{name: PORT, value: "8000"}', '{name: PORT, value: "80"}'),
    ("DF403", READINESS, READINESS.replace("8000", "80")),
    ("DF403", LIVENESS, LIVENESS.replace("port: http", "port: web")),
    ("DF403", "targetPort: http", "targetPort: 80"),
    ("DF403", ", targetPort: http", ""),
    ("DF403", "--port, $(PORT)", '"--port=9000"'),
    ("DF403", "containerPort: 8000", "containerPort: 8080"),
    ("DF404", "runAsUser: 10001", "runAsUser: 0"),
    ("DF404", COMMAND, f"{COMMAND}\n          securityContext: {{runAsUser: 1000}}"),
    ("DF405", "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 35"),
    ("DF405", "terminationGracePeriodSeconds: 40", ""),
    ("DF405", 'DRAIN_SECONDS, value: "10"', 'DRAIN_SECONDS, value: "15"'),
    ("DF405", "sleep: {seconds: 5}", "exec: {command: [sh, -c, sleep 10]}"),
    ("DF405", '--timeout-graceful-shutdown, "20"', '--graceful-timeout, "10"'),
    ("DF407", COMMAND, f"{COMMAND}\n          tty: true"),
    ("DF407", COMMAND, f"{COMMAND}\n          stdin: true"),
    ("DF408", COMMAND, 'command: [/bin/sh, -c, "migrate && uvicorn"]'),
    ("DF408", COMMAND, 'command: [tini, --, bash, -c, "uvicorn | tee log"]'),
]

# The same for the Compose file.
COMPOSES: list[tuple[str, str, str]] = [
    ("DF401", TEST, TEST.replace("lb", "")),
    ("DF401", TEST, '"dockerflow healthcheck /__heartbeat__"'),
    ("DF401", TEST, '"dockerflow healthcheck /__heartbeat__/ready"'),
    ("DF401", '    DOCKERFLOW_DRAIN_SECONDS: "5"\n', ""),
    ("DF402", TEST, TEST.replace("/__lbheartbeat__", "")),
    ("DF402", TEST, "[NONE]"),
    ("DF402", f"test: {TEST}", "disable: true"),
    ("DF402", "path=/__heartbeat__", "path=/health"),
    ("DF403", "WEB_PORT:-8000", "WEB_PORT:-80"),
    ("DF403", "80:8000", "80:80"),
    ("DF403", "$${PORT}", "8080"),
    ("DF403", "server.port=8000", "server.port=80"),
    ("DF403", "--graceful-timeout 20", "--graceful-timeout 20 -b :9000"),
    ("DF404", "10001:10001", "root"),
    ("DF404", "10001:10001", "10001:0"),
    ("DF405", "stop_grace_period: 0m30s", "stop_grace_period: 20s"),
    ("DF405", "stop_grace_period: 0m30s", ""),
    ("DF405", "--graceful-timeout 20", "--graceful-timeout 5"),
    ("DF406", "driver: journald", "driver: none"),
    ("DF407", "stop_grace_period: 0m30s", "stop_grace_period: 0m30s\n    tty: true"),
    ("DF407", "stop_grace_period: 0m30s", "stop_grace_period: 0m30s\n    stdin_open: true"),
    ("DF408", "command: gunicorn", 'command: sh -c "migrate; gunicorn" #'),
]

# Rules that can't tell, what is replaced in the sound Dockerfile, by what.
UNKNOWN: list[tuple[str, str, str]] = [
    ("DF201", "COPY . /app", "RUN if [ -f /x ]; then cp -r /x /app; fi"),
    ("DF201", "COPY . /app", "ARG FOLDER\nCOPY . $FOLDER"),
    ("DF202", IDS, "useradd --uid 10001 --gid 10001 app; ./groups.sh; useradd -u 10001 -g app app"),
    ("DF202", IDS, f"{IDS}\nARG GID\nRUN groupmod --gid $GID app"),
    ("DF203", IDS, f"{IDS}\nARG ID\nRUN usermod --uid $ID app"),
    ("DF202 DF203", f"RUN {IDS}", "RUN ./users.sh"),
    ("DF204", 'ENTRYPOINT ["python"]', "FROM example/base\nCOPY --from=1 / /\nUSER app"),
    ("DF205", "USER app", "ARG WHO\nUSER $WHO"),
]

# Rule, and what the image has instead.
IMAGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("DF103", {"app/version.json": None}, {}),
    ("DF104", {"app/version.json": "[]"}, {}),
    ("DF201", {"app/app.py": None}, {}),
    ("DF202", {"etc/group": "app:x:1000:app\n"}, {}),
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

# Rule, and the line of a log, after one that is sound.
LOGS: list[tuple[str, str]] = [
    ("DF114 DF302", "\udcff\udcfe"),
    ("DF302", "listening on port 8000"),
    ("DF303", LINE_TEXT.replace('"Timestamp": 1', '"Timestamp": "now"')),
    ("DF303", LINE_TEXT.replace('"Timestamp": 1, ', "")),
    ("DF303", LINE_TEXT.replace('"errno": 0', '"errno": null')),
    ("DF303", LINE_TEXT.replace('"errno": 0', '"errno": NaN')),
    ("DF303", LINE_TEXT.replace('"errno": 0', '"errno": "0"')),
    ("DF303", LINE_TEXT.replace('"Severity": 6', '"Severity": 9')),
    ("DF304", LINE_TEXT.replace('"Hostname": "h", ', "")),
    ("DF304", LINE_TEXT.replace('"method": "GET", ', "")),
    ("DF304", LINE_TEXT.replace('"t": 1', '"email": "a@b.c"')),
]

VERSIONS: list[tuple[str, str]] = [
    ("DF104", ""),
    ("DF104", "{"),
    ("DF104", "[]"),
    ("DF104", '{"version": "1"}'),
    (
        "DF104",
        '{"source": "https://a", "version": null, "commit": "0123456", "build": "https://a"}',
    ),
    ("DF105", '{"source": "", "version": "1", "commit": "HEAD", "build": "12"}'),
]


@pytest.fixture(scope="module", autouse=True)
def _no_waiting() -> Iterator[None]:
    """An app of these tests listens on one port from the start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "SETTLE", 0.1)
        yield


def breaks(report: Report, rules: str) -> None:
    assert report.could_not_run == []
    assert failed(report) == set(rules.split())


def of(prefix: str) -> set[str]:
    return {rule for rule in RULES if rule.startswith(prefix)}


SOUND_APP = "tests/verify/subjects/app.py"
SOUND_DOCKERFILE = "tests/verify/subjects/Dockerfile"
SOUND_MANIFEST = "tests/verify/subjects/deployment.yaml"
SOUND_COMPOSE = "tests/verify/subjects/compose.yaml"
SOUND_IMAGE = "sound_files or CONFIG in tests/verify/conftest.py"
SOUND_LOG = "LINE in tests/verify/verify_helpers.py"
SOUND_VERSION = "tests/verify/subjects/version.json"


def flaws(report: Report, subject: str) -> str:
    """Return what to do about a subject that has to be sound; nothing if it is."""
    assert report.could_not_run == []
    rules = ", ".join(sorted(failed(report)))
    return f"change {subject} first: it breaks {rules}" if rules else ""


def needs_sound(report: Report, subject: str) -> None:
    """Skip the mutants of a subject that isn't sound, as its own test fails already."""
    if text := flaws(report, subject):
        pytest.skip(text)


@cache
def sound_app() -> Report:
    return verify(Targets(command=APP, version_jsons=(VERSION,), slow="/slow", **BROKEN))


def test_a_sound_app_passes_all_that_an_app_can():
    report = sound_app()
    assert not flaws(report, SOUND_APP)
    assert with_status(report, "passed") >= of("DF1") - {"DF103"}
    assert report.exit_code == 0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with started(partial(Process, APP, {})) as process:
        url = f"http://127.0.0.1:{process.port}"
        needs_sound(verify(Targets(url=url, wait=60)), SOUND_APP)
        yield url


@pytest.mark.parametrize(("rules", "mutant", "options"), SERVICES)
def test_services(url, rules, mutant, options):
    report = verify(Targets(url=f"{url}/mutant={mutant}", **options))
    breaks(report, rules)
    assert all(finding.reproduce for finding in findings(report, rules[:5]))


WITHOUT_SETTINGS = (
    "import os, runpy, socket; s = socket.socket(); s.bind(('127.0.0.1', 0));"
    "os.environ.update(PORT=str(s.getsockname()[1]), MUTANT='ignores-database');"
    f"s.close(); runpy.run_path({APP[1]!r})"
)


@pytest.fixture(scope="module")
def _sound_app() -> None:
    needs_sound(sound_app(), SOUND_APP)


@pytest.mark.usefixtures("_sound_app")
@pytest.mark.parametrize(("rules", "mutant", "options"), COMMANDS)
def test_commands(rules, mutant, options, tmp_path):
    environ = (("MUTANT", mutant), ("LOG_FILE", str(tmp_path / "app.log")))
    command = (sys.executable, "-c", WITHOUT_SETTINGS) if mutant == "without-settings" else APP
    report = verify(Targets(command=command, environ=environ, **options))
    breaks(report, rules)
    assert all(finding.reproduce for finding in findings(report, rules[:5]))


@pytest.fixture(scope="module")
def sound_dockerfile() -> str:
    """The text that the mutants change."""
    needs_sound(verify(Targets(dockerfiles=(DOCKERFILE,))), SOUND_DOCKERFILE)
    return DOCKERFILE.read_text()


@pytest.mark.parametrize(("rules", "old", "new"), DOCKERFILES)
def test_dockerfiles(rules, old, new, sound_dockerfile, tmp_path):
    assert old in sound_dockerfile
    path = tmp_path / "Dockerfile"
    path.write_text(sound_dockerfile.replace(old, new))
    report = verify(Targets(dockerfiles=(path,)))
    breaks(report, rules)
    assert all(finding.line for finding in findings(report, rules[:5]))


@pytest.mark.parametrize(("rules", "old", "new"), UNKNOWN)
def test_what_a_dockerfile_does_not_tell(rules, old, new, sound_dockerfile, tmp_path):
    assert old in sound_dockerfile
    path = tmp_path / "Dockerfile"
    path.write_text(sound_dockerfile.replace(old, new))
    report = verify(Targets(dockerfiles=(path,)))
    assert with_status(report, "unknown") == set(rules.split())
    assert not {rule for rule in failed(report) if rule.startswith("DF2")}
    assert report.exit_code == 0


def test_a_sound_dockerfile_passes_all_that_a_dockerfile_can():
    report = verify(Targets(dockerfiles=(DOCKERFILE,)))
    assert not flaws(report, SOUND_DOCKERFILE)
    assert with_status(report, "passed") >= of("DF2")


@pytest.fixture(scope="module")
def sound_manifest() -> str:
    """The text that the mutants change."""
    needs_sound(verify(Targets(manifests=(str(MANIFEST),))), SOUND_MANIFEST)
    return MANIFEST.read_text()


@pytest.fixture(scope="module")
def sound_compose() -> str:
    """The text that the mutants change."""
    needs_sound(verify(Targets(composes=(str(COMPOSE),))), SOUND_COMPOSE)
    return COMPOSE.read_text()


@pytest.mark.parametrize(("rules", "old", "new"), MANIFESTS)
def test_manifests(rules, old, new, sound_manifest, tmp_path):
    assert old in sound_manifest
    path = tmp_path / "deployment.yaml"
    path.write_text(sound_manifest.replace(old, new))
    report = verify(Targets(manifests=(str(path),)))
    breaks(report, rules)
    assert all(finding.file and finding.line for finding in findings(report, rules[:5]))


@pytest.mark.parametrize(("rules", "old", "new"), COMPOSES)
def test_compose_files(rules, old, new, sound_compose, tmp_path):
    assert old in sound_compose
    path = tmp_path / "compose.yaml"
    path.write_text(sound_compose.replace(old, new))
    report = verify(Targets(composes=(str(path),)))
    breaks(report, rules)
    assert all(finding.file and finding.line for finding in findings(report, rules[:5]))


@pytest.mark.parametrize(
    ("targets", "subject"),
    [
        (Targets(manifests=(str(MANIFEST),)), SOUND_MANIFEST),
        (Targets(composes=(str(COMPOSE),)), SOUND_COMPOSE),
    ],
)
def test_a_sound_deployment_passes_all_that_it_can(targets, subject):
    report = verify(targets)
    assert not flaws(report, subject)
    assert with_status(report, "passed") == of("DF4")


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_a_sound_image_passes_all_that_an_image_can(kind, images):
    report = verify(Targets(archives=(getattr(images, kind)(),)))
    assert not flaws(report, SOUND_IMAGE)
    assert with_status(report, "passed") >= {"DF103", *of("DF2")}


@pytest.fixture(scope="module")
def _sound_image(sound_image) -> None:
    needs_sound(verify(Targets(archives=(sound_image,))), SOUND_IMAGE)


@pytest.mark.usefixtures("_sound_image")
@pytest.mark.parametrize(("rules", "changes", "config"), IMAGES)
def test_images(rules, changes, config, images):
    files = {k: v for k, v in {**images.sound_files(), **changes}.items() if v is not None}
    breaks(verify(Targets(archives=(images.docker([files], **config),))), rules)


@pytest.fixture(scope="module")
def _sound_log(tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("sound") / "app.log"
    path.write_text(f"{LINE_TEXT}\n")
    needs_sound(verify(Targets(logs=(str(path),))), SOUND_LOG)


@pytest.mark.usefixtures("_sound_log")
@pytest.mark.parametrize(("rules", "line"), LOGS)
def test_logs(rules, line, tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(f"{LINE_TEXT}\n{line}\n".encode(errors="surrogateescape"))
    report = verify(Targets(logs=(str(path),)))
    breaks(report, rules)
    assert {finding.line for finding in findings(report, rules[:5])} == {2}


@pytest.mark.parametrize("line", ["hello", '{"level": "info", "message": "hello"}'])
def test_logs_without_mozlog(line, tmp_path):
    path = tmp_path / "app.log"
    path.write_text(f"{line}\n{line}\n")
    report = verify(Targets(logs=(str(path),)))
    breaks(report, "DF302")
    (finding,) = findings(report, "DF302")
    assert f"0 of 2 lines are mozlog; this one isn't: {line}" in finding.message


def test_how_many_lines_are_mozlog(tmp_path):
    path = tmp_path / "app.log"
    path.write_text(f"{LINE_TEXT}\n" + "GET /\n" * 99)
    (finding,) = findings(verify(Targets(logs=(str(path),))), "DF302")
    assert finding.message == "line 2: 1 of 100 lines is mozlog; this one isn't: GET /"


def test_a_sound_log(tmp_path):
    path = tmp_path / "app.log"
    path.write_text(f"{LINE_TEXT}\n\n{LINE_TEXT}\n")
    report = verify(Targets(logs=(str(path),)))
    assert not flaws(report, SOUND_LOG)
    assert with_status(report, "passed") >= {"DF114", "DF302", "DF303", "DF304"}


@pytest.fixture(scope="module")
def _sound_version() -> None:
    needs_sound(verify(Targets(version_jsons=(VERSION,))), SOUND_VERSION)


@pytest.mark.usefixtures("_sound_version")
@pytest.mark.parametrize(("rules", "text"), VERSIONS)
def test_versions(rules, text, tmp_path):
    path = tmp_path / "version.json"
    path.write_text(text)
    breaks(verify(Targets(version_jsons=(path,))), rules)


def test_a_sound_version():
    report = verify(Targets(version_jsons=(VERSION,)))
    assert not flaws(report, SOUND_VERSION)
    assert with_status(report, "passed") >= {"DF104", "DF105"}


def test_every_rule_has_a_mutant_and_a_sound_subject(images):
    tables = (
        SERVICES, COMMANDS, DOCKERFILES, MANIFESTS, COMPOSES, IMAGES, LOGS, VERSIONS,
    )  # fmt: skip
    broken = {row[0][:5] for table in tables for row in table}
    assert broken == set(RULES), "add a row to one of the tables above"
    other = verify(
        Targets(dockerfiles=(DOCKERFILE,), archives=(images.docker(),), manifests=(str(MANIFEST),))
    )
    passed = with_status(sound_app(), "passed") | with_status(other, "passed")
    assert passed == set(RULES), "change a sound subject so that it passes the rule"


def test_a_rule_sees_the_arguments_before_from():
    found = dockerfile.read(DOCKERFILE, {}, None)
    assert [(i.name, i.value, i.line, i.stage) for i in found.arguments] == [
        ("ARG", "PYTHON=3.13", 2, -1)
    ]


def test_nothing_to_look_at_is_never_passed():
    report = verify(Targets())
    assert {verdict.status for verdict in report.verdicts} == {"not checked"}
    assert report.exit_code == 2
