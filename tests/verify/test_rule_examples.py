"""The examples on the rules' pages: the bad one breaks its rule and no other, the good one passes."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest
from verify_helpers import APP, COMPOSE, DOCKERFILE, MANIFEST, VERSION, failed, with_status

from dockerflow.verify import probes
from dockerflow.verify.probes import Targets
from dockerflow.verify.rules import RULES, Rule
from dockerflow.verify.run import verify

# What a bad example can't help breaking, too.
ALSO = {"DF101": {"DF102", "DF109"}}

# What an example replaces in a sound file, if not the good example itself.
PLACES = {
    "DF102": 'ENTRYPOINT ["python"]\nCMD ["app.py"]',
    "DF201": "WORKDIR /app\nCOPY . /app",
    "DF202": "RUN groupadd --gid 10001 app \\\n"
    " && useradd --uid 10001 --gid 10001 --home-dir /app app",
    "DF203": "RUN groupadd --gid 10001 app \\\n"
    " && useradd --uid 10001 --gid 10001 --home-dir /app app",
    "DF204": 'ENTRYPOINT ["python"]\nCMD ["app.py"]',
    "DF305": "COPY . /app",
    "DF402": "readinessProbe:\n  httpGet: {path: /__lbheartbeat__, port: 8000}",
    "DF404": "securityContext:\n  runAsNonRoot: true\n  runAsUser: 10001",
    "DF405": "terminationGracePeriodSeconds: 40",
    "DF408": "command: [uvicorn]",
}

# An app in which an example replaces the good one of its rule.
PYTHON = """
import json, logging, os, signal, sys, threading, tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from dockerflow.logging import MozlogFormatter


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        is_broken = self.path == "/__heartbeat__" and ":1/" in settings["DATABASE_URL"]
        with open("version.json", "rb") as file:
            body = file.read() if self.path == "/__version__" else b""
        self.send_response(500 if is_broken else 200 if self.path.startswith("/__") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


settings = os.environ
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(MozlogFormatter(logger_name="app"))
logger = logging.getLogger("app")
logger.addHandler(handler)
logger.setLevel("INFO")
logger.info("listening")
server = ThreadingHTTPServer(("0.0.0.0", int(settings["PORT"])), Handler)


def stop(*_):
    logger.info("received SIGTERM")
    threading.Thread(target=server.shutdown).start()


signal.signal(signal.SIGTERM, stop)
server.serve_forever(0.02)
"""

# The app that the command lines start.
ASGI = """
import asyncio
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.logging import configure_logging

configure_logging("app")


async def site(scope, receive, send):
    await asyncio.sleep(2 if scope["path"] == "/slow" else 0)
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


app = DockerflowMiddleware(site)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(probes, "SETTLE", 0.1)
    monkeypatch.chdir(tmp_path)
    Path("version.json").write_bytes(VERSION.read_bytes())
    return tmp_path


def in_file(rule: Rule, text: str, sound: Path) -> Path | None:
    """Return a copy of a sound file with the example in its place; None if it has no such place."""
    place = PLACES.get(rule.id, rule.good)
    content = sound.read_text()
    for width in range(0, 16, 2):
        if (old := "\n" + indent(place, " " * width)) in content:
            path = Path(sound.name)
            path.write_text(content.replace(old, "\n" + indent(text, " " * width)))
            return path
    return None


def dockerfile(rule: Rule, text: str, images: Any) -> Targets:
    path = in_file(rule, text, DOCKERFILE)
    assert path
    return Targets(dockerfiles=(path,))


def yaml(rule: Rule, text: str, images: Any) -> Targets:
    if path := in_file(rule, text, MANIFEST):
        return Targets(manifests=(str(path),))
    path = in_file(rule, text, COMPOSE)
    assert path
    return Targets(composes=(str(path),))


def version_json(rule: Rule, text: str, images: Any) -> Targets:
    Path("version.json").write_text(text)
    return Targets(version_jsons=(Path("version.json"),))


def log(rule: Rule, text: str, images: Any) -> Targets:
    Path("app.log").write_text(f"{text}\n")
    return Targets(logs=("app.log",))


def python(rule: Rule, text: str, images: Any) -> Targets:
    assert PYTHON.count(f"\n{rule.good}\n") == 1
    Path("app.py").write_text(PYTHON.replace(rule.good, text))
    Path("production.toml").write_text('PORT = 0\nDATABASE_URL = "postgres://db/app"\n')
    return Targets(
        command=(sys.executable, "app.py"),
        environ=(("DATABASE_URL", "postgres://db/app"),),
        breaks=(("DATABASE_URL", "postgres://127.0.0.1:1/none"),) if rule.id == "DF101" else (),
        grace=0.5,
    )


def shell(rule: Rule, text: str, images: Any) -> Targets:
    Path("app.py").write_text(ASGI)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = (("PATH", path), ("DOCKERFLOW_VERSION_PATH", str(Path.cwd())))
    slow = "/slow" if rule.id == "DF117" else None
    return Targets(command=("sh", "-c", f"exec {text}"), environ=environ, slow=slow)


def recorded(text: str) -> dict[str, tuple[int, list[list[str]], str]]:
    """Return the responses that curl shows, by their requests."""
    found: dict[str, tuple[int, list[list[str]], str]] = {}
    for request, response in re.findall(r"\$ (curl .*)\n((?:(?!\$ ).*\n?)+)", text):
        method = "HEAD" if "--head" in request else "POST" if "-X POST" in request else "GET"
        path = request.partition("localhost:8000")[2]
        head, _, body = response.partition("\n\n")
        status, *headers = head.splitlines()
        pairs = [line.split(": ", 1) for line in headers]
        found[f"{method} {path}"] = (int(status.split()[1]), pairs, body.strip())
    assert len(found) == text.count("$ curl")
    return found


def console(rule: Rule, text: str, images: Any) -> Targets:
    if rule.id == "DF103":
        names = text.splitlines()[1:]
        sound = images.sound_files()
        kept = {name: sound[name] for name in sound if not name.startswith("app/")}
        files = {f"app/{name}": sound[f"app/{name}"] for name in names}
        return Targets(archives=(images.docker([{**kept, **files}]),))
    if rule.id == "DF107":
        of_file, served = text.splitlines()[1::2]
        content = json.loads(VERSION.read_bytes())
        Path("version.json").write_text(json.dumps({**content, "version": of_file}))
        body = json.dumps({**content, "version": served})
        environ = {"GET /__version__": (200, [], body)}
    else:
        environ = recorded(text)
    if text.startswith("$ DATABASE_URL="):  # responses of an app that has no database
        environ = {"GET /__heartbeat__": (500, [], "")} | environ
        return Targets(command=APP, breaks=(("RECORDED", json.dumps(environ)),))
    if rule.id != "DF107":  # the others aren't about the version.json of this folder
        Path("version.json").unlink()
    return Targets(command=APP, environ=(("RECORDED", json.dumps(environ)),))


TARGETS = {
    "dockerfile": dockerfile,
    "yaml": yaml,
    "json": version_json,
    "text": log,
    "python": python,
    "shell": shell,
    "console": console,
}


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_bad(rule, images):
    report = verify(TARGETS[rule.language](rule, rule.bad, images))
    assert report.could_not_run == []
    assert failed(report) == {rule.id} | ALSO.get(rule.id, set())


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_good(rule, images):
    report = verify(TARGETS[rule.language](rule, rule.good, images))
    assert report.could_not_run == []
    assert failed(report) == set()
    assert rule.id in with_status(report, "passed")


def test_texts():
    for rule in RULES.values():
        for text in (rule.why, rule.bad, rule.good):
            assert text == dedent(text).strip()
        assert rule.why.endswith(".")
        assert rule.bad != rule.good
