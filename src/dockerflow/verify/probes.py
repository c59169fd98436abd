"""Look at the targets, and keep what was seen."""

from __future__ import annotations

import asyncio
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

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
from dockerflow.verify.rules import RULES
from dockerflow.verify.verdicts import Report, judge

SETTLE: Final = 1.0
"""How long an app that listens elsewhere may take to listen on $PORT too, in seconds."""
DEFAULT_WAIT: Final = 20.0
"""How long a command may take to listen, in seconds."""
LOOK: Final = 0.3
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
    look, report = _Look(targets, say), Report([], fail_on=fail_on)
    for name, collect in look.all():
        report.targets.append(name)
        say(name)
        try:
            collect()
        except CouldNotRunError as error:
            report.could_not_run.append(str(error))
    report.verdicts = judge(look.seen, selected)
    if not report.could_not_run and all(v.status == "not checked" for v in report.verdicts):
        report.could_not_run.append("there was nothing that any of the rules could look at")
    report.seconds = time.monotonic() - started_at
    return report


class _Look:
    """Looks at the targets one after the other, and keeps what was seen in ``seen``."""

    def __init__(self, targets: Targets, say: Callable[[str], None]) -> None:
        self.seen = Evidence()
        self._targets = targets
        self._say = say
        self._end = time.monotonic()

    def all(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Return the name of each target, and what looks at it."""
        targets = self._targets
        for path in targets.version_jsons:
            yield str(path), partial(self._version_json, path)
        for path in targets.dockerfiles:
            yield str(path), partial(self._dockerfile, path)
        for path in targets.archives:
            yield str(path), partial(self._archive, path)
        for name in targets.images:
            yield name, partial(self._image, name)
        for name in targets.logs:
            yield "stdin" if name == "-" else name, partial(self._log, name)
        if targets.url is not None:
            yield targets.url, partial(self._url, targets.url)
        if targets.command:
            yield shlex.join(targets.command), self._command

    def _version_json(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BODY + 1)
        except OSError as error:
            raise CouldNotRunError(f"{path} can't be read: {error.strerror}") from None
        shown = f"cat {shlex.quote(str(path))}"
        self.seen.versions.append(VersionFile(str(path), content, shown, str(path)))

    def _dockerfile(self, path: Path) -> None:
        found = dockerfile.read(path, self._targets.build_args, self._targets.target)
        unknown = sorted(found.ignored - set(RULES))
        if unknown:
            raise CouldNotRunError(f"{path} ignores {', '.join(unknown)}: there is no such rule")
        found.reproduce = f"dockerflow verify --dockerfile {shlex.quote(str(path))}"
        self.seen.dockerfiles.append(found)

    def _archive(self, path: Path) -> None:
        self.seen.images.append(image.read_archive(path, self._targets.limit))

    def _image(self, name: str) -> None:
        self.seen.images.append(image.read_engine(name, self._targets.limit))

    def _log(self, name: str) -> None:
        where, reproduce = "stdin", ""
        try:
            if name == "-":
                content = sys.stdin.buffer.read(READ_MAX + 1)
            else:
                where, reproduce = name, f"sed -n {{}}p {_braces(shlex.quote(name))}"
                with Path(name).open("rb") as file:
                    content = file.read(READ_MAX + 1)
        except OSError as error:
            raise CouldNotRunError(f"{where} can't be read: {error.strerror}") from None
        lines = content.split(b"\n")
        if len(content) > READ_MAX:
            lines.pop()
        self.seen.logs.append(Log(where, "file", lines, reproduce))

    def _prober(self, base: str) -> Prober:
        left = max(self._end - time.monotonic(), 1)
        return Prober(base, timeout=self._targets.timeout, limit=left)

    def _url(self, url: str) -> None:
        self._end = time.monotonic() + (self._targets.wait or 0) + self._targets.limit
        asyncio.run(self._ask_url(url))

    async def _ask_url(self, url: str) -> None:
        async with self._prober(url) as prober:
            await self._until_it_answers(prober)
            self._say(f"{url}: asking")
            service = Service(prober.base)
            await look_at(prober, service, self._targets.static)
        self.seen.services.append(service)

    async def _until_it_answers(self, prober: Prober) -> None:
        end = time.monotonic() + (self._targets.wait or 0)
        while True:
            left = end - time.monotonic()
            first = await prober.ask("GET", LBHEARTBEAT, at_most=max(left, 1.0))
            if first.status == 200:  # noqa: PLR2004
                return
            if time.monotonic() >= end:
                if first.unreachable:
                    raise CouldNotRunError(f"{prober.base}: {first.error}")
                return
            self._say(f"{prober.base}: waiting for it ({first.said})")
            await asyncio.sleep(0.2)

    def _command(self) -> None:
        targets, seen = self._targets, self.seen
        self._end = time.monotonic() + targets.limit
        if not seen.versions:
            here = (Path("/app/version.json"), Path("version.json"))
            for path in [path for path in here if path.is_file()][:1]:
                self._version_json(path)
        with started(targets.command, targets.environ) as process:
            run = Run(process.where, process.start, process.port, grace=targets.grace)
            host = self._until_it_listens(process, run)
            service = Service(process.where, start=run.start)
            if host is not None:
                asyncio.run(self._ask_command(host, service))
                seen.services.append(service)
            is_mute = host is not None and not _has_answered(service)
            if is_mute:
                process.wait(SETTLE)  # it may be about to exit
            run.processes = _lasting(process)
            run.log_files = process.log_files()
            if process.exit_code is not None:
                when = "while it was being looked at"
                if is_mute:
                    # A server may listen before it has loaded the app, as gunicorn does. What it
                    # didn't answer then says nothing about the app.
                    seen.services.remove(service)
                    when = "before it answered"
                raise CouldNotRunError(
                    f"{process.where} exited with {process.exit_code} {when}: "
                    f"{process.last_words()}"
                )
            self._say(f"{process.where}: waiting for it to end after SIGTERM")
            if host is not None and targets.slow:
                asyncio.run(_ask_and_end(process, run, host, targets.slow))
            else:
                _end(process, run)
        start = _braces(process.start)
        run.stdout = process.stdout.log(f"stdout of {process.where}", "stdout", start)
        run.stderr = process.stderr.log(f"stderr of {process.where}", "stderr", start)
        seen.runs.append(run)
        for name, value in targets.breaks:
            self._break(name, value)

    async def _ask_command(self, host: str, service: Service) -> None:
        self._say(f"{service.where}: asking")
        async with self._prober(f"http://{host}") as prober:
            await look_at(prober, service, self._targets.static)

    def _until_it_listens(self, process: Process, run: Run) -> str | None:
        """Return where it can be reached, as host:port; None when it listens nowhere."""
        wait = self._targets.wait
        end = time.monotonic() + (DEFAULT_WAIT if wait is None else wait)
        self._say(f"{process.where}: waiting for it to listen on port {process.port}")
        elsewhere_since: float | None = None
        ports: dict[int, str] = {}
        looked = 0.0
        while True:
            if process.exit_code is not None:
                raise CouldNotRunError(
                    f"{process.where} exited with {process.exit_code} before it listened: "
                    f"{process.last_words()}"
                )
            for host in ("127.0.0.1", "::1"):
                if _connects(host, process.port):
                    run.listens = True
                    return f"[{host}]:{process.port}" if ":" in host else f"{host}:{process.port}"
            now = time.monotonic()
            if now - looked > LOOK:  # it takes more time than all the rest
                ports, looked = process.listening(), now
            elsewhere_since = (elsewhere_since or now) if ports else None
            settled = elsewhere_since is not None and now - elsewhere_since > SETTLE
            if now >= end or settled:
                run.elsewhere = sorted(ports)
                # The other rules are tried on the port that it took instead.
                return next((f"{host}:{port}" for port, host in ports.items()), None)
            time.sleep(POLL)

    def _break(self, name: str, value: str) -> None:
        """Start the command once more with a variable that breaks a backing service."""
        environ = {**self._targets.environ, name: value}
        with started(self._targets.command, environ) as process:
            service = Service(process.where, start=process.start, broken_by=f"{name}={value}")
            self.seen.broken.append(service)
            run = Run(process.where, process.start, process.port)
            try:
                host = self._until_it_listens(process, run)
            except CouldNotRunError:
                service.exited = process.exit_code
                return
            if host is not None:
                asyncio.run(self._ask_broken(host, service))

    async def _ask_broken(self, host: str, service: Service) -> None:
        self._say(f"{service.where}: asking with {service.broken_by}")
        async with self._prober(f"http://{host}") as prober:
            for path in (HEARTBEAT, LBHEARTBEAT):
                service.answers["GET", path] = await prober.ask("GET", path)


def _braces(text: str) -> str:
    """Return a text that str.format leaves as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _has_answered(service: Service) -> bool:
    return any(answer.status is not None for answer in service.answers.values())


def _lasting(process: Process) -> list[str]:
    """Return the processes that stay: one that only answers a request is soon gone."""
    fewest = process.processes()
    for _ in range(10):
        if len(fewest) == 1:
            break
        time.sleep(POLL)
        fewest = min(fewest, process.processes(), key=len)
    return fewest


def _end(process: Process, run: Run) -> None:
    run.asked_to_end = True
    sent = time.monotonic()
    process.terminate()
    if process.wait(run.grace):
        run.terminated = time.monotonic() - sent


async def _ask_and_end(process: Process, run: Run, host: str, path: str) -> None:
    """Send SIGTERM while a request is being answered."""
    most = run.grace + 2 * IN_FLIGHT
    async with Prober(f"http://{host}", timeout=most, limit=most) as prober:
        request = asyncio.ensure_future(prober.ask("GET", "/" + path.lstrip("/")))
        done, _ = await asyncio.wait({request}, timeout=IN_FLIGHT)
        await asyncio.to_thread(_end, process, run)
        answer = await request
    if not done:  # else there was nothing in flight to lose
        run.in_flight = answer
