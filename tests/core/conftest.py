"""What the core's tests share: no framework is imported here."""

import logging
from collections.abc import Iterator

import pytest


class Records(logging.Handler):
    """Keeps the records that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def summaries() -> Iterator[list[logging.LogRecord]]:
    """The records of request.summary, in order."""
    logger = logging.getLogger("request.summary")
    handler = Records()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler.records
    logger.setLevel(level)
    logger.removeHandler(handler)
