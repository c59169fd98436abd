"""Real servers, real sockets: uvicorn, and gunicorn with each of its kinds of workers."""

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import services

TESTS = Path(__file__).parents[1]
PATIENCE = 40.0  # for what should take no time at all, on a busy machine


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


class Server:
    """A server in a process of its own, and what it logged."""

    def __init__(self, command: list[str], folder: Path, **environ: str) -> None:
        self.port = services.free_port()
        self.log, self.errors = folder / "stdout", folder / "stderr"
        environ = {
            **os.environ,
            "PYTHONPATH": str(TESTS),
            "DOCKERFLOW_VERSION_PATH": str(folder),
            **environ,
        }
        with self.log.open("wb") as stdout, self.errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(part.format(port=self.port) for part in command)],
                stdout=stdout, stderr=stderr, env=environ, cwd=folder, start_new_session=True,
            )  # fmt: skip

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if result := condition():
                    return result
            except OSError:
                pass
            time.sleep(0.02)
        pytest.fail(f"{self.process.args}: {self.errors.read_text()}")

    def request(
        self, method: str, path: str, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def send(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(data)
            answer = b""
            while received := connection.recv(65_536):
                answer += received
        return answer

    def summaries(self, path: str) -> list[dict[str, Any]]:
        text = self.log.read_text("utf-8", "strict")
        lines = text[: text.rfind("\n") + 1].splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]
        assert {record["Type"] for record in records} <= {"request.summary"}
        return [r["Fields"] for r in records if r["Fields"]["path"] == path]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)  # gunicorn's workers too
                self.process.wait(5)


# What differs from another of them only in how it takes SIGTERM.
FOR_DRAIN = {"gunicorn-preload", "gunicorn-preload-gthread", "sanic-single"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "command" in metafunc.fixturenames:
        test = metafunc.function.__name__
        names = [name for name in SERVERS if "drain" in test or name not in FOR_DRAIN]
        if "sanic" in test:
            names = ["sanic"]
        metafunc.parametrize("command", names, indirect=True)


@pytest.fixture
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


@pytest.fixture
def start(command: list[str], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(**environ: str) -> Server:
        server = Server(command, tmp_path, **environ)
        servers.append(server)
        server.wait_for(lambda: server.request("GET", "/__lbheartbeat__")[0].status == 200)
        if "apps.served_sanic:app" in command:
            server.wait_for((tmp_path / "ready").exists)
        return server

    yield start
    for server in servers:
        server.stop()


def test_endpoints_ids_and_summaries(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "version.json").write_bytes(b'{"version": "1"}')
    server = start()
    for path, expected in [
        ("/__version__", b'{"version": "1"}'),
        ("/__heartbeat__/", b'{"status":"ok","checks":{"good":"ok"},"details":{}}'),
        ("/__lbheartbeat__", b""),
        ("/stream", b"one two three"),
    ]:
        response, body = server.request("GET", path, **{"X-Request-ID": "abc"})
        assert (response.status, body) == (200, expected)
        assert response.headers.get_all("x-request-id") == ["abc"]
    for path in ("/__version__", "/__heartbeat__", "/__lbheartbeat__"):
        get, _ = server.request("GET", path)
        head, body = server.request("HEAD", path)
        assert (head.status, body) == (200, b"")
        assert {name.lower() for name in head.headers} == {name.lower() for name in get.headers}
        assert head.headers["Content-Length"] == get.headers["Content-Length"]
        response, body = server.request("POST", path)
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        assert json.loads(body)
    assert server.request("GET", "/fail")[0].status == 500
    [failed] = server.wait_for(lambda: server.summaries("/fail"))
    assert (failed["code"], failed["errno"], failed["msg"]) == (500, 500, "100% broken")
    [streamed] = server.summaries("/stream")
    assert (streamed["code"], streamed["rid"], streamed["method"]) == (200, "abc", "GET")


def test_weird_bytes_lose_nothing(start: Callable[..., Server]) -> None:
    server = start()
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
    assert server.request("GET", "/__lbheartbeat__")[0].status == 200
    assert server.wait_for(lambda: server.summaries("/"))  # and every line is strict JSON


def test_a_client_that_leaves_in_mid_stream(start: Callable[..., Server]) -> None:
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 206"
    [summary] = server.wait_for(lambda: server.summaries("/endless"))
    assert (summary["code"], summary["errno"]) == (206, 0)
    assert server.request("GET", "/")[0].status == 200
    assert len(server.summaries("/endless")) == 1


def test_a_client_that_leaves_sanic_before_the_answer(start: Callable[..., Server]) -> None:
    server = start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        server.wait_for((server.log.parent / "late").exists)
    [summary] = server.wait_for(lambda: server.summaries("/late"))
    assert (summary["code"], summary["errno"], summary.get("msg")) == (499, 0, None)


def test_a_hung_check_does_not_hold_up_the_end(start: Callable[..., Server]) -> None:
    def with_a_hung_check() -> Server:
        server = start(HUNG="1", DOCKERFLOW_CHECK_TIMEOUT="1")
        response, body = server.request("GET", "/__heartbeat__")
        assert response.status == 500
        payload = json.loads(body)
        assert payload["checks"] == {"good": "ok", "hung": "error"}
        assert list(payload["details"]["hung"]["messages"]) == ["dockerflow.checks.E002"]
        return server

    assert any(seconds_to_end(with_a_hung_check()) < 2 for _ in range(3))


def seconds_to_end(server: Server) -> float:
    """How long its end takes; of three the best counts, as the machine may be busy otherwise."""
    asked = time.monotonic()
    server.process.terminate()
    server.process.wait(PATIENCE)
    return time.monotonic() - asked


DRAIN_SECONDS = 3.0


def test_drain_under_load(start: Callable[..., Server]) -> None:
    """After SIGTERM only the heartbeat changes, until load balancers have had their time."""
    server = start(DOCKERFLOW_DRAIN_SECONDS=str(DRAIN_SECONDS))
    stop = threading.Event()
    answers: list[tuple[str, Any]] = []

    def load(path: str) -> None:
        while not stop.is_set():
            try:
                answers.append((path, server.request("GET", path)[0].status))
            except OSError as error:
                answers.append((path, error))

    paths = ("/", "/__lbheartbeat__", "/stream", "/")
    threads = [threading.Thread(target=load, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    try:
        assert server.request("GET", "/__heartbeat__")[0].status == 200
        asked = time.monotonic()
        server.process.terminate()
        server.wait_for(lambda: server.request("GET", "/__heartbeat__")[0].status == 503)
        response, body = server.request("GET", "/__heartbeat__")
        before = len(answers)
        while time.monotonic() < asked + DRAIN_SECONDS / 2:
            time.sleep(0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {(path, 200) for path in paths}
    assert len(answers) > before
    assert (response.status, json.loads(body)["checks"]) == (503, {"drain": "error"})
    assert server.process.wait(PATIENCE) in (0, -signal.SIGTERM)
    assert time.monotonic() - asked > DRAIN_SECONDS * 0.9


def test_a_second_sigterm_ends_the_drain(start: Callable[..., Server]) -> None:
    server = start(DOCKERFLOW_DRAIN_SECONDS="60")
    server.process.terminate()
    server.wait_for(lambda: server.request("GET", "/__heartbeat__")[0].status == 503)
    os.killpg(server.process.pid, signal.SIGTERM)  # as gunicorn passes on the first one only
    server.process.wait(PATIENCE)


def test_without_the_setting_sigterm_is_the_servers_own(start: Callable[..., Server]) -> None:
    assert any(seconds_to_end(start()) < 2 for _ in range(3))
