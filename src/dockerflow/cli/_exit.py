"""Exit codes, and other things that all subcommands share."""

from __future__ import annotations

import os
import sys
from typing import Final

INSTALL: Final = "pip install 'dockerflow-middleware[cli]'"

OK: Final = 0
FAILED: Final = 1
COULD_NOT_RUN: Final = 2
INTERRUPTED: Final = 130  # a shell's code for a process that Ctrl-C ended


def print_error(text: str) -> None:
    """Print a text to standard error, with control characters escaped."""
    stream = sys.stderr
    print("".join(c if c.isprintable() or c == "\n" else "?" for c in text), file=stream)


def discard_stdout() -> None:
    """Discard all further output: the reader has gone, and Python flushes once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
