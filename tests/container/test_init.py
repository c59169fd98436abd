"""What `dockerflow init` writes is really built and really run, and `dockerflow verify` finds
nothing in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from containers import BASE, HARDENED, VERSION, Engine
from services.command import dockerflow

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.timeout(600)

CHECK = """\
import os
from pathlib import Path

from dockerflow import checks

UPLOADS = Path(os.environ.get("UPLOADS", "/tmp"))


@checks.register
def uploads():
    if not UPLOADS.is_dir():
        return checks.Error("There is no folder for uploads.", id="hello.E001")
"""

# A service in another language has to do it all by itself.
NODE = """\
const express = require('express')
const { existsSync, readFileSync } = require('fs')
const app = express()

app.use((request, response, next) => {
  const start = Date.now()
  response.on('finish', () => {
    const { method, path } = request
    const agent = request.get('user-agent') || ''
    const code = response.statusCode
    const errno = code < 500 ? 0 : code
    const Fields = { agent, code, errno, lang: '', method, path, rid: '1', t: Date.now() - start, uid: '' }
    console.log(JSON.stringify({
      Timestamp: Date.now() * 1000000, Type: 'request.summary', Logger: 'links', Hostname: 'here',
      EnvVersion: '2.0', Severity: 6, Pid: process.pid, Fields,
    }))
  })
  next()
})
app.get('/__lbheartbeat__', (request, response) => response.end())
app.get('/__heartbeat__', (request, response) => {
  const isWell = existsSync(process.env.UPLOADS || '/tmp')
  const status = isWell ? 'ok' : 'error'
  response.status(isWell ? 200 : 500).json({ status, checks: { uploads: status }, details: {} })
})
app.get('/__version__', (request, response) => {
  response.type('application/json').end(readFileSync('version.json'))
})
const server = app.listen(process.env.PORT, process.env.HOST)
process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeAllConnections() })
"""


def run(*command: object, folder: Path) -> None:
    done = subprocess.run(
        [*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This package, as a package index would have it."""
    folder = tmp_path_factory.mktemp("wheels")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=ROOT)
    return folder


@pytest.fixture(scope="session")
def node_base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stand-in for the official image, with the Node of this machine."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no Node")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy2(node, folder / "node")
    shutil.copytree(Path(npm).resolve().parents[1], folder / "npm", symlinks=True)
    (folder / "Dockerfile").write_text(
        f"FROM {BASE}\nCOPY node /usr/local/bin/node\nCOPY npm /usr/local/lib/node_modules/npm\n"
        "RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && npm --version\n"
    )
    tag = "localhost/node:24-slim"
    engine.bud(f"--tag={tag}", folder)
    return tag


def fastapi(folder: Path, wheels: Path) -> None:
    """With hashes, and a factory."""
    (folder / "main.py").write_text(
        "from fastapi import FastAPI\nfrom dockerflow.fastapi import install\n"
        "from dockerflow.logging import configure_logging\n"
        f"{CHECK}\n\ndef create_app() -> FastAPI:\n    configure_logging('links')\n"
        "    app = FastAPI()\n    install(app)\n    return app\n"
    )
    (folder / "requirements.in").write_text("dockerflow-middleware[fastapi]\nuvicorn\n")
    run(
        BIN / "uv", "pip", "compile", "--generate-hashes", "--find-links", wheels, "--no-emit-find-links",
        "--python-version=3.13", "--output-file=requirements.txt", "requirements.in", folder=folder,
    )  # fmt: skip


def flask(folder: Path, _: Path) -> None:
    (folder / "my shop").mkdir()
    (folder / "my shop" / "data.txt").write_text("a file in a folder with a space")
    (folder / "app.py").write_text(
        "from flask import Flask\nfrom dockerflow.flask import Dockerflow\n"
        "from dockerflow.logging import configure_logging\n"
        f"{CHECK}\nconfigure_logging('links')\napp = Flask(__name__)\nDockerflow(app)\n"
        "assert Path('my shop/data.txt').is_file()\n"
    )
    (folder / "requirements.txt").write_text("dockerflow-middleware[flask]\ngunicorn\n")


def django(folder: Path, _: Path) -> None:
    run(sys.executable, "-m", "django", "startproject", "mysite", ".", folder=folder)
    with (folder / "mysite/settings.py").open("a") as settings:
        settings.write(
            'INSTALLED_APPS = ["dockerflow.django", *INSTALLED_APPS]\n'
            'MIDDLEWARE = ["dockerflow.django.middleware.DockerflowMiddleware", *MIDDLEWARE]\n'
            "from dockerflow.logging import logging_config\nLOGGING = logging_config('links')\n"
            'import os\nALLOWED_HOSTS = ["*"]\n'
            'DATABASES["default"]["NAME"] = os.environ.get("UPLOADS", "/tmp") + "/db.sqlite3"\n'
        )
    (folder / "requirements.txt").write_text("dockerflow-middleware[django]\ngunicorn\n")


def node(folder: Path, _: Path) -> None:
    (folder / "server.js").write_text(NODE)
    package = {
        "name": "links",
        "scripts": {"start": "node server.js"},
        "dependencies": {"express": "^5.0.0"},
    }
    (folder / "package.json").write_text(json.dumps(package))
    run("npm", "install", "--package-lock-only", folder=folder)


def build(engine: Engine, folder: Path, wheels: Path, *options: str) -> None:
    """Build the folder's Dockerfile where pip finds this package, and with the machine's CAs."""
    settings = {
        ".config/pip/pip.conf": "[global]\nfind-links = /wheels\n",
        ".config/uv/uv.toml": "system-certs = true\n",
        ".npmrc": "cafile=/etc/ssl/certs/ca-certificates.crt\n",
    }
    volumes = [f"--volume={wheels}:/wheels:ro"]
    for name, text in settings.items():
        path = wheels / Path(name).name
        path.write_text(text)
        volumes.append(f"--volume={path}:/root/{name}:ro")
    engine.bud(*volumes, *options, f"--file={folder / 'Dockerfile'}", folder)


@pytest.mark.parametrize("make", [fastapi, flask, django, node], ids=lambda make: make.__name__)
def test_verify_finds_nothing_in_what_it_writes(
    engine: Engine, wheels: Path, tmp_path: Path, make: Any, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    make(folder, wheels)
    (folder / ".env").write_text("SECRET=1")
    code, output = dockerflow("init", folder)
    assert code == 0, output
    assert "TODO" not in (folder / "Dockerfile").read_text()
    (folder / "version.json").write_text(json.dumps(VERSION))
    tag = f"localhost/init-{make.__name__}"
    options = [f"--tag={tag}"]
    if make is node:
        request.getfixturevalue("node_base")
    build(engine, folder, wheels, *options)
    archive = tmp_path / "image.tar"
    engine.save(tag, archive)
    name = f"init-{uuid.uuid4().hex[:12]}"
    environ = "--env=PORT --env=UPLOADS --env=HOST=127.0.0.1"
    environ += " --env=GUNICORN_CMD_ARGS=--bind=127.0.0.1:$PORT"
    start = (
        f"exec podman run --name={name} --replace --pull=never {' '.join(HARDENED)} {environ} {tag}"
    )
    try:
        result = engine.run(
            BIN / "dockerflow", "verify", "--format=json", "--fail-on=warning", "--wait=60",
            "--ignore=DF118,DF4",  # the network is the machine's, where it mustn't be reachable
            f"--dockerfile={folder / 'Dockerfile'}", f"--archive={archive}",
            f"--version-json={folder / 'version.json'}", "--env=UPLOADS=/tmp",
            "--break=UPLOADS=/nowhere", "--", "sh", "-c", start,
            cwd=tmp_path, check=False,
        )  # fmt: skip
    finally:
        engine.podman("rm", "--force", "--ignore", name)
    report = json.loads(result.stdout)
    statuses = {rule["id"]: rule["status"] for rule in report["rules"]}
    # A request that is still being answered at SIGTERM, and static files, this app doesn't have, nor
    # ids of requests in Node.
    others = {id_: status for id_, status in statuses.items() if status != "passed"}
    assert set(others.values()) <= {"not checked"}, result.stdout
    assert set(others) <= {"DF115", "DF117", *(["DF307"] if make is node else [])}, result.stdout
    assert result.returncode == 0, result.stdout
    files = engine.podman("run", "--rm", "--pull=never", "--entrypoint=find", tag, "/app", "/opt")
    assert not [path for path in files.stdout.splitlines() if path.endswith((".env", "/pip"))]
    container = f"{name}-health"
    port = "--env=PORT=1"
    engine.podman("run", "--detach", f"--name={container}", port, "--entrypoint=sleep", tag, "60")
    try:
        assert engine.podman("healthcheck", "run", container, check=False).returncode == 1
    finally:
        engine.podman("rm", "--force", "--time=0", container)


PROJECT = """\
[project]
name = "links"
version = "1"
requires-python = ">=3.11"
dependencies = [{}]
"""
FLASK = PROJECT.format('"flask"')
IMPORT = "/opt/venv/bin/python -c 'import flask, sys; print(sys.prefix)'"


# Files, what locks their requirements, and what then shows the virtual environment.
@pytest.mark.parametrize(
    ("lock", "files", "command"),
    [
        ("uv lock", {"pyproject.toml": FLASK}, IMPORT),
        ("", {"pyproject.toml": FLASK}, IMPORT),
        # Some mirrors don't have what Poetry resolves by, so it has nothing to install.
        (
            "poetry lock",
            {"pyproject.toml": PROJECT.format("")},
            "/opt/tool/bin/poetry env info --path",
        ),
        ("pipenv lock", {"Pipfile": '[packages]\nflask = "*"\n'}, IMPORT),
    ],
    ids=["uv", "no lock", "poetry", "pipenv"],
)
def test_what_is_locked_is_installed(  # noqa: PLR0917
    engine: Engine, wheels: Path, tmp_path: Path, lock: str, files: dict[str, str], command: str
) -> None:
    (tmp_path / "app.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    if lock:
        run(BIN / "uv", "tool", "run", *lock.split(), folder=tmp_path)
    code, output = dockerflow("init", tmp_path)
    assert code == 0, output
    tag = f"localhost/init-{lock.partition(' ')[0] or 'none'}"
    build(engine, tmp_path, wheels, "--target=build", f"--tag={tag}")
    result = engine.podman("run", "--rm", "--pull=never", tag, "sh", "-c", command)
    assert result.stdout == "/opt/venv\n"
