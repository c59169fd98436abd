"""The example's image, really built and really run, for each framework.

As user 10001, with a read-only root file system and no capabilities; checked by `dockerflow
verify`; with its servers killed and restarted; ended under load.
"""

import copy
import json
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import containers
import pytest
import services
import yaml
from containers import BASE, DATABASE, HARDENED, SECRET, VERSION, Container, Engine, Image, until

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(600)


def shorten(container: Container, url: str = "https://example.org/") -> str:
    """Shorten a link; return its path."""
    answer = container.ask("/api/links", {"url": url})
    assert answer.status == 201, answer
    return f"/{answer.json()['code']}"


def heartbeat(container: Container) -> tuple[int, dict[str, str]]:
    answer = container.ask("/__heartbeat__")
    return answer.status, answer.json()["checks"]


def test_what_the_image_says(engine: Engine, image: Image) -> None:
    config = engine.inspect(image.tag)["Config"]
    assert config["User"] == "app"
    assert config["WorkingDir"] == "/app"
    assert list(config["ExposedPorts"]) == ["8000/tcp"]
    assert (config["Entrypoint"], config["Cmd"]) == (["python", "-m", "links"], ["serve"])
    assert {"PORT=8000", "HOST=0.0.0.0", f"FRAMEWORK={image.framework}"} <= set(config["Env"])
    assert engine.inspect(image.tag)["Healthcheck"]["Test"] == ["CMD", "dockerflow", "healthcheck"]
    labels = {name.rpartition(".")[2]: value for name, value in config["Labels"].items()
              if name.startswith("org.opencontainers.image.")}  # fmt: skip
    assert labels == {
        "title": "links", "licenses": "MPL-2.0", "source": VERSION["source"],
        "version": VERSION["version"], "revision": VERSION["commit"],
    }  # fmt: skip


def test_verify_finds_nothing(engine: Engine, image: Image, tmp_path: Path) -> None:
    """On a container, the Dockerfile and the image at once; every rule but those on deployment files is checked."""
    dockerflow = shutil.which("dockerflow", path=Path(sys.executable).parent)
    result = engine.run(
        dockerflow, "verify", "--format=json", "--fail-on=not-checked", "--ignore=DF4",
        f"--dockerfile={ROOT / 'Dockerfile.example'}", f"--build-arg=FRAMEWORK={image.framework}",
        f"--image={image.tag}", "--run", "--read-only", "--network=bridge", "--wait=60",
        f"--env=DATABASE_URL={DATABASE}", "--break=DATABASE_URL=postgresql://app:no@127.0.0.1:1/none", "--slow=/api/links?wait=2",
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert {rule["status"] for rule in json.loads(result.stdout)["rules"]} == {"passed"}


def test_it_has_no_rights(start: Callable[..., Any]) -> None:
    with start() as container:
        status = dict(
            line.split(":\t", 1)
            for line in container.execute("cat", "/proc/1/status").stdout.splitlines()
        )
        assert status["Uid"].split() == ["10001"] * 4
        assert status["Gid"].split() == ["10001"] * 4
        assert {int(status[f"Cap{kind}"], 16) for kind in ("Eff", "Prm", "Bnd")} == {0}
        assert status["NoNewPrivs"] == "1"
        for path in ("/app/x", "/opt/venv/x", "/etc/x", "/x"):
            assert "Read-only file system" in container.execute("touch", path, check=False).stderr
        assert container.execute("whoami").stdout == "app\n"


def test_the_version_is_what_was_built(start: Callable[..., Any]) -> None:
    with start() as container:
        assert container.ask("/__version__").json() == VERSION
        served = container.execute("cat", "/app/version.json").stdout
        assert served.encode() == container.ask("/__version__").body


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("", "DATABASE_URL is missing: it takes sqlite:///file, "),
        ("DATABASE_URL=sqlite:///links.sqlite3", "DATABASE_URL names a file that can't be made: "),
        (f"DATABASE_URL={DATABASE} PORT=http", "PORT is 'http'"),
    ],
)
def test_a_wrong_setting_is_one_line(
    engine: Engine, image: Image, variable: str, line: str
) -> None:
    environ = [f"--env={one}" for one in variable.split()]
    options = ("--rm", "--pull=never", "--no-healthcheck", *environ, *HARDENED)
    result = engine.podman("run", *options, image.tag, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    [found] = result.stderr.splitlines()
    assert found.startswith(line)


def test_the_health_check(engine: Engine, image: Image, start: Callable[..., Any]) -> None:
    with start() as container:
        ran = engine.podman("healthcheck", "run", container.name, check=False)
        assert ran.returncode == 0, ran
        name = f"{container.name}-deaf"
        engine.podman("run", "--detach", f"--name={name}", "--env=PORT=1", "--entrypoint=sleep",
                      image.tag, "60")  # fmt: skip
        try:
            assert engine.podman("healthcheck", "run", name, check=False).returncode == 1
        finally:
            engine.podman("rm", "--force", "--time=0", name)


def test_the_manifest_runs(engine: Engine, image: Image, tmp_path: Path) -> None:
    """The Deployment of examples/kubernetes/ as it is but for the image, its port and its database.

    podman plays it, and leaves out what needs a cluster: the Service, the Ingress and so on.
    """
    manifests = list(yaml.safe_load_all((ROOT / "examples/kubernetes/links.yaml").read_text()))
    [spec] = manifests[0]["spec"]["template"]["spec"]["containers"]
    port = services.free_port()
    spec["image"] = image.tag
    spec["ports"][0] |= {"containerPort": port, "hostPort": port, "hostIP": "127.0.0.1"}
    given = {"PORT": str(port), "DATABASE_URL": DATABASE, "REDIS_URL": ""}
    for variable in spec["env"]:
        if variable["name"] in given:
            variable.pop("valueFrom", None)  # podman 4 reads no secrets of Kubernetes' form
            variable["value"] = given[variable["name"]]
    # One name for each framework: these tests may run at the same time.
    manifests[0]["metadata"]["name"] = f"links-{image.framework}"
    file = tmp_path / "links.yaml"
    file.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
    bridged = copy.copy(engine)
    bridged.environ = engine.environ | engine.bridged()
    container = Container(bridged, f"links-{image.framework}-pod-0-links", port)
    try:
        bridged.podman("kube", "play", str(file))
        services.wait_for(container.is_up, "start of the pod")
        assert heartbeat(container) == (200, {"database": "ok", "migrations": "ok"})
        status = container.execute("cat", "/proc/1/status").stdout
        assert re.findall(r"(?m)^(?:Uid|Gid):\t(\d+)\t(\d+)", status) == [("10001",) * 2] * 2
        assert len(re.findall(r"(?m)^Cap(?:Eff|Prm|Bnd):\t0+$", status)) == 3
        assert "Read-only" in container.execute("touch", "/app/x", check=False).stderr
        container.terminate()
        until(5, lambda: heartbeat(container)[0] == 503, "the heartbeat reports that it drains")
        assert container.ask("/__lbheartbeat__").status == 200
    finally:
        bridged.podman("kube", "down", str(file))


def test_servers_die_and_come_back(
    engine: Engine, image: Image, start: Callable[..., Any], postgres: Any, redis_server: Any
) -> None:
    database = postgres.url("postgresql").render_as_string(hide_password=False)
    environ = {"DATABASE_URL": database, "REDIS_URL": f"redis://127.0.0.1:{redis_server.port}/0"}
    postgres.execute("DROP DATABASE app")
    postgres.execute("CREATE DATABASE app OWNER app")

    with start(**environ) as container:
        status, checks = heartbeat(container)
        assert (status, checks["migrations"]) != (200, "ok"), "nobody has migrated yet"
        variables = [f"--env={name}={value}" for name, value in environ.items()]
        engine.podman("run", "--rm", "--pull=never", *HARDENED, *variables, image.tag, "migrate")
        well = 200, {"database": "ok", "migrations": "ok", "redis": "ok"}
        until(20, lambda: heartbeat(container) == well, "a migrated app is well")
        path = shorten(container)
        assert container.ask(path).headers["Location"] == "https://example.org/"

        postgres.kill()
        status, checks = heartbeat(container)
        assert (status, checks["database"], checks["redis"]) == (500, "error", "ok")
        assert container.ask("/__lbheartbeat__").status == 200
        assert container.ask("/").status == 200
        assert container.ask(path).status >= 500
        postgres.start()
        until(20, lambda: heartbeat(container) == well, "it recovers from a killed database")
        assert container.ask(path).status in {302, 307}

        redis_server.kill()
        status, checks = heartbeat(container)
        assert (status, checks["redis"]) == (200, "error"), "Redis isn't critical"
        assert container.ask(shorten(container)).status in {302, 307}
        redis_server.start()
        until(20, lambda: heartbeat(container) == well, "it recovers from a killed Redis")
        container.ask(path)
        [link] = [link for link in container.ask("/api/links").json() if path[1:] in link.values()]
        assert link["hits"] == 1, "Redis counts again"
        postgres.mend()


class Client(threading.Thread):
    """Follows a link over and over, with a connection for each request, until told to stop."""

    def __init__(self, container: Container, path: str) -> None:
        super().__init__()
        self.container, self.path = container, path
        self.stopped = threading.Event()
        self.answers = 0
        self.lost: list[str] = []

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                status = self.container.ask(self.path).status
            except OSError as error:
                self.lost.append(repr(error))
            else:
                self.answers += 1
                if status not in {302, 307}:
                    self.lost.append(f"status {status}")


def test_sigterm_under_load_loses_no_request(start: Callable[..., Any]) -> None:
    """Clients come as from a load balancer: until the heartbeat tells it to send nobody more."""
    with start(DOCKERFLOW_DRAIN_SECONDS=3) as container:
        path = shorten(container)
        clients = [Client(container, path) for _ in range(4)]
        for client in clients:
            client.start()
        until(20, lambda: all(client.answers > 10 for client in clients), "load")
        assert heartbeat(container)[0] == 200
        container.terminate()
        until(2, lambda: heartbeat(container)[0] == 503, "the heartbeat says that it drains")
        assert container.ask("/__lbheartbeat__").status == 200
        before = [client.answers for client in clients]
        time.sleep(0.5)  # as long as a load balancer may take
        assert all(client.answers > count for client, count in zip(clients, before, strict=True))
        for client in clients:
            client.stopped.set()
        for client in clients:
            client.join()
        assert container.wait() == 0
        assert [client.lost for client in clients] == [[]] * 4


def layers(image: Image) -> list[list[tuple[str, bytes]]]:
    """Each layer's files, those of the base image first: their paths, and what is in them."""
    found = []
    with tarfile.open(image.archive) as archive:
        [manifest] = json.load(archive.extractfile("manifest.json"))
        for name in manifest["Layers"]:
            link = archive.getmember(name)
            with tarfile.open(fileobj=archive.extractfile(link)) as layer:
                found.append([
                    (member.name, layer.extractfile(member).read())
                    for member in layer.getmembers()
                    if member.isfile()
                ])  # fmt: skip
    return found


def test_nothing_is_left_behind(engine: Engine, image: Image) -> None:
    """No secret, no cache, no tool of the build, in any layer or in the image's settings."""
    count = len(engine.inspect(BASE)["RootFS"]["Layers"])
    every = layers(image)
    base, ours = every[:count], every[count:]
    assert sum(map(len, base)) > 1000, "the first layers are the base image"
    files = [file for layer in ours for file in layer]
    assert len(files) > 500
    assert [path for path, content in files if SECRET.encode() in content] == []
    # An empty file is what something was mounted on while the image was built.
    paths = {path for path, content in files if content or not path.startswith("etc/")}
    assert {"app/version.json", "app/links/__main__.py"} <= paths
    roots = {path.split("/")[0] for path in paths}
    assert roots <= {"app", "opt", "etc", "var"}, roots
    allowed = {"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/passwd-", "etc/group-",
               "etc/shadow-", "etc/gshadow-", "etc/subuid", "etc/subgid", "etc/subuid-",
               "etc/subgid-", "etc/.pwd.lock", "var/log/lastlog", "var/log/faillog"}  # fmt: skip
    assert {path for path in paths if not path.startswith(("app/", "opt/venv/"))} <= allowed
    parts = {part for path in paths for part in path.split("/")}
    assert not parts & {
        ".git",
        ".cache",
        ".env",
        ".env.local",
        "id_rsa",
        "pytest",
        "dockerfile_parse",
        "gcc",
    }
    assert not [path for path in paths if path.startswith(("app/tests", "app/requirements"))]
    assert not [path for path in paths if path.endswith((".whl", ".sqlite3"))]
    assert not [path for path in paths if "/pip/" in path]
    described = json.dumps(engine.inspect(image.tag))
    assert SECRET not in described
    assert "password" not in described.lower()


def test_the_apps_own_tests_pass_in_it(
    engine: Engine, image: Image, context: Path, tmp_path: Path
) -> None:
    tag = f"{image.tag}-test"
    engine.build(context, tag, "test", FRAMEWORK=image.framework, DOCKERFLOW_COMMIT="0" * 40)
    tmp_path.chmod(0o777)
    engine.podman(
        "run", "--rm", "--pull=never", "--network=none", *HARDENED, f"--volume={tmp_path}:/reports",
        tag, "--junit-xml=/reports/junit.xml", "tests",
    )  # fmt: skip
    assert 'failures="0"' in (tmp_path / "junit.xml").read_text(encoding="utf-8")


def test_without_a_version_nothing_is_built(engine: Engine, context: Path) -> None:
    with pytest.raises(AssertionError, match=r"there is no /app/version\.json"):
        engine.build(context, "localhost/links-unversioned", "version")


def test_a_version_of_the_context_is_taken(engine: Engine, context: Path) -> None:
    """As the pipelines do, which write it by `dockerflow version write`."""
    dockerflow = shutil.which("dockerflow", path=Path(sys.executable).parent)
    arguments = [f"--{name}={value}" for name, value in VERSION.items()]
    subprocess.run([dockerflow, "version", "write", *arguments, context], check=True)
    try:
        engine.build(context, "localhost/links-versioned", "version")
    finally:
        (context / "version.json").unlink()
    result = engine.podman("run", "--rm", "localhost/links-versioned", "cat", "/app/version.json")
    assert json.loads(result.stdout) == VERSION


def test_the_pipelines_script_builds_tests_and_keeps(
    engine: Engine, context: Path, tmp_path: Path
) -> None:
    """examples/ci/build-and-test.sh as the three pipelines run it, in a checkout of its own."""
    checkout = tmp_path / "checkout"
    shutil.copytree(context, checkout, ignore=shutil.ignore_patterns(".git", ".env*", "id_rsa"))
    docker = containers.docker(tmp_path)
    environ = {
        **engine.environ, **engine.bridged(), "DOCKER": str(docker), "IMAGE": "localhost/links-pipeline",
        "PATH": f"{Path(sys.executable).parent}:{engine.environ['PATH']}",
        **{f"DOCKERFLOW_{name.upper()}": value for name, value in VERSION.items()},
    }  # fmt: skip
    result = subprocess.run(
        ["bash", "examples/ci/build-and-test.sh", "--build-arg", "FRAMEWORK=flask"],
        cwd=checkout, env=environ, stdin=subprocess.DEVNULL, text=True, capture_output=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads((checkout / "version.json").read_text()) == VERSION
    reports = checkout / "reports"
    for name in ("tests.xml", "dockerflow.xml"):
        report = (reports / name).read_text(encoding="utf-8")
        assert "<testcase" in report, name
        assert "<failure" not in report, name
    assert "<skipped" not in report, "a rule was not checked"
    [saved] = checkout.glob("image-*.tar")
    assert saved.with_suffix(".spdx.json").read_text() == "{}\n"
    provenance = json.loads(saved.with_suffix(".provenance.json").read_text())
    assert provenance["runDetails"]["metadata"]["invocationId"] == VERSION["build"]
    labels = engine.inspect("localhost/links-pipeline")["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == VERSION["commit"]
    with tarfile.open(saved) as archive:
        [manifest] = json.load(archive.extractfile("manifest.json"))
    assert manifest["RepoTags"] == ["localhost/links-pipeline:latest"]
    images = engine.podman("ps", "--all", "--format={{.Image}}").stdout
    assert "links-pipeline" not in images, "no container is left"
