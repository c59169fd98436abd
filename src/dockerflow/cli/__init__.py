"""The ``dockerflow`` command.

Exit codes: 0 means fine, 1 a finding (not valid, not healthy, a failing check), 2 that the command
could not run, 130 Ctrl-C. ``dockerflow healthcheck`` exits with 0 or 1 only, as Docker reserves 2.

click is imported only by the other subcommands: images may not have the extra ``cli``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from dockerflow.cli._exit import (
    COULD_NOT_RUN,
    FAILED,
    INSTALL,
    INTERRUPTED,
    OK,
    discard_stdout,
    print_error,
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    :param args: its arguments; by default those of the process.
    :returns: the exit code.

    .. versionadded:: 0.1.0
    """
    if sys.stdout is None:  # it was closed; pyright: ignore[reportUnnecessaryComparison]
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    arguments = list(sys.argv[1:] if args is None else args)
    is_healthcheck = arguments[:1] == ["healthcheck"]
    code = FAILED if is_healthcheck else COULD_NOT_RUN
    try:
        try:
            code = _run(arguments)
        finally:
            sys.stdout.flush()  # now, so that a reader that has gone raises here
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        discard_stdout()
        return OK
    except OSError as error:
        discard_stdout()
        print_error(f"dockerflow: the output can't be written: {error.strerror or error}")
        return code if is_healthcheck else COULD_NOT_RUN
    return code


def _run(arguments: list[str]) -> int:
    is_healthcheck = arguments[:1] == ["healthcheck"]
    try:
        import_module("dockerflow._core.conflict")
    except ImportError as error:
        print_error(f"dockerflow: {error}")
        return FAILED if is_healthcheck else COULD_NOT_RUN
    if is_healthcheck:
        from dockerflow.cli import healthcheck

        return healthcheck.main(arguments[1:])
    try:
        from dockerflow.cli import _group
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print_error(f"dockerflow: only `dockerflow healthcheck` works without the extra: {INSTALL}")
        return COULD_NOT_RUN
    return _group.run(arguments)
