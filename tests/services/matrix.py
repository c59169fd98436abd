"""The rows of docs/servers.md: each a server, as a process, that serves an app of tests/apps/."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import httpx2
import pages
import pytest

from services import PATIENCE, wait_for
from services.web import Answer, WebServer

PAGE = pages.DOCS / "servers.md"
WRITE = "DOCKERFLOW_WRITE_SERVER_MATRIX"
COLUMNS = (
    "endpoints", "request id", "summaries", "client leaves its upload", "client leaves the response",
    "broken checks", "SIGTERM", "drain", "reload", "workers",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A server.

    :param command: how it is started, by ``python -m``.
    :param environ: environment variables for it.
    :param workers: how many processes serve.
    :param reload: options that make it reload when a module changes, or the signal that does.
    :param but: what doesn't hold: the cell of the column, and the name of its footnote.
    """

    command: list[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    reload: list[str] | signal.Signals | None = None
    but: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def is_http2(self) -> bool:
        return "HTTP2" in self.environ

    def expected(self, column: str) -> str:
        return self._expected(column)[0]

    def cell(self, column: str) -> str:
        value, note = self._expected(column)
        return f"{value} [^{note}]" if note else value

    def _expected(self, column: str) -> tuple[str, str]:
        has_none = {"reload": self.reload is None, "workers": self.workers == 1}
        return self.but.get(column, ("–" if has_none.get(column) else "yes", ""))


def uvicorn_worker() -> str:
    for name in ("uvicorn_worker", "uvicorn.workers"):
        with contextlib.suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # uvicorn would have the first one used
            if importlib.util.find_spec(name):
                importlib.import_module(name)
                return f"{name}.UvicornWorker"
    return "uvicorn_worker.UvicornWorker"


HUP = signal.SIGHUP
UVICORN = ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "here:asgi"]
H11 = ["--http", "h11", "--loop", "asyncio"]
HTTPTOOLS = ["--http", "httptools", "--loop", "uvloop"]
HYPERCORN = ["hypercorn", "--bind", "127.0.0.1:{port}", "here:asgi"]
GRANIAN = ["granian", "--host", "127.0.0.1", "--port", "{port}", "--interface"]
GUNICORN = ["gunicorn", "--no-control-socket", "--bind", "127.0.0.1:{port}", "--worker-class"]
TWO = ["--workers", "2"]
UWSGI = ["uwsgi", "--http-socket", "127.0.0.1:{port}", "--module", "here:wsgi"]
SANIC = ["sanic", "here:app", "--host", "127.0.0.1", "--port", "{port}", "--no-motd"]
RUNSERVER = ["django", "runserver", "127.0.0.1:{port}"]
DJANGO = {"APP": "served_django", "DJANGO_SETTINGS_MODULE": "apps.served_django"}
BEFORE_FORK = {"BEFORE_FORK": "1", "DOCKERFLOW_LOG_QUEUE_SIZE": "100"}
INSTALL = {"INSTALL_DRAIN": "1"}

ROWS = {
    "uvicorn, h11": Row([*UVICORN, *H11], reload=["--reload"]),
    "uvicorn, h11, 2 workers": Row([*UVICORN, *H11, *TWO], workers=2, reload=HUP),
    "uvicorn, httptools and uvloop": Row([*UVICORN, *HTTPTOOLS], reload=["--reload"]),
    "uvicorn, httptools and uvloop, 2 workers": Row(
        [*UVICORN, *HTTPTOOLS, *TWO], workers=2, reload=HUP
    ),
    "uvicorn, Django": Row(
        [*UVICORN[:-1], "apps.served_django_asgi:asgi"], DJANGO, reload=["--reload"],
        but={"client leaves its upload": ("–", "django-asgi")},
    ),
    "uvicorn, Sanic": Row(
        [*UVICORN[:-1], "here:app"], {"APP": "served_sanic"}, reload=["--reload"],
        but={"client leaves its upload": ("200", "short-body")},
    ),
    "hypercorn, HTTP/1.1": Row(
        HYPERCORN, reload=["--reload"], but={"drain": ("no", "hypercorn")}
    ),
    "hypercorn `--workers 0`, HTTP/2": Row([*HYPERCORN, "--workers", "0"], {"HTTP2": "1"}),
    "hypercorn, trio": Row(
        [*HYPERCORN, "--worker-class", "trio", *TWO], workers=2, reload=["--reload"],
        but={"drain": ("no", "hypercorn")},
    ),
    "granian, ASGI": Row(
        [*GRANIAN, "asgi", "--loop", "asyncio", "here:asgi", *TWO], workers=2, reload=HUP,
        but={"drain": ("yes", "asyncio-loop")},
    ),
    "granian, WSGI": Row(
        [*GRANIAN, "wsgi", "here:wsgi", *TWO], workers=2, reload=HUP,
        but={"drain": ("no", "granian-wsgi")},
    ),
    "daphne": Row(
        ["daphne", "-b", "127.0.0.1", "-p", "{port}", "here:asgi"],
        but={"client leaves its upload": ("–", "buffered")},
    ),
    "gunicorn, sync": Row([*GUNICORN, "sync", *TWO, "here:wsgi"], workers=2, reload=HUP),
    "gunicorn, sync, `--preload`": Row(
        [*GUNICORN, "sync", *TWO, "--preload", "here:wsgi"], BEFORE_FORK, workers=2, reload=HUP
    ),
    "gunicorn, gthread": Row(
        [*GUNICORN, "gthread", "--threads", "4", *TWO, "here:wsgi"], workers=2, reload=HUP
    ),
    "gunicorn, gthread, `--preload`": Row(
        [*GUNICORN, "gthread", "--threads", "4", *TWO, "--preload",
         "--config", "python:apps.gunicorn_hook", "here:wsgi"],
        BEFORE_FORK, workers=2, reload=HUP, but={"drain": ("yes", "hook")},
    ),
    "gunicorn, gthread, Flask": Row(
        [*GUNICORN, "gthread", "--threads", "4", *TWO, "here:wsgi"], {"APP": "served_flask"},
        workers=2, reload=HUP,
    ),
    "gunicorn, gevent": Row([*GUNICORN, "gevent", *TWO, "here:wsgi"], workers=2, reload=HUP),
    "gunicorn, gevent, `--preload`": Row(
        [*GUNICORN, "gevent", *TWO, "--preload", "here:wsgi"], BEFORE_FORK, workers=2, reload=HUP
    ),
    "gunicorn, uvicorn worker": Row(
        [*GUNICORN, uvicorn_worker(), *TWO, "here:asgi"], workers=2, reload=HUP
    ),
    "gunicorn, asgi": Row(
        [*GUNICORN, "asgi", "--asgi-loop", "asyncio", *TWO, "here:asgi"], workers=2, reload=HUP,
        but={"drain": ("yes", "asyncio-loop")},
    ),
    "uWSGI": Row(
        [*UWSGI, "--master", "--processes", "2", "--die-on-term"], BEFORE_FORK, workers=2, reload=HUP,
        but={"drain": ("no", "uwsgi"), "summaries": ("yes", "uwsgi-500")},
    ),
    "waitress": Row(
        ["waitress", "--listen=127.0.0.1:{port}", "here:wsgi"], INSTALL,
        but={"drain": ("yes", "install"), "client leaves its upload": ("–", "buffered")},
    ),
    "cheroot": Row(
        ["cheroot", "--bind", "127.0.0.1:{port}", "here:wsgi"], INSTALL,
        but={"drain": ("yes", "install")},
    ),
    "Django's runserver": Row(
        RUNSERVER, {**DJANGO, "DJANGO_SETTINGS_MODULE": "here"}, reload=[],
        but={"endpoints": ("yes", "runserver-head"), "drain": ("no", "runserver")},
    ),
    "Django's runserver `--noreload`": Row(
        [*RUNSERVER, "--noreload"], {**DJANGO, **INSTALL},
        but={"endpoints": ("yes", "runserver-head"), "drain": ("yes", "install")},
    ),
    "Django's runserver `--noreload`, daphne": Row(
        [*RUNSERVER, "--noreload"], {**DJANGO, "APPS": "daphne"},
        but={"client leaves its upload": ("–", "buffered")},
    ),
    "Sanic": Row([*SANIC, *TWO], {"APP": "served_sanic"}, workers=2, reload=["--auto-reload"]),
    "Sanic, `--single-process`": Row([*SANIC, "--single-process"], {"APP": "served_sanic"}),
}  # fmt: skip

HERE = "from apps.{APP} import *  # a module that the server can watch\n"
RUN_UWSGI = "import sys, pyuwsgi; pyuwsgi.run(sys.argv[1:])\n"


def need(row: Row) -> None:
    """Skip the test without the row's server, but fail it in the CI."""
    names = {"pyuwsgi" if row.command[0] == "uwsgi" else row.command[0]}
    names |= {"gevent", "httptools", "trio", "uvloop"}.intersection(row.command)
    names |= {"uvicorn" for part in row.command if part.startswith("uvicorn")}
    names |= {*row.environ.get("APPS", "").split()}
    if "APP" in row.environ:
        names.add(row.environ["APP"].removeprefix("served_"))
    missing = [name for name in sorted(names) if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"needs {missing}, which the CI has to have")
    if missing:
        pytest.skip(f"needs {missing}")


class Server(WebServer):
    """A server with an app of tests/apps/served*.py."""

    def __init__(self, row: Row, folder: Path, *options: str, **environ: str) -> None:
        self.row = row
        need(row)
        command = [*row.command, *options]
        (folder / "here.py").write_text(HERE.format(APP=row.environ.get("APP", "served")))
        (folder / "version.json").write_bytes(b'{"version": "1"}')
        if command[0] == "uwsgi":
            (folder / "uwsgi.py").write_text(RUN_UWSGI)
            if sys.prefix != sys.base_prefix:
                command += ["--home", sys.prefix, "--binary-path", sys.executable]
        version = {"DOCKERFLOW_VERSION_PATH": str(folder)}
        super().__init__(command, folder, **version, **row.environ, **environ)
        self.wait_until_it_serves()
        if command[0] == "sanic":
            self.wait_for((folder / "ready").exists)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        if not self.row.is_http2:
            return super().request(method, path, body, **headers)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        options: Any = {"verify": False, "trust_env": False}  # certificates take long to load
        with httpx2.Client(http1=False, http2=True, timeout=PATIENCE, **options) as client:
            try:
                response = client.request(method, self.url + path, content=body, headers=named)
            except httpx2.TransportError as error:
                raise OSError(str(error)) from error
            assert response.http_version == "HTTP/2"
        return Answer(response.status_code, httpx2_headers(response), response.content)

    @contextlib.contextmanager
    def unfinished(self, method: str, path: str, body: bytes = b"") -> Iterator[None]:
        """Send a request whose body is longer than what is sent of it; leave at the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            if self.row.is_http2:
                protocol = h2.connection.H2Connection(h2.config.H2Configuration())
                protocol.initiate_connection()
                names = ("method", method), ("path", path), ("scheme", "http"), ("authority", "x")
                headers = [(f":{name}", value) for name, value in names]
                protocol.send_headers(1, headers, end_stream=not body)
                if body:
                    protocol.send_data(1, body)
                connection.sendall(protocol.data_to_send())
            else:
                length = f"Content-Length: {len(body) + 1_000_000}\r\n" if body else ""
                head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n"
                connection.sendall(head.encode() + body)
            yield

    def lines(self) -> list[dict[str, Any]]:
        """The lines of mozlog: servers write others too, and uWSGI all to standard error."""
        texts = [path.read_text("utf-8", "replace") for path in (self.stdout, self.stderr)]
        lines = [line for text in texts for line in text.split("\n")[:-1]]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def app_lines(self, path: str) -> list[dict[str, Any]]:
        """What the app logged in requests of this path."""
        lines = [line for line in self.lines() if line["Type"] == "app"]
        return [line for line in lines if line["Fields"].get("msg") == path]

    def summary(self, rid: str) -> dict[str, Any]:
        """Wait for the one summary of the request with this id; return its line."""

        def found() -> list[dict[str, Any]]:
            lines = [line for line in self.lines() if line["Type"] == "request.summary"]
            return [line for line in lines if line["Fields"]["rid"] == rid]

        [line] = wait_for(found, f"the summary of {rid} by {self.command}")
        return line

    def pids(self, at_least: int = 1) -> set[int]:
        """Return the processes that serve, once there are so many."""
        found: set[int] = set()

        def ask() -> None:
            with contextlib.suppress(OSError, ValueError):
                found.add(int(self.get("/").body))

        def enough() -> bool:
            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return len(found) >= at_least

        self.wait_for(enough, f"an answer of each of {at_least} workers")
        return found


def httpx2_headers(response: httpx2.Response) -> Any:
    from email.message import Message

    message = Message()
    for name, value in response.headers.multi_items():
        message[name] = value
    return message


def write_cell(row: str, column: str) -> None:
    """Write what was seen of one row in one column into the page; tests run side by side."""
    with PAGE.open("r+", encoding="utf-8") as page:
        fcntl.flock(page, fcntl.LOCK_EX)
        before, part, after = pages.between(page.read(), "matrix")
        known = {cells[0]: cells[1:] for cells in pages.rows(part)}
        table = {name: known.get(name, [""] * len(COLUMNS)) for name in ROWS}
        table[row][COLUMNS.index(column)] = ROWS[row].cell(column)
        lines = [["server", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
        lines += [[name, *cells] for name, cells in table.items()]
        made = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        page.seek(0)
        page.write(before + made + after)
        page.truncate()
