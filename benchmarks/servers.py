"""End to end: wrk asks uvicorn and gunicorn for bare applications, the incumbent's and ours."""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from measure import HERE, python_of, rounded, spread

CONNECTIONS = 16
LBHEARTBEAT = "/__lbheartbeat__"


class Setting(NamedTuple):
    """One server with one kind of application, and what is asked of it."""

    name: str
    title: str
    command: tuple[str, ...]
    app: str
    asked: tuple[tuple[str, str], ...]  # variant and path; the first one is what the others meet
    goal: float | None = None  # how much of the bare one's requests "quiet" is to answer


UVICORN = ("uvicorn", "served:app", "--no-access-log", "--log-level=warning", "--port={port}")
GUNICORN = ("gunicorn", "served:app", "--log-level=warning", "--bind=127.0.0.1:{port}")
PLAIN = ("--http=h11", "--loop=asyncio")
ASKED_ASGI = (("bare", "/"), ("quiet", LBHEARTBEAT), ("ours", LBHEARTBEAT), ("ours", "/"))
ASKED = (
    ("bare", "/"),
    ("incumbent", "/"),
    ("ours", "/"),
    ("incumbent", LBHEARTBEAT),
    ("ours", LBHEARTBEAT),
)
SETTINGS = [
    Setting(
        "uvicorn", "uvicorn, ASGI application", (*UVICORN, *PLAIN), "asgi_app", ASKED_ASGI, 0.95
    ),
    Setting(
        "uvicorn_standard", "uvicorn[standard], ASGI application", UVICORN, "asgi_app",
        ASKED_ASGI, 0.95,
    ),
    Setting("uvicorn_fastapi", "uvicorn, FastAPI", (*UVICORN, *PLAIN), "fastapi_app", ASKED),
    Setting("gunicorn_flask", "gunicorn, Flask", GUNICORN, "flask_app", ASKED),
]  # fmt: skip


class Server:
    """A server of one variant, in a process of its own."""

    def __init__(self, setting: Setting, variant: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        arguments = [part.format(port=self.port) for part in setting.command]
        self.process = subprocess.Popen(  # noqa: S603
            [python_of(variant), "-m", *arguments],
            cwd=HERE,
            env={**os.environ, "BENCH_APP": setting.app, "BENCH_VARIANT": variant},
            stdout=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
        )

    def url(self, path: str) -> str:
        """Return where a path is."""
        return f"http://127.0.0.1:{self.port}{path}"

    def wait_until(self, path: str) -> None:
        """Wait until a path is answered by 200."""
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(self.url(path), timeout=5) as answer:  # noqa: S310
                    assert answer.status == 200
                    return
            except urllib.error.HTTPError:
                raise
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process and of its workers until now."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        ticks = 0
        for one in (str(pid), *children):
            stat = Path(f"/proc/{one}/stat").read_text(encoding="ascii")
            user, system = stat.rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
        return ticks / os.sysconf("SC_CLK_TCK")

    def load(self, path: str, seconds: int) -> dict[str, float]:
        """Ask for a path for some seconds; return what wrk tells, and the CPU time of a request."""
        before = self.cpu_seconds()
        result = load(self.url(path), seconds)
        requests = result.pop("requests")
        result["cpu_microseconds"] = (self.cpu_seconds() - before) / requests * 1e6
        return result

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(30)


_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def load(url: str, seconds: int) -> dict[str, float]:
    """Ask for a URL for some seconds; return how many requests, and latencies in ms."""
    text = subprocess.run(  # noqa: S603
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Non-2xx" not in text, text
    result = {
        "requests": float(re.findall(r"(\d+) requests in", text)[0]),
        "requests_per_second": float(re.findall(r"Requests/sec:\s+([\d.]+)", text)[0]),
    }
    for percent in ("50", "99"):
        number, unit = re.findall(rf"\s{percent}%\s+([\d.]+)(us|ms|s)", text)[0]
        result[f"p{percent}_ms"] = float(number) * _UNITS[unit]
    return result


def run(rounds: int, seconds: int) -> dict[str, Any] | None:
    """Measure each server; return nothing where there is no wrk."""
    if shutil.which("wrk") is None:
        print("no wrk on this machine: nothing is measured end to end", flush=True)
        return None
    return {
        "rounds": rounds,
        "seconds": seconds,
        "connections": CONNECTIONS,
        "settings": {setting.name: _run(setting, rounds, seconds) for setting in SETTINGS},
    }


def _run(setting: Setting, rounds: int, seconds: int) -> dict[str, Any]:
    servers: dict[str, Server] = {}
    loads: dict[tuple[str, str], list[dict[str, float]]] = {ask: [] for ask in setting.asked}
    try:
        for variant, path in setting.asked:
            if variant not in servers:
                servers[variant] = Server(setting, variant)
            servers[variant].wait_until(path)
        for variant, path in setting.asked:
            servers[variant].load(path, 1)
        for index in range(rounds):
            for ask in setting.asked if index % 2 == 0 else reversed(setting.asked):
                variant, path = ask
                loads[ask].append(servers[variant].load(path, seconds))
    finally:
        for server in servers.values():
            server.close()
    first = loads[setting.asked[0]]
    rows = []
    for variant, path in setting.asked:
        measured = loads[variant, path]
        rows.append(
            {
                "variant": variant,
                "path": path,
                **{
                    key: rounded(statistics.median(one[key] for one in measured))
                    for key in measured[0]
                },
                "share": spread(
                    one["requests_per_second"] / bare["requests_per_second"]
                    for one, bare in zip(measured, first, strict=True)
                ),
                "cpu_share": spread(
                    bare["cpu_microseconds"] / one["cpu_microseconds"]
                    for one, bare in zip(measured, first, strict=True)
                ),
                "goal": setting.goal if (variant, path) == ("quiet", LBHEARTBEAT) else None,
            }
        )
        row = rows[-1]
        print(
            f"{setting.title}, {variant} {path}: {row['requests_per_second']:.0f} requests/s, "
            f"{row['share']['median']:.1%} of bare, by CPU time {row['cpu_share']['median']:.1%}, "
            f"p99 {row['p99_ms']:.2f} ms",
            flush=True,
        )
    return {"title": setting.title, "rows": rows}
