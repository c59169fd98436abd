"""A sign of life for processes that serve no HTTP: a file, and the time since it was touched.

In the container's health check, the file and how many seconds old it may be::

    HEALTHCHECK CMD ["python", "-m", "dockerflow.heartbeat_file", "/tmp/heartbeat", "60"]
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from pathlib import Path
from typing import Final

from dockerflow.config import parse_seconds

logger: logging.Logger = logging.getLogger("dockerflow")

TOLERANCE: Final = 1.0
"""Seconds that a file may be ahead of the clock, as file systems keep time in their own way."""


def file_age(path: str | os.PathLike[str]) -> float:
    """Return how many seconds ago a file was touched: infinity if never, or in the future.

    A time in the future says that the clock was set back, and nothing about the process. One
    that lives touches the file soon again.

    :raises OSError: when the file can't be asked, but for there being none.

    .. versionadded:: 0.1.0
    """
    try:
        age = time.time() - os.stat(path).st_mtime  # noqa: PTH116 - any path will do
    except FileNotFoundError:
        return math.inf
    if age < -TOLERANCE:
        return math.inf
    return max(0.0, age)


class HeartbeatFile:
    """The file that a worker touches to say that it lives.

    :param path: where it is; it needs not be there yet.

    .. versionadded:: 0.1.0
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)

    def beat(self) -> bool:
        """Touch the file, and return whether that worked.

        Never raises, as it is there for the worker: what went wrong is logged, and the file's
        age tells the rest.
        """
        try:
            self.path.touch()
        except (OSError, ValueError) as error:
            logger.error("The heartbeat file could not be touched: %s", error)  # noqa: TRY400
            return False
        return True

    def age(self) -> float:
        """Return what :func:`file_age` does, of this file."""
        return file_age(self.path)


def main(arguments: list[str]) -> int:
    """Return 0 if the file is young enough, 1 if it isn't, 2 if the arguments make no sense."""
    try:
        path, seconds = arguments
        limit = parse_seconds(seconds)
    except (ValueError, OverflowError):
        sys.stderr.write("usage: python -m dockerflow.heartbeat_file PATH SECONDS\n")
        return 2
    try:
        age = file_age(path)
    except OSError as error:
        sys.stderr.write(f"{path}: {error.strerror}\n")
        return 1
    sys.stdout.write(f"{path}: {age:.1f} s old\n")
    return 0 if age <= limit else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
