"""The command: in this process, as that is fast, or in its own one as users have it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from unittest import mock

import pytest

from dockerflow.cli import main

# The CI that runs these tests sets many of the variables that the command reads.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name in {"PATH", "SYSTEMROOT"} or name.startswith("COVERAGE_")
} | {"LC_ALL": "C.UTF-8", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class Stream(io.TextIOWrapper):
    """Standard output or standard error."""

    is_terminal: bool

    def isatty(self) -> bool:
        return self.is_terminal


class Command:
    """Runs ``dockerflow`` in a folder, with no variables but the given ones."""

    script = Path(sys.executable).parent / "dockerflow"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = ENVIRONMENT | {"HOME": str(folder)}
        self.is_terminal = False

    def __call__(self, *args: object, stdin: bytes = b"", **env: str) -> Result:
        """Run it in this process."""
        streams = {name: Stream(io.BytesIO(), "utf-8") for name in ("stdout", "stderr")}
        for stream in streams.values():
            stream.is_terminal = self.is_terminal
        with (
            chdir(self.folder),
            mock.patch.dict(os.environ, self.environment | env, clear=True),
            mock.patch.multiple(sys, stdin=io.TextIOWrapper(io.BytesIO(stdin)), **streams),
        ):
            try:
                code = main([*map(str, args)])
            except SystemExit as error:  # as argparse and click end after --help
                code = error.code
            for stream in streams.values():
                stream.flush()
        out, err = (
            stream.buffer.getvalue().decode("utf-8", "surrogateescape")
            for stream in streams.values()
        )
        return Result(code, out, err)

    def process(self, *args: object, stdin: bytes = b"", **env: str) -> Result:
        """Run it in its own process."""
        return self._run([self.script, *map(str, args)], self.environment | env, stdin)

    def python(self, code: str) -> Result:
        """Run Python in its own process."""
        return self._run([sys.executable, "-c", code], self.environment, b"")

    def _run(self, arguments: list[str], environment: dict[str, str], stdin: bytes) -> Result:
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=60,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


class Result:
    """What a run left: exit code, standard output and standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        assert "Traceback" not in err, err

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"

    @property
    def error(self) -> str:
        """The one line of standard error."""
        assert self.err.endswith("\n"), self
        assert self.err.count("\n") == 1, self
        return self.err[:-1]


@pytest.fixture
def dockerflow(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def forgotten_apps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_checks: None
) -> Iterator[None]:
    """Forget the modules and checks of the test's apps at its end."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
