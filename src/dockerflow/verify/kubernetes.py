"""Read Kubernetes manifests: the containers of their pods, and who sends requests to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Final, NamedTuple

from dockerflow.verify.documents import Node, first_true, parse
from dockerflow.verify.evidence import (
    ENDPOINTS,
    HEARTBEAT,
    LBHEARTBEAT,
    Caller,
    Container,
    CouldNotRunError,
    Place,
    Value,
)

MAX_OBJECTS: Final = 5_000

_KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# What runs until it is stopped and has a pod's template. A Job serves nothing.
_WORKLOADS: Final = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Rollout",
     "DeploymentConfig"}
)  # fmt: skip
# Objects in which a path below "health" isn't a load balancer's.
_NO_BALANCERS: Final = frozenset(
    {"ConfigMap", "CronJob", "CustomResourceDefinition", "Job", "Secret"}
)
_WEB_PORTS: Final = frozenset({"80", "3000", "5000", "8000", "8001", "8080", "8081", "8888"})
# PostgreSQL, MySQL, Redis, RabbitMQ, memcached, MongoDB, Elasticsearch, Kafka, SMTP, TLS, gRPC.
_OTHER_PORTS: Final = frozenset(
    {"5432", "3306", "6379", "5672", "11211", "27017", "9200", "9092", "25", "1025", "443", "50051"}
)
# Images and names of what passes requests on to an app, also those for Dockerflow's endpoints.
_is_front = re.compile(r"proxyv2|(?:caddy|envoy|haproxy|httpd|nginx|traefik)(?:[-_].*)?").fullmatch
# Of what usually runs beside an app.
_is_known = re.compile(
    r"(?:.*[-_])?(?:exporter|proxy)|(?:adminer|cache|cassandra|clickhouse|consul|couchdb|database|"
    r"db|elasticsearch|etcd|fluentd|fluent-bit|grafana|influxdb|jaeger|kafka|kibana|localstack|"
    r"loki|mail(?:hog|pit)|mariadb|memcached|minio|mongo(?:db)?|mosquitto|mysql|nats|neo4j|"
    r"opensearch|(?:otel|opentelemetry)-collector|pgadmin4?|pgbouncer|phpmyadmin|postgis|"
    r"postgres(?:ql)?|prometheus|rabbitmq|redis|registry|selenium|statsd|telegraf|valkey|vault|"
    r"zookeeper)(?:[-_](?:alpine|cluster|express|kraft|server))?"
).fullmatch
_is_web_name = re.compile(r"(?:http|web)(?!s$)", re.IGNORECASE).match
_sleeps = re.compile(r"\bsleep['\",\s]+(\d+(?:\.\d+)?)").search
_urls = re.compile(
    r"(?P<scheme>https?://)?(?P<host>[\w.-]+|\[::1?\])"
    r"(?::(?P<port>\d+|\$\w+|\$\{[^}\s]*\}))?(?P<path>/[^\s'\"`)|;,>]*)?"
).finditer


# A command alone that makes no HTTP request.
_without_http = re.compile(
    r"(?:CMD(?:-SHELL)?\s+)?(?:cat|false|nc|ncat|pgrep|pidof|test|true)(?:\s[^|&;`$()]*)?"
    r"(?:\|\|\s*exit 1\s*)?"
).fullmatch


def objects(content: bytes, where: str) -> list[Node]:
    """Return the objects in a manifest, also those of lists.

    :raises CouldNotRunError: when it is not a manifest.
    """
    found: list[Node] = []
    queue = parse(content, where)
    while queue:
        node = queue.pop()
        kind = node.get("kind").text
        is_flux = "fluxcd.io" in node.get("apiVersion").text
        if PurePath(where).name in _KUSTOMIZATIONS or (kind == "Kustomization" and not is_flux):
            message = f"{where} is the input of kustomize: check the output of `kubectl kustomize`"
            raise CouldNotRunError(message)
        if not kind:
            hint = ": give it to --compose" if node.get("services").fields else ""
            line = f"the object on line {node.place.line} has no kind"
            raise CouldNotRunError(f"{where} is not a Kubernetes manifest{hint}; {line}")
        if kind.endswith("List") and node.get("items"):
            queue += node.get("items").items
        else:
            found.append(node)
    if not found or len(found) > MAX_OBJECTS:
        count = f"over {MAX_OBJECTS}" if found else "no"
        raise CouldNotRunError(f"{where} is not a manifest that can be checked: {count} objects")
    return sorted(found, key=lambda node: node.place.line)


def containers(found: list[Node]) -> list[Container]:
    """Return the containers of what runs until it is stopped."""
    services = [
        _Service(node, _id(node)[0], _texts(node.get("spec", "selector")))
        for node in found
        if node.get("kind").text == "Service" and node.get("spec", "selector").fields
    ]
    config_maps = {_id(node): node for node in found if node.get("kind").text == "ConfigMap"}
    pods = [_Pod(node, services, config_maps) for node in found if _template(node)]
    return [container for pod in pods for container in pod.containers()]


def balancers(found: list[Node]) -> Iterator[Caller]:
    """Yield the health checks of load balancers, in annotations or objects of their own."""
    for node in found:
        kind = node.get("kind").text
        if kind not in _NO_BALANCERS and not _template(node):
            for key, value in health_paths(node, kind):
                name = f"{_name(node)}, {key.rpartition('annotations.')[2]}"
                yield Caller(name, value.place, "balancer", value.text)


def _is_health_path(key: str) -> bool:
    key = key.lower()
    return key.endswith("check-path") or (key.endswith(("path", "uri")) and "health" in key)


def health_paths(node: Node, key: str) -> Iterator[tuple[str, Node]]:
    """Yield the paths that health checks request, with their dotted keys."""
    if node.text.startswith("/") and _is_health_path(key):
        yield key, node
    for name, value in node.fields.items():
        yield from health_paths(value, f"{key}.{name}")
    for item in node.items:
        yield from health_paths(item, key)


def _template(node: Node) -> Node:
    """Return the pod, or its template; a node without a value if there is none."""
    kind = node.get("kind").text
    is_knative = node.get("apiVersion").text.startswith("serving.knative.dev/")
    is_workload = kind in _WORKLOADS or (kind == "Service" and is_knative)
    return node if kind == "Pod" else node.get("spec", "template" if is_workload else "")


def _name(node: Node) -> str:
    return f"{node.get('kind').text} {node.get('metadata', 'name').text}".strip()


def _id(node: Node) -> tuple[str, str]:
    return node.get("metadata", "namespace").text, node.get("metadata", "name").text


def _texts(node: Node) -> dict[str, str]:
    return {key: value.text for key, value in node.fields.items()}


class _Service(NamedTuple):
    node: Node
    namespace: str
    selector: dict[str, str]


class _Pod:
    """A pod, with the objects that it refers to."""

    def __init__(
        self, node: Node, services: list[_Service], config_maps: Mapping[tuple[str, str], Node]
    ) -> None:
        self._node = node
        self._services = services
        self._config_maps = config_maps
        self._spec = _template(node).get("spec")

    def containers(self) -> list[Container]:
        """Return the containers; not those that only initialize."""
        nodes = self._spec.get("containers").items
        # Sidecars, which may be meant by a Service, are restarted.
        beside = [one for one in self._spec.get("initContainers").items if one.get("restartPolicy")]
        found: list[Container] = []
        candidates: list[Container] = []
        web: list[Container] = []
        for node in nodes:
            container = self._container(node)
            if len(nodes) + len(beside) == 1:
                container.callers += self._senders(node)
            if not is_other(container, node.get("image").text, node.get("name").text):
                candidates.append(container)
                web += [container] if _is_web(container, node) else []
            found.append(container)
        ours = list(filter(is_dockerflow, candidates))
        for container in candidates:
            is_app = container in ours or (not ours and web == [container])
            container.role = "app" if is_app else "other" if ours else "unknown"
        return found

    def _container(self, node: Node) -> Container:
        name = f"{_name(self._node)}, container {node.get('name').text}"
        own, of_pod = node.get("securityContext"), self._spec.get("securityContext")
        hook = node.get("lifecycle", "preStop")
        sleeps = _sleeps(" ".join(hook.get("exec", "command").texts))
        sleep = hook.get("sleep", "seconds").text or (sleeps[1] if sleeps else "")
        environ, unread = self._environ(node)
        ports = [port.get("containerPort") for port in node.get("ports").items]
        container = Container(
            name,
            node.place,
            in_kubernetes=True,
            ports=[Value(port.text, port.place) for port in ports if port],
            environ=environ,
            unread=unread,
            command=[*node.get("command").texts, *node.get("args").texts],
            user=_user(own, of_pod),
            non_root=(own.get("runAsNonRoot") or of_pod.get("runAsNonRoot")).text == "true",
            grace=self._spec.get("terminationGracePeriodSeconds").setting,
            pre_stop=Value(sleep, hook.place) if sleep else None,
            terminal=first_true(node, "tty", "stdin"),
        )
        if self._node.get("kind").text == "Service":  # Knative sets PORT to the container's port
            environ["PORT"] = [*container.ports, Value("8080", node.place)][0]
        for key in ("livenessProbe", "readinessProbe", "startupProbe"):
            if probe := node.get(key):
                caller = self._probe(node, f"{name}: {key}", key.removesuffix("Probe"), probe)
                caller.timeout = Value(probe.get("timeoutSeconds").text or "1", probe.place).number
                container.callers.append(caller)
        return container

    def _probe(self, node: Node, name: str, kind: str, probe: Node) -> Caller:
        http = probe.get("httpGet")
        if not http:
            return requested(name, kind, " ".join(probe.get("exec", "command").texts), probe.place)
        path, port = http.get("path"), _number(node, http.get("port").text)
        return Caller(name, (path or http).place, kind, path.text or "/", port)

    def _senders(self, node: Node) -> Iterator[Caller]:
        """Yield the Services that send requests to the pod's only container."""
        labels = _texts(_template(self._node).get("metadata", "labels")).items()
        namespace = _id(self._node)[0]
        for service, its_namespace, selector in self._services:
            if its_namespace == namespace and selector.items() <= labels:
                for port in service.get("spec", "ports").items:
                    target = port.get("targetPort") or port.get("port")
                    number = _number(node, target.text)
                    yield Caller(_name(service), target.place, "service", port=number)

    def _environ(self, node: Node) -> tuple[dict[str, Value], str]:
        environ: dict[str, Value] = {}
        unread: list[str] = []
        for source in node.get("envFrom").items:
            name, prefix = source.get("configMapRef", "name").text, source.get("prefix").text
            config = self._config_maps.get((_id(self._node)[0], name))
            if config is None:
                unread.append(f"ConfigMap {name}" if name else "a Secret")
            else:
                values = config.get("data").fields.items()
                environ |= {f"{prefix}{key}": Value(one.text, one.place) for key, one in values}
        for item in node.get("env").items:
            text = item.get("value").text
            if reference := item.get("valueFrom"):
                key = reference.get("configMapKeyRef")
                config = self._config_maps.get((_id(self._node)[0], key.get("name").text))
                text = config.get("data", key.get("key").text).text if config else "$(reference)"
            environ[item.get("name").text] = Value(text, item.place)
        return environ, ", ".join(unread)


def _user(own: Node, of_pod: Node) -> Value | None:
    """Return the user, with the group if that is set, as Compose has it."""
    user = (own.get("runAsUser") or of_pod.get("runAsUser")).setting
    group = (own.get("runAsGroup") or of_pod.get("runAsGroup")).setting
    return Value(f"{user.text}:{group.text}", group.place) if user and group else user


def _number(node: Node, name: str) -> str:
    """Return the number of a container's port; its name if no port has it."""
    for port in node.get("ports").items:
        if port.get("name").text == name and name:
            return port.get("containerPort").text
    return name


def _is_web(container: Container, node: Node) -> bool:
    """Whether it seems to listen for HTTP; PORT alone isn't enough, as workers often share it."""
    has_name = any(_is_web_name(port.get("name").text) for port in node.get("ports").items)
    has_port = any(
        port.text in _WEB_PORTS or "PORT" in container.environ for port in container.ports
    )
    return has_name or has_port or any(one.path.startswith("/") for one in container.callers)


def is_other(container: Container, image: str, name: str) -> bool:
    """Whether the image, the name or the ports are of software that runs beside apps."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    names = (last.lower(), name.lower())
    ports = {port.text for port in container.ports}
    is_beside = (bool(ports) and ports <= _OTHER_PORTS) or any(map(_is_known, names))
    return any(map(_is_front, names)) or (is_beside and not is_dockerflow(container))


def is_dockerflow(container: Container) -> bool:
    """Whether anything requests one of Dockerflow's endpoints from a container."""
    return any(caller.requests(*ENDPOINTS) for caller in container.callers)


def requested(name: str, kind: str, command: str, place: Place) -> Caller:
    """Return what a command requests, by a URL or `dockerflow healthcheck`; a script hides it."""
    if "dockerflow healthcheck" in command:
        arguments = re.split("[|&;<>]", command.partition("dockerflow healthcheck")[2])[0]
        path = "$file" if "--file" in arguments else _healthcheck_path(arguments)
        return Caller(name, place, kind, path)
    for found in _urls(command):
        is_local = found["host"] in ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")  # noqa: S104
        if found["scheme"] or (found["path"] and (found["port"] or is_local)):
            return Caller(name, place, kind, found["path"] or "/", found["port"] or "")
    named = next((one for one in (HEARTBEAT, *ENDPOINTS) if one in command), "$command")
    is_other = not command or (named == "$command" and _without_http(command))
    return Caller(name, place, kind, "" if is_other else named)


def _healthcheck_path(arguments: str) -> str:
    """Return the path that `dockerflow healthcheck` requests; its target may be a URL."""
    path = re.search(r"\s['\"]?(?:https?://[^\s/]+|unix:[^\s:]+:)?(/[^\s'\"]+)", arguments)
    return path[1] if path else LBHEARTBEAT
