"""Look at the targets, and keep what was seen."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from dockerflow.verify import dockerfile, image
from dockerflow.verify.evidence import (
    HEARTBEAT,
    LBHEARTBEAT,
    MAX_BODY,
    CouldNotRunError,
    Evidence,
    Log,
    Run,
    Service,
    VersionFile,
)
from dockerflow.verify.http import Prober, look_at
from dockerflow.verify.process import Process, started
from dockerflow.verify.report import Report, judge
from dockerflow.verify.rules import RULES

SETTLE: Final = 1.0
"""How long an app that listens elsewhere may take to listen on $PORT too, in seconds."""
POLL: Final = 0.05
IN_FLIGHT: Final = 0.5
"""How long after a slow request was sent SIGTERM is, in seconds."""
READ_MAX: Final = 16 << 20


@dataclass(frozen=True)
class Targets:
    """What to look at, and how; seconds are over 0."""

    url: str | None = None
    command: tuple[str, ...] = ()
    dockerfiles: tuple[Path, ...] = ()
    images: tuple[str, ...] = ()
    archives: tuple[Path, ...] = ()
    logs: tuple[str, ...] = ()
    version_jsons: tuple[Path, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    breaks: tuple[tuple[str, str], ...] = ()
    static: tuple[str, ...] = ()
    slow: str | None = None
    build_args: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str | None = None
    wait: float | None = None
    timeout: float = 10.0
    grace: float = 10.0
    limit: float = 120.0


def verify(
    targets: Targets,
    *,
    selected: frozenset[str] | None = None,
    fail_on: str = "error",
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Look at all targets and judge them; a target that can't be looked at is in the report.

    :param say: is told what is waited for.
    """
    started_at = time.monotonic()
    seen, report = Evidence(), Report([], fail_on=fail_on)

    def collect(name: str, look: Callable[[], object]) -> None:
        report.targets.append(name)
        say(name)
        try:
            look()
        except CouldNotRunError as error:
            report.could_not_run.append(str(error))

    for path in targets.version_jsons:
        collect(str(path), lambda path=path: seen.versions.append(_version_file(path)))
    for path in targets.dockerfiles:
        collect(str(path), lambda path=path: seen.dockerfiles.append(_dockerfile(path, targets)))
    for path in targets.archives:
        collect(
            str(path), lambda path=path: seen.images.append(image.read_archive(path, targets.limit))
        )
    for name in targets.images:
        collect(name, lambda name=name: seen.images.append(image.read_engine(name, targets.limit)))
    for name in targets.logs:
        collect("stdin" if name == "-" else name, lambda name=name: seen.logs.append(_log(name)))
    if targets.url is not None:
        url = targets.url
        collect(url, lambda: asyncio.run(_url(url, targets, seen, say)))
    if targets.command:
        collect(" ".join(targets.command), lambda: _command(targets, seen, say))
    report.verdicts = judge(seen, selected)
    report.seconds = time.monotonic() - started_at
    return report


def _version_file(path: Path) -> VersionFile:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BODY + 1)
    except OSError as error:
        raise CouldNotRunError(f"{path} can't be read: {error.strerror}") from None
    return VersionFile(str(path), content, f"cat {path}", str(path))


def _dockerfile(path: Path, targets: Targets) -> dockerfile.Dockerfile:
    found = dockerfile.read(path, targets.build_args, targets.target)
    unknown = sorted(found.ignored - set(RULES))
    if unknown:
        raise CouldNotRunError(f"{path} ignores {', '.join(unknown)}: there is no such rule")
    found.reproduce = f"dockerflow verify --dockerfile {path}"
    return found


def _log(name: str) -> Log:
    if name == "-":
        content = sys.stdin.buffer.read(READ_MAX + 1)
        reproduce = ""
    else:
        reproduce = f"sed -n {{}}p {name}"
        try:
            with Path(name).open("rb") as file:
                content = file.read(READ_MAX + 1)
        except OSError as error:
            raise CouldNotRunError(f"{name} can't be read: {error.strerror}") from None
    lines = content.split(b"\n")
    if len(content) > READ_MAX:
        lines.pop()
    return Log("stdin" if name == "-" else name, "file", lines, reproduce)


async def _url(url: str, targets: Targets, seen: Evidence, say: Callable[[str], None]) -> None:
    prober = Prober(url, timeout=targets.timeout, limit=targets.limit)
    try:
        end = time.monotonic() + (targets.wait or 0)
        while True:
            left = end - time.monotonic()
            timeout = targets.timeout if left <= 0 else min(targets.timeout, max(left, 1))
            first = await prober.ask("GET", LBHEARTBEAT, timeout=timeout)
            unreachable = first.status is None and "nothing could be reached" in first.error
            ready = first.status == httpx.codes.OK
            if ready or time.monotonic() >= end:
                break
            say(f"{url}: waiting for it")
            await asyncio.sleep(0.2)
        if unreachable:
            raise CouldNotRunError(f"{url}: {first.error}")
        service = Service(prober.base)
        say(f"{url}: asking")
        await look_at(prober, service, targets.static)
        seen.services.append(service)
    finally:
        await prober.close()


def _command(targets: Targets, seen: Evidence, say: Callable[[str], None]) -> None:
    end = time.monotonic() + targets.limit
    if not seen.versions:
        for path in (Path("/app/version.json"), Path("version.json")):
            if path.is_file():
                seen.versions.append(_version_file(path))
                break
    with started(targets.command, targets.environ) as process:
        run = Run(process.where, process.start, process.port, grace=targets.grace)
        host = _wait_until_it_listens(process, run, targets, say)
        if host is not None:
            asyncio.run(_ask(process, run, host, targets, seen, say, end))
        run.processes = process.processes()
        run.log_files = process.log_files()
        if process.exit_code is not None:
            raise CouldNotRunError(
                f"{process.where} exited with {process.exit_code} while it was being looked at: "
                f"{process.last_words()}"
            )
        say(f"{process.where}: waiting for it to end after SIGTERM")
        if host is not None and targets.slow:
            asyncio.run(_ask_and_end(process, run, host, targets, targets.slow))
        else:
            _end(process, run)
    run.stdout = process.stdout.log(f"stdout of {process.where}", "stdout", process.start)
    run.stderr = process.stderr.log(f"stderr of {process.where}", "stderr", process.start)
    for log in (run.stdout, run.stderr):
        log.reproduce = log.reproduce.replace("{", "{{").replace("}", "}}")
    seen.runs.append(run)
    for name, value in targets.breaks:
        _break(name, value, targets, seen, say, end)


def _wait_until_it_listens(
    process: Process, run: Run, targets: Targets, say: Callable[[str], None]
) -> str | None:
    """Return where it can be reached, as host:port; None when it listens nowhere."""
    wait = 20.0 if targets.wait is None else targets.wait
    end = time.monotonic() + wait
    say(f"{process.where}: waiting for it to listen on port {process.port}")
    elsewhere_since: float | None = None
    while True:
        code = process.exit_code
        if code is not None:
            raise CouldNotRunError(
                f"{process.where} exited with {code} before it listened: {process.last_words()}"
            )
        for host in ("127.0.0.1", "::1"):
            if _connects(host, process.port):
                run.listens = True
                return f"[{host}]:{process.port}" if ":" in host else f"{host}:{process.port}"
        ports = process.listening()
        now = time.monotonic()
        elsewhere_since = (elsewhere_since or now) if ports else None
        settled = elsewhere_since is not None and now - elsewhere_since > SETTLE
        if now >= end or settled:
            run.elsewhere = sorted(ports)
            # Where it is plain which port it took instead, the other rules are tried there.
            return next((f"{host}:{port}" for port, host in ports.items()), None)
        time.sleep(POLL)


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


async def _ask(
    process: Process,
    run: Run,
    host: str,
    targets: Targets,
    seen: Evidence,
    say: Callable[[str], None],
    end: float,
) -> None:
    say(f"{process.where}: asking")
    prober = Prober(
        f"http://{host}", timeout=targets.timeout, limit=max(end - time.monotonic(), 1)
    )
    service = Service(process.where, start=run.start)
    try:
        await look_at(prober, service, targets.static)
    finally:
        await prober.close()
    seen.services.append(service)


def _end(process: Process, run: Run) -> None:
    run.asked_to_end = True
    sent = time.monotonic()
    process.terminate()
    if process.wait(run.grace):
        run.terminated = time.monotonic() - sent


async def _ask_and_end(
    process: Process, run: Run, host: str, targets: Targets, path: str
) -> None:
    """Send SIGTERM while a request is being answered."""
    prober = Prober(f"http://{host}", timeout=run.grace + IN_FLIGHT, limit=run.grace + IN_FLIGHT + 1)
    try:
        request = asyncio.ensure_future(prober.ask("GET", "/" + path.lstrip("/")))
        done, _ = await asyncio.wait({request}, timeout=IN_FLIGHT)
        await asyncio.to_thread(_end, process, run)
        answer = await request
        if not done:  # else there was nothing in flight to lose
            run.in_flight = answer
    finally:
        await prober.close()


def _break(
    name: str,
    value: str,
    targets: Targets,
    seen: Evidence,
    say: Callable[[str], None],
    end: float,
) -> None:
    """Start the command once more with a variable that breaks a backing service."""
    environ = {**targets.environ, name: value}
    with started(targets.command, environ) as process:
        service = Service(process.where, start=process.start, broken_by=f"{name}={value}")
        seen.broken.append(service)
        run = Run(process.where, process.start, process.port)
        try:
            host = _wait_until_it_listens(process, run, targets, say)
        except CouldNotRunError:
            service.exited = process.exit_code
            return
        if host is None:
            return
        say(f"{process.where}: asking with {service.broken_by}")
        asyncio.run(_ask_broken(service, host, targets, max(end - time.monotonic(), 1)))


async def _ask_broken(service: Service, host: str, targets: Targets, limit: float) -> None:
    prober = Prober(f"http://{host}", timeout=targets.timeout, limit=limit)
    try:
        for path in (HEARTBEAT, LBHEARTBEAT):
            service.answers["GET", path] = await prober.ask("GET", path)
    finally:
        await prober.close()


