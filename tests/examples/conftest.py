"""The shortener of examples/ as real processes, in a copy of its folder, as an image has one."""

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import services

EXAMPLE = Path(__file__).parents[2] / "examples" / "shortener"
WAYS = ("fastapi", "flask", "django")
VERSION = {
    "source": "https://example.org/shortener",
    "version": "1.2.3",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "build": "https://example.org/builds/7",
}
NEEDED = ("alembic", "dj_database_url", "django", "fastapi", "flask", "gunicorn", "psycopg",
          "pydantic_settings", "redis", "servestatic", "sqlalchemy", "uvicorn")  # fmt: skip
PATIENCE = 60.0  # for what should take no time at all, on a busy machine


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())


class Shortener:
    """One process of the example."""

    def __init__(self, folder: Path, logs: Path, way: str, **environ: str) -> None:
        self.way = way
        self.folder = folder
        self.port = services.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.stdout, self.stderr = logs / "stdout", logs / "stderr"
        self.environ = environment(FRAMEWORK=way, PORT=str(self.port), **environ)
        with self.stdout.open("ab") as stdout, self.stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "links", "serve"], cwd=folder, env=self.environ,
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True,
            )  # fmt: skip
        services.wait_for(self._answers, f"start of {way}")

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.stdout.read_text() + self.stderr.read_text()
        try:
            return self.get("/__lbheartbeat__").status == 200
        except OSError:
            return False

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, body, named, method=method)
        try:
            with _opener.open(request, timeout=PATIENCE) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def shorten(self, url: object) -> Answer:
        body = json.dumps({"url": url}).encode()
        return self.request("POST", "/api/links", body, Content_Type="application/json")

    def checks(self) -> tuple[int, dict[str, str]]:
        answer = self.get("/__heartbeat__")
        return answer.status, answer.json()["checks"]

    def lines(self) -> list[dict[str, Any]]:
        """What it logged; anything else on standard output is an error."""
        text = self.stdout.read_text(encoding="utf-8", errors="strict")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def stop(self) -> int:
        """End it as an orchestrator does; return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


def need(module: str) -> Any:
    """Import it; without it the test is skipped, but not in the CI."""
    return importlib.import_module(module) if os.environ.get("CI") else pytest.importorskip(module)


def environment(**environ: str) -> dict[str, str]:
    """An environment without settings of whoever runs the tests."""
    theirs = {"DATABASE_URL", "FRAMEWORK", "HOST", "PORT", "REDIS_URL", "WEB_CONCURRENCY",
              "FORWARDED_ALLOW_IPS", "DJANGO_SETTINGS_MODULE",
              "PYTHONDONTWRITEBYTECODE"}  # fmt: skip  # each start would compile everything anew
    own = {
        name: value
        for name, value in os.environ.items()
        if name not in theirs and not name.startswith(("DOCKERFLOW_", "GUNICORN_", "UVICORN_"))
    }
    return {**own, **environ}


def run(folder: Path, *command: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of the example to its end."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment(**environ), text=True,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example's folder, with what an image's build adds to it."""
    for module in NEEDED:
        need(module)
    folder = tmp_path_factory.mktemp("shortener") / "app"
    without = shutil.ignore_patterns("build", "*.sqlite3", "version.json", "__pycache__")
    shutil.copytree(EXAMPLE, folder, ignore=without)
    (folder / "version.json").write_text(json.dumps(VERSION), encoding="utf-8")
    made = run(folder, "links", "assets")
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    return folder


@pytest.fixture(scope="session", params=WAYS)
def shared(
    request: pytest.FixtureRequest, example: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shortener]:
    """One process for each way, with SQLite and without Redis, for tests that leave it well."""
    folder = tmp_path_factory.mktemp(request.param)
    shortener = Shortener(
        example, folder, request.param, DATABASE_URL=f"sqlite:///{folder}/links.sqlite3"
    )
    yield shortener
    shortener.close()


@pytest.fixture
def start(example: Path, tmp_path: Path) -> Iterator[Callable[..., Shortener]]:
    """Starts one that the test may do anything to."""
    started: list[Shortener] = []

    def start(way: str, **environ: str) -> Shortener:
        database = {"DATABASE_URL": f"sqlite:///{tmp_path}/links.sqlite3"}
        shortener = Shortener(example, tmp_path, way, **{**database, **environ})
        started.append(shortener)
        return shortener

    yield start
    for shortener in started:
        shortener.close()
