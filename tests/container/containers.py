"""An engine that builds and runs containers where there is no registry, as CI machines may be.

buildah builds and podman runs, in a store of the tests' own. On Debian a stand-in for the official
Python image is made of its packages, once for each machine: what stands on top of it is what is
tested. Elsewhere, as on GitHub's runners, the official image is pulled. All of it is kept in the folder that DOCKERFLOW_TEST_CONTAINERS names, by default below the
temporary folder, so that a second run takes less time.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SUITE, PYTHON = "trixie", "3.13"
OFFICIAL = f"python:{PYTHON}-slim"
BASE = f"localhost/{OFFICIAL}"
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
PROGRAMS = ("buildah", "podman", "runc", *(["mmdebstrap"] if SOURCES.exists() else []))
# What a machine may need to reach its package index; neither is left in the image.
MOUNTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")

SECRET = "s3cret-that-somebody-left-in-the-folder"
VERSION = {
    "source": "https://github.com/example/links",
    "version": "1.2.3",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "build": "https://ci.example.com/builds/7",
}
# Where a container can write; the image has no default.
DATABASE = "sqlite:////tmp/links.sqlite3"
# How an image is to be run in production, as far as an engine can see to it.
HARDENED = (
    "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges",
)  # fmt: skip

STORAGE = """\
[storage]
driver = "overlay"
runroot = "{folder}/run"
graphroot = "{folder}/graph"
"""
CONTAINERS = """\
[containers]
netns = "host"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def missing() -> str:
    """Why there is no engine here; empty if there is one."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"there is no {', '.join(absent)}"
    if os.geteuid() != 0:
        return "buildah, podman and mmdebstrap are run as root"
    return ""


def find() -> "Engine":
    """The engine. Skips the test without one, but fails it in the CI."""
    if not (reason := missing()):
        return Engine()
    if os.environ.get("CI"):
        pytest.fail(f"no image is built and no container run: {reason}")
    pytest.skip(f"no image is built and no container run: {reason}")


class Engine:
    """buildah and podman with a store of their own, in which the base image is."""

    def __init__(self) -> None:
        folder = os.environ.get("DOCKERFLOW_TEST_CONTAINERS")
        self.folder = Path(folder or Path(tempfile.gettempdir()) / "dockerflow-containers")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.environ = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
        }
        with self.alone():
            for name, text in (("storage.conf", STORAGE), ("containers.conf", CONTAINERS)):
                if not (self.folder / name).exists():
                    made = text.format(folder=self.folder)
                    (self.folder / name).write_text(made, encoding="utf-8")
            if self.podman("image", "exists", BASE, check=False).returncode:
                if SOURCES.exists():
                    self._make_base()
                else:
                    self.podman("pull", "--quiet", OFFICIAL)
                    self.podman("tag", OFFICIAL, BASE)

    def bridged(self) -> dict[str, str]:
        """Variables by which containers have a network of their own, as they do elsewhere."""
        path = self.folder / "bridged.conf"
        text = CONTAINERS.replace('netns = "host"', 'netns = "bridge"')
        path.write_text(text, encoding="utf-8")
        return {"CONTAINERS_CONF": str(path)}

    @contextlib.contextmanager
    def alone(self) -> Iterator[int]:
        """Have the store for oneself, as long as the file is open; gives its descriptor.

        A build that looks for a layer fails if it is removed meanwhile.
        """
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file.fileno()

    @contextlib.contextmanager
    def verifying(self) -> Iterator[None]:
        """Be the only one who counts what a verification leaves behind."""
        with (self.folder / "verifying").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def run(self, *command: str, check: bool = True, **options: Any) -> Any:
        options = {"timeout": 500, "stdin": subprocess.DEVNULL, "text": True, **options}
        result = subprocess.run(
            command, env=self.environ, capture_output=True, check=False, **options
        )
        assert not check or result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
        return result

    def podman(self, *args: str, **options: Any) -> Any:
        return self.run("podman", *args, **options)

    def _make_base(self) -> None:
        """Make the stand-in for the official image."""
        sources, archive = self.folder / "suite.sources", self.folder / "base.tar"
        first, _, _ = SOURCES.read_text(encoding="utf-8").partition("\n\n")
        text = re.sub(r"(?m)^Suites:.*$", f"Suites: {SUITE}", first) + "\n"
        sources.write_text(text, encoding="utf-8")
        packages = f"ca-certificates,python{PYTHON},python{PYTHON}-venv,python-is-python3"
        self.run(
            "mmdebstrap", "--quiet", "--variant=minbase",
            '--aptopt=Acquire::Check-Valid-Until "false"', f"--include={packages},python3-pip",
            '--customize-hook=rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
            SUITE, str(archive), str(sources),
        )  # fmt: skip
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.podman("import", "--quiet", f"--change=ENV PATH={path}", str(archive), BASE)
        archive.unlink()

    def build(self, context: Path, tag: str, target: str = "", **options: str) -> str:
        """Build a context's Dockerfile.example, or one stage; return what the build says."""
        arguments = [f"--build-arg={name}={value}" for name, value in options.items()]
        if target:
            arguments.append(f"--target={target}")
        return self.bud(
            *arguments, f"--file={context / 'Dockerfile.example'}", f"--tag={tag}", context
        )

    def bud(self, *args: object) -> str:
        """Build; return what the build says."""
        with self.alone():  # and who builds the same later finds its layers
            result = self.run(*self.build_command(), *map(str, args))
        return result.stdout + result.stderr

    def remove(self, image: str) -> None:
        with self.alone():
            self.podman("rmi", "--force", image)

    def build_command(self) -> list[str]:
        mounts = [f"--volume={path}:{path}:ro" for path in MOUNTS if Path(path).exists()]
        return [
            "buildah", "bud", "--isolation=chroot", "--network=host", "--pull-never", "--layers",
            "--format=docker", *mounts, f"--build-arg=PYTHON_IMAGE={BASE}",
        ]  # fmt: skip

    def inspect(self, image: str) -> dict[str, Any]:
        return json.loads(self.podman("image", "inspect", image).stdout)[0]

    def save(self, image: str, archive: Path) -> None:
        self.podman("save", "--quiet", "--format=docker-archive", f"--output={archive}", image)


# Docker's command as the pipelines use it, by this machine's engine.
DOCKER = """#!{python}
import sys
sys.path[:0] = ["{tests}", "{tests}/.."]
import containers
containers.act_as_docker(sys.argv[1:])
"""


def docker(folder: Path) -> Path:
    """Write a command ``docker`` into a folder."""
    path = folder / "docker"
    path.write_text(
        DOCKER.format(python=sys.executable, tests=Path(__file__).parent), encoding="utf-8"
    )
    path.chmod(0o755)
    return path


def act_as_docker(args: list[str]) -> None:
    """Become the command that does here what ``docker`` with these arguments does elsewhere."""
    engine = Engine()
    command, *rest = args
    if command == "build":
        with engine.alone() as lock:
            os.set_inheritable(lock, True)  # it is held until the build ends
            args = [*engine.build_command(), *rest]
            os.execvpe(args[0], args, engine.environ)
    if command == "run" and any("/syft:" in word or "/grype:" in word for word in rest):
        sys.stdout.write("{}\n")  # there is no registry to have them from
        return
    args = ["podman", "run", "--pull=never", *rest] if command == "run" else ["podman", *args]
    os.execvpe(args[0], args, engine.environ)


class Image(NamedTuple):
    """An image of the example."""

    framework: str
    tag: str
    archive: Path


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None: ...


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


@dataclass
class Container:
    """A container that serves on 127.0.0.1."""

    engine: Engine
    name: str
    port: int

    def ask(self, path: str, data: Any = None) -> Answer:
        """Send a GET, or a POST of JSON.

        :raises OSError: when there is no answer.
        """
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": "application/json"}
        )
        try:
            with _opener.open(request, timeout=20) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def is_up(self) -> bool:
        if not self.is_running():
            pytest.fail(f"{self.name} ended: {self.logs()}")
        try:
            return self.ask("/__lbheartbeat__").status == 200
        except OSError:
            return False

    def is_running(self) -> bool:
        state = self.engine.podman("inspect", "--format={{.State.Running}}", self.name)
        return state.stdout.strip() == "true"

    def logs(self) -> str:
        result = self.engine.podman("logs", self.name)
        return result.stdout + result.stderr

    def execute(self, *command: str, **options: Any) -> Any:
        return self.engine.podman("exec", self.name, *command, **options)

    def terminate(self) -> None:
        self.engine.podman("kill", "--signal=TERM", self.name)

    def wait(self) -> int:
        """Return the exit code, once there is one."""
        return int(self.engine.podman("wait", self.name, timeout=60).stdout)


def until(seconds: float, condition: Callable[[], Any], what: str) -> Any:
    """Wait for something that has to come within so many seconds."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.1)
    return result
