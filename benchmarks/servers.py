"""Servers as processes of their own, loaded by wrk, and the CPU time that a request takes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
VENVS: Final = HERE / ".venvs"
CONNECTIONS: Final = 16
INCUMBENT: Final = "dockerflow==2026.3.4"
# The same releases in both environments, apart from the two that are compared.
PACKAGES: Final = (
    "asgi-correlation-id", "django", "django-structlog", "fastapi", "flask", "gunicorn",
    "opentelemetry-instrumentation-asgi", "opentelemetry-sdk", "orjson", "sentry-sdk", "structlog",
    "uvicorn[standard]",
)  # fmt: skip
COMMANDS: Final = {
    "uvicorn": (
        "uvicorn", "apps:app", "--no-access-log", "--log-level=warning", "--port={port}",
    ),
    "gunicorn": ("gunicorn", "apps:app", "--log-level=warning", "--bind=127.0.0.1:{port}"),
}  # fmt: skip
_MILLISECONDS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def set_up(*, fresh: bool) -> None:
    """Make the two environments: both libraries have the same import name."""
    uv = ROOT / ".venv" / "bin" / "uv"
    for name, packages in (
        # The incumbent's Flask and Django parts import these.
        ("incumbent", [INCUMBENT, *PACKAGES, "sqlalchemy", "redis"]),
        ("ours", ["-e", str(ROOT), *PACKAGES]),
    ):
        folder = VENVS / name
        if folder.exists() and not fresh:
            continue
        subprocess.run([uv, "venv", "-q", "--clear", folder], check=True)  # noqa: S603
        subprocess.run(  # noqa: S603
            [uv, "pip", "install", "-q", "--python", folder, *packages], check=True
        )


def python_of(variant: str) -> Path:
    name = "incumbent" if variant.startswith("python-dockerflow") else "ours"
    return VENVS / name / "bin" / "python"


class Load(NamedTuple):
    """What a few seconds of load measured."""

    cpu: float
    """Microseconds of the server's CPU time for each request."""
    per_second: float
    """How many requests were answered in a second."""
    p99: float
    """Milliseconds that 99 % of the requests took at most."""


class Server:
    """A server with one application; its output goes to a pipe that a process reads."""

    def __init__(self, server: str, framework: str, variant: str, path: str = "/") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{path}"
        verbose = bool(os.environ.get("BENCH_VERBOSE"))
        self._reader = subprocess.Popen(
            ["cat"],  # noqa: S607
            stdin=subprocess.PIPE,
            stdout=None if verbose else subprocess.DEVNULL,
        )
        environment = {**os.environ, "BENCH_APP": f"{framework}:{variant}"}
        environment.pop("PYTHONUNBUFFERED", None)
        self._process = subprocess.Popen(  # noqa: S603
            [python_of(variant), "-m", *(part.format(port=port) for part in COMMANDS[server])],
            cwd=HERE,
            env=environment,
            stdout=self._reader.stdin,
            stderr=None if verbose else subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        assert self._reader.stdin is not None
        self._reader.stdin.close()
        self._reader.wait(30)

    def wait(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(self.url, timeout=5) as response:  # noqa: S310
                    assert response.status == 200, response.status
                    return
            except urllib.error.HTTPError:
                raise
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def load(self, seconds: int) -> Load:
        """Ask for the URL for some seconds, on 16 connections."""
        before = self._cpu_seconds()
        text = subprocess.run(  # noqa: S603
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", self.url],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "Non-2xx" not in text, text
        [requests] = re.findall(r"(\d+) requests in", text)
        [per_second] = re.findall(r"Requests/sec:\s+([\d.]+)", text)
        [(number, unit)] = re.findall(r"\s99%\s+([\d.]+)(us|ms|s)", text)
        cpu = (self._cpu_seconds() - before) / int(requests) * 1e6
        return Load(cpu, float(per_second), float(number) * _MILLISECONDS[unit])

    def memory(self) -> float:
        """Return the MiB that the serving process has of its own, and no other worker shares."""
        rollup = Path(f"/proc/{self._processes()[-1]}/smaps_rollup").read_text(encoding="ascii")
        [kibibytes] = re.findall(r"^Private_Dirty:\s+(\d+) kB", rollup, re.MULTILINE)
        return int(kibibytes) / 1024

    def _processes(self) -> list[str]:
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [str(pid), *children]

    def _cpu_seconds(self) -> float:
        ticks = 0
        for pid in self._processes():
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
            user, system = stat.rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
        return ticks / os.sysconf("SC_CLK_TCK")


def releases() -> dict[str, Any]:
    """Return the releases that are measured, by their distributions' names."""
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
    )
    found: dict[str, str] = {}
    for variant in ("python-dockerflow", "dockerflow-middleware"):
        import json

        output = subprocess.run(  # noqa: S603
            [python_of(variant), "-c", code], capture_output=True, text=True, check=True
        ).stdout
        found |= json.loads(output)
    names = {re.split(r"[=\[]", name)[0] for name in (INCUMBENT, *PACKAGES)}
    return {name: found[name] for name in sorted({*names, "dockerflow-middleware", "starlette"})}
