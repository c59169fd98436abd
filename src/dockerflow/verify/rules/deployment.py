"""DF4xx: what is required of how an app is deployed: Kubernetes manifests and Compose files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import partial
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

_APP: Final = "https://github.com/mozilla-services/Dockerflow#containerized-app-requirements"
_DOCKERFILE: Final = "https://github.com/mozilla-services/Dockerflow#dockerfile-requirements"
_RECOMMENDED: Final = "https://github.com/mozilla-services/Dockerflow#optional-recommendations"
_PROBES: Final = "https://kubernetes.io/docs/concepts/workloads/pods/probes/"
_STOP: Final = "https://docs.docker.com/reference/cli/docker/container/stop/"
_STOP_SENTENCE: Final = (
    "The main process inside the container will receive SIGTERM, and after a grace period, SIGKILL."
)
_FILES: Final = "a Kubernetes manifest; a Compose file"
_RESOLVED: Final = (
    "set it in the file itself; for Compose, check the output of `docker compose config`"
)

HEARTBEAT_TIMEOUT: Final = 10.0
"""The default of heartbeat_timeout, in seconds."""
GRACE: Final = {True: 30.0, False: 10.0}
"""How long Kubernetes and Compose wait before SIGKILL by default, in seconds."""

_requirement = partial(rule, "error", looks_at=_FILES)
_recommendation = partial(rule, "warning", looks_at=_FILES)


def _at(place: Place, message: str) -> Finding:
    message, where, file, line = printable(message), *_location(place)
    reproduce = f"sed -n {line}p {shlex.quote(file)}" if file else ""
    return Finding(message, where, reproduce, file, line)


def _unknown(place: Place, message: str, would_tell: str) -> Unknown:
    where, file, line = _location(place)
    return Unknown(printable(message), where, would_tell, file, line)


def _location(place: Place) -> tuple[str, str, int]:
    if place.where == "stdin":
        return f"stdin, line {place.line}", "", place.line
    return place.where, place.where, place.line


def _apps(evidence: Evidence) -> Iterator[Container]:
    return (container for container in evidence.containers if container.role == "app")


def _health_checks(evidence: Evidence) -> Iterator[tuple[Container | None, Caller]]:
    """Yield who checks the health of an app, and of what requests the heartbeat of anything."""
    for container in evidence.containers:
        for caller in container.callers:
            is_ours = container.role == "app" or any(map(caller.requests, ENDPOINTS))
            if is_ours and caller.kind != "service":
                yield container, caller
    yield from ((None, caller) for caller in evidence.balancers)


@_requirement(
    "DF401",
    f"Nothing restarts or balances by {HEARTBEAT}",
    sentence="This is for load balancer checks and should **not** check backing services.",
    source=_APP,
    fix=f"Let liveness probes, health checks and load balancers request {LBHEARTBEAT}. Otherwise a "
    "backing service that is down has every container restarted, or taken out, at the same time.",
)
def _liveness(evidence: Evidence) -> Findings:
    for container in evidence.containers:
        if container.role == "unknown":
            yield _unknown(
                container.place,
                f"{container.name}: whether it serves the app",
                "name its port, and let its probes or its health check request Dockerflow's paths",
            )
    for container, caller in _health_checks(evidence):
        if caller.kind not in ("liveness", "healthcheck", "balancer") or not caller.path:
            continue
        owner = f"{container.name}: " if container else ""
        if not caller.requests(HEARTBEAT):
            yield None
        elif caller.kind == "balancer" and container and _drain(container) != 0:
            yield None  # outside of Kubernetes, a balancer learns of the drain by the heartbeat
        else:
            message = f"{owner}{caller.name} requests {HEARTBEAT}, which checks backing services"
            yield _at(caller.place, message)


@_recommendation(
    "DF402",
    "Probes request Dockerflow's endpoints",
    sentence="Readiness probes determine when a container is ready to accept traffic.",
    source=_PROBES,
    fix=f"Let the readiness probe request {LBHEARTBEAT}, or {HEARTBEAT} if another pod can do "
    f"better; liveness probes, health checks and load balancers {LBHEARTBEAT}. A probe of "
    f"{HEARTBEAT} needs a timeout above DOCKERFLOW_HEARTBEAT_TIMEOUT.",
)
def _probes(evidence: Evidence) -> Findings:
    apps = list(_apps(evidence))
    for container in apps:
        kinds = {caller.kind for caller in container.callers}
        if container.in_kubernetes and "readiness" not in kinds:
            message = f"{container.name} has no readinessProbe: it gets requests before it listens"
            yield _at(container.place, message)
        if not container.in_kubernetes and "healthcheck" not in kinds:
            message = f"{container.name} has no healthcheck: the image decides"
            yield _unknown(container.place, message, f"a healthcheck that requests {LBHEARTBEAT}")
    for container, caller in _health_checks(evidence):
        if container is None and not apps:
            continue
        owner = f"{container.name}: " if container else ""
        if any(map(caller.requests, (HEARTBEAT, LBHEARTBEAT))):
            yield _too_short(container, caller)
        elif "$" in caller.path:
            message = f"{owner}{caller.name} requests {caller.path}"
            yield _unknown(caller.place, message, _RESOLVED)
        else:
            what = f"requests {caller.path}" if caller.path else "requests nothing by HTTP"
            wanted = f"{LBHEARTBEAT} or {HEARTBEAT}" if caller.kind in _MAY_CHECK else LBHEARTBEAT
            yield _at(caller.place, f"{owner}{caller.name} {what}, not {wanted}")


_MAY_CHECK: Final = frozenset({"readiness", "startup"})


def _too_short(container: Container | None, caller: Caller) -> Finding | Unknown | None:
    """Judge the timeout of a probe that requests the heartbeat."""
    if container is None or caller.timeout is None or not caller.requests(f"/{HEARTBEAT[1:]}"):
        return None
    timeout = _seconds(container, "DOCKERFLOW_HEARTBEAT_TIMEOUT", HEARTBEAT_TIMEOUT)
    shown = f"{container.name}: {caller.name} gives up after {caller.timeout:g} s"
    if timeout is not None and caller.timeout > timeout:
        return None
    if timeout is None or not any(name.startswith("DOCKERFLOW_") for name in container.environ):
        message = f"{shown}; how long {HEARTBEAT} may take isn't in the file"
        would_tell = "set DOCKERFLOW_HEARTBEAT_TIMEOUT, which is 10 by default, below timeoutSeconds"
        return _unknown(caller.place, message, would_tell)
    return _at(caller.place, f"{shown}, but {HEARTBEAT} may take {timeout:g} s")


def _seconds(container: Container, name: str, default: float) -> float | None:
    """Return a setting of ours, in seconds; None if it can't be told."""
    value = container.environ.get(name)
    if value is None:
        return None if container.unread else default
    try:
        return float(value.text)
    except ValueError:
        return None


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
)
def _port(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        findings = list(_disagreeing(container))
        port = container.environ.get("PORT")
        if not findings and (port is None or not port.is_known):
            why = f"it may be in {container.unread}" if container.unread else "the image decides"
            message = f"{container.name}: the value of PORT isn't in the file; {why}"
            findings = [_unknown(container.place, message, _RESOLVED)]
        yield from findings or [None]


def _disagreeing(container: Container) -> Iterator[Finding]:
    declared = [port.text for port in container.ports if port.is_known]
    has_unknown = len(declared) < len(container.ports)
    port = container.environ.get("PORT")
    listens = port.text if port and port.text.isdecimal() else ""
    if port and listens and declared and not has_unknown and listens not in declared:
        message = f"{container.name}: PORT is {listens}, but its ports are {', '.join(declared)}"
        yield _at(port.place, message)
    right = [listens] if listens else declared if container.in_kubernetes and not has_unknown else []
    for caller in container.callers:
        is_ours = caller.kind == "service" or any(map(caller.requests, ENDPOINTS))
        if not caller.port or "$" in caller.port:
            continue
        if not caller.port.isdecimal():
            message = f"{container.name} has no port {caller.port!r}, which {caller.name} names"
            yield _at(caller.place, message)
        elif is_ours and right and caller.port not in {*right, *(declared if caller.kind == "service" else ())}:
            message = f"{container.name}: {caller.name} is for port {caller.port}, not {right[0]}"
            yield _at(caller.place, message)
    found = _literal_port(" ".join(container.command))
    if found and right and found[1] not in right:
        message = f"{container.name}: it listens on {found[1]}, not on {right[0]}"
        yield _at(container.place, message)


@_requirement(
    "DF404",
    f"Runs as user {ID}",
    sentence="Create an `app` user with a UID of `10001` and is a member of the `app` group.",
    source=_DOCKERFILE,
    fix=f"Set runAsUser: {ID} and runAsNonRoot: true in the securityContext of the pod or the "
    f'container; in Compose `user: "{ID}"`, or leave it to the image.',
)
def _user(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        user, non_root = container.user, container.non_root
        if user is not None and user.is_known:
            names = {ID} if container.in_kubernetes else {ID, "app"}
            is_app = {*user.text.split(":")} <= names
            message = f"{container.name} runs as user {user.text}, not as {ID}"
            yield None if is_app else _at(user.place, message)
        elif user is None and non_root is not None and non_root.text == "true":
            message = (
                f"{container.name}: runAsNonRoot without runAsUser: the kubelet can't tell "
                "from the name in `USER app` that it isn't root, and refuses to start it"
            )
            yield _unknown(non_root.place, message, f"set runAsUser: {ID}")
        else:
            place = user.place if user else container.place
            message = f"{container.name}: as which user it runs"
            would_tell = f"set it to {ID}; or check the image with --image NAME"
            yield _unknown(place, message, would_tell)


_gunicorn_timeout = re.compile(r"--graceful-timeout[=\s]+(\d+(?:\.\d+)?)").search
_uvicorn_timeout = re.compile(r"--timeout-graceful-shutdown[=\s]+(\d+(?:\.\d+)?)").search


@_requirement(
    "DF405",
    "Is killed only after it drained",
    sentence=_STOP_SENTENCE,
    source=_STOP,
    fix="Set terminationGracePeriodSeconds, in Compose stop_grace_period, above the sum of the "
    "preStop hook's sleep, DOCKERFLOW_DRAIN_SECONDS and the server's timeout for open requests.",
)
def _grace(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        drain, hook, grace = _drain(container), container.pre_stop, container.grace
        words = " ".join([*container.command, *_gunicorn_options(container)])
        gunicorn, uvicorn = _gunicorn_timeout(words), _uvicorn_timeout(words)
        if not (drain != 0 or hook or gunicorn or uvicorn or grace):
            continue
        if drain is None or (grace and not grace.is_known):
            message = f"{container.name}: how long it drains, or may take to end"
            yield _unknown(grace.place if grace else container.place, message, _RESOLVED)
            continue
        # gunicorn's timeout counts from SIGTERM on, so the drain is part of it.
        server = float(uvicorn[1]) if uvicorn else 0.0
        after = max(drain + server, float(gunicorn[1]) if gunicorn else 0.0)
        needed = (float(hook.text) if hook else 0.0) + after
        given = float(grace.text) if grace else GRACE[container.in_kubernetes]
        place = grace.place if grace else container.place
        if gunicorn and 0 < float(gunicorn[1]) <= drain:
            message = f"{container.name}: --graceful-timeout {gunicorn[1]} ends the drain of {drain:g} s"
            yield _at(container.place, message)
        elif given <= needed:
            shown = f"it is killed after {given:g} s" + ("" if grace else ", the default")
            message = f"{container.name}: {shown}, but may need {needed:g} s to drain and to end"
            yield _at(place, message)
        else:
            yield None


def _gunicorn_options(container: Container) -> list[str]:
    value = container.environ.get("GUNICORN_CMD_ARGS")
    return [value.text] if value else []


@_requirement(
    "DF406",
    "Logs are kept",
    sentence="Send text logs to `stdout` or `stderr`.",
    source=_APP,
    fix="Leave the logging driver out, or take one that keeps or sends the logs.",
)
def _logs(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        driver = container.log_driver
        if driver is not None and not driver.is_known:
            yield _unknown(driver.place, f"{container.name}: its logging driver", _RESOLVED)
        elif driver is not None and driver.text == "none":
            yield _at(driver.place, f"{container.name}: logging driver none drops all it writes")
        elif driver is not None:
            yield None


@_recommendation(
    "DF407",
    "Has no terminal",
    sentence="Log to `stdout` in the mozlog json schema.",
    source=_RECOMMENDED,
    fix="Remove tty, and stdin or stdin_open: a terminal merges stdout and stderr, ends lines in "
    "CRLF, and has programs write for people instead of JSON.",
)
def _terminal(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        terminal = container.terminal
        if terminal is None:
            yield None
        else:
            yield _at(terminal.place, f"{container.name} is started with {terminal.text}")


_SHELLS: Final = frozenset({"sh", "ash", "dash", "ksh", "bash", "zsh"})
_FORWARDERS: Final = frozenset({"tini", "dumb-init", "catatonit", "--", "-g", "env"})
_execs = re.compile(r"(?:^|[;&|\n({]|\b(?:then|do|else)\b)\s*exec\s").search


@_recommendation(
    "DF408",
    "No shell keeps SIGTERM to itself",
    sentence=_STOP_SENTENCE,
    source=_STOP,
    fix="Start the server without a shell, or by exec: `sh -c 'migrate && exec gunicorn app'`.",
)
def _shell(evidence: Evidence) -> Findings:
    for container in _apps(evidence):
        words = [PurePosixPath(word).name for word in container.command[:4]]
        while words and words[0] in _FORWARDERS:
            del words[0]
        if not words:
            continue
        options = words[1:2] if words[0] in _SHELLS else []
        if words[0] not in _SHELLS:
            yield None
        elif not options or not re.fullmatch(r"-\w*c", options[0]):
            message = f"{container.name}: {words[0]} runs a script that isn't in the file"
            yield _unknown(container.place, message, "verify -- COMMAND sends it SIGTERM: DF116")
        elif _execs(" ".join(container.command)):
            yield None
        else:
            message = f"{container.name}: {words[0]} is the main process, and doesn't pass SIGTERM on"
            yield _at(container.place, message)
