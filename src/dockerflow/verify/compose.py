"""Read Compose files: the services, and who sends requests to them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Final

from dockerflow.verify.documents import Node, first_true, parse
from dockerflow.verify.evidence import Caller, Container, CouldNotRunError, Place, Value
from dockerflow.verify.kubernetes import health_paths, is_dockerflow, is_other, requested

MAX_ENV_FILE: Final = 1 << 20
MAX_DEFAULTS: Final = 5
"""How deep defaults may contain variables with defaults."""

_ENDS: Final = "service_completed_successfully"
# In these a later file replaces what an earlier one has; it adds to all other lists.
_REPLACED: Final = frozenset({"command", "entrypoint", "test"})
_MAPPINGS: Final = frozenset({"environment", "labels"})
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}

_variable = re.compile(
    r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<operator>:?[-+?])(?P<word>[^{}]*))?\})"
)
_assignment = re.compile(r"\s*(?:export\s+)?(\w+)=(.*)").fullmatch
_durations = re.compile(r"(\d{1,9}(?:\.\d+)?)(h|ms|us|m|s)").findall
_is_port_label = re.compile(r"loadbalancer\.(?:server|healthcheck)\.port$", re.IGNORECASE).search


def project(content: bytes, where: str) -> Node:
    """Return a Compose file, with the defaults of its variables.

    :raises CouldNotRunError: when it isn't one.
    """
    found = parse(content, where, interpolate)
    if not found or not all(node.get("services").fields for node in found):
        hint = ": give it to --manifest" if found and found[0].get("kind") else ""
        raise CouldNotRunError(f"{where} is not a Compose file{hint}; it has no services")
    return reduce(overlay, found)


def interpolate(text: str) -> str:
    """Replace variables that have a default by it, and all others by $NAME."""

    def fill(match: re.Match[str]) -> str:
        is_default = (match["operator"] or "").endswith("-")
        return match["word"] if is_default else f"\1{match['plain'] or match['name']}"

    text = text.replace("$$", "\2")
    for _ in range(MAX_DEFAULTS):
        text = _variable.sub(fill, text)
    return text.replace("\1", "$").replace("\2", "$")


def overlay(base: Node, top: Node, key: str = "") -> Node:
    """Return a node with what another one, of a later file, adds and replaces."""
    if top.tag == "!reset":
        return Node(None, top.place)
    if top.tag == "!override" or key in _REPLACED:
        return top
    if key in _MAPPINGS:
        base, top = _as_mapping(base), _as_mapping(top)
    if isinstance(base.value, list) and isinstance(top.value, list):
        return Node([*base.value, *top.value], top.place)
    if not (isinstance(base.value, dict) and isinstance(top.value, dict)):
        return top
    fields = {name: overlay(base.get(name), node, name) for name, node in top.fields.items()}
    return Node({**base.fields, **fields}, base.place)


def _as_mapping(node: Node) -> Node:
    """Return a list of NAME=VALUE as a mapping; NAME alone has its value from the shell."""
    if not isinstance(node.value, list):
        return node
    pairs = [(item.text.partition("="), item.place) for item in node.items]
    fields = {name: Node(text if equals else None, at) for (name, equals, text), at in pairs}
    return Node(fields, node.place)


def containers(compose: Node) -> list[Container]:
    """Return the services' containers."""
    services = compose.get("services").fields
    found = {
        name: _container(name, _extended(services, node, ())) for name, node in services.items()
    }
    for node in services.values():
        for name, condition in node.get("depends_on").fields.items():
            if name in found and condition.get("condition").text == _ENDS:
                found[name].role = "other"  # it does something once, such as migrations
    return list(found.values())


def _extended(services: dict[str, Node], node: Node, seen: tuple[str, ...]) -> Node:
    """Return a service with what it takes from another one in the same file."""
    extends = node.get("extends")
    name = extends.text or extends.get("service").text
    if extends.get("file") or name not in services or name in seen:
        return node
    return overlay(_extended(services, services[name], (*seen, name)), node)


def _container(name: str, node: Node) -> Container:
    environ, missing = _environ(node)
    container = Container(
        f"service {name}",
        node.place,
        in_kubernetes=False,
        ports=_ports(node),
        environ=environ,
        unread=", ".join(missing),
        command=[*_words(node.get("entrypoint")), *_words(node.get("command"))],
        user=node.get("user").setting,
        grace=_grace(node.get("stop_grace_period")),
        terminal=first_true(node, "tty", "stdin_open"),
        log_driver=node.get("logging", "driver").setting,
    )
    container.callers = list(_callers(container.name, node))
    image = "" if node.get("build") else node.get("image").text
    if not is_other(container, image, name):
        is_app = is_dockerflow(container) or (node.get("build") and container.ports)
        is_complete = not node.get("extends", "file")
        container.role = "app" if is_app and is_complete else "unknown"
    return container


def _callers(name: str, node: Node) -> Iterator[Caller]:
    check = node.get("healthcheck")
    test = check.get("test")
    if test.texts[:1] == ["NONE"] or first_true(check, "disable"):
        yield Caller(f"{name}: its disabled healthcheck", check.place, "healthcheck")
    elif test:
        command = " ".join(test.texts) or test.text
        yield requested(f"{name}: healthcheck", "healthcheck", command, test.place)
    for labels in map(_as_mapping, (node.get("labels"), node.get("deploy", "labels"))):
        for key, value in health_paths(labels, "label"):
            yield Caller(f"{name}: {key}", value.place, "balancer", value.text)
        for key, value in labels.fields.items():
            if _is_port_label(key):
                yield Caller(f"label {key}", value.place, "service", port=value.text)


def _words(node: Node) -> list[str]:
    """Return the words of a command; no shell is involved."""
    try:
        return node.texts or shlex.split(node.text)
    except ValueError:
        return node.text.split()


def _ports(node: Node) -> list[Value]:
    """Return the container's own ports; a range is not known."""
    found: list[Value] = []
    for item in [*node.get("ports").items, *node.get("expose").items]:
        text = item.get("target").text or item.text
        port = text.partition("/")[0].rpartition(":")[2]
        found += [Value(f"${port}" if "-" in port else port, item.place)] if port else []
    return found


def _environ(node: Node) -> tuple[dict[str, Value], list[str]]:
    """Return the variables; and the files of variables that can't be read."""
    environ: dict[str, Value] = {}
    missing: list[str] = []
    for item in node.get("env_file").items or [node.get("env_file")]:
        name = item.get("path").text or item.text
        path = Path(item.place.where).parent / name
        try:
            lines = _read(path).splitlines() if name else []
        except (OSError, ValueError):
            missing.append(name)
            continue
        for number, line in enumerate(lines, 1):
            if match := _assignment(line):
                text = interpolate(match[2].strip().strip("\"'"))
                environ[match[1]] = Value(text, Place(str(path), number))
    for key, value in _as_mapping(node.get("environment")).fields.items():
        environ[key] = Value(value.text if value else f"${key}", value.place)
    return environ, missing


def _read(path: Path) -> str:
    if not path.is_file():  # a device may never end
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        return file.read(MAX_ENV_FILE).decode()


def _grace(node: Node) -> Value | None:
    """Return a duration such as 1m30s in seconds."""
    parts = _durations(node.text)
    if not parts or "$" in node.text:
        return Value(f"${node.text}", node.place) if node else None
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return Value(f"{total:.3f}", node.place)
