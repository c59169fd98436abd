"""Start an image as a container, with docker or podman, and clean up afterwards."""

from __future__ import annotations

import ipaddress
import re
import secrets
import shlex
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from dockerflow.verify.evidence import CouldNotRunError, hide_credential
from dockerflow.verify.image import call_engine
from dockerflow.verify.process import Process, free_port, is_log

ENGINE_SECONDS: Final = 60.0
"""Time limit of one command of the engine."""
HELD_SECONDS: Final = 1.0
"""How long a connection stays open if an app accepts it; otherwise engines close it."""
_LISTENS: Final = "0A"
# Docker's name server, in each container of a network with a name.
_DOCKER_DNS: Final = "127.0.0.11"
_sockets: Final = re.compile(r"(?m)^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ ([0-9A-F]{2}) ").findall
_row: Final = re.compile(r"(?m)^ *(\d+) +(\d+) +(.*\S) *$").findall
_OPEN_FILES: Final = "ls -l /proc/[0-9]*/fd 2>/dev/null; exit 0"


class Container(Process):
    """A container of an image, started with the fewest rights that it should need.

    :param engine: docker or podman.
    :param environ: its variables, in addition to ``PORT``.
    :param read_only: whether only /tmp is writable.
    :param network: the engine's network that it joins.
    :raises CouldNotRunError: when it can't be created.
    """

    def __init__(
        self,
        engine: str,
        image: str,
        environ: Mapping[str, str],
        *,
        read_only: bool = False,
        network: str | None = None,
    ) -> None:
        port = free_port()
        options = ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
        if read_only:
            options += ["--read-only", "--tmpfs=/tmp"]
            if engine == "podman":  # which would mount one on /run and /var/tmp, too
                options.append("--read-only-tmpfs=false")
        if network is not None:
            options.append(f"--network={network}")
        options += [f"--publish=127.0.0.1:{port}:{port}"]
        variables = {**environ, "PORT": str(port)}
        self._engine = engine
        self._name = f"dockerflow-verify-{secrets.token_hex(6)}"
        try:
            # A health check would be one more process. What can't be stopped is killed immediately.
            self._call(
                "create", f"--name={self._name}", "--pull=never", "--no-healthcheck",
                "--stop-timeout=0", *options, *_set(variables), image,
            )  # fmt: skip
            network, _, mounts = self._inspect(
                "{{.HostConfig.NetworkMode}} {{len .Mounts}}"
            ).partition(" ")
            super().__init__([engine, "start", "--attach", self._name], {})
        except CouldNotRunError:
            with suppress(CouldNotRunError):
                self._remove()
            raise
        self._has_host_network = network == "host"
        self._has_mounts = read_only or mounts != "0"
        self.port = port
        shown = _set({name: hide_credential(name, value) for name, value in variables.items()})
        self.where: str = f"a container of {image}"
        self.start: str = shlex.join([engine, "run", "--rm", *options, *shown, image])

    def _call(self, *args: str) -> str:
        return call_engine(self._engine, *args, seconds=ENGINE_SECONDS)

    def _inspect(self, template: str) -> str:
        return self._call("inspect", f"--format={template}", self._name).strip()

    def _try(self, command: str, *args: str) -> str:
        """Return a command's output; nothing if it fails, as when the container has ended."""
        with suppress(CouldNotRunError):
            return self._call(command, self._name, *args)
        return ""

    @property
    def exit_code(self) -> int | None:
        """The exit code of the container, once it has ended.

        :raises CouldNotRunError: when the engine could not start it.
        """
        code = super().exit_code
        if code is not None and self._inspect("{{.State.StartedAt}}").startswith("0001-"):
            raise CouldNotRunError(f"{self.where} can't be started: {self.last_words()}")
        return code

    def last_words(self) -> str:
        """Return why it ended, as far as its output shows, and how to start it again."""
        return f"{super().last_words()} (reproduce with: {self.start})"

    def reachable_host(self) -> str | None:
        """Return the host at which $PORT can be reached, for URLs."""
        # The engine may accept connections before anything listens in the container.
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=HELD_SECONDS) as sock:
                is_held = bool(sock.recv(1))
        except TimeoutError:
            is_held = True
        except OSError:
            is_held = False
        return "127.0.0.1" if is_held else None

    def url(self, port: int, addresses: Sequence[str]) -> str | None:
        """Return the URL of a port that is listened on; only $PORT is published."""
        return super().url(port, addresses) if self._has_host_network else None

    def listening(self) -> dict[int, list[str]]:
        """Return the TCP ports that are listened on in the container, each with the addresses."""
        if self._has_host_network:
            return super().listening()
        ports: dict[int, list[str]] = {}
        table = self._try("exec", "cat", "/proc/net/tcp", "/proc/net/tcp6")
        for text, port, state in _sockets(table):
            if state == _LISTENS and (address := _address(text)) != _DOCKER_DNS:
                ports.setdefault(int(port, 16), []).append(address)
        if not table and self.reachable_host() is not None:  # so not on the loopback address only
            ports[self.port] = ["0.0.0.0"]  # noqa: S104 - not bound
        return ports

    def _table(self) -> list[tuple[int, int, str]]:
        # As podman takes it, or as ps does. Zombies have no command line.
        table = self._try("top", "pid", "ppid", "args") or self._try("top", "-eo", "pid,ppid,args")
        return [(int(pid), int(parent), command) for pid, parent, command in _row(table)]

    def log_files(self) -> list[str] | None:
        """Return the files it writes to whose names are those of logs; None if it can't be seen."""
        lines = self._try("exec", "sh", "-c", _OPEN_FILES).splitlines()
        files = [line for line in lines if " -> /" in line]
        written = {line.rpartition(" -> ")[2] for line in files if line[2] == "w"}
        # What was closed again; the engine doesn't see what is written to a mount.
        changes = [line[2:] for line in self._try("diff").splitlines()]
        written |= {path for path in changes if Path(path).suffix == ".log"}
        found = sorted(filter(is_log, written))
        return None if not (found or lines) and self._has_mounts else found

    def terminate(self) -> None:
        """Have the engine send SIGTERM; not every client forwards the signals it gets."""
        with suppress(CouldNotRunError):  # it may have ended
            self._call("kill", "--signal=TERM", self._name)

    def stop(self, grace: float) -> None:
        """Send SIGTERM and wait for at most ``grace`` seconds; :meth:`kill` ends the rest."""
        if not self.wait(0):
            self.terminate()
            self.wait(grace)

    def _remove(self) -> None:
        self._call("rm", "--force", "--volumes", self._name)

    def kill(self) -> None:
        """Remove the container, and wait for the engine's processes.

        :raises CouldNotRunError: when it can't be removed.
        """
        try:
            self._remove()
        finally:
            super().kill()


def _set(variables: Mapping[str, str]) -> list[str]:
    return [f"--env={name}={value}" for name, value in variables.items()]


def _address(text: str) -> str:
    """Return an address of /proc/net/tcp: each group of four bytes is reversed."""
    fours = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(fours))
    return str(getattr(address, "ipv4_mapped", None) or address)
