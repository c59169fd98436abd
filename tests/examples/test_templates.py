"""The templates in examples/ are what their own tools take: linters, schemas, template engines.

Nobody publishes Taskcluster's schemas where a test could fetch them. The one here is made after its
documentation, and strict on what the template uses; what is rendered is rendered by JSON-e itself.
"""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from dockerflow import __version__

jsone = pytest.importorskip("jsone")
jsonschema = pytest.importorskip("jsonschema")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
WORKFLOW = EXAMPLES / "ci" / "github-actions.yml"
CIRCLECI = EXAMPLES / "ci" / "circleci.yml"
TASKCLUSTER = EXAMPLES / "ci" / "taskcluster.yml"
MANIFESTS = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
COMPOSE = EXAMPLES / "compose.yaml"
SCRIPTS = sorted((EXAMPLES / "ci").glob("*.sh"))


def run(program: str, *args: Any) -> subprocess.CompletedProcess[str]:
    """Run one of the linters; skip without it, but not in the CI."""
    found = shutil.which(program, path=Path(sys.executable).parent)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no {program}")
    environ = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(
        [found, *map(str, args)], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )  # fmt: skip


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# What each tool is given, the file, and a change of it that the tool must not let pass.
CASES = {
    "hadolint": (ROOT / "Dockerfile.example", "WORKDIR /app", "WORKDIR app"),
    "jactionlint": (WORKFLOW, "needs: test", "needs: tests"),
    "zizmor --offline": (WORKFLOW, "@3d3c42e5aac5ba805825da76410c181273ba90b1", "@v7"),
    "check-jsonschema --builtin-schema vendor.github-workflows": (WORKFLOW, "runs-on:", "runs:"),
    "check-jsonschema --builtin-schema vendor.circle-ci": (CIRCLECI, "steps:", "step:"),
    "check-jsonschema --builtin-schema vendor.compose-spec": (COMPOSE, "read_only:", "readonly:"),
    **{
        f"kubernetes-validate --strict {path.name}": (path, "runAsNonRoot: true", "runAsRoot: no")
        for path in MANIFESTS
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_tool_finds_nothing(case: str, tmp_path: Path) -> None:
    path, good, bad = CASES[case]
    command = [part for part in case.split() if part != path.name]
    result = run(*command, path)
    assert result.returncode == 0, result.stdout + result.stderr
    text = path.read_text(encoding="utf-8")
    assert good in text
    broken = tmp_path / path.name
    broken.write_text(text.replace(good, bad), encoding="utf-8")
    assert run(*command, broken).returncode != 0, "it finds what is wrong"


def test_actions_are_pinned_by_commit() -> None:
    uses = re.findall(r"uses: (\S+)(.*)", WORKFLOW.read_text(encoding="utf-8"))
    assert len(uses) >= 6
    for action, comment in uses:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+( # zizmor: ignore\[[a-z-]+\])?", comment)


@pytest.mark.parametrize("path", [WORKFLOW, CIRCLECI, TASKCLUSTER], ids=lambda path: path.name)
def test_the_command_is_pinned(path: Path) -> None:
    pinned = re.findall(r"dockerflow-middleware\[cli\](.*)'", path.read_text(encoding="utf-8"))
    assert pinned == [f"=={__version__}"]


def test_tool_images_are_pinned_by_digest() -> None:
    text = "".join(script.read_text(encoding="utf-8") for script in SCRIPTS)
    tools = re.findall(r"(?m)^(\w+)=(\S+/\S+):v[\d.]+@sha256:[0-9a-f]{64}$", text)
    assert {name for name, _ in tools} == {"syft", "grype", "cosign"}


IDENTIFIER = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,38}$"}
SLUG = {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"}
DATE = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}
TEXT = {"type": "string", "minLength": 1}


def closed(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object", "additionalProperties": False, "required": list(required),
        "properties": {**required, **optional},
    }  # fmt: skip


ARTIFACT = closed(
    {"name": {"type": "string", "pattern": "^(public|project)/"}, "path": TEXT,
     "type": {"enum": ["file", "directory"]}}, expires=DATE,
)  # fmt: skip
# generic-worker's payload under "multiuser" on Linux.
PAYLOAD = closed(
    {
        "maxRunTime": {"type": "integer", "minimum": 1, "maximum": 86400},
        "command": {
            "type": "array", "minItems": 1,
            "items": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        },
    },
    env={"type": "object", "additionalProperties": {"type": "string"}},
    osGroups={"type": "array", "items": TEXT},
    features=closed({}, taskclusterProxy={"type": "boolean"}),
    artifacts={"type": "array", "items": ARTIFACT},
)  # fmt: skip
TASK = closed(
    {
        "taskId": SLUG, "provisionerId": IDENTIFIER, "workerType": IDENTIFIER,
        "created": DATE, "deadline": DATE, "payload": PAYLOAD,
        "metadata": closed({
            "name": TEXT, "description": TEXT,
            "owner": {"type": "string", "pattern": "^[^@ ]+@[^@ ]+$"},
            "source": {"type": "string", "pattern": "^https://"},
        }),
    },
    expires=DATE,
    scopes={"type": "array", "items": {"type": "string", "pattern": "^[ -~]+$"}},
    dependencies={"type": "array", "items": SLUG, "uniqueItems": True},
)  # fmt: skip
CONFIG = closed(
    {"version": {"const": 1}, "tasks": {"type": ["object", "array"]}},
    reporting={"const": "checks-v1"},
    policy=closed({"pullRequests": {"enum": ["public", "public_restricted", "collaborators"]}}),
)

CLONE = "https://github.com/example/links.git"
SHA = "0123456789abcdef0123456789abcdef01234567"
VERSION = {"source": "https://github.com/example/links", "version": "1.2.3", "commit": SHA,
           "build": "https://ci.example.com/builds/7"}  # fmt: skip
SECRET_SCOPE = "secrets:get:project/links/registry"
TESTS = ["test-amd64", "test-arm64"]


def push(ref: str, *, deleted: bool = False) -> dict[str, Any]:
    repository = {"clone_url": CLONE}
    return {"ref": ref, "after": SHA, "deleted": deleted, "repository": repository,
            "sender": {"login": "somebody"}}  # fmt: skip


def pull_request(action: str) -> dict[str, Any]:
    head = {"sha": SHA, "repo": {"clone_url": CLONE.replace("example", "fork")}}
    return {"action": action, "pull_request": {"head": head}, "repository": {"clone_url": CLONE},
            "sender": {"login": "somebody"}}  # fmt: skip


def render(tasks_for: str, event: dict[str, Any]) -> list[dict[str, Any]]:
    """What Taskcluster's GitHub service makes of the template."""
    slugs: dict[str, str] = {}

    def as_slugid(name: str) -> str:
        return slugs.setdefault(name, f"{len(slugs):022d}")

    context = {"tasks_for": tasks_for, "event": event, "as_slugid": as_slugid}
    tasks = jsone.render(copy.deepcopy(load(TASKCLUSTER)["tasks"]), context)
    for task in tasks:
        jsonschema.validate(task, TASK)
    return tasks


def test_taskclusters_template_is_one() -> None:
    jsonschema.validate(load(TASKCLUSTER), CONFIG)


@pytest.mark.parametrize(
    ("tasks_for", "event", "names"),
    [
        ("github-push", push("refs/heads/main"), [*TESTS, "publish"]),
        ("github-push", push("refs/tags/v1.2.3"), [*TESTS, "publish"]),
        ("github-push", push("refs/heads/a-branch"), []),
        ("github-push", push("refs/heads/main", deleted=True), []),
        ("github-pull-request", pull_request("opened"), TESTS),
        ("github-pull-request", pull_request("synchronize"), TESTS),
        ("github-pull-request-untrusted", pull_request("reopened"), TESTS),
        ("github-pull-request", pull_request("labeled"), []),
        ("github-release", {"repository": {"clone_url": CLONE}}, []),
        ("github-issue-comment", {"repository": {"clone_url": CLONE}}, []),
    ],
)
def test_what_taskcluster_makes_of_an_event(tasks_for, event, names) -> None:
    tasks = render(tasks_for, event)
    assert [task["metadata"]["name"] for task in tasks] == names
    for task in tasks:
        has_secret = SECRET_SCOPE in task["scopes"]
        assert has_secret == (task["metadata"]["name"] == "publish")
        assert task["payload"]["env"]["LINKS_HEAD_REV"] == SHA
        script = task["payload"]["command"][0][-1]
        assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0
    if tasks_for.startswith("github-pull"):
        assert all("fork" in t["payload"]["env"]["LINKS_HEAD_REPOSITORY"] for t in tasks)
    if "publish" in names:
        *tests, publish = tasks
        assert publish["dependencies"] == [task["taskId"] for task in tests]
        expected = "v1.2.3" if "tags" in event["ref"] else "latest"
        assert publish["payload"]["env"]["TAGS"] == f"{SHA} {expected}"
        environ = publish["payload"]["env"]
        assert [environ["TEST_AMD64"], environ["TEST_ARM64"]] == publish["dependencies"]
        # The image may have secrets of its build: nobody but this task gets it.
        artifacts = [
            artifact["name"] for task in tests for artifact in task["payload"]["artifacts"]
        ]
        private = [name for name in artifacts if name.startswith("project/links/image-")]
        assert len(private) == 6
        assert {*artifacts} - {*private} == {"public/reports"}
        assert "queue:get-artifact:project/links/*" in publish["scopes"]


def test_the_version_step_knows_taskclusters_task() -> None:
    test, *_ = render("github-push", push("refs/tags/v1.2.3"))
    environ = {**test["payload"]["env"], "TASK_ID": test["taskId"], "PATH": os.environ["PATH"],
               "TASKCLUSTER_ROOT_URL": "https://tc.example.com"}  # fmt: skip
    dockerflow = shutil.which("dockerflow", path=Path(sys.executable).parent)
    result = subprocess.run(
        [dockerflow, "version", "write", "-"], env=environ, capture_output=True, check=True
    )
    version = json.loads(result.stdout)
    assert (version["version"], version["commit"]) == ("v1.2.3", SHA)
    assert version["build"] == f"https://tc.example.com/tasks/{test['taskId']}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert os.access(script, os.X_OK)
    # A script that isn't called by a pipeline would be found here.
    for pipeline in (WORKFLOW, CIRCLECI, TASKCLUSTER):
        assert f"examples/ci/{script.name}" in pipeline.read_text(encoding="utf-8")


FAKE_DOCKER = """#!/usr/bin/env python3
import json, os, sys
argv = sys.argv[1:]
call = {"argv": argv, "stdin": sys.stdin.read() if "--password-stdin" in argv else ""}
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(call) + "\\n")
if argv[:2] == ["image", "inspect"]:
    print(argv[-1].rpartition(":")[0] + "@sha256:" + argv[-1].rpartition("-")[2])
if argv[:3] == ["buildx", "imagetools", "inspect"]:
    print("sha256:both")
sys.exit(argv[0] in os.environ.get("FAILS", "").split())
"""


OIDC = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t0ken"}


def publish(folder: Path, **environ: str) -> tuple[subprocess.CompletedProcess[str], list[Any]]:
    docker, calls = folder / "docker", folder / "calls"
    docker.write_text(FAKE_DOCKER, encoding="utf-8")
    docker.chmod(0o755)
    calls.touch()
    for architecture in ("amd64", "arm64"):
        (folder / f"image-{architecture}.tar").touch()
    result = subprocess.run(
        ["bash", "-x", EXAMPLES / "ci" / "publish.sh"],  # even when a caller traces it
        cwd=folder, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "CALLS": str(calls), "DOCKER": str(docker),
             "TMPDIR": str(folder), **OIDC, **environ},
    )  # fmt: skip
    return result, list(map(json.loads, calls.read_text().splitlines()))


def test_publishing_shows_no_secret(tmp_path: Path) -> None:
    target = "europe-west1-docker.pkg.dev/project/repository/links"
    result, calls = publish(
        tmp_path, TARGET=target, TAGS="v1.2.3 latest", REGISTRY_USER="oauth2accesstoken",
        REGISTRY_PASSWORD="s3cret $token",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert not re.search("s3cret|t0ken", result.stdout + result.stderr)
    commands = [call["argv"] for call in calls]
    assert not re.search("s3cret|t0ken", json.dumps(commands))
    expected = [["login", "--username", "oauth2accesstoken", "--password-stdin",
                 "europe-west1-docker.pkg.dev"]]  # fmt: skip
    for name in ("amd64", "arm64"):
        expected += [
            ["load", "--input", f"image-{name}.tar"],
            ["tag", "links", f"{target}:v1.2.3-{name}"],
            ["push", f"{target}:v1.2.3-{name}"],
            ["image", "inspect", "--format", "{{index .RepoDigests 0}}", f"{target}:v1.2.3-{name}"],
            ["attest", "--yes", "--type", "spdxjson", "--predicate",
             f"/statements/image-{name}.spdx.json", f"{target}@sha256:{name}"],
            ["attest", "--yes", "--type", "slsaprovenance1", "--predicate",
             f"/statements/image-{name}.provenance.json", f"{target}@sha256:{name}"],
        ]  # fmt: skip
    expected += [
        ["buildx", "imagetools", "create", f"--tag={target}:v1.2.3", f"--tag={target}:latest",
         f"{target}@sha256:amd64", f"{target}@sha256:arm64"],
        ["buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", f"{target}:v1.2.3"],
        ["sign", "--yes", "--recursive", f"{target}@sha256:both"],
    ]  # fmt: skip
    assert [cosign(argv) if argv[0] == "run" else argv for argv in commands] == expected
    assert calls[0]["stdin"] == "s3cret $token"
    left = {path.name for path in tmp_path.iterdir() if path.suffix != ".tar"}
    assert left == {"docker", "calls"}, "credentials are gone"


def cosign(argv: list[str]) -> list[str]:
    """What cosign is given, without the options of `docker run`."""
    [image] = [index for index, word in enumerate(argv) if "/cosign:" in word]
    return argv[image + 1 :]


def test_without_oidc_a_key_signs(tmp_path: Path) -> None:
    environ = {
        "TARGET": "docker.io/a/b", "TAGS": "1", "REGISTRY_USER": "u", "REGISTRY_PASSWORD": "p",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "",
    }  # fmt: skip
    result, calls = publish(tmp_path, **environ)
    assert (result.returncode, calls) == (1, [])
    assert "nothing to sign with" in result.stderr
    result, calls = publish(tmp_path, **environ, COSIGN_PRIVATE_KEY="k3y", COSIGN_PASSWORD="p4ss")
    assert result.returncode == 0, result.stderr
    signed = [cosign(call["argv"]) for call in calls if call["argv"][0] == "run"]
    assert len(signed) == 5
    assert all(words[1:4] == ["--yes", "--key", "env://COSIGN_PRIVATE_KEY"] for words in signed)
    assert not re.search("k3y|p4ss", json.dumps(calls) + result.stderr)


@pytest.mark.parametrize("missing", ["TARGET", "TAGS", "REGISTRY_USER", "REGISTRY_PASSWORD"])
def test_publishing_says_what_is_missing(tmp_path: Path, missing: str) -> None:
    environ = {
        "TARGET": "docker.io/a/b",
        "TAGS": "1",
        "REGISTRY_USER": "u",
        "REGISTRY_PASSWORD": "p",
    }
    result, calls = publish(tmp_path, **{**environ, missing: ""})
    assert result.returncode != 0
    assert missing in result.stderr
    assert "push" not in [call["argv"][0] for call in calls]


def test_a_failed_push_fails(tmp_path: Path) -> None:
    result, _ = publish(
        tmp_path, TARGET="docker.io/a/b", TAGS="1", REGISTRY_USER="u", REGISTRY_PASSWORD="p",
        FAILS="push",
    )  # fmt: skip
    assert result.returncode == 1


def test_google_gives_a_token_for_a_jobs_own(tmp_path: Path) -> None:
    bodies: list[Any] = []

    class Google(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - the base class's name
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"access_token": "ya29", "token_type": "Bearer"}')

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Google) as server:
        threading.Thread(target=server.handle_request).start()
        provider = "projects/1/locations/global/workloadIdentityPools/ci/providers/circleci"
        result = subprocess.run(
            [sys.executable, EXAMPLES / "ci" / "google_token.py"], text=True, check=False,
            capture_output=True, env={
                "OIDC_TOKEN": "jwt", "GOOGLE_PROVIDER": provider,
                "GOOGLE_STS": f"http://127.0.0.1:{server.server_port}/v1/token",
            },
        )  # fmt: skip
    assert result.stdout == "ya29\n", result.stderr
    [body] = bodies
    assert body["audience"] == f"//iam.googleapis.com/{provider}"
    assert body["subjectToken"] == "jwt"
    assert body["grantType"].endswith(":token-exchange")


FAKE_COMMAND = """#!/bin/sh
call="${0##*/} $*"
echo "said by $call"
echo "$call" >>"$CALLS"
case $call in "$FAILS"*) exit 1 ;; esac
"""


KEEPS_LAYERS = """case $call in *--cache-to*) mkdir layers.new; touch layers.new/index.json ;; esac
"""


@pytest.mark.parametrize(
    "step",
    ["docker build", "docker run --name tests-", "dockerflow verify", "docker run --rm"],
)
def test_what_fails_is_said_and_nothing_is_saved(tmp_path: Path, step: str) -> None:
    for name in ("docker", "dockerflow"):
        (tmp_path / name).write_text(FAKE_COMMAND, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "version.json").write_text(json.dumps(VERSION), encoding="utf-8")
    result = subprocess.run(
        [EXAMPLES / "ci" / "build-and-test.sh"], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls"),
             "FAILS": step}, check=False,
    )  # fmt: skip
    assert result.returncode == 1, result
    reported = result.stdout + "".join(map(Path.read_text, tmp_path.glob("*.spdx.json")))
    assert f"said by {step}" in reported, "whoever reads the pipeline's log sees why"
    *calls, last = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"docker rm --force tests-\d+", last)
    assert bool([call for call in calls if call.startswith("docker save")]) == ("--rm" in step)
    assert not list(tmp_path.glob("*.provenance.json"))
    assert [call for call in calls if call.startswith("docker cp")] or step == "docker build"
    assert (tmp_path / "reports" / "build.log").exists()
    if step == "dockerflow verify":
        assert step in (tmp_path / "reports" / "dockerflow.xml").read_text(encoding="utf-8")


def test_layers_are_kept_for_the_next_build(tmp_path: Path) -> None:
    """In a folder that has those of the last build only."""
    for name in ("docker", "dockerflow"):
        (tmp_path / name).write_text(FAKE_COMMAND + KEEPS_LAYERS, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "version.json").write_text(json.dumps(VERSION), encoding="utf-8")
    calls = tmp_path / "calls"
    for number in (1, 2):
        calls.unlink(missing_ok=True)
        result = subprocess.run(
            [EXAMPLES / "ci" / "build-and-test.sh"], cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls), "FAILS": "none",
                 "CACHE": "layers"}, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result
        first, second = (line for line in calls.read_text().splitlines() if "buildx build" in line)
        assert "--load" in first
        assert "--cache-to type=local,dest=layers.new,mode=max" in first
        assert ("--cache-from type=local,src=layers" in first) == (number == 2)
        assert "--cache" not in second, "its builder has the layers"
        assert [path.name for path in (tmp_path / "layers").iterdir()] == ["index.json"]
        assert not (tmp_path / "layers.new").exists()
    [path] = tmp_path.glob("*.provenance.json")
    provenance = json.loads(path.read_text())
    assert provenance["runDetails"] == {
        "builder": {"id": "https://ci.example.com"},
        "metadata": {"invocationId": VERSION["build"]},
    }
    [source] = provenance["buildDefinition"]["resolvedDependencies"]
    assert source == {"uri": f"git+{VERSION['source']}", "digest": {"gitCommit": SHA}}


def probes(container: dict[str, Any]) -> dict[str, str]:
    return {
        name: probe["httpGet"]["path"]
        for name, probe in container.items()
        if name.endswith("Probe")
    }


def test_probes_are_wired_as_the_documentation_says() -> None:
    text = (EXAMPLES / "kubernetes" / "links.yaml").read_text(encoding="utf-8")
    deployment = next(yaml.safe_load_all(text))
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert probes(container) == {
        "livenessProbe": "/__lbheartbeat__",
        "readinessProbe": "/__lbheartbeat__",
        "startupProbe": "/__heartbeat__",
    }
    environ = {variable["name"]: variable.get("value") for variable in container["env"]}
    drain = int(environ["DOCKERFLOW_DRAIN_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] >= drain + 20
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    for name, path in probes(container).items():
        assert re.search(rf"`{name}`.*`{path}`", page), (name, path)


def by_kind() -> dict[str, dict[str, Any]]:
    """The manifests of links.yaml; of the two Services the one that has pods."""
    text = (EXAMPLES / "kubernetes" / "links.yaml").read_text(encoding="utf-8")
    return {
        manifest["kind"]: manifest["spec"]
        for manifest in yaml.safe_load_all(text)
        if manifest["metadata"]["name"] == "links"
    }


def test_all_manifests_are_about_the_same_pods() -> None:
    specs = by_kind()
    deployment = specs["Deployment"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert specs["Service"]["selector"] == labels
    assert specs["PodDisruptionBudget"]["selector"]["matchLabels"] == labels
    assert specs["NetworkPolicy"]["podSelector"]["matchLabels"] == labels
    pod = deployment["template"]["spec"]
    spread = pod["topologySpreadConstraints"]
    assert [one["labelSelector"]["matchLabels"] for one in spread] == [labels] * 2
    assert {one["topologyKey"] for one in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    [container] = pod["containers"]
    names = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in specs["Service"]["ports"]} == names
    assert {port["port"] for port in specs["NetworkPolicy"]["ingress"][0]["ports"]} == names


def test_pods_are_scaled_and_not_all_taken_at_once() -> None:
    specs = by_kind()
    scaler = specs["HorizontalPodAutoscaler"]
    assert scaler["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "links",
    }
    assert "replicas" not in specs["Deployment"], "each `kubectl apply` would reset it"
    assert scaler["minReplicas"] - specs["PodDisruptionBudget"]["maxUnavailable"] >= 2
    [container] = specs["Deployment"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"], "of which the target is a percentage"


def test_the_ingress_keeps_what_security_asks_for_inside() -> None:
    text = (EXAMPLES / "kubernetes" / "links.yaml").read_text(encoding="utf-8")
    manifests = list(yaml.safe_load_all(text))
    services = {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] == "Service"}
    [rule] = by_kind()["Ingress"]["rules"]
    paths = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    assert {path["pathType"] for path in rule["http"]["paths"]} == {"Prefix"}
    assert paths.pop("/") == "links"
    assert set(paths) == {"/__heartbeat__", "/__version__"}
    for service in paths.values():
        assert "selector" not in services[service], "no pod answers"


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_pods_have_no_rights(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if "template" not in manifest["spec"]:
            continue
        pod = manifest["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsUser"] == 10001
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
