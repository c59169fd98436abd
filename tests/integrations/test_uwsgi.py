"""uWSGI forks in C, and runs no hook of Python's after it, as os.register_at_fork has them."""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services.web import WebServer

PROCESSES = 3
RUN = "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])"
OPTIONS = [
    "--master", "--need-app", "--die-on-term", "--disable-logging", "--enable-threads",
    "--processes", str(PROCESSES), "--http-socket", "127.0.0.1:{port}",
    "--module", "apps.served_uwsgi:application",
]  # fmt: skip


class Server(WebServer):
    def lines(self) -> list[dict[str, Any]]:
        """uWSGI lets standard output be standard error, where its own lines are."""
        text = self.stderr.read_text(encoding="utf-8")
        lines = text[: text.rfind("\n") + 1].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    if not os.environ.get("CI"):
        pytest.importorskip("pyuwsgi")
    folder: Path = tmp_path_factory.mktemp("uwsgi")
    home = ["--home", sys.prefix] if sys.prefix != sys.base_prefix else []
    (folder / "uwsgi.py").write_text(RUN, encoding="utf-8")
    server = Server(["uwsgi", *OPTIONS, *home], folder)
    server.wait_until_it_serves()
    yield server
    try:
        server.stop()
    finally:
        server.close()


Served = list[tuple[str, int]]


@pytest.fixture(scope="module")
def served(server: WebServer) -> Served:
    """The ids of requests, each with the worker that served it: two hundred of all workers."""
    served: Served = []

    def all_did() -> bool:
        answer = server.get("/")
        served.append((answer.headers["X-Request-ID"], int(answer.body)))
        return len({pid for _, pid in served}) == PROCESSES

    for _ in range(200):
        all_did()
    server.wait_for(all_did, "an answer of each worker")
    return served


def test_request_ids_are_unique_over_the_workers(served: Served) -> None:
    assert len({rid for rid, _ in served}) == len(served)


@pytest.mark.parametrize("kind", ["app", "request.summary"])
def test_each_line_is_written_and_has_its_workers_pid(
    server: WebServer, served: Served, kind: str
) -> None:
    """Also through a queue, whose thread is the master's at first."""

    def logged() -> set[tuple[str, int]]:
        lines = [line for line in server.lines() if line["Type"] == kind]
        return {(line["Fields"]["rid"], line["Pid"]) for line in lines}

    server.wait_for(lambda: {*served} <= logged(), f"a line of {kind} for each request", 20)


def test_the_heartbeat_is_well_in_each_worker(server: WebServer, served: Served) -> None:
    started = time.monotonic()
    for _ in range(4 * PROCESSES):
        answer = server.get("/__heartbeat__")
        assert answer.status == 200, answer.body
        assert answer.json()["checks"] == {"sync": "ok", "later": "ok"}
    assert time.monotonic() - started < 4  # a check that hangs takes five seconds
