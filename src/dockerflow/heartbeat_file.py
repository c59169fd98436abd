"""A sign of life for processes that serve no HTTP: a file, and the time since it was touched.

In the container's health check, the file and how many seconds old it may be::

    HEALTHCHECK CMD ["dockerflow", "healthcheck", "--file", "/tmp/heartbeat", "--max-age", "60"]
"""

from __future__ import annotations

import logging
import math
import os
import time
from pathlib import Path
from typing import Final

logger: logging.Logger = logging.getLogger("dockerflow")

TOLERANCE: Final = 1.0
"""Seconds that a file may be ahead of the clock, as the clocks of file systems are coarse."""


def file_age(path: str | os.PathLike[str]) -> float:
    """Return how many seconds ago a file was written; infinity if it is missing.

    Also infinity if its time is more than ``TOLERANCE`` seconds in the future: then the clock was
    set back, and the age is unknown. A living process soon touches its file again.

    :raises OSError: when the file exists, but its time can't be read.

    .. versionadded:: 0.1.0
    """
    try:
        age = time.time() - Path(path).stat().st_mtime
    except FileNotFoundError:
        return math.inf
    if age < -TOLERANCE:
        return math.inf
    return max(0.0, age)


class HeartbeatFile:
    """The file that a worker touches to show that it lives.

    :param path: the file, which needs not exist yet.

    .. versionadded:: 0.1.0
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)

    def beat(self) -> bool:
        """Touch the file, and return whether that worked.

        Never raises, so that it can't harm the worker: errors are logged, and the file gets old.
        """
        try:
            self.path.touch()
        except (OSError, ValueError) as error:
            logger.log(logging.ERROR, "The heartbeat file could not be touched: %s", error)
            return False
        return True

    def age(self) -> float:
        """Return this file's :func:`file_age`."""
        return file_age(self.path)
