"""Read Compose files: the services, and who sends requests to them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dockerflow.verify.documents import Node, parse
from dockerflow.verify.evidence import Caller, Container, CouldNotRunError, Value
from dockerflow.verify.kubernetes import health_paths, is_dockerflow, is_known, requested

MAX_ENV_FILE: Final = 1 << 20
MAX_DEFAULTS: Final = 5
"""How deep defaults may contain variables with defaults."""
# Lists that several files add up to; all other lists of a later file replace those of earlier ones.
_REPLACED: Final = frozenset({"command", "entrypoint", "test"})
_ENDS: Final = "service_completed_successfully"
_MAPPINGS: Final = frozenset({"environment", "labels"})

_variable = re.compile(r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<operator>:?[-+?])(?P<word>[^{}]*))?\})")
_assignment = re.compile(r"\s*(?:export\s+)?(\w+)=(.*)").fullmatch
_durations = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|m|s)").findall
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}
_is_port_label = re.compile(r"loadbalancer\.(?:server|healthcheck)\.port$", re.IGNORECASE).search


def project(content: bytes, where: str) -> Node:
    """Return a Compose file, with the defaults of its variables.

    :raises CouldNotRunError: when it is none.
    """
    found = parse(content, where, interpolate)
    if not found or not all(node.get("services").fields for node in found):
        is_manifest = bool(found and found[0].get("kind"))
        hint = ": give it to --manifest" if is_manifest else ""
        raise CouldNotRunError(f"{where} is not a Compose file{hint}; it has no services")
    return merged(found)


def interpolate(text: str) -> str:
    """Replace variables that have a default by it, and all others by $NAME."""

    def fill(match: re.Match[str]) -> str:
        is_default = (match["operator"] or "").endswith("-")
        return match["word"] if is_default else f"\1{match['plain'] or match['name']}"

    text = text.replace("$$", "\2")
    for _ in range(MAX_DEFAULTS):
        text = _variable.sub(fill, text)
    return text.replace("\1", "$").replace("\2", "$")


def merged(nodes: list[Node]) -> Node:
    """Return one node of several; what is said later wins, or is added."""
    node = nodes[0]
    for top in nodes[1:]:
        node = _overlay(node, top)
    return node


def _overlay(base: Node, top: Node, key: str = "") -> Node:
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
    fields = {name: _overlay(base.get(name), node, name) for name, node in top.fields.items()}
    return Node({**base.fields, **fields}, base.place)


def _as_mapping(node: Node) -> Node:
    """Return a list of NAME=VALUE as a mapping; NAME alone is a value of the shell."""
    if not isinstance(node.value, list):
        return node
    pairs = [(item, item.text.partition("=")) for item in node.items]
    return Node(
        {name: Node(text if equals else None, item.place) for item, (name, equals, text) in pairs},
        node.place,
    )


def containers(compose: Node) -> list[Container]:
    """Return the services' containers."""
    services = compose.get("services").fields
    includes = "what it includes" if compose.get("include") else ""
    found = {
        name: _container(name, _extended(services, node, ()), includes)
        for name, node in services.items()
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
    base = _extended(services, services[name], (*seen, name))
    return merged([base, node])


def _container(name: str, node: Node, unread: str) -> Container:
    command = [*words(node.get("entrypoint")), *words(node.get("command"))]
    environ, missing = _environ(node)
    file = node.get("extends", "file").text
    sources = [unread, missing, f"the service that it extends in {file}" if file else ""]
    terminal = ("tty", "stdin_open")
    container = Container(
        f"service {name}",
        node.place,
        in_kubernetes=False,
        ports=_ports(node),
        environ=environ,
        unread=", ".join(filter(None, sources)),
        command=command,
        user=node.get("user").setting,
        grace=_grace(node.get("stop_grace_period")),
        terminal=next((node.get(k).named(k) for k in terminal if node.get(k).is_true), None),
        log_driver=node.get("logging", "driver").setting,
    )
    check = node.get("healthcheck")
    test = check.get("test")
    if test.texts[:1] == ["NONE"] or check.get("disable").is_true:
        container.callers.append(Caller("disabled healthcheck", check.place, "healthcheck"))
    elif test:
        given = test.texts[1:] if test.items else [test.text]
        container.callers.append(requested("healthcheck", "healthcheck", given, test))
    for labels in (node.get("labels"), node.get("deploy", "labels")):
        container.callers += _balancers(_as_mapping(labels))
    if is_known(node.get("image").text) and not node.get("build"):
        container.role = "other"
    elif is_dockerflow(container) or (node.get("build") and container.ports):
        container.role = "app"
    return container


def _balancers(labels: Node) -> Iterator[Caller]:
    for key, value in health_paths(labels):
        yield Caller(f"label {key}", value.place, "balancer", value.text)
    for key, value in labels.fields.items():
        if _is_port_label(key):
            yield Caller(f"label {key}", value.place, "service", port=value.text)


def words(node: Node) -> list[str]:
    """Return the words of a command; no shell is involved."""
    if node.items:
        return node.texts
    try:
        return shlex.split(node.text)
    except ValueError:
        return node.text.split()


def _ports(node: Node) -> list[Value]:
    """Return the container's own ports; a range is not known."""
    found: list[Value] = []
    for item in [*node.get("ports").items, *node.get("expose").items]:
        text = item.get("target").text or item.text
        port = text.partition("/")[0].rpartition(":")[2]
        if port:
            found.append(Value(f"${port}" if "-" in port else port, item.place))
    return found


def _environ(node: Node) -> tuple[dict[str, Value], str]:
    """Return the variables; and the files of variables that aren't there."""
    environ: dict[str, Value] = {}
    missing: list[str] = []
    files = node.get("env_file")
    for item in files.items or [files]:
        name = item.get("path").text or item.text
        path = Path(item.place.where).parent / name
        lines = _lines(path) if name else []
        if lines is None:
            missing.append(name)
            continue
        for number, line in enumerate(lines, 1):
            if match := _assignment(line):
                place = item.place._replace(where=str(path), line=number)
                environ[match[1]] = Value(interpolate(match[2].strip().strip("\"'")), place)
    for name, value in _as_mapping(node.get("environment")).fields.items():
        environ[name] = Value(value.text if value else f"${name}", value.place)
    return environ, ", ".join(missing)


def _lines(path: Path) -> list[str] | None:
    """Return the lines of a file of variables; None if it can't be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(MAX_ENV_FILE).decode().splitlines()
    except (OSError, ValueError):
        return None


def _grace(node: Node) -> Value | None:
    """Return a duration such as 1m30s in seconds."""
    parts = _durations(node.text)
    if not parts or "$" in node.text:
        return Value(f"${node.text}", node.place) if node else None
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return Value(f"{total:g}", node.place)
