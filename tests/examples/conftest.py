"""The shortener of examples/ as real processes, in a copy of its folder, as an image has one."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from services import PATIENCE
from services.web import Answer, WebServer, environment

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


class Shortener(WebServer):
    """One process of the example."""

    def __init__(self, folder: Path, logs: Path, way: str, **environ: str) -> None:
        super().__init__(["links", "serve"], folder, logs=logs, FRAMEWORK=way, **environ)
        self.way = way
        self.wait_until_it_serves()

    def shorten(self, url: object) -> Answer:
        body = json.dumps({"url": url}).encode()
        return self.request("POST", "/api/links", body, Content_Type="application/json")

    def checks(self) -> tuple[int, dict[str, str]]:
        answer = self.get("/__heartbeat__")
        return answer.status, answer.json()["checks"]


def need(module: str) -> Any:
    """Import it; without it the test is skipped, but not in the CI."""
    return importlib.import_module(module) if os.environ.get("CI") else pytest.importorskip(module)


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
    """One process for each way, with SQLite and without Redis, for tests that leave it well.

    Orchestrators often pass variables without a value as empty ones: these are as good as none.
    """
    folder = tmp_path_factory.mktemp(request.param)
    shortener = Shortener(
        example, folder, request.param, DATABASE_URL=f"sqlite:///{folder}/links.sqlite3",
        REDIS_URL="", WEB_CONCURRENCY="", HOST="",
    )  # fmt: skip
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
