"""Kubernetes manifests and Compose files: what is judged, what can't be told, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from verify_helpers import with_status

from dockerflow.verify import compose, documents, kubernetes
from dockerflow.verify.evidence import CouldNotRunError, Evidence
from dockerflow.verify.probes import Targets
from dockerflow.verify.run import verify
from dockerflow.verify.verdicts import Report, judge

EXAMPLES = Path(__file__).parents[2] / "examples"


def pod(*containers: str, kind: str = "Deployment", more: str = "") -> str:
    """The text of a workload with these containers, each written as a flow mapping."""
    listed = "".join(f"\n        - {container}" for container in containers)
    return (
        f"apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n  template:\n"
        f"    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:{listed}\n{more}"
    )


def services(*lines: str) -> str:
    """The text of a Compose file with these services."""
    return "services:\n" + "".join(f"  {line}\n" for line in lines)


def in_kubernetes(text: str) -> Evidence:
    objects = kubernetes.objects(text.encode(), "k.yaml")
    balancers = list(kubernetes.balancers(objects))
    return Evidence(containers=kubernetes.containers(objects), balancers=balancers)


def in_compose(text: str, where: str = "compose.yaml") -> Evidence:
    return Evidence(containers=compose.containers(compose.project(text.encode(), where)))


def roles(evidence: Evidence) -> dict[str, str]:
    return {one.name.split()[-1]: one.role for one in evidence.containers}


def status(evidence: Evidence, rule: str) -> str:
    (verdict,) = judge(evidence, {rule})
    return verdict.status


def unknown(evidence: Evidence, rule: str) -> str:
    (verdict,) = judge(evidence, {rule})
    assert verdict.status == "unknown"
    return "; ".join(f"{one.message} ({one.would_tell})" for one in verdict.unknowns)


def examine(**targets: tuple[str, ...]) -> Report:
    return verify(Targets(**targets))  # type: ignore[arg-type]


class TestExamples:
    """The examples of this repository have no findings."""

    def test_kubernetes(self):
        files = tuple(map(str, sorted((EXAMPLES / "kubernetes").glob("*.yaml"))))
        report = examine(manifests=files)
        assert report.could_not_run == []
        assert with_status(report, "passed") == {f"DF40{n}" for n in range(1, 8)}
        assert with_status(report, "failed") == with_status(report, "unknown") == set()

    def test_compose(self):
        report = examine(composes=(str(EXAMPLES / "compose.yaml"),))
        assert report.could_not_run == []
        assert with_status(report, "failed") == set()
        assert with_status(report, "unknown") == {"DF402", "DF404"}  # the image decides
        assert with_status(report, "passed") == {"DF403", "DF405", "DF406", "DF407"}


class TestWhichContainer:
    """What isn't the app isn't judged as one."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (pod("{name: a, image: x, ports: [{containerPort: 8000}]}"), {"a": "app"}),
            (pod("{name: a, image: x, ports: [{name: http, containerPort: 7}]}"), {"a": "app"}),
            (pod("{name: a, image: x, livenessProbe: {httpGet: {port: 7}}}"), {"a": "app"}),
            (pod("{name: a, image: x, ports: [{containerPort: 7}], env: [{name: PORT}]}"),
             {"a": "app"}),
            # A worker may share its environment with the app.
            (pod("{name: a, image: x, env: [{name: PORT, value: '8000'}]}"), {"a": "unknown"}),
            (pod("{name: a, image: x, livenessProbe: {exec: {command: [ps]}}}"), {"a": "unknown"}),
            (pod("{name: a, image: x, ports: [{containerPort: 50051}]}"), {"a": "other"}),
            (pod("{name: a, image: 'docker.io/bitnami/redis:8@sha256:0'}"), {"a": "other"}),
            (pod("{name: nginx, image: me/mine, ports: [{containerPort: 80}]}"),
             {"nginx": "other"}),
            (pod("{name: image-proxy, image: x, ports: [{containerPort: 80}]}"),
             {"image-proxy": "other"}),
            (pod("{name: image-proxy, image: x, startupProbe: {httpGet: {path: /__heartbeat__}}}"),
             {"image-proxy": "app"}),
            (pod("{name: a, image: nginx, startupProbe: {httpGet: {path: /__heartbeat__}}}"),
             {"a": "other"}),
            (pod("{name: a, image: kafka-consumer, ports: [{containerPort: 80}]}"), {"a": "app"}),
            # Of several, the one that is asked for Dockerflow's paths; else the only one on the web.
            (pod("{name: a, image: x, ports: [{containerPort: 80}]}",
                 "{name: b, image: x, livenessProbe: {httpGet: {path: /__lbheartbeat__}}}"),
             {"a": "other", "b": "app"}),
            (pod("{name: a, image: x, ports: [{containerPort: 80}]}", "{name: b, image: y}",
                 "{name: c, image: nginx, ports: [{containerPort: 81}]}"),
             {"a": "app", "b": "unknown", "c": "other"}),
            (pod("{name: a, image: x, ports: [{containerPort: 80}]}",
                 "{name: b, image: x, ports: [{containerPort: 81}], env: [{name: PORT}]}"),
             {"a": "unknown", "b": "unknown"}),
            (pod("{name: a, image: x, ports: [{containerPort: 80}]}", kind="Job"), {}),
            (pod("{name: a, image: x, ports: [{containerPort: 80}]}", kind="StatefulSet"),
             {"a": "app"}),
            ("kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a}]}}}}}",
             {}),
            ("kind: Pod\nspec: {containers: [{name: a, ports: [{containerPort: 80}]}]}",
             {"a": "app"}),
            ("kind: Service\nspec: {template: {spec: {containers: [{name: a}]}}}", {}),
            ("apiVersion: v1\nkind: List\nitems:\n- {kind: PodList, items: [{kind: Pod, spec: "
             "{containers: [{name: a, ports: [{containerPort: 80}]}]}}]}", {"a": "app"}),
        ],
    )  # fmt: skip
    def test_kubernetes(self, text, expected):
        assert roles(in_kubernetes(text)) == expected

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (["a: {build: ., ports: ['8000']}"], "app"),
            (["a: {build: ., expose: [8000]}"], "app"),
            (["a: {build: .}"], "unknown"),
            (["a: {image: example/app, ports: ['8000']}"], "unknown"),
            (["a: {image: x, healthcheck: {test: dockerflow healthcheck}}"], "app"),
            (["a: {image: x, labels: [t.loadbalancer.healthcheck.path=/__lbheartbeat__]}"], "app"),
            (["a: {image: x, deploy: {labels: {caddy.health_uri: /__lbheartbeat__}}}"], "app"),
            (["a: {image: 'postgres:18', ports: ['8000']}"], "other"),
            (["a: {build: database/, ports: ['5432:5432']}"], "other"),
            (["nginx-front: {build: ., ports: ['80']}", "a: {build: .}"], "unknown"),
            (["a: {build: ., image: postgres, ports: ['8000']}"], "app"),
            (["a: {build: ., ports: ['80']}",
              "b: {depends_on: {a: {condition: service_completed_successfully}}}"], "other"),
        ],
    )  # fmt: skip
    def test_compose(self, lines, expected):
        assert roles(in_compose(services(*lines)))["a"] == expected

    def test_a_container_that_may_be_the_app(self):
        evidence = in_kubernetes(pod("{name: worker, image: x}"))
        assert "container worker: whether it serves the app" in unknown(evidence, "DF401")
        assert {v.status for v in judge(evidence)} == {"unknown", "not checked"}


APP = "name: app, image: x, ports: [{name: http, containerPort: 8000}]"
WEB = "web: {build: ., ports: ['8000:8000']"


class TestKubernetes:
    """References to other objects are followed if these are in the files."""

    @pytest.mark.parametrize(
        ("text", "rule", "expected"),
        [
            (pod(f"{{{APP}}}"), "DF403", "PORT has no value here; the image's applies"),
            (pod(f"{{{APP}, envFrom: [{{configMapRef: {{name: s}}}}, {{secretRef: {{name: t}}}}]}}"),
             "DF403", "perhaps in ConfigMap s, a Secret"),
            (pod(f"{{{APP}, env: [{{name: PORT, valueFrom: {{secretKeyRef: {{name: s}}}}}}]}}"),
             "DF403", "PORT has no value here"),
            (pod(f"{{{APP}}}"), "DF404", "as which user it runs"),
            (pod(f"{{{APP}, securityContext: {{runAsNonRoot: true}}}}"), "DF404",
             "the kubelet can't tell from a name"),
            (pod(f"{{{APP}, command: [sh, start.sh]}}"), "DF408", "whether the script forwards"),
            (pod(f"{{{APP}, command: [sh, -c, 'trap x TERM; a & wait']}}"), "DF408",
             "whether the script forwards"),
            (pod(f"{{{APP}, command: [bash, -euo, pipefail, -c, 'a && b']}}"), "DF408",
             "whether the script's last command replaces bash"),
            (pod(f"{{{APP}, env: [{{name: DOCKERFLOW_DRAIN_SECONDS, valueFrom: {{}}, value: $(X)}}]}}"),
             "DF405", "how long it drains"),
            (pod(f"{{{APP}, startupProbe: {{httpGet: {{path: /__heartbeat__, port: http}}}}, "
                 "readinessProbe: {httpGet: {path: /__lbheartbeat__}}}"), "DF402",
             "waits 1 s for /__heartbeat__, which may take longer"),
            (pod(f"{{{APP}, readinessProbe: {{httpGet: {{path: /x/__heartbeat__/ready}}}}}}"),
             "DF402", "waits 1 s for /__heartbeat__, which may take longer"),
            ("kind: Ingress\nmetadata: {annotations: {x/health-probe_request-path: /}}", "DF402",
             "only if it is about the app"),
        ],
    )  # fmt: skip
    def test_unknown(self, text, rule, expected):
        assert expected in unknown(in_kubernetes(text), rule)

    @pytest.mark.parametrize(
        ("own", "of_pod", "expected"),
        [
            ("runAsUser: 10001, runAsGroup: 10001", "", "passed"),
            ("runAsUser: 10001, runAsGroup: 0", "runAsGroup: 10001", "failed"),
            ("", "runAsUser: 10001, runAsGroup: 3000", "failed"),
            ("runAsUser: 0", "runAsUser: 10001", "failed"),
            ("runAsGroup: 10001", "", "unknown"),
        ],
    )
    def test_user_and_group(self, own, of_pod, expected):
        security = f"      securityContext: {{{of_pod}}}\n"
        text = pod(f"{{{APP}, securityContext: {{{own}}}}}", more=security)
        assert status(in_kubernetes(text), "DF404") == expected

    def test_config_maps(self):
        text = (
            pod(
                f"{{{APP}, envFrom: [{{configMapRef: {{name: s}}, prefix: P}}], env: [{{name: DRAIN, "
                "valueFrom: {configMapKeyRef: {name: s, key: drain}}}]}"
            )
            + "\n---\nkind: ConfigMap\nmetadata: {name: s}\ndata: {ORT: '8000', drain: '5'}\n"
        )
        (container,) = in_kubernetes(text).containers
        assert {k: v.text for k, v in container.environ.items()} == {
            "PORT": "8000", "Pdrain": "5", "DRAIN": "5",
        }  # fmt: skip
        elsewhere = in_kubernetes(text.replace("{name: s}\ndata", "{name: s, namespace: x}\ndata"))
        assert elsewhere.containers[0].unread == "ConfigMap s"

    @pytest.mark.parametrize(("port", "expected"), [("8000", "passed"), ("80", "failed")])
    @pytest.mark.parametrize("selector", ["{app: web}", "{app: other}", "{}"])
    def test_services_by_their_selector(self, port, expected, selector):
        service = (
            f"\n---\nkind: Service\nspec: {{selector: {selector}, ports: [{{port: {port}}}]}}\n"
        )
        text = pod(f"{{{APP}, env: [{{name: PORT, value: '8000'}}]}}") + service
        expected = expected if selector == "{app: web}" else "passed"
        assert status(in_kubernetes(text), "DF403") == expected

    @pytest.mark.parametrize("beside", ["", "      initContainers: [{restartPolicy: Always}]"])
    def test_a_service_may_be_for_a_sidecar(self, beside):
        text = pod(f"{{{APP}, env: [{{name: PORT, value: '8000'}}]}}", more=beside)
        text += "\n---\nkind: Service\nspec: {selector: {app: web}, ports: [{port: 80}]}\n"
        assert status(in_kubernetes(text), "DF403") == ("passed" if beside else "failed")

    def test_knative_sets_port(self):
        text = "apiVersion: serving.knative.dev/v1\n" + pod(
            "{name: a, ports: [{containerPort: 9000}]}", kind="Service"
        ).removeprefix("apiVersion: apps/v1\n")
        (container,) = in_kubernetes(text).containers
        assert container.environ["PORT"].text == "9000"

    @pytest.mark.parametrize(
        "text",
        [
            "kind: BackendConfig\nspec: {healthCheck: {requestPath: /__heartbeat__}}",
            "kind: HealthCheckPolicy\nspec: {default: {http: {path: /__heartbeat__}}}",
            "kind: HTTPProxy\nspec: {routes: [{healthCheckPolicy: {path: /__heartbeat__}}]}",
            "kind: Service\nmetadata: {annotations: {service.beta.kubernetes.io/"
            "azure-load-balancer-health-probe-request-path: /__heartbeat__}}",
        ],
    )
    def test_load_balancers(self, text):
        assert status(in_kubernetes(text), "DF401") == "failed"
        assert status(in_kubernetes(text.replace("/__heart", "/__lbheart")), "DF401") == "passed"

    @pytest.mark.parametrize(
        "text",
        [
            # The probes of pods in other objects; the same words elsewhere.
            "kind: A\nspec: {containers: [{readinessProbe: {httpGet: {path: /__heartbeat__}}}]}",
            "kind: ConfigMap\ndata: {health-path: /__heartbeat__}",
            "kind: A\nspec: {checkpoint: {path: /__heartbeat__}}",
        ],
    )
    def test_no_load_balancers(self, text):
        assert status(in_kubernetes(text), "DF401") == "not checked"

    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            ("[gunicorn, app]", "passed"),
            ("[sh, -c, 'migrate && exec gunicorn app']", "passed"),
            ("[/bin/bash, -ec, 'if a; then exec b; fi']", "passed"),
            ("[dumb-init, --, sh, -c, 'a; b']", "passed"),
            ("[/usr/bin/tini, --, env, A=1, sh, -c, 'a; b']", "failed"),
            ("[sh, -c, gunicorn app]", "failed"),
            ("[sh, -c, 'execute this']", "failed"),
            ("[bash, -c, 'for a in b; do c | d; done']", "failed"),
        ],
    )
    def test_shells(self, command, expected):
        evidence = in_kubernetes(pod(f"{{{APP}, command: {command}}}"))
        assert status(evidence, "DF408") == expected

    def test_another_probe_than_ours_of_nginx(self):
        text = pod(
            "{name: nginx, image: nginx, livenessProbe: {httpGet: {path: /__heartbeat__}}}",
            "{name: db, image: postgres, livenessProbe: {exec: {command: [pg_isready]}}}",
        )
        assert status(in_kubernetes(text), "DF401") == "failed"
        assert status(in_kubernetes(text), "DF404") == "not checked"


class TestCompose:
    """Fragments, extends, overlays and variables are followed within the files."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("$A", "$A"),
            ("${A}", "$A"),
            ("${A:-b}", "b"),
            ("${A-b}", "b"),
            ("${A:?b}", "$A"),
            ("${A:+b}", "$A"),
            ("${A:-${B:-c}}:d", "c:d"),
            ("$${A}", "${A}"),
            ("$$$A", "$$A"),
            ("5 $", "5 $"),
        ],
    )
    def test_variables(self, text, expected):
        assert compose.interpolate(text) == expected

    @pytest.mark.parametrize(
        ("line", "rule", "expected"),
        [
            (f"{WEB}}}", "DF402", "no healthcheck"),
            (f"{WEB}}}", "DF403", "the image's applies"),
            (f"{WEB}, env_file: [missing.env]}}", "DF403", "perhaps in missing.env"),
            (f"{WEB}, environment: [PORT]}}", "DF403", "PORT has no value here"),
            (f"{WEB}, environment: {{PORT: '${{P}}'}}}}", "DF403", "docker compose config"),
            (f"{WEB}, extends: {{file: a.yaml, service: b}}}}", "DF401", "extends a service of another file"),
            (f"{WEB}, environment: [DOCKERFLOW_DRAIN_SECONDS], labels: "
             "[a.healthcheck.path=/__heartbeat__]}", "DF401", "correct only if the app drains"),
            (f"{WEB}, user: '${{U}}'}}", "DF404", "as which user"),
            (f"{WEB}, stop_grace_period: '${{G}}'}}", "DF405", "has to end"),
            (f"{WEB}, logging: {{driver: '${{D}}'}}}}", "DF406", "logging driver"),
            (f"{WEB}, healthcheck: {{test: 'curl http://x/${{P}}'}}}}", "DF402", "which path it requests"),
            (f"{WEB}, healthcheck: {{test: [CMD, /check.sh]}}}}", "DF402", "which path it requests"),
        ],
    )  # fmt: skip
    def test_unknown(self, line, rule, expected):
        assert expected in unknown(in_compose(services(line)), rule)

    @pytest.mark.parametrize(
        "test",
        ["[CMD, nc, -z, localhost, '8000']", "[CMD-SHELL, 'pgrep gunicorn || exit 1']", "cat /x"],
    )
    def test_a_command_without_http(self, test):
        """It certainly doesn't request an endpoint, unlike a script."""
        (verdict,) = judge(
            in_compose(services(f"{WEB}, healthcheck: {{test: {test}}}}}")), {"DF402"}
        )
        (finding,) = verdict.findings
        assert "makes no HTTP request" in finding.message

    @pytest.mark.parametrize("test", ["test -f x && ./check", "cat $(./check)", "nc.sh"])
    def test_a_command_that_may_run_another(self, test):
        text = services(f"{WEB}, healthcheck: {{test: {test}}}}}")
        assert "which path it requests" in unknown(in_compose(text), "DF402")

    def test_env_file(self, tmp_path):
        (tmp_path / "a.env").write_text("# no\nexport PORT='9000'\nX=1\n")
        (tmp_path / "b.env").write_text("X=${Y:-2}\n")
        text = services(f"{WEB}, env_file: [{{path: a.env}}, b.env]}}")
        evidence = in_compose(text, str(tmp_path / "compose.yaml"))
        (container,) = evidence.containers
        assert {k: v.text for k, v in container.environ.items()} == {"PORT": "9000", "X": "2"}
        (verdict,) = judge(evidence, {"DF403"})
        assert [(f.file, f.line) for f in verdict.findings] == [(str(tmp_path / "a.env"), 2)]

    @pytest.mark.parametrize("content", [None, b"\xff"])
    def test_env_files_that_cannot_be_read(self, content, tmp_path):
        if content is None:
            (tmp_path / "a.env").mkdir()
        else:
            (tmp_path / "a.env").write_bytes(content)
        evidence = in_compose(services(f"{WEB}, env_file: a.env}}"), str(tmp_path / "c.yaml"))
        assert evidence.containers[0].unread == "a.env"

    def test_extends_and_fragments(self):
        text = "x: &x {user: '1', tty: true}\n" + services(
            "base: {<<: *x, user: '2', environment: [A=1, B=2], command: [a]}",
            "web: {extends: base, environment: {B: 3}, command: [b]}",
            "loop: {extends: {service: loop}, user: '4'}",
        )
        base, web, loop = in_compose(text).containers
        assert [one.user and one.user.text for one in (base, web, loop)] == ["2", "2", "4"]
        assert {k: v.text for k, v in web.environ.items()} == {"A": "1", "B": "3"}
        assert web.command == ["b"]
        assert web.terminal is not None
        assert web.terminal.place.line == 1

    def test_overlays(self, tmp_path):
        texts = [
            services("web: {build: ., ports: ['80:8000'], user: '0', tty: true, expose: [1]}"),
            services(
                "web: {ports: ['81:8001'], user: '10001', tty: !reset null, expose: !override [2]}"
            ),
        ]
        paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        report = examine(composes=tuple(map(str, paths)))
        assert with_status(report, "passed") == {"DF404", "DF406", "DF407"}
        nodes = [compose.project(text.encode(), "c") for text in texts]
        (container,) = compose.containers(compose.overlay(*nodes))
        assert [port.text for port in container.ports] == ["8000", "8001", "2"]

    @pytest.mark.parametrize(
        ("ports", "expected"),
        [
            ("['127.0.0.1:80:8000/tcp', '9000', '[::1]:1:2', 3-5]", ["8000", "9000", "2", "$3-5"]),
            ("[{target: 8000, published: 80}, 8001]", ["8000", "8001"]),
            ("['${P:-80}:${P:-80}', '${P}:${Q}']", ["80", "$Q"]),
        ],
    )
    def test_ports(self, ports, expected):
        (container,) = in_compose(services(f"web: {{build: ., ports: {ports}}}")).containers
        assert [port.text for port in container.ports] == expected

    @pytest.mark.parametrize(
        ("test", "path", "port"),
        [
            ("curl -f http://localhost:8000/__heartbeat__ || exit 1", "/__heartbeat__", "8000"),
            ("wget -qO- 127.0.0.1/__lbheartbeat__", "/__lbheartbeat__", ""),
            ("python -c \"urlopen('http://0.0.0.0:$$PORT/x')\"", "/x", "$PORT"),
            ("curl https://[::1]:$${PORT:-8000}", "/", "${PORT:-8000}"),
            ("curl web:8000/a?b=c", "/a?b=c", "8000"),
            ("pg_isready -h localhost -p 5432", "$command", ""),
            ("curl $$URL/health", "$command", ""),
            ("/app/healthcheck.sh", "$command", ""),
            ("dockerflow healthcheck", "/__lbheartbeat__", ""),
            ("dockerflow healthcheck --timeout 5 /__heartbeat__", "/__heartbeat__", ""),
            ("dockerflow healthcheck /__heartbeat__/ready", "/__heartbeat__/ready", ""),
            ("dockerflow healthcheck http://a:8000/__heartbeat__", "/__heartbeat__", ""),
            ("dockerflow healthcheck 'unix:/a.sock:/__heartbeat__'", "/__heartbeat__", ""),
            ("dockerflow healthcheck unix:/a.sock > /dev/null", "/__lbheartbeat__", ""),
            ("dockerflow healthcheck --file /tmp/beat --max-age 9", "$file", ""),
            ("curl $$URL/__heartbeat__", "/__heartbeat__", ""),
        ],
    )
    def test_health_checks(self, test, path, port):
        line = f"web: {{build: ., healthcheck: {{test: [CMD-SHELL, {test!r}]}}}}"
        line = line.replace(repr(test), "'" + test.replace("'", "''") + "'")
        (caller,) = in_compose(services(line)).containers[0].callers
        assert (caller.path, caller.port) == (path, port)

    def test_a_proxy_learns_of_the_drain_by_the_heartbeat(self):
        label = "labels: [a.loadbalancer.healthcheck.path=/__heartbeat__]"
        assert status(in_compose(services(f"{WEB}, {label}}}")), "DF401") == "failed"
        drains = f"{WEB}, {label}, environment: [DOCKERFLOW_DRAIN_SECONDS=5]}}"
        assert status(in_compose(services(drains)), "DF401") == "passed"


class TestRefused:
    """What can't be checked is one line that says why."""

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"\xff", "is not YAML"),
            (b"a: [", "line 2:"),
            (b"a: *b", "no anchor 'b'"),
            (b"a: &a [*a]", "no anchor 'a'"),
            (b"? [a]\n: b", "a key must be text"),
            (b'a: "\\UFFFFFFFF"', "can't be read as YAML"),
            (b"a: \0", "can't be read as YAML"),
            (b"[" * 100_000, "nest"),  # by us, or from PyYAML 6.0.4 on by itself
            (b"a: {{ .Values.port }}", "is a template: check its output"),
            (b"a: '{{ .Release.Name }}'", "is a template: check its output"),
            (b"{{- if x }}\na: 1\n{{- end }}", "is a template: check its output"),
            (b"{% if x %}\na: 1\n", "is a template: check its output"),
            (b"x" * (documents.MAX_BYTES + 1), "over 8388608 bytes"),
        ],
    )
    @pytest.mark.parametrize("kind", ["manifests", "composes"])
    def test_not_yaml(self, content, expected, kind, tmp_path):
        path = tmp_path / "file.yaml"
        path.write_bytes(content)
        report = examine(**{kind: (str(path),)})
        (message,) = report.could_not_run
        assert expected in message
        assert "\n" not in message
        assert report.exit_code == 2

    @pytest.mark.parametrize(
        ("name", "text", "expected"),
        [
            ("a.yaml", "services: {a: {image: b}}", "give it to --compose"),
            ("a.yaml", "replicas: 1", "the object on line 1 has no kind"),
            ("a.yaml", "--- # nothing\n---\n", "no objects"),
            ("a.yaml", "- 1", "has no kind"),
            ("a.yaml", "kind: Kustomization\nresources: [b]", "output of `kubectl kustomize`"),
            ("kustomization.yaml", "resources: [b]", "output of `kubectl kustomize`"),
            ("a.yaml", "kind: A\n---\n" * 5_001, "over 5000 objects"),
        ],
    )
    def test_no_manifest(self, name, text, expected):
        with pytest.raises(CouldNotRunError, match=expected):
            kubernetes.objects(text.encode(), name)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("kind: Pod", "give it to --manifest"),
            ("", "no services"),
            ("services: []", "no services"),
            ("web: {image: a}", "no services"),
        ],
    )
    def test_no_compose_file(self, text, expected):
        with pytest.raises(CouldNotRunError, match=expected):
            compose.project(text.encode(), "a.yaml")

    def test_kustomizations_of_flux_are_objects(self):
        text = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization"
        assert len(kubernetes.objects(text.encode(), "a.yaml")) == 1

    def test_templates_of_other_tools_in_values_are_fine(self):
        text = "kind: ConfigMap\ndata: {alert: 'on {{ $labels.instance }}'}"
        assert kubernetes.objects(text.encode(), "a.yaml")

    @pytest.mark.parametrize(
        "text",
        [
            "a0: &a0 [x,x]\n"
            + "".join(f"a{n}: &a{n} [*a{n - 1},*a{n - 1}]\n" for n in range(1, 90)),
            "a0: &a0 {x: x}\n"
            + "".join(f"a{n}: &a{n} {{<<: *a0, y: *a{n - 1}, z: *a{n - 1}}}\n" for n in range(1, 90)),
            "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1000)),
            "a: &a {" + "".join(f"k{n}: 1, " for n in range(10_000)) + "}\nb:\n"
            + "- {<<: *a}\n" * 10_000,
        ],
        ids=["sequences", "mappings", "depth", "merges"],
    )  # fmt: skip
    def test_aliases_do_not_explode(self, text):
        with pytest.raises(CouldNotRunError, match="too large"):
            documents.parse(text.encode(), "a.yaml")


KEYS = st.sampled_from(
    ["kind", "spec", "template", "containers", "services", "web", "ports", "env", "name", "value",
     "environment", "image", "build", "healthcheck", "test", "labels", "command", "livenessProbe",
     "httpGet", "path", "port", "selector", "metadata", "securityContext", "runAsUser", "extends",
     "lifecycle", "preStop", "sleep", "seconds", "valueFrom", "<<", "depends_on", "tty"]
)  # fmt: skip
SCALARS = st.sampled_from(
    ["Deployment", "Service", "List", "/__heartbeat__", "8000", "web", "sh -c 'a", "true", "1e9",
     "${A:-$B}", "$(X)", "DOCKERFLOW_DRAIN_SECONDS=x", "PORT=1", "-1", "1m5", "null", "''"]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS | st.text(max_size=5).map(lambda text: f"'{text}'"),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(KEYS, inner, max_size=4).map(
            lambda found: "{" + ", ".join(f"{k}: {v}" for k, v in found.items()) + "}"
        )
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(["Deployment", "Pod", "Service", "List", "Ingress", "Job"])


@settings(max_examples=60, deadline=None)
@given(st.text() | VALUES, VALUES, VALUES, KINDS)
def test_anything_gets_a_verdict_or_one_line(text, first, second, kind):
    """No text raises anything but the error of one line."""
    for read, given_text in (
        (in_kubernetes, text),
        (in_compose, text),
        (in_kubernetes, pod(first, f"{{{APP}, env: {second}, livenessProbe: {first}}}", more=text)),
        (in_kubernetes, f"kind: {kind}\nmetadata: {second}\nspec: {first}\nitems: {first}"),
        (in_kubernetes, pod(f"{{{APP}, lifecycle: {first}, command: {second}}}", kind=kind)),
        (in_compose, services(f"web: {first}", f"app: {second}")),
        (in_compose, services(f"{WEB}, healthcheck: {first}, labels: {second}}}")),
        (in_compose, services(f"{WEB}, environment: {first}, user: {second}}}")),
    ):
        try:
            judge(read(given_text))
        except CouldNotRunError as error:
            assert "\n" not in str(error)  # noqa: PT017
