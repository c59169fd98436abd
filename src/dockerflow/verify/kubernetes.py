"""Read Kubernetes manifests: the containers of their pods, and who sends requests to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Final, Literal

from dockerflow.verify.documents import Node, parse
from dockerflow.verify.evidence import ENDPOINTS, Caller, Container, CouldNotRunError, Value

MAX_OBJECTS: Final = 5_000
KUSTOMIZE: Final = "is the input of kustomize: check the output of `kubectl kustomize`"

_KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_TEMPLATE: Final = ("spec", "template")
# Where the pod is in each kind that runs until it is stopped. A Job has none: it serves nothing.
_PODS: Final[dict[str, tuple[str, ...]]] = {
    "Pod": (),
    **dict.fromkeys(
        (
            "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController",
            "Rollout", "DeploymentConfig",
        ),
        _TEMPLATE,
    ),
}  # fmt: skip
_PROBES: Final[dict[str, Literal["liveness", "readiness", "startup"]]] = {
    "livenessProbe": "liveness",
    "readinessProbe": "readiness",
    "startupProbe": "startup",
}
# Kinds in which a path below "health" is no load balancer's.
_NO_BALANCERS: Final = frozenset({"ConfigMap", "Secret", "CustomResourceDefinition", "Job", "CronJob"})

_is_health_path = re.compile(r"(?:health|probe|check).*(?:path|uri)$", re.IGNORECASE).search
_urls = re.compile(
    r"(?:(?P<scheme>https?://)[^\s/:'\"]+|localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])"
    r"(?::(?P<port>\d+|\$\{?\w+\}?))?(?P<path>/[^\s'\"`)|;,>]*)?"
).finditer
_sleeps = re.compile(r"\bsleep['\",\s]+(\d+(?:\.\d+)?)").search
_is_web_name = re.compile(r"(?:http|web)(?!s$)", re.IGNORECASE).match
_WEB_PORTS: Final = frozenset({"80", "3000", "5000", "8000", "8001", "8080", "8081", "8888"})

# What usually runs beside an app, by the last part of the image's name.
_is_known = re.compile(
    r"(?:.*[-_])?(?:exporter|proxy)|proxyv2|(?:adminer|caddy|cassandra|clickhouse|consul|couchdb|"
    r"elasticsearch|envoy|etcd|fluentd|fluent-bit|grafana|haproxy|httpd|influxdb|jaeger|kafka|kibana|"
    r"localstack|loki|mail(?:hog|pit)|mariadb|memcached|minio|mongo(?:db)?|mosquitto|mysql|nats|neo4j|"
    r"nginx|opensearch|(?:otel|opentelemetry)-collector|pgadmin4?|pgbouncer|phpmyadmin|postgis|"
    r"postgres(?:ql)?|prometheus|rabbitmq|redis|registry|selenium|statsd|telegraf|traefik|valkey|"
    r"vault|zookeeper)(?:[-_](?:all-in-one|alpine|cluster|express|kraft|server|stack|unprivileged))?"
).fullmatch


def objects(content: bytes, where: str) -> list[Node]:
    """Return the objects in a manifest, also those of lists.

    :raises CouldNotRunError: when it is not a manifest.
    """
    is_kustomization = PurePath(where).name in _KUSTOMIZATIONS
    found: list[Node] = []
    queue = parse(content, where)
    while queue:
        node = queue.pop(0)
        kind = node.get("kind").text
        if is_kustomization or kind == "Kustomization":
            raise CouldNotRunError(f"{where} {KUSTOMIZE}")
        if not kind:
            hint = ": give it to --compose" if node.get("services").fields else ""
            line = f"what begins on line {node.place.line} has no kind"
            raise CouldNotRunError(f"{where} is not a Kubernetes manifest{hint}; {line}")
        if kind.endswith("List") and node.get("items"):
            queue = [*node.get("items").items, *queue]
        else:
            found.append(node)
    if len(found) > MAX_OBJECTS:
        raise CouldNotRunError(f"{where} can't be checked: it has over {MAX_OBJECTS} objects")
    if not found:
        raise CouldNotRunError(f"{where} is not a Kubernetes manifest: it is empty")
    return found


def containers(found: list[Node]) -> list[Container]:
    """Return the containers that serve, or may; not those of Jobs and init containers."""
    services = [node for node in found if node.get("kind").text == "Service"]
    config_maps = {
        (node.get("metadata", "namespace").text, node.get("metadata", "name").text): node
        for node in found
        if node.get("kind").text == "ConfigMap"
    }
    pods = [_Pod(node, services, config_maps) for node in found if _pod(node) is not None]
    return [container for pod in pods for container in pod.containers()]


def balancers(found: list[Node]) -> list[Caller]:
    """Return the health checks of load balancers, by annotations or as objects of their own."""
    callers: list[Caller] = []
    for node in found:
        if node.get("kind").text in _NO_BALANCERS or _pod(node) is not None:
            continue
        name = _name(node)
        callers += (
            Caller(f"{name}, {key.rpartition('annotations.')[2]}", value.place, "balancer", value.text)
            for key, value in health_paths(node)
        )
    return callers


def health_paths(node: Node, key: str = "") -> Iterator[tuple[str, Node]]:
    """Yield the paths that health checks request, with their dotted keys."""
    if node.text.startswith("/") and _is_health_path(key):
        yield key, node
    for name, value in node.fields.items():
        yield from health_paths(value, f"{key}.{name}" if key else name)
    for item in node.items:
        yield from health_paths(item, key)


def _pod(node: Node) -> Node | None:
    """Return the pod, or its template, of a workload; None for what has none, or ends by itself."""
    kind = node.get("kind").text
    if kind == "Service" and node.get("apiVersion").text.startswith("serving.knative.dev/"):
        return node.get(*_TEMPLATE)
    return node.get(*_PODS[kind]) if kind in _PODS else None


def _name(node: Node) -> str:
    return f"{node.get('kind').text} {node.get('metadata', 'name').text}".strip()


class _Pod:
    """A workload's pod, with the objects that it refers to."""

    def __init__(
        self, node: Node, services: list[Node], config_maps: Mapping[tuple[str, str], Node]
    ) -> None:
        self._node = node
        self._services = services
        self._config_maps = config_maps
        self._is_knative = node.get("kind").text == "Service"
        self._namespace = node.get("metadata", "namespace").text
        self._pod = _pod(node) or Node(None, node.place)
        self._spec = self._pod.get("spec")
        self._serving = self._spec.get("containers").items + [
            item for item in self._spec.get("initContainers").items if item.get("restartPolicy")
        ]

    def containers(self) -> Iterator[Container]:
        nodes = self._spec.get("containers").items
        found = [self._container(node) for node in nodes]
        for node, container in zip(nodes, found, strict=True):
            container.role = self._role(node, container, found)
            yield container

    def _container(self, node: Node) -> Container:
        spec = self._spec
        own, of_pod = node.get("securityContext"), spec.get("securityContext")
        hook = node.get("lifecycle", "preStop")
        sleeps = _sleeps(" ".join(hook.get("exec", "command").texts))
        seconds = hook.get("sleep", "seconds").text or (sleeps[1] if sleeps else "")
        unread, environ = self._environ(node)
        container = Container(
            f"{_name(self._node)}, container {node.get('name').text}",
            node.place,
            ports=[Value(port.text, port.place) for port in _each(node, "ports", "containerPort")],
            environ=environ,
            unread=unread,
            command=[*node.get("command").texts, *node.get("args").texts],
            user=(own.get("runAsUser") or of_pod.get("runAsUser")).setting,
            non_root=(own.get("runAsNonRoot") or of_pod.get("runAsNonRoot")).setting,
            grace=spec.get("terminationGracePeriodSeconds").setting,
            pre_stop=Value(seconds, hook.place) if seconds else None,
            terminal=next((node.get(k).named(k) for k in ("tty", "stdin") if node.get(k).is_true), None),
        )
        if self._is_knative:  # it sets PORT to the port that it sends requests to
            given = container.ports[0] if container.ports else Value("8080", node.place)
            environ["PORT"] = given
        for key, kind in _PROBES.items():
            if probe := node.get(key):
                container.callers.append(self._probe(node, key, kind, probe))
        container.callers += self._senders(node)
        return container

    def _probe(
        self, node: Node, key: str, kind: Literal["liveness", "readiness", "startup"], probe: Node
    ) -> Caller:
        timeout = seconds(probe.get("timeoutSeconds").text or "1")
        if http := probe.get("httpGet"):
            path = http.get("path")
            place = (path if path else http).place
            port = self._port(node, http.get("port").text)
            return Caller(key, place, kind, path.text or "/", port, timeout)
        caller = requested(key, kind, probe.get("exec", "command").texts, probe)
        caller.timeout = timeout
        return caller

    def _port(self, node: Node, name: str) -> str:
        """Return the number of a named port."""
        if name.isdecimal():
            return name
        for port in node.get("ports").items:
            if port.get("name").text == name:
                return port.get("containerPort").text
        return name

    def _senders(self, node: Node) -> Iterator[Caller]:
        """Yield who sends requests to a pod with one container; of several any may be meant."""
        labels = self._pod.get("metadata", "labels")
        for service in self._services if len(self._serving) == 1 else ():
            selector = service.get("spec", "selector").fields
            is_near = service.get("metadata", "namespace").text == self._namespace
            matches = all(labels.get(key).text == value.text for key, value in selector.items())
            if selector and is_near and matches:
                for port in service.get("spec", "ports").items:
                    target = port.get("targetPort") or port.get("port")
                    number = self._port(node, target.text)
                    yield Caller(_name(service), target.place, "service", port=number)

    def _environ(self, node: Node) -> tuple[str, dict[str, Value]]:
        environ: dict[str, Value] = {}
        unread: list[str] = []
        for source in node.get("envFrom").items:
            name, prefix = source.get("configMapRef", "name").text, source.get("prefix").text
            config = self._config_map(name)
            if config is None:
                unread.append(f"ConfigMap {name}" if name else "a Secret")
                continue
            environ |= {
                f"{prefix}{key}": Value(value.text, value.place)
                for key, value in config.get("data").fields.items()
            }
        for item in node.get("env").items:
            text = item.get("value").text
            if reference := item.get("valueFrom"):
                key = reference.get("configMapKeyRef")
                config = self._config_map(key.get("name").text)
                text = config.get("data", key.get("key").text).text if config else "$(reference)"
            environ[item.get("name").text] = Value(text, item.place)
        return ", ".join(unread), environ

    def _config_map(self, name: str) -> Node | None:
        return self._config_maps.get((self._namespace, name)) if name else None

    def _role(
        self, node: Node, container: Container, others: list[Container]
    ) -> Literal["app", "other", "unknown"]:
        if is_known(node.get("image").text):
            return "other"
        if any(map(is_dockerflow, others)):
            return "app" if is_dockerflow(container) else "other"
        looks_so = [
            self._is_web(one, found)
            for one, found in zip(self._spec.get("containers").items, others, strict=True)
            if not is_known(one.get("image").text)
        ]
        return "app" if self._is_web(node, container) and sum(looks_so) == 1 else "unknown"

    @staticmethod
    def _is_web(node: Node, container: Container) -> bool:
        has_name = any(_is_web_name(name.text) for name in _each(node, "ports", "name"))
        has_port = any(port.text in _WEB_PORTS for port in container.ports)
        return (
            has_name
            or has_port
            or "PORT" in container.environ
            or any(caller.path for caller in container.callers)
        )


def _each(node: Node, key: str, name: str) -> list[Node]:
    return [item.get(name) for item in node.get(key).items if item.get(name)]


def seconds(text: str) -> float | None:
    """Return a number of seconds; None if the text isn't one."""
    return float(text) if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text) else None


def is_known(image: str) -> bool:
    """Whether an image is of software that usually runs beside an app, such as a database."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return _is_known(name.lower()) is not None


def is_dockerflow(container: Container) -> bool:
    """Whether anything requests one of Dockerflow's endpoints from a container."""
    return any(caller.requests(path) for caller in container.callers for path in ENDPOINTS)


def requested(
    name: str, kind: Literal["liveness", "readiness", "startup", "healthcheck"], words: list[str], at: Node
) -> Caller:
    """Return what a command requests: a URL of this machine, or `dockerflow healthcheck`."""
    text = " ".join(words)
    if "dockerflow healthcheck" in text:
        path = re.search(r"\s(/\S+)", text.partition("healthcheck")[2])
        return Caller(name, at.place, kind, path[1] if path else "/__lbheartbeat__")
    for found in _urls(text):
        if found["scheme"] or found["path"]:
            return Caller(name, at.place, kind, found["path"] or "/", found["port"] or "")
    return Caller(name, at.place, kind)
