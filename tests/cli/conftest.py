"""The command as users have it: a process of its own, in an environment that holds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The CI that runs these tests sets much of what the command reads.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name in {"PATH", "SYSTEMROOT"} or name.startswith("COVERAGE_")
} | {"LC_ALL": "C.UTF-8", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class Command:
    """Runs ``dockerflow`` in a folder."""

    script = Path(sys.executable).parent / "dockerflow"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = ENVIRONMENT | {"HOME": str(folder)}

    def __call__(self, *args: object, stdin: bytes | None = None, **env: str) -> Result:
        done = subprocess.run(
            [self.script, *map(str, args)],
            cwd=self.folder,
            env=self.environment | env,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=60,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def python(self, code: str) -> Result:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


class Result:
    """What a process left: exit code, standard output and standard error."""

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
