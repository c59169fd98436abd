"""What the subcommands share: exit codes, and what to do when the reader has gone."""

from __future__ import annotations

import os
from typing import Final

INSTALL: Final = "pip install 'dockerflow-middleware[cli]'"

OK: Final = 0
FAILED: Final = 1
COULD_NOT_RUN: Final = 2
INTERRUPTED: Final = 130  # what a shell gives for a process that Ctrl-C ended


def forget_stdout() -> None:
    """Write nowhere from now on: the reader has gone, and Python flushes once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
