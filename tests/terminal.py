"""A real terminal for what a process prints."""

from __future__ import annotations

import contextlib
import os
import pty
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def terminal(file: Path) -> Iterator[int]:
    """Yield a terminal's descriptor, to be a process's output; what it shows is in the file."""
    ours, theirs = pty.openpty()

    def copy() -> None:
        # Linux has EIO when nobody has the terminal open any more.
        with file.open("wb", 0) as shown, contextlib.suppress(OSError):
            while data := os.read(ours, 65_536):
                shown.write(data.replace(b"\r\n", b"\n"))

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        thread.join(10)
        os.close(ours)
