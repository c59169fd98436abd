"""A heartbeat for processes that don't serve HTTP: a file, and the time since it was touched.

The container's health check has the file and its maximum age in seconds::

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
    set back, and the age is unknown. A process that is alive soon touches its file again.

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
    """The file that a worker touches to show that it is alive.

    :param path: the file; it need not exist yet.

    .. versionadded:: 0.1.0
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)

    def beat(self) -> bool:
        """Touch the file, and return whether that succeeded.

        Never raises, so that it can't harm the worker: errors are logged, and the file ages.
        """
        try:
            self.path.touch()
        except (OSError, ValueError) as error:
            logger.log(logging.ERROR, "The heartbeat file could not be touched: %s", error)
            return False
        return True

    def age(self) -> float:
        """Return the :func:`file_age` of this file."""
        return file_age(self.path)
