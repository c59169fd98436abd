"""The command line, run in this process."""

import contextlib
import io
import json
from typing import Any

from dockerflow import cli


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
