"""Collect the evidence of all targets."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial, reduce
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeAlias

from dockerflow.verify import compose, dockerfile, documents, image, kubernetes
from dockerflow.verify.container import Container
from dockerflow.verify.evidence import (
    LBHEARTBEAT,
    MAX_BODY,
    CouldNotRunError,
    Evidence,
    Log,
    Run,
    Service,
    VersionFile,
    hide_credential,
)
from dockerflow.verify.http import Prober, random_path, request_all
from dockerflow.verify.process import Process, started
from dockerflow.verify.rules import RULES

DEFAULT_WAIT: Final = 20.0
"""How long a command may take to listen, in seconds."""
SETTLE: Final = 1.0
"""How long an app that listens on another port has to listen on $PORT too, in seconds.

Then it counts as the app's port if it has the endpoints; otherwise it may be for metrics.
"""
POLL: Final = 0.05
POLL_PORTS: Final = 0.3
"""How often to look which ports are listened on, in seconds; it is slow."""
IN_FLIGHT: Final = 0.5
"""How long after a slow request SIGTERM is sent, in seconds."""
MAX_LOG_FILE: Final = 16 << 20


Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Targets:
    """What to examine, and how; times are in seconds and greater than 0."""

    url: str | None = None
    command: tuple[str, ...] = ()
    dockerfiles: tuple[Path, ...] = ()
    images: tuple[str, ...] = ()
    archives: tuple[Path, ...] = ()
    logs: tuple[str, ...] = ()
    version_jsons: tuple[Path, ...] = ()
    manifests: tuple[str, ...] = ()
    composes: tuple[str, ...] = ()
    """The files of one project: a later one is laid over those before it."""
    projects: tuple[str, ...] = ()
    """Compose files of which those in one folder are one project."""
    environ: Pairs = ()
    breaks: Pairs = ()
    run: bool = False
    """Whether a container of each of ``images`` is started."""
    read_only: bool = False
    network: str | None = None
    static: tuple[str, ...] = ()
    slow: str | None = None
    headers: Pairs = ()
    build_args: Pairs = ()
    target: str | None = None
    wait: float | None = None
    timeout: float = 10.0
    grace: float = 10.0
    limit: float = 120.0

    def compose_files(self) -> Iterator[tuple[str, Path | None]]:
        """Yield each Compose file; one of ``projects`` with the folder of its project."""
        yield from ((name, None) for name in self.composes)
        yield from ((name, Path(name).parent) for name in self.projects)


class Collector:
    """Examines the targets one after the other.

    :param evidence: gets what was seen.
    :param on_progress: is called with a text for people, such as "waiting for ...".
    """

    def __init__(
        self, targets: Targets, evidence: Evidence, on_progress: Callable[[str], None]
    ) -> None:
        self._targets = targets
        self._evidence = evidence
        self._on_progress = on_progress
        self._objects: list[documents.Node] = []
        self._compose: dict[Path | None, list[documents.Node]] = {}

    def probes(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield each target's name, and the function that examines it.

        The functions raise CouldNotRunError.
        """
        targets = self._targets
        for path in targets.version_jsons:
            yield str(path), partial(self._version_json, path)
        for path in targets.dockerfiles:
            yield str(path), partial(self._dockerfile, path)
        for name in targets.manifests:
            yield _shown(name), partial(self._manifest, name)
        for name, project in targets.compose_files():
            yield _shown(name), partial(self._compose_file, name, project)
        for path in targets.archives:
            yield str(path), partial(self._archive, path)
        for name in targets.images:
            yield name, partial(self._image, name)
        for name in targets.logs:
            yield _shown(name), partial(self._log, name)
        if targets.url is not None:
            yield targets.url, partial(self._url, targets.url)
        if targets.command:
            yield shlex.join(targets.command), self._command

    def _version_json(self, path: Path) -> None:
        self._evidence.versions.append(VersionFile.at(path, _read(path, MAX_BODY)))

    def _dockerfile(self, path: Path) -> None:
        found = dockerfile.read(path, dict(self._targets.build_args), self._targets.target)
        if unknown := ", ".join(sorted(found.ignored - set(RULES))):
            raise CouldNotRunError(f"{path} ignores {unknown}: there is no such rule")
        self._evidence.dockerfiles.append(found)

    def _manifest(self, name: str) -> None:
        content = _read_named(name, documents.MAX_BYTES)
        self._objects += kubernetes.objects(content, _shown(name))
        self._deployment()

    def _compose_file(self, name: str, project: Path | None) -> None:
        content = _read_named(name, documents.MAX_BYTES)
        self._compose.setdefault(project, []).append(compose.project(content, _shown(name)))
        self._deployment()

    def _deployment(self) -> None:
        """Judge the files read so far together: one may refer to another."""
        evidence = self._evidence
        evidence.containers = kubernetes.containers(self._objects)
        evidence.balancers = list(kubernetes.balancers(self._objects))
        for files in self._compose.values():
            evidence.containers += compose.containers(reduce(compose.overlay, files))

    def _archive(self, path: Path) -> None:
        self._evidence.images.append(image.read_archive(path, self._targets.limit))

    def _image(self, name: str) -> None:
        targets = self._targets
        found = image.read_engine(name, targets.limit)
        self._evidence.images.append(found)
        if targets.run:
            start = partial(Container, found.engine, name, read_only=targets.read_only)
            self._run(partial(start, network=targets.network))

    def _log(self, name: str) -> None:
        content = _read_named(name, MAX_LOG_FILE)
        lines = content.split(b"\n")
        if len(content) > MAX_LOG_FILE:
            lines.pop()
        log = Log("stdin", lines) if name == "-" else Log(name, lines, file=name)
        self._evidence.logs.append(log)

    def _prober(self, base: str, *, wait: float = 0) -> Prober:
        targets = self._targets
        limit = wait + targets.limit
        return Prober(base, timeout=targets.timeout, limit=limit, headers=targets.headers)

    def _url(self, url: str) -> None:
        wait = self._targets.wait or 0
        with self._prober(url, wait=wait) as prober:
            self._wait_for_url(prober, wait)
            service = Service(prober.where)
            self._request_all(prober, service)
        self._evidence.services.append(service)

    def _request_all(self, prober: Prober, service: Service) -> None:
        self._on_progress(f"{service.where}: sending requests")
        service.curl = prober.curl
        request_all(prober.request, service, self._targets.static)

    def _wait_for_url(self, prober: Prober, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (response := prober.request("GET", LBHEARTBEAT)).status != HTTPStatus.OK:
            if time.monotonic() >= end:
                if response.unreachable:
                    hint = "" if seconds else "; --wait gives it time to start"
                    raise CouldNotRunError(f"{prober.where}: {response.error}{hint}")
                return
            self._on_progress(f"{prober.where}: waiting for it ({response.summary})")
            time.sleep(0.2)

    def _command(self) -> None:
        targets = self._targets
        if not self._evidence.versions:
            candidates = (Path("/app/version.json"), Path("version.json"))
            if (path := next(filter(Path.is_file, candidates), None)) is not None:
                self._version_json(path)
        self._run(partial(Process, targets.command))

    def _run(self, start: Callable[[Mapping[str, str]], Process]) -> None:
        """Start a command or a container with variables, and once more for each that breaks it."""
        targets = self._targets
        environ = dict(targets.environ)
        with started(partial(start, environ), grace=targets.grace) as process:
            run = Run(process.where, process.start, process.port, targets.grace)
            self._examine(process, run)
        run.stdout.lines, run.stderr.lines = process.stdout.lines(), process.stderr.lines()
        self._evidence.runs.append(run)
        for name, value in targets.breaks:
            broken_by = f"{name}={hide_credential(name, value)}"
            self._break(partial(start, {**environ, name: value}), broken_by)

    def _examine(self, process: Process, run: Run) -> None:
        base, run.other_ports = self._wait_for_app(process)
        addresses = process.listening().get(process.port, [])
        run.addresses = sorted({address.removeprefix("::ffff:") for address in addresses})
        # In a container it can't be reached if it listens on the loopback address only.
        run.listens = bool(addresses) or (base is not None and not run.other_ports)
        run.waited = self._seconds
        service = Service(process.where, start=run.start)
        if base is not None:
            with self._prober(base) as prober:
                self._request_all(prober, service)
            if not service.has_responded:
                process.wait(SETTLE)  # it may be about to exit
        if run.addresses or run.other_ports or process.in_containers():
            run.processes = _lasting_processes(process)
        run.log_files = process.log_files()
        has_ended = process.exit_code is not None
        # A server may listen before it has loaded the app, as gunicorn does. If it ends without
        # a response, the app's endpoints can't be judged.
        if base is not None and (service.has_responded or not has_ended):
            self._evidence.services.append(service)
        if has_ended:
            if not service.has_responded:
                raise _exited(process, "before it responded")
            request = service.end()
            raise _exited(process, f"during {request}" if request else "after the requests")
        self._on_progress(f"{process.where}: waiting for it to end after SIGTERM")
        if base is not None and self._targets.slow:
            self._end_with_request(process, run, base, self._targets.slow)
        else:
            _end(process, run)

    @property
    def _seconds(self) -> float:
        """How long a command has to listen and to respond."""
        return DEFAULT_WAIT if self._targets.wait is None else self._targets.wait

    def _wait_for_app(self, process: Process) -> tuple[str | None, list[int]]:
        """Wait until the command listens, and doesn't close connections without a response.

        The port of a container may be open before the app is, as its engine listens on it.

        :returns: the URL where it can be reached, None if nowhere; and the ports that it listens
            on instead of the one it was given.
        """
        end = time.monotonic() + self._seconds
        base, other_ports = self._wait_for_port(process, end)
        if base is not None:
            with self._prober(base, wait=self._seconds) as prober:
                while prober.request("GET", LBHEARTBEAT).is_closed:
                    if process.exit_code is not None or time.monotonic() >= end:
                        break
                    time.sleep(POLL)
        return base, other_ports

    def _wait_for_port(self, process: Process, end: float) -> tuple[str | None, list[int]]:
        self._on_progress(f"{process.where}: waiting for it to listen on port {process.port}")
        next_look, settled = 0.0, end
        others: dict[int, str | None] = {}
        while True:
            if process.exit_code is not None:
                raise _exited(process, "before it listened")
            if (host := process.reachable_host()) is not None:
                return f"http://{host}:{process.port}", []
            now = time.monotonic()
            if now > next_look:
                listening = process.listening()
                others = {port: process.url(port, found) for port, found in listening.items()}
                if (base := others.get(process.port)) is not None:  # at another address
                    return base, []
                settled = min(settled, now + SETTLE) if others else end
                # The other rules are tried on the port that it took instead.
                for base in filter(None, others.values()) if now >= settled else ():
                    if self._has_endpoints(base):
                        return base, sorted(others)
                next_look = time.monotonic() + POLL_PORTS
            if now >= end:
                return next(filter(None, others.values()), None), sorted(others)
            time.sleep(POLL)

    def _has_endpoints(self, base: str) -> bool:
        """Whether the app responds there, and not a page for every path."""
        limit = min(1.0, self._targets.timeout)
        with Prober(base, timeout=limit, limit=limit, headers=self._targets.headers) as prober:
            service = Service(base, unknown_path=prober.request("GET", random_path()))
            heartbeat = prober.request("GET", LBHEARTBEAT)
        return heartbeat.is_200 and not service.is_any_page(heartbeat)

    def _break(self, start: Callable[[], Process], broken_by: str) -> None:
        """Start it once more with a variable that breaks a backing service."""
        with started(start, grace=self._targets.grace) as process:
            service = Service(process.where, start=process.start, broken_by=broken_by)
            self._evidence.broken.append(service)
            try:
                base, _ = self._wait_for_app(process)
            except CouldNotRunError:
                service.exit_code = process.exit_code
                return
            if base is None:
                service.waited = self._seconds
                return
            with self._prober(base) as prober:
                self._request_all(prober, service)
            if not service.has_responded:
                service.exit_code = process.exit_code

    def _end_with_request(self, process: Process, run: Run, base: str, path: str) -> None:
        """Send SIGTERM while a request is being handled."""
        seconds = run.grace + 2 * IN_FLIGHT
        headers = self._targets.headers
        with (
            Prober(base, timeout=seconds, limit=seconds, headers=headers) as prober,
            futures.ThreadPoolExecutor(1) as pool,
        ):
            request = pool.submit(prober.request, "GET", path)
            done, _ = futures.wait([request], IN_FLIGHT)
            _end(process, run)
            if done:  # there was no request to lose
                run.too_fast = request.result()
            else:
                run.in_flight = request.result()


def _read(path: Path | None, at_most: int) -> bytes:
    """Return the content of a file or stdin; one byte more than ``at_most`` if it is longer."""
    try:
        with nullcontext(sys.stdin.buffer) if path is None else path.open("rb") as file:
            return file.read(at_most + 1)
    except OSError as error:
        raise CouldNotRunError(f"{path or 'stdin'} can't be read: {error.strerror}") from None


def _read_named(name: str, at_most: int) -> bytes:
    return _read(None if name == "-" else Path(name), at_most)


def _shown(name: str) -> str:
    return "stdin" if name == "-" else name


def _exited(process: Process, when: str) -> CouldNotRunError:
    message = f"{process.where} exited with {process.exit_code} {when}: {process.last_words()}"
    return CouldNotRunError(message)


def _lasting_processes(process: Process) -> list[str]:
    """Return the processes that stay: one that only handles a request ends soon."""
    fewest = process.processes()
    for _ in range(10):
        if len(fewest) == 1:
            break
        time.sleep(POLL)
        fewest = min(fewest, process.processes(), key=len)
    return fewest


def _end(process: Process, run: Run) -> None:
    process.terminate()
    run.ended_in_time = process.wait(run.grace)
