"""The command line, run in this process."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dockerflow import cli


def python(code: str, *arguments: str) -> list[str]:
    """Run code in a process of its own, which can import apps; return the lines that it prints."""
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=os.environ | path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def dockerflow(*arguments: object) -> tuple[int, str]:
    """Run a command; return its exit code, and what it wrote to stdout and stderr."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
    return code, output.getvalue()


def verify(*arguments: object) -> dict[str, Any]:
    """Return the report of ``dockerflow verify`` with these arguments."""
    _, output = dockerflow("verify", "--format", "json", *arguments)
    return json.loads(output)
