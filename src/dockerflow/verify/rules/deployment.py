"""DF4xx: what is required of how an app is deployed: Kubernetes manifests and Compose files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import partial
from itertools import dropwhile, pairwise
from pathlib import PurePosixPath
from typing import Final

from dockerflow.verify.evidence import (
    ENDPOINTS,
    HEARTBEAT,
    LBHEARTBEAT,
    Caller,
    Container,
    Evidence,
    Place,
    printable,
)
from dockerflow.verify.rules._registry import Finding, Findings, Unknown, rule
from dockerflow.verify.users import ID

_SPECIFICATION: Final = "https://github.com/mozilla-services/Dockerflow"
_APP: Final = f"{_SPECIFICATION}#containerized-app-requirements"
_PROBES: Final = "https://kubernetes.io/docs/concepts/workloads/pods/probes/"
_STOP: Final = "https://docs.docker.com/reference/cli/docker/container/stop/"
_STOP_SENTENCE: Final = (
    "The main process inside the container will receive SIGTERM, and after a grace period, SIGKILL."
)
_FILES: Final = "a Kubernetes manifest; a Compose file"
_RESOLVE: Final = "set it in the file; for Compose, check the output of `docker compose config`"

HEARTBEAT_TIMEOUT: Final = 10.0
"""The default of heartbeat_timeout, in seconds."""
KUBERNETES_GRACE: Final = 30.0
COMPOSE_GRACE: Final = 10.0
"""How long they wait before SIGKILL by default, in seconds."""

_requirement = partial(rule, "error", looks_at=_FILES)
_recommendation = partial(rule, "warning", looks_at=_FILES)


def _location(place: Place) -> tuple[str, str, int]:
    if place.where == "stdin":
        return f"stdin, line {place.line}", "", place.line
    return place.where, place.where, place.line


def _at(place: Place, message: str) -> Finding:
    where, file, line = _location(place)
    reproduce = f"sed -n {line}p {shlex.quote(file)}" if file else ""
    return Finding(printable(message), where, reproduce, file, line)


def _unknown(place: Place, message: str, would_tell: str = _RESOLVE) -> Unknown:
    where, file, line = _location(place)
    return Unknown(printable(message), where, would_tell, file, line)


def _apps(evidence: Evidence) -> Iterator[Container]:
    return (container for container in evidence.containers if container.role == "app")


def _health_checks(evidence: Evidence) -> Iterator[tuple[Container | None, Caller]]:
    """Yield who checks an app's health, and who requests Dockerflow's endpoints elsewhere."""
    for container in evidence.containers:
        for caller in container.callers:
            is_ours = container.role == "app" or caller.requests(*ENDPOINTS)
            if is_ours and caller.kind != "service":
                yield container, caller
    yield from ((None, caller) for caller in evidence.balancers)


@_requirement(
    "DF401",
    f"Restarts and load balancing don't depend on {HEARTBEAT}",
    sentence="This is for load balancer checks and should **not** check backing services.",
    source=_APP,
    fix=f"Let liveness probes, health checks and load balancers request `{LBHEARTBEAT}`.",
    why="""
        If a liveness probe checks the database, a database outage restarts all pods, again and
        again, and takes down even what would still work. When the database is back, they all
        start at the same time and overload it.
        """,
    language="yaml",
    bad="""
        livenessProbe:
          httpGet: {path: /__heartbeat__, port: http}
        """,
    good="""
        livenessProbe:
          httpGet: {path: /__lbheartbeat__, port: http}
        """,
)
def _liveness(evidence: Evidence) -> Findings:
    for container in evidence.containers:
        if container.role == "unknown":
            message = f"{container.name}: whether it serves the app"
            would_tell = (
                "let its probes or health check request Dockerflow's endpoints; if it extends a "
                "service of another file, check the output of `docker compose config`"
            )
            yield _unknown(container.place, message, would_tell)
    for owner, caller in _health_checks(evidence):
        if caller.kind in _MAY_CHECK or not caller.requests(HEARTBEAT, LBHEARTBEAT):
            continue  # DF402 is about other paths
        # In Kubernetes a pod that ends is taken out without a probe. Elsewhere, a load balancer
        # learns by the heartbeat that an app drains.
        drain = _drain(owner) if owner is not None and caller.kind == "balancer" else 0.0
        message = f"{caller.name} requests {HEARTBEAT}, which checks backing services"
        if drain is None:
            yield _unknown(caller.place, f"{message}; correct only if the app drains")
        else:
            is_fine = drain > 0 or caller.requests(LBHEARTBEAT)
            yield None if is_fine else _at(caller.place, message)


_MAY_CHECK: Final = frozenset({"readiness", "startup"})
"""The probes that may request the heartbeat."""


@_recommendation(
    "DF402",
    "Probes request Dockerflow's endpoints",
    sentence="Readiness probes determine when a container is ready to accept traffic.",
    source=_PROBES,
    fix=f"Let the readiness probe request `{LBHEARTBEAT}`, or `{HEARTBEAT}` if other pods may "
    f"be able to respond; liveness probes, health checks and load balancers `{LBHEARTBEAT}`. A "
    f"probe of `{HEARTBEAT}` needs a timeout longer than DOCKERFLOW_HEARTBEAT_TIMEOUT.",
    why="""
        A page such as `/` may redirect, need a login, or slow down under load; a probe of it
        takes out or restarts instances just when they are needed most. Without a readiness probe,
        each deployment sends requests to pods that aren't listening yet.
        """,
    language="yaml",
    bad="""
        readinessProbe:
          httpGet: {path: /, port: http}
        """,
    good="""
        readinessProbe:
          httpGet: {path: /__lbheartbeat__, port: http}
        """,
)
def _probes(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        kinds = {caller.kind for caller in container.callers}
        if container.in_kubernetes and "readiness" not in kinds:
            message = f"{container.name} has no readinessProbe: it gets requests before it listens"
            yield _at(container.place, message)
        if not container.in_kubernetes and "healthcheck" not in kinds:
            message = f"{container.name} has no healthcheck, so the image's applies"
            yield _unknown(container.place, message, f"add one that requests {LBHEARTBEAT}")
    for owner, caller in _health_checks(evidence):
        may_check = caller.kind in _MAY_CHECK
        what = f"requests {caller.path}" if caller.path else "makes no HTTP request"
        wanted = f"{LBHEARTBEAT} or {HEARTBEAT}" if may_check else LBHEARTBEAT
        message = f"{caller.name} {what}, not {wanted}"
        if caller.requests(LBHEARTBEAT) or (caller.requests(HEARTBEAT) and not may_check):
            yield None  # DF401 is about these
        elif caller.requests(HEARTBEAT):
            yield _too_short(owner, caller)
        elif "$" in caller.path:
            yield _unknown(caller.place, f"{caller.name}: which path it requests, if any")
        elif owner is None:
            yield _unknown(caller.place, message, "it is wrong only if it is about the app")
        else:
            yield _at(caller.place, message)


def _too_short(container: Container | None, caller: Caller) -> Finding | Unknown | None:
    """Judge how long a probe waits for the heartbeat."""
    if container is None or caller.timeout is None:
        return None
    limit = _seconds(container, "DOCKERFLOW_HEARTBEAT_TIMEOUT", HEARTBEAT_TIMEOUT)
    if limit is not None and caller.timeout > limit:
        return None
    waits = f"{caller.name} waits {caller.timeout:g} s for {HEARTBEAT}, which may take"
    if limit is None or not _is_ours(container):
        would_tell = "set DOCKERFLOW_HEARTBEAT_TIMEOUT, 10 by default, below timeoutSeconds"
        return _unknown(caller.place, f"{waits} longer", would_tell)
    return _at(caller.place, f"{waits} {limit:g} s")


def _is_ours(container: Container) -> bool:
    """Whether settings show that the app uses this library."""
    return any(name.startswith("DOCKERFLOW_") for name in container.environ)


def _seconds(container: Container, name: str, default: float) -> float | None:
    """Return a setting of this library, in seconds; None if the files don't tell it."""
    value = container.environ.get(name)
    if value is None:
        return None if container.unread and _is_ours(container) else default
    return value.number


def _drain(container: Container) -> float | None:
    return _seconds(container, "DOCKERFLOW_DRAIN_SECONDS", 0.0)


_literal_port = re.compile(
    r"(?:--(?:http-)?port[=\s]+|(?:--bind|-b|runserver)[=\s]+(?:[\w.\[\]:]*:)?)(\d{2,5})(?![\w.])"
).search


@_requirement(
    "DF403",
    "Ports agree with $PORT",
    sentence="Listen on environment variable `$PORT` for HTTP requests.",
    source=_APP,
    fix="Set PORT in the container's environment, and name the same port in its ports, its probes "
    "or health check, and the Service.",
    why="""
        If nothing listens on a port, connections to it are refused. With a wrong port in a probe,
        the rollout never completes; with a wrong one in the Service, every request fails,
        although the app is healthy.
        """,
    language="yaml",
    bad="""
        ports:
          - {name: http, containerPort: 8000}
        env:
          - {name: PORT, value: "5000"}
        """,
    good="""
        ports:
          - {name: http, containerPort: 8000}
        env:
          - {name: PORT, value: "8000"}
        """,
)
def _port(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        findings = list(_disagreeing(container))
        port = container.environ.get("PORT")
        if findings or (port is not None and port.is_known):
            yield from findings or (None,)
        else:
            where = f"perhaps in {container.unread}" if container.unread else "the image's applies"
            message = f"{container.name}: PORT has no value here; {where}"
            yield _unknown(port.place if port else container.place, message)


def _disagreeing(container: Container) -> Iterator[Finding]:
    port = container.environ.get("PORT")
    listens = port.text if port is not None and port.text.isdecimal() else ""
    ports = [value.text for value in container.ports]
    if not all(value.is_known for value in container.ports):
        ports = []
    if port is not None and listens and ports and listens not in ports:
        message = f"{container.name}: PORT is {listens}, but its ports are {', '.join(ports)}"
        yield _at(port.place, message)
    right = [listens] if listens else ports if container.in_kubernetes else []
    for caller in container.callers:
        if "$" in caller.port or not caller.port:
            continue
        is_service = caller.kind == "service"
        if not caller.port.isdecimal():
            message = f"{caller.name} uses port {caller.port}, which {container.name} doesn't have"
            yield _at(caller.place, message)
        elif not (is_service or caller.requests(*ENDPOINTS)):
            continue
        elif right and caller.port not in (right + ports if is_service else right):
            message = f"{caller.name} uses port {caller.port}, not {right[0]}"
            yield _at(caller.place, message)
    literal = _literal_port(" ".join(container.command))
    if literal and right and literal[1] not in right:
        message = f"{container.name}: its command listens on {literal[1]}, not on {right[0]}"
        yield _at(container.place, message)


@_requirement(
    "DF404",
    f"Runs as user {ID}",
    sentence="Create an `app` user with a UID of `10001` and is a member of the `app` group.",
    source=f"{_SPECIFICATION}#dockerfile-requirements",
    fix=f"Set runAsUser: {ID} and runAsNonRoot: true in the securityContext of the pod or the "
    f'container; in Compose `user: "{ID}"`, or leave it out: then the image decides.',
    why="""
        The manifest overrides the image's USER. With 0, the app runs as root in spite of its
        Dockerfile; with any other number, it can't write the files that belong to 10001, such as
        those in its volumes.
        """,
    language="yaml",
    bad="""
        securityContext:
          runAsUser: 1000
        """,
    good="""
        securityContext:
          runAsNonRoot: true
          runAsUser: 10001
        """,
)
def _user(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        user = container.user
        if user is not None and user.is_known:
            names = {ID} if container.in_kubernetes else {ID, "app"}
            message = f"{container.name} runs as user {user.text}, not as {ID}"
            is_app = names.issuperset(user.text.split(":"))
            yield None if is_app else _at(user.place, message)
        elif container.non_root and user is None:
            message = (
                f"{container.name} has runAsNonRoot without runAsUser: with USER app in the image "
                "it doesn't start, as the kubelet can't tell from a name that it isn't root"
            )
            yield _unknown(container.place, message, f"set runAsUser: {ID}")
        else:
            message = f"{container.name}: as which user it runs"
            would_tell = f"set it to {ID}, or check the image, which decides, with --image NAME"
            yield _unknown(user.place if user else container.place, message, would_tell)


_gunicorn_timeout = re.compile(r"--graceful-timeout[=\s]+(\d+(?:\.\d+)?)").search
_uvicorn_timeout = re.compile(r"--timeout-graceful-shutdown[=\s]+(\d+(?:\.\d+)?)").search


@_requirement(
    "DF405",
    "Has time to drain before it is killed",
    sentence=_STOP_SENTENCE,
    source=_STOP,
    fix="Set terminationGracePeriodSeconds, in Compose stop_grace_period, above the sum of the "
    "preStop hook's sleep, DOCKERFLOW_DRAIN_SECONDS and the server's timeout for open requests.",
    why="""
        If SIGKILL comes before the app has drained and finished its open requests, the last
        requests of every deployment fail, and what the app saves at shutdown is lost.
        """,
    language="yaml",
    bad="""
        # preStop sleeps 5 s, the app drains for 10 s, uvicorn waits up to 20 s for open requests
        terminationGracePeriodSeconds: 30
        """,
    good="""
        # preStop sleeps 5 s, the app drains for 10 s, uvicorn waits up to 20 s for open requests
        terminationGracePeriodSeconds: 40
        """,
)
def _grace(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        options = container.environ.get("GUNICORN_CMD_ARGS")
        command = " ".join([*container.command, options.text if options else ""])
        gunicorn, uvicorn = _gunicorn_timeout(command), _uvicorn_timeout(command)
        drain, grace, place = _drain(container), container.grace, container.place
        hook = container.pre_stop.number or 0.0 if container.pre_stop else 0.0
        default = KUBERNETES_GRACE if container.in_kubernetes else COMPOSE_GRACE
        given = grace.number if grace else default
        if drain is None or given is None:
            yield _unknown(place, f"{container.name}: how long it drains, or has to end")
            continue
        # gunicorn counts from SIGTERM on, so that the drain is part of its timeout.
        workers = float(gunicorn[1]) if gunicorn else 0.0
        needed = hook + max(workers, drain + (float(uvicorn[1]) if uvicorn else 0.0))
        if gunicorn and drain and workers <= drain:
            message = f"--graceful-timeout {gunicorn[1]} ends the drain of {drain:g} s"
            yield _at(place, f"{container.name}: {message}")
        elif given <= needed:
            message = f"it is killed after {given:g} s, but may need {needed:g} s to drain and exit"
            yield _at(grace.place if grace else place, f"{container.name}: {message}")
        elif needed:
            yield None


@_requirement(
    "DF406",
    "Logs are kept",
    sentence="Send text logs to `stdout` or `stderr`.",
    source=_APP,
    fix="Remove the logging driver, or use one that keeps or forwards the logs.",
    why="""
        With the logging driver `none`, all output is discarded: after a crash there is nothing to
        look at, and alerts on logged errors never fire.
        """,
    language="yaml",
    bad="""
        logging:
          driver: none
        """,
    good="""
        logging:
          driver: journald
        """,
)
def _logs(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        driver = container.log_driver
        if driver is not None and not driver.is_known:
            yield _unknown(driver.place, f"{container.name}: its logging driver")
        elif driver is not None and driver.text == "none":
            yield _at(
                driver.place, f"{container.name}: the logging driver none discards all output"
            )
        else:
            yield None


@_recommendation(
    "DF407",
    "Runs without a terminal",
    sentence="Log to `stdout` in the mozlog json schema.",
    source=f"{_SPECIFICATION}#optional-recommendations",
    fix="Remove `tty`, and `stdin` or `stdin_open`.",
    why="""
        A terminal merges stdout and stderr, ends lines with CRLF, and makes programs write
        colours and progress bars. Many programs log text instead of JSON when they write to one,
        which log collectors can't parse.
        """,
    language="yaml",
    bad="""
        - name: web
          image: example/web:1
          tty: true
        """,
    good="""
        - name: web
          image: example/web:1
        """,
)
def _terminal(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        terminal = container.terminal
        message = f"{container.name} is started with {terminal.text if terminal else ''}"
        yield _at(terminal.place, message) if terminal else None


_SHELLS: Final = frozenset({"sh", "ash", "dash", "ksh", "bash", "zsh"})
_BEFORE: Final = frozenset({"tini", "catatonit", "env", "--"})
"""Words that may stand before a command, as may assignments. dumb-init signals all processes."""
_executes = re.compile(r"(?:^|[;&|\n({]|\b(?:then|do|else)\b)\s*exec\s").search
_is_list = re.compile(r"(?:[^|&]|&&|\|\|)*").fullmatch


@_recommendation(
    "DF408",
    "No shell swallows SIGTERM",
    sentence=_STOP_SENTENCE,
    source=_STOP,
    fix="Start the server without a shell, or with exec: `sh -c 'migrate && exec gunicorn app'`.",
    why="""
        If a shell remains the main process, it gets SIGTERM and doesn't forward it. The server
        never learns that it should stop, and is killed with its open requests when the grace
        period is over.
        """,
    language="yaml",
    bad="""
        command: [sh, -c, "migrate && uvicorn app:app"]
        """,
    good="""
        command: [sh, -c, "migrate && exec uvicorn app:app"]
        """,
)
def _shell(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        words = list(dropwhile(_is_before, container.command))
        if not words:
            continue
        shell, script = _last(words[0]), _script(words)
        if shell not in _SHELLS or _executes(script):
            yield None
        elif not script or re.search(r"\btrap\b", script):
            message = f"{container.name}: whether the script forwards SIGTERM"
            yield _unknown(container.place, message, "start it after --, for DF116")
        elif shell == "bash" and _is_list(script):
            message = f"{container.name}: whether the script's last command replaces bash"
            yield _unknown(container.place, message, "write exec before the last command")
        else:
            message = f"{shell} may stay the main process, and doesn't forward SIGTERM"
            yield _at(container.place, f"{container.name}: {message}")


def _is_before(word: str) -> bool:
    return _last(word) in _BEFORE or re.match(r"\w+=", word) is not None


def _last(path: str) -> str:
    return PurePosixPath(path).name


def _script(words: list[str]) -> str:
    """Return what follows -c, which may be among other options: bash -euo pipefail -c ..."""
    found = (after for word, after in pairwise(words[1:6]) if re.fullmatch(r"-\w*c", word))
    return next(found, "")
