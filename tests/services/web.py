"""A web server in a process of its own, on a free port, and what it wrote."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, NamedTuple

from services import PATIENCE, free_port, wait_for

TESTS = Path(__file__).parents[1]
# Settings of whoever runs the tests. Without bytecode each start would compile everything.
FOREIGN = ("DOCKERFLOW_", "GUNICORN_", "UVICORN_", "WEB_CONCURRENCY", "DATABASE_URL", "REDIS_URL",
           "FRAMEWORK", "HOST", "PORT", "FORWARDED_ALLOW_IPS", "DJANGO_SETTINGS_MODULE",
           "PYTHONDONTWRITEBYTECODE")  # fmt: skip


def environment(**environ: str) -> dict[str, str]:
    """Return this process's environment without settings, and what is given."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**own, **environ}


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class WebServer:
    """A server, started by ``python -m`` and a command, in which ``{port}`` is its port."""

    def __init__(
        self, command: list[str], folder: Path, *, logs: Path | None = None, **environ: str
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.command = [part.format(port=self.port) for part in command]
        self.environ = environment(**{"PYTHONPATH": str(TESTS), "PORT": str(self.port), **environ})
        self.stdout, self.stderr = (
            (logs or folder) / f"{name}-{self.port}" for name in ("stdout", "stderr")
        )
        with self.stdout.open("wb") as stdout, self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command], cwd=folder, env=self.environ,
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True,
            )  # fmt: skip

    def wait_for(
        self, condition: Callable[[], Any], what: str = "its answer", patience: float = PATIENCE
    ) -> Any:
        """Wait while the process lives; an error of the connection is no result yet."""

        def tried() -> Any:
            assert self.process.poll() is None, self.output()
            with contextlib.suppress(OSError, http.client.HTTPException):
                return condition()

        return wait_for(tried, f"{what}, of {self.command}", patience)

    def wait_until_it_serves(self, path: str = "/__lbheartbeat__") -> None:
        try:
            self.wait_for(lambda: self.get(path).status == 200, "its start")
        except BaseException:
            self.close()
            raise

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    @contextlib.contextmanager
    def connected(self, *data: bytes) -> Any:
        """Give a connection on which this was sent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(b"".join(data))
            yield connection

    def send(self, data: bytes) -> bytes:
        """Send a raw request; return the whole raw response."""
        with self.connected(data) as connection:
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    def output(self) -> str:
        files = (self.stdout, self.stderr)
        return "".join(file.read_text("utf-8", "replace") for file in files)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged; anything else on standard output is an error."""
        text = self.stdout.read_text(encoding="utf-8", errors="strict")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def summaries(self, path: str | None = None) -> list[dict[str, Any]]:
        """The fields of the summaries, of one path or of all."""
        return [
            line["Fields"]
            for line in self.lines()
            if line["Type"] == "request.summary" and path in (None, line["Fields"]["path"])
        ]

    def stop(self) -> int:
        """End it as an orchestrator does; return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
