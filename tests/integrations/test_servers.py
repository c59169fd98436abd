"""Real servers, real sockets: uvicorn, and gunicorn with each of its kinds of workers."""

import contextlib
import importlib.util
import json
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import services
from services import PATIENCE
from services.web import WebServer


def uvicorn_worker() -> str | None:
    for name in ("uvicorn_worker", "uvicorn.workers"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # uvicorn would have the first one used
                if importlib.util.find_spec(name) and importlib.import_module(name):
                    return f"{name}.UvicornWorker"
        except ImportError:
            pass
    return None


SANIC = ["sanic", "apps.served_sanic:app", "--host", "127.0.0.1", "--port", "{port}", "--no-motd"]
GUNICORN = ["gunicorn", "--no-control-socket", "--bind", "127.0.0.1:{port}", "--worker-class"]
HOOK = "python:apps.gunicorn_hook"
SERVERS = {
    "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "apps.served:asgi"],
    "gunicorn-sync": [*GUNICORN, "sync", "apps.served:wsgi"],
    "gunicorn-gthread": [*GUNICORN, "gthread", "--threads", "4", "apps.served:wsgi"],
    "gunicorn-preload": [*GUNICORN, "sync", "--preload", "apps.served:wsgi"],
    "gunicorn-preload-gthread": [
        *GUNICORN, "gthread", "--threads", "4", "--preload", "--config", HOOK, "apps.served:wsgi",
    ],
    "gunicorn-gevent": [*GUNICORN, "gevent", "apps.served:wsgi"],
    "gunicorn-flask": [*GUNICORN, "gthread", "--threads", "4", "apps.served_flask:app"],
    "gunicorn-uvicorn": [*GUNICORN, "{worker}", "apps.served:asgi"],
    "sanic": SANIC,
    "sanic-single": [*SANIC, "--single-process"],
    "sanic-uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "apps.served_sanic:app"],
}  # fmt: skip


class Server(WebServer):
    """A server of apps/served*.py, which log summaries alone."""

    def __init__(self, command: list[str], folder: Path, **environ: str) -> None:
        super().__init__(command, folder, DOCKERFLOW_VERSION_PATH=str(folder), **environ)
        self.wait_until_it_serves()
        if "apps.served_sanic:app" in command:
            self.wait_for((folder / "ready").exists)

    def lines(self) -> list[dict[str, Any]]:
        """The lines of JSON: Sanic and uvicorn write others too."""
        text = self.stdout.read_text("utf-8", "strict")
        lines = text[: text.rfind("\n") + 1].splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]
        assert {record["Type"] for record in records} <= {"request.summary"}
        return records


# What differs from another of them only in how it takes SIGTERM.
FOR_DRAIN = {"gunicorn-preload", "gunicorn-preload-gthread", "sanic-single"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "command" in metafunc.fixturenames:
        test = metafunc.function.__name__
        names = [name for name in SERVERS if "drain" in test or name not in FOR_DRAIN]
        if "sanic" in test:
            names = ["sanic"]
        metafunc.parametrize("command", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def command(request: pytest.FixtureRequest) -> list[str]:
    parts = SERVERS[request.param]
    pytest.importorskip(parts[0])
    for framework in ("flask", "sanic"):
        if framework in request.param:
            pytest.importorskip(framework)
    if "gevent" in parts:
        pytest.importorskip("gevent")
    worker = None
    if "{worker}" in parts:
        worker = uvicorn_worker()
        if worker is None:
            pytest.skip("there is no uvicorn worker for gunicorn")
    return [worker if worker and part == "{worker}" else part for part in parts]


@pytest.fixture(scope="module")
def server(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One of each kind, for tests that leave it well."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "version.json").write_bytes(b'{"version": "1"}')
    server = Server(command, folder)
    yield server
    try:
        server.stop()
    finally:
        server.close()


@pytest.fixture
def start(command: list[str], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts one that the test may do anything to."""
    with contextlib.ExitStack() as stack:

        def start(**environ: str) -> Server:
            server = Server(command, tmp_path, **environ)
            stack.callback(server.close)
            return server

        yield start


def test_endpoints_ids_and_summaries(server: Server) -> None:
    for path, expected in [
        ("/__version__", b'{"version": "1"}'),
        ("/__heartbeat__/", b'{"status":"ok","checks":{"good":"ok","sync":"ok"},"details":{}}'),
        ("/__lbheartbeat__", b""),
        ("/stream", b"one two three"),
    ]:
        response = server.get(path, X_Request_ID="abc")
        assert (response.status, response.body) == (200, expected)
        assert response.headers.get_all("x-request-id") == ["abc"]
    for path in ("/__version__", "/__heartbeat__", "/__lbheartbeat__"):
        get, head = server.get(path), server.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert {name.lower() for name in head.headers} == {name.lower() for name in get.headers}
        assert head.headers["Content-Length"] == get.headers["Content-Length"]
        response = server.request("POST", path)
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        assert response.json()
    assert server.get("/fail").status == 500
    [failed] = server.wait_for(lambda: server.summaries("/fail"))
    assert (failed["code"], failed["errno"], failed["msg"]) == (500, 500, "100% broken")
    [streamed] = server.summaries("/stream")
    assert (streamed["code"], streamed["rid"], streamed["method"]) == (200, "abc", "GET")


def test_weird_bytes_lose_nothing(server: Server) -> None:
    for line, header in [
        (b"GET /%ff%fe%00%0a HTTP/1.1", b"X-Request-ID: \xff\xfe"),
        (b"GET /\xff\xfe HTTP/1.1", b"X-Request-ID: a b"),
        (b"GET / HTTP/1.1", b"X-Request-ID: " + b"x" * 1000),
        (b"GET /a?%ff=\xe4 HTTP/1.1", b"User-Agent: \xe4\xff"),
    ]:
        answer = server.send(line + b"\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n")
        head = answer.partition(b"\r\n\r\n")[0]
        ids = head.lower().count(b"x-request-id:")
        if head.startswith(b"HTTP/1.1 400"):  # from the server itself: only Sanic's is the app too
            assert ids <= 1
            continue
        assert head[:12] in (b"HTTP/1.1 200", b"HTTP/1.1 404")
        assert ids == 1
    assert server.get("/__lbheartbeat__").status == 200
    assert server.wait_for(lambda: server.summaries("/"))  # and every line is strict JSON


def test_a_client_that_leaves_in_mid_stream(server: Server) -> None:
    check_a_client_that_leaves_in_mid_stream(server)


def check_a_client_that_leaves_in_mid_stream(server: WebServer) -> None:
    """Of Django, test_django_surroundings.py asks for the same."""
    with server.connected(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        assert connection.recv(12) == b"HTTP/1.1 206"
    [summary] = server.wait_for(lambda: server.summaries("/endless"))
    assert (summary["code"], summary["errno"]) == (206, 0)
    assert server.get("/").status == 200
    assert len(server.summaries("/endless")) == 1


def test_a_client_that_leaves_sanic_before_the_answer(server: Server) -> None:
    with server.connected(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n"):
        server.wait_for((server.folder / "late").exists)
    [summary] = server.wait_for(lambda: server.summaries("/late"))
    assert (summary["code"], summary["errno"], summary.get("msg")) == (499, 0, None)


def test_sigterm_ends_it_soon_also_while_a_check_hangs(start: Callable[..., Server]) -> None:
    """Without drain_seconds SIGTERM is the server's own."""

    def with_a_hung_check() -> Server:
        server = start(HUNG="1", DOCKERFLOW_CHECK_TIMEOUT="0.5")
        response = server.get("/__heartbeat__")
        assert response.status == 500
        payload = response.json()
        assert payload["checks"] == {"good": "ok", "sync": "ok", "hung": "error"}
        assert list(payload["details"]["hung"]["messages"]) == ["dockerflow.checks.E002"]
        return server

    # Of three the best counts, as the machine may be busy otherwise.
    assert any(seconds_to_end(with_a_hung_check()) < 2 for _ in range(3))


def seconds_to_end(server: Server) -> float:
    asked = time.monotonic()
    server.stop()
    return time.monotonic() - asked


DRAIN_SECONDS = 2.0


def test_drain_under_load(start: Callable[..., Server]) -> None:
    """After SIGTERM only the heartbeat changes, until load balancers have had their time."""
    server = start(DOCKERFLOW_DRAIN_SECONDS=str(DRAIN_SECONDS))
    stop = threading.Event()
    answers: list[tuple[str, Any]] = []

    def load(path: str) -> None:
        while not stop.wait(0.005):
            try:
                answers.append((path, server.get(path).status))
            except OSError as error:
                answers.append((path, error))

    paths = ("/", "/__lbheartbeat__", "/stream", "/")
    threads = [threading.Thread(target=load, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        assert server.get("/__heartbeat__").status == 200
        asked = time.monotonic()
        server.process.terminate()
        server.wait_for(lambda: server.get("/__heartbeat__").status == 503)
        response = server.get("/__heartbeat__")
        before = len(answers)
        services.wait_for(lambda: time.monotonic() > asked + DRAIN_SECONDS / 2, "half of the drain")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {(path, 200) for path in paths}
    assert len(answers) > before
    assert (response.status, response.json()["checks"]) == (503, {"drain": "error"})
    assert server.process.wait(PATIENCE) in (0, -signal.SIGTERM)
    assert time.monotonic() - asked > DRAIN_SECONDS * 0.9


def test_a_second_sigterm_ends_the_drain(start: Callable[..., Server]) -> None:
    server = start(DOCKERFLOW_DRAIN_SECONDS="60")
    server.process.terminate()
    server.wait_for(lambda: server.get("/__heartbeat__").status == 503)
    os.killpg(server.process.pid, signal.SIGTERM)  # as gunicorn passes on the first one only
    server.process.wait(PATIENCE / 2)
