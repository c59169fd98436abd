"""The ``dockerflow`` command.

Exit codes: 0 is fine, 1 is a finding (not valid, not healthy, a failing check), 2 is that the
command could not do its work, 130 is Ctrl-C. ``dockerflow healthcheck`` gives 0 or 1 only, as
Docker reserves 2.

Only the standard library is imported here: a container's health check runs every few seconds, and
in images that have none of the command's own requirements.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dockerflow.cli._exit import (
    COULD_NOT_RUN,
    FAILED,
    INSTALL,
    INTERRUPTED,
    OK,
    forget_stdout,
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    :param args: its arguments; by default those of the process.
    :returns: the exit code.

    .. versionadded:: 0.1.0
    """
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]
                sys.stdout.flush()  # while a reader that has gone can still be told from a fault
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        forget_stdout()
        return OK


def _run(arguments: list[str]) -> int:
    try:
        # To be told in one line.
        from dockerflow._core import conflict as _beside  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        print(f"dockerflow: {error}", file=sys.stderr)  # noqa: T201
        return FAILED if arguments[:1] == ["healthcheck"] else COULD_NOT_RUN
    if arguments[:1] == ["healthcheck"]:
        from dockerflow.cli import healthcheck  # noqa: PLC0415 - only what this run needs

        return healthcheck.main(arguments[1:])
    try:
        from dockerflow.cli import _group as group  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print(  # noqa: T201
            f"dockerflow: only `dockerflow healthcheck` works without the extra: {INSTALL}",
            file=sys.stderr,
        )
        return COULD_NOT_RUN
    return group.run(arguments)
